// The drawing of a heat map: time to the right, latency upwards on a log scale, colour = how many. It knows no page.
//
//     marks        ▾              ▾
//     requests/s   ▂▃▃▂▅▃▂▃▃▂▃▃▂▂▃
//     over                 ▪
//     10 ms            ▪  ▪▪▪
//     1 ms         ▪▪▪▪▪▪▪▪▪▪▪▪▪▪▪
//                12:03          12:04

import { bytes, instant, latency, rate } from "./format.js";

const SPAN = { minute: 60, hour: 3600, day: 86_400, month: 30 * 86_400, year: 365 * 86_400 };
const TICK = { minute: 15, hour: 600, day: 4 * 3600, month: 5 * 86_400, year: 61 * 86_400 }; // seconds
const LEFT = 54,
  TOP = 14,
  STRIP = 40,
  OVER = 13,
  GAP = 6,
  BOTTOM = 20; // pixels
const DECADES = [1, 10, 100, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8];

/** A heat map's figures by place: `cell(column, row)`; row 0 is the fastest, the last one is "over". */
export class Heat {
  /** `heat` is the server's answer; its columns may be fewer than the span has. */
  constructor(heat) {
    this.heat = heat;
    this.step = heat.step;
    this.width = Math.max(Math.round(SPAN[heat.span] / heat.step), 1);
    const newest = heat.columns.at(-1)?.at ?? 0;
    this.first = newest - (this.width - 1) * heat.step * 1000;
    this.columns = new Array(this.width).fill(null);
    for (const column of heat.columns) {
      const place = Math.round((column.at - this.first) / (heat.step * 1000));
      if (place >= 0) this.columns[place] = column.counts;
    }
    this.totals = this.columns.map((counts) => counts?.reduce((sum, n) => sum + n, 0) ?? 0);
    this.edges = heat.edges.slice(0, -1);
    this.highest = Math.max(0, ...heat.columns.map((column) => Math.max(...column.counts)));
    [this.low, this.high] = this.#range();
    this.rows = this.high - this.low + 2; // and "over"
  }

  /** The rows between which anything was counted, widened to whole decades so that the axis stays where it is. */
  #range() {
    const used = this.edges.map((_, row) => row).filter((row) => this.columns.some((counts) => counts?.[row]));
    if (used.length === 0) return [0, this.edges.length - 1];
    const bottom = DECADES.findLast((decade) => decade < this.edges[used[0]]) ?? 0;
    const top = DECADES.find((decade) => decade >= this.edges[used.at(-1)]) ?? Infinity;
    const low = this.edges.findIndex((edge) => edge > bottom);
    const high = this.edges.findLastIndex((edge) => edge <= top);
    return [Math.min(low, used[0]), Math.max(high, used.at(-1))];
  }

  at = (column) => this.first + column * this.step * 1000;
  isOver = (row) => row === this.rows - 1;
  place = (row) => (this.isOver(row) ? this.edges.length : row + this.low);
  cell = (column, row) => this.columns[column]?.[this.place(row)] ?? 0;

  /** "3.9–4.8 ms", "over 10 s" */
  band(row) {
    if (this.isOver(row)) return `over ${latency(this.edges.at(-1))}`;
    const place = this.place(row);
    const [from, to] = [latency(this.edges[place - 1] ?? 0).split(" "), latency(this.edges[place]).split(" ")];
    return `${from[1] === to[1] || from[0] === "0" ? from[0] : from.join(" ")}–${to.join(" ")}`;
  }
}

export class HeatMap {
  #canvas;
  #colours;

  /** `colours()` gives the ramp, the text's, the rule's, the accent's, over's colour, as [r, g, b]. */
  constructor(canvas, colours) {
    this.#canvas = canvas;
    this.#colours = colours;
  }

  /** Where things are, in CSS pixels. */
  #layout(heat) {
    const { clientWidth, clientHeight } = this.#canvas;
    const base = clientHeight - BOTTOM;
    const mapTop = TOP + STRIP + GAP + OVER + GAP / 2;
    return {
      base,
      mapTop,
      cellWidth: (clientWidth - LEFT) / heat.width,
      cellHeight: (base - mapTop) / (heat.rows - 1),
    };
  }

  /** The cell at this place of the canvas, or null. */
  find(heat, x, y) {
    const { base, mapTop, cellWidth, cellHeight } = this.#layout(heat);
    const column = Math.floor((x - LEFT) / cellWidth);
    if (column < 0 || column >= heat.width || y > base || y < TOP) return null;
    const row = y < mapTop ? heat.rows - 1 : Math.floor((base - y) / cellHeight);
    return { column, row: Math.min(Math.max(row, 0), heat.rows - 1) };
  }

  draw(heat, marks, cursor) {
    const scale = devicePixelRatio;
    const { clientWidth, clientHeight } = this.#canvas;
    this.#canvas.width = clientWidth * scale;
    this.#canvas.height = clientHeight * scale;
    const pen = this.#canvas.getContext("2d");
    pen.scale(scale, scale);
    pen.font = `11.5px ${getComputedStyle(this.#canvas).fontFamily}`;
    const place = { ...this.#layout(heat), right: clientWidth, colours: this.#colours() };
    drawAxes(pen, heat, place);
    drawStrip(pen, heat, place);
    drawCells(pen, heat, place);
    drawMarks(pen, heat, place, marks);
    if (cursor) drawCursor(pen, heat, place, cursor);
  }
}

const css = ([red, green, blue], alpha = 1) => `rgb(${red} ${green} ${blue} / ${alpha})`;
const rowTop = (heat, { base, mapTop, cellHeight }, row) =>
  heat.isOver(row) ? mapTop - OVER - GAP / 2 : base - (row + 1) * cellHeight;
