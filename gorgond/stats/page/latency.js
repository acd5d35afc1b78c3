// The latency card: which operation, which span, the heat map or its table, and what a cell says.

import { ask } from "./api.js";
import { $, Table, make, say } from "./dom.js";
import { count, instant, latency, moment, percent } from "./format.js";
import { Heat, HeatMap } from "./heatmap.js";
import { onTheme } from "./theme.js";

const canvas = $("heat");
const map = new HeatMap(canvas, colours);
const NEWS = { minute: 1, hour: 10, day: 60, month: 300, year: 300 }; // seconds until a span is asked for again

let heat = null;
let marks = [];
let cursor = null; // {column, row}
let asked = 0; // the number of the last question; an answer to an earlier one comes too late
let due = 0;

const span = () => document.querySelector("#spans input:checked").value;
const operation = () => $("operation").value;

/** Once a second, with the picture: ask for the map where it is due. */
export async function tickLatency(picture) {
  marks = picture.marks;
  if (performance.now() < due) return;
  due = performance.now() + NEWS[span()] * 1000 - 500;
  await load();
}

async function load() {
  const number = ++asked;
  try {
    const answer = await ask("api/heat.json", { of: operation(), span: span() });
    if (number !== asked) return;
    const column = cursor && heat ? heat.at(cursor.column) : null;
    heat = new Heat(answer);
    if (cursor) follow(column);
    showOperations(answer.operations.filter(timed));
    show();
  } catch (problem) {
    if (number === asked) say($("readout"), `The heat map is not to be had: ${problem.message}`);
  }
}

/** The cursor stays at its time while the map moves on under it. */
function follow(at) {
  const column = at === null ? cursor.column : Math.round((at - heat.first) / (heat.step * 1000));
  cursor = { column: clamp(column, heat.width), row: clamp(cursor.row, heat.rows) };
}

const clamp = (value, length) => Math.min(Math.max(value, 0), length - 1);

/** Not the queues' own series, which tell how many but not how long; nor "web", which is the first choice already. */
const timed = (name) => !name.startsWith("queue ") && name !== "web";

function showOperations(operations) {
  const select = $("operation");
  const names = [...select.options].slice(1).map((option) => option.value);
  if (names.join("\n") === operations.join("\n")) return;
  const chosen = select.value;
  select.replaceChildren(
    select.options[0],
    ...operations.map((name) => make("option", { value: name, textContent: name })),
  );
  select.value = operations.includes(chosen) ? chosen : "";
}

function show() {
  if (heat === null) return;
  say($("many"), count(Math.max(heat.highest, 1)));
  if (pressed()) showTable();
  else map.draw(heat, marks, cursor);
  $("readout").ariaLive = document.activeElement === canvas ? "polite" : "off"; // it changes each second otherwise
  say($("readout"), cursor ? cellWords() : summary());
}

function cellWords() {
  const n = heat.cell(cursor.column, cursor.row);
  const total = heat.totals[cursor.column];
  const at = heat.at(cursor.column);
  const near = marks
    .filter((mark) => mark.at >= at && mark.at < at + heat.step * 1000)
    .map((mark) => ` · ${mark.text}`);
  const share = `${count(n)} of ${count(total)} (${percent(n, total)})`;
  return `${instant(at, heat.step)} · ${heat.band(cursor.row)} · ${share}${near.join("")}`;
}

function summary() {
  const total = heat.totals.reduce((sum, n) => sum + n, 0);
  const over = heat.columns.reduce((sum, counts) => sum + (counts?.at(-1) ?? 0), 0);
  return total
    ? `${count(total)} in all, ${count(over)} over ${latency(heat.edges.at(-1))}`
    : "Nothing was asked in this time";
}

// ---- the same as a table

const pressed = () => $("as-table").ariaPressed === "true";
let shape = "";
let table = null;

