// A figure's last minute as a line. The same in numbers stands beside it, so it is hidden from screen readers.

const SECONDS = 60;
const SVG = "http://www.w3.org/2000/svg";
const HEIGHT = 30;

export class Sparkline {
  #floor;
  #values = new Map(); // whole second → value
  #area = document.createElementNS(SVG, "path");
  #line = document.createElementNS(SVG, "path");

  /** Values below `floor` do not fill the height: a single error is no mountain. */
  constructor(floor = 0) {
    this.#floor = floor;
    this.element = document.createElementNS(SVG, "svg");
    this.element.setAttribute("class", "spark");
    this.element.setAttribute("viewBox", `0 0 ${SECONDS - 1} ${HEIGHT}`);
    this.element.setAttribute("preserveAspectRatio", "none");
    this.element.setAttribute("aria-hidden", "true");
    this.#area.setAttribute("class", "area");
    this.#line.setAttribute("class", "line");
    this.element.append(this.#area, this.#line);
  }

  /** The value of one whole second since 1970. */
  add(second, value) {
    this.#values.set(Math.floor(second), value);
  }

  draw() {
    if (this.#values.size === 0) return;
    const last = Math.max(...this.#values.keys());
    for (const second of this.#values.keys()) if (second <= last - SECONDS) this.#values.delete(second);
    const highest = Math.max(this.#floor, ...this.#values.values()) || 1;
    const points = [...this.#values]
      .sort(([one], [other]) => one - other)
      .map(
        ([second, value]) =>
          `${second - last + SECONDS - 1},${(HEIGHT - 2 - (value / highest) * (HEIGHT - 5)).toFixed(1)}`,
      );
    const first = points[0].split(",")[0];
    this.#line.setAttribute("d", `M${points.join("L")}`);
    this.#area.setAttribute("d", `M${first},${HEIGHT}L${points.join("L")}L${SECONDS - 1},${HEIGHT}Z`);
  }
}