const rowHeight = (heat, { cellHeight }, row) => (heat.isOver(row) ? OVER : cellHeight);

function drawAxes(pen, heat, place) {
  const { base, mapTop, cellWidth, right, colours } = place;
  pen.textBaseline = "middle";
  pen.textAlign = "right";
  pen.fillStyle = css(colours.muted);
  pen.fillText("over", LEFT - 9, mapTop - OVER / 2 - GAP / 2);
  for (const decade of DECADES) {
    const y = base - level(heat, decade) * place.cellHeight;
    if (y > base || y < mapTop - 0.5) continue;
    pen.fillStyle = css(colours.rule);
    pen.fillRect(LEFT, Math.round(y), right - LEFT, 1);
    pen.fillStyle = css(colours.muted);
    if (y > mapTop + 5) pen.fillText(latency(decade), LEFT - 9, Math.min(y, base - 6));
  }
  pen.textAlign = "center";
  const tick = TICK[heat.heat.span] * 1000;
  const zone = new Date(heat.first).getTimezoneOffset() * 60_000;
  let free = LEFT;
  for (let at = Math.ceil((heat.first - zone) / tick) * tick + zone; at <= heat.at(heat.width); at += tick) {
    const x = LEFT + ((at - heat.first) / (heat.step * 1000)) * cellWidth;
    const words = instant(at, heat.heat.span === "minute" ? 1 : heat.heat.span === "year" ? 28 * 86_400 : tick / 1000);
    const half = pen.measureText(words).width / 2;
    pen.fillStyle = css(colours.rule);
    pen.fillRect(Math.round(x), base, 1, 4);
    if (x - half < free || x + half > right) continue;
    free = x + half + 10;
    pen.fillStyle = css(colours.muted);
    pen.fillText(words, x, base + 13);
  }
}

/** How many rows above the map's base a latency lies, in parts of a row. */
function level(heat, us) {
  const place = heat.edges.findIndex((edge) => edge >= us);
  if (place < 0) return Infinity;
  const [under, edge] = [heat.edges[place - 1] ?? heat.edges[0] ** 2 / heat.edges[1], heat.edges[place]];
  return place - heat.low + Math.log(us / under) / Math.log(edge / under);
}

/** Requests per second, above the map. */
function drawStrip(pen, heat, { cellWidth, right, colours }) {
  const most = Math.max(...heat.totals);
  pen.fillStyle = css(colours.rule);
  pen.fillRect(LEFT, TOP + STRIP, right - LEFT, 1);
  pen.fillStyle = css(colours.muted);
  pen.textAlign = "right";
  pen.fillText(most ? `${short(most / heat.step)}/s` : "0/s", LEFT - 9, TOP + 7);
  pen.fillStyle = css(colours.accent, 0.75);
  heat.totals.forEach((total, column) => {
    const height = most ? (total / most) * (STRIP - 2) : 0;
    pen.fillRect(LEFT + column * cellWidth, TOP + STRIP - height, Math.max(cellWidth - 1, 0.8), height);
  });
}

const short = (n) => (n < 10_000 ? rate(n) : bytes(n).slice(0, -1).replace(" ", ""));

function drawCells(pen, heat, place) {
  const { cellWidth, colours } = place;
  const gap = cellWidth > 4 ? 1 : 0;
  const scale = Math.log(1 + heat.highest);
  for (let row = 0; row < heat.rows; row++) {
    const y = rowTop(heat, place, row);
    const height = rowHeight(heat, place, row) - (place.cellHeight > 4 ? 1 : 0);
    for (let column = 0; column < heat.width; column++) {
      const n = heat.cell(column, row);
      if (n === 0) continue;
      pen.fillStyle = heat.isOver(row) ? css(colours.over) : css(shade(colours.ramp, Math.log(1 + n) / scale));
      pen.fillRect(LEFT + column * cellWidth, y, cellWidth - gap, height);
    }
  }
}

/** The ramp's colour at a part from 0 to 1. */
function shade(ramp, part) {
  const place = Math.min(part, 0.9999) * (ramp.length - 1);
  const [from, to, rest] = [ramp[Math.floor(place)], ramp[Math.floor(place) + 1], place % 1];
  return from.map((value, channel) => Math.round(value + (to[channel] - value) * rest));
}

function drawMarks(pen, heat, { base, cellWidth, right, colours }, marks) {
  for (const mark of marks) {
    const x = LEFT + ((mark.at - heat.first) / (heat.step * 1000)) * cellWidth;
    if (x < LEFT || x > right) continue;
    pen.fillStyle = css(colours.ink);
    pen.beginPath();
    pen.moveTo(x - 5, 2);
    pen.lineTo(x + 5, 2);
    pen.lineTo(x, 10);
    pen.fill();
    pen.strokeStyle = css(colours.ink, 0.55);
    pen.setLineDash([2, 3]);
    pen.beginPath();
    pen.moveTo(x, 10);
    pen.lineTo(x, base);
    pen.stroke();
    pen.setLineDash([]);
  }
}

function drawCursor(pen, heat, place, { column, row }) {
  const x = LEFT + column * place.cellWidth;
  pen.fillStyle = css(place.colours.ink, 0.08);
  pen.fillRect(x, TOP, place.cellWidth, place.base - TOP);
  pen.strokeStyle = css(place.colours.ink);
  pen.lineWidth = 2;
  pen.strokeRect(x - 1.5, rowTop(heat, place, row) - 1.5, place.cellWidth + 2, rowHeight(heat, place, row) + 2);
}
