// The few things that every part of the page does with its elements.

export const $ = (id) => document.getElementById(id);

/** Set an element's text where it is another one, so that a selection and a screen reader stay undisturbed. */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** A new element; a child is an element or a string. */
export function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

const SVG = "http://www.w3.org/2000/svg";

/** One of the symbols of index.html. The word beside it says the same. */
export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  const use = document.createElementNS(SVG, "use");
  use.setAttribute("href", `#icon-${name}`);
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  svg.append(use);
  return svg;
}

/** A button's icon and words. */
export function label(button, symbol, words) {
  if (button.dataset.words === words) return;
  button.dataset.words = words;
  button.replaceChildren(icon(symbol), ...(button.ariaLabel ? [] : [words]));
}

/** A list whose elements stay as long as their items: `show(items)` adds, removes, orders and fills them. */
export class Keyed {
  #parent;
  #key;
  #create;
  #fill;
  #elements = new Map();

  constructor(parent, key, create, fill) {
    this.#parent = parent;
    this.#key = key;
    this.#create = create;
    this.#fill = fill;
  }

  show(items) {
    const before = this.#elements;
    this.#elements = new Map();
    items.forEach((item, index) => {
      const key = this.#key(item);
      const element = before.get(key) ?? this.#create(item);
      before.delete(key);
      this.#elements.set(key, element);
      this.#fill(element, item);
      const there = this.#parent.children[index];
      if (there !== element) this.#parent.insertBefore(element, there ?? null);
    });
    before.forEach((element) => element.remove());
  }
}

/**
 * A table, of whose columns the first names the row, and below it what the columns mean. A column:
 *
 *   name     in its head; where it is empty, `title` is there for screen readers
 *   about    what it means, in a sentence
 *   of       item → string or element
 *   words    true for text instead of numbers
 *   mark     item → a class for what needs a look, or undefined
 *   class    a class of all its cells
 *   width    in digits: the columns stay where they are while the numbers change
 */
export class Table {
  #rows;

  constructor(table, columns, key, classOf = () => "") {
    const heads = columns.map((column) =>
      make(
        "th",
        { scope: "col", role: "columnheader", className: column.words ? "words" : "", title: column.about ?? "" },
        column.name || make("span", { className: "unseen" }, column.title),
      ),
    );
    const body = make("tbody", { role: "rowgroup" });
    const widths = columns.map(({ width }) => {
      const column = make("col");
      if (width) column.style.width = `${width}ch`;
      return column;
    });
    table.role = "table"; // also where the style sheet lays it out as blocks
    table.replaceChildren(
      make("colgroup", {}, ...widths),
      make("thead", { role: "rowgroup" }, make("tr", { role: "row" }, ...heads)),
      body,
    );
    explain(table.parentElement, "What the columns mean", columns);
    const create = (item) =>
      make(
        "tr",
        { className: classOf(item), role: "row" },
        ...columns.map((column, index) => {
          const cell = index ? make("td", { role: "cell" }) : make("th", { scope: "row", role: "rowheader" });
          cell.dataset.name = column.name;
          return cell;
        }),
      );
    const fill = (row, item) => columns.forEach((column, index) => fillCell(row.children[index], column, item));
    this.#rows = new Keyed(body, key, create, fill);
  }

  show(items) {
    this.#rows.show(items);
  }
}

/** Behind an element: what the items mean that have something `about` them, for who wants to know. */
export function explain(element, title, items) {
  const before = element.nextElementSibling;
  const told = items.filter((item) => item.about);
  if (before?.matches("details.help")) before.remove();
  if (told.length === 0) return;
  const pairs = told.flatMap(({ name, about }) => [
    make("dt", { textContent: name }),
    make("dd", { textContent: about }),
  ]);
  const open = Boolean(before?.open);
  element.after(
    make(
      "details",
      { className: "help", open },
      make("summary", { textContent: title }),
      make("dl", { className: "pairs" }, ...pairs),
    ),
  );
}

function fillCell(cell, column, item) {
  const content = column.of(item);
  const classes = [
    column.words ? "words" : "",
    column.class ?? "",
    column.mark?.(item) ?? (content === "0" || content === "0 %" ? "zero" : ""),
  ];
  const className = classes.filter(Boolean).join(" ");
  if (cell.className !== className) cell.className = className;
  if (typeof content === "string") say(cell, content);
  else if (cell.firstChild === null || !cell.firstChild.isEqualNode(content)) cell.replaceChildren(content);
}