function showTable() {
  const rows = [...new Array(heat.rows).keys()].filter(
    (row) => heat.isOver(row) || heat.columns.some((_, column) => heat.cell(column, row)),
  );
  const columns = [
    {
      name: "Time",
      words: true,
      of: (column) => (heat.step < 6 * 3600 ? moment(heat.at(column)) : instant(heat.at(column), heat.step)),
    },
    { name: "All", of: (column) => count(heat.totals[column]) },
    ...rows.map((row) => ({ name: heat.band(row), of: (column) => count(heat.cell(column, row)) })),
  ];
  const newShape = columns.map((column) => column.name).join();
  if (newShape !== shape) table = new Table($("heat-table").firstElementChild, columns, (column) => heat.at(column));
  shape = newShape;
  table.show([...heat.columns.keys()].filter((column) => heat.columns[column]).reverse());
}

$("as-table").addEventListener("click", () => {
  $("as-table").ariaPressed = String(!pressed());
  $("map").hidden = pressed();
  $("heat-table").hidden = !pressed();
  shape = "";
  show();
});

// ---- choosing and pointing

function choose() {
  cursor = null;
  showExports();
  due = performance.now() + NEWS[span()] * 1000 - 500;
  load();
}

/** The figures of what is chosen, as files. */
function showExports() {
  const chosen = new URLSearchParams({ span: span(), ...(operation() ? { of: operation() } : {}) });
  $("as-csv").href = `api/history.csv?${chosen}`;
  $("as-json").href = `api/history.json?${chosen}`;
}

showExports();
$("operation").addEventListener("change", choose);
$("spans").addEventListener("change", choose);

function point(event) {
  if (heat === null) return;
  const box = canvas.getBoundingClientRect();
  cursor = map.find(heat, event.clientX - box.left, event.clientY - box.top);
  show();
}

canvas.addEventListener("pointermove", point);
canvas.addEventListener("pointerdown", point);
canvas.addEventListener("pointerleave", () => leave());
canvas.addEventListener("blur", () => leave());

function leave() {
  if (document.activeElement === canvas && canvas.matches(":focus-visible")) return;
  cursor = null;
  show();
}

const MOVES = {
  ArrowLeft: [-1, 0],
  ArrowRight: [1, 0],
  ArrowUp: [0, 1],
  ArrowDown: [0, -1],
  Home: [-Infinity, 0],
  End: [Infinity, 0],
  PageUp: [0, Infinity],
  PageDown: [0, -Infinity],
};

canvas.addEventListener("keydown", (event) => {
  const move = MOVES[event.key];
  if (heat === null || !move || event.ctrlKey || event.altKey || event.metaKey) return;
  event.preventDefault();
  const from = cursor ?? start();
  cursor = cursor
    ? { column: clamp(from.column + move[0], heat.width), row: clamp(from.row + move[1], heat.rows) }
    : from;
  show();
});

/** Where the keyboard begins: the fullest cell of the newest column. */
function start() {
  const column = heat.width - 1;
  const rows = [...new Array(heat.rows).keys()];
  return {
    column,
    row: rows.reduce((best, row) => (heat.cell(column, row) > heat.cell(column, best) ? row : best), 0),
  };
}

// ---- colours

/** The ramp is that of the legend; the canvas cannot read a style sheet's light-dark() itself. */
function colours() {
  const colour = (name) => {
    probe.style.color = `var(--${name})`;
    return channels(getComputedStyle(probe).color);
  };
  const ramp = [...$("ramp").children].map((swatch) => channels(getComputedStyle(swatch).backgroundColor));
  return {
    ramp,
    ink: colour("ink"),
    muted: colour("muted"),
    rule: colour("rule"),
    accent: colour("accent"),
    over: colour("down"),
  };
}

const probe = $("ramp");
const channels = (text) =>
  text
    .match(/[\d.]+/g)
    .slice(0, 3)
    .map(Number);

onTheme(show);
new ResizeObserver(show).observe(canvas);
