// What one look must tell: the verdict, six figures with their last minute, the web requests by span.

import { ask } from "./api.js";
import { $, Keyed, Table, icon, make, say } from "./dom.js";
import { age, bytes, capital, clock, count, latency, percent, rate } from "./format.js";
import { Sparkline } from "./sparkline.js";

const DURABILITY = {
  always: "each message on disk",
  everysec: "on disk each second",
  none: "in memory only",
  unknown: "not known",
};

/** The verdict: the first reason in large, the others below, with what is told whatever the state. */
export function showVerdict({ state, text, reasons, notes }) {
  const [first] = text.split("; ");
  const words = reasons.length ? `${capital(state)}: ${reasons[0]}` : first;
  showState(state, words, [...reasons.slice(1), ...notes].map(capital));
}

/** Show a state everywhere it is shown: header, title, favicon. */
export function showState(state, words, reasons = []) {
  const body = document.body;
  if (body.dataset.state !== state) {
    body.dataset.state = state;
    $("verdict-icon").replaceChildren(icon(state));
    $("favicon").href = `static/${state}.svg`;
    say($("news"), words); // a screen reader is told what has changed, not each second's figures
  }
  say($("verdict"), words);
  document.title = `${words} · gorgond`;
  $("reasons").hidden = reasons.length === 0;
  reasonList.show(reasons);
}

const reasonList = new Keyed(
  $("reasons"),
  (reason) => reason,
  () => make("li"),
  say,
);

export function showFacts(picture) {
  say($("uptime"), age(picture.uptime));
  say($("version"), picture.version);
  say($("durability"), DURABILITY[picture.durability] ?? picture.durability);
  say($("at"), clock(picture.at));
  $("at").dateTime = new Date(picture.at).toISOString();
}

// ---- the six figures

const perSecond = (row) => row.count / Math.max(row.seconds, 1);
const took = (row, rank) => (row.count ? latency(row[rank]) : "–");
const sum = (items, of) => items.reduce((total, item) => total + (of(item) ?? 0), 0);
const oldest = (queues) => Math.max(0, ...queues.map((queue) => queue.oldest ?? 0));

/** The work of the last seconds, as one row: counts added up. */
const together = (rows) => ({ count: sum(rows, (row) => row.count), seconds: sum(rows, (row) => row.seconds) });

const TILES = [
  {
    name: "Requests",
    value: ({ spans }) => [rate(perSecond(together(spans.second))), "/s"],
    sub: ({ spans }) => `${count(spans.day.count)} in a day`,
    spark: perSecond,
  },
  {
    name: "Failed",
    value: ({ spans }) => percent(spans.minute.errors, spans.minute.count).split(/ (?=%)/),
    sub: ({ spans }) => `${count(spans.minute.errors)} of ${count(spans.minute.count)} in a minute`,
    bad: ({ spans }) => spans.minute.errors > spans.minute.count / 1000,
    spark: (row) => (row.count ? row.errors / row.count : 0),
    floor: 0.01,
  },
  {
    name: "Typical answer (p50)",
    value: ({ spans }) => took(spans.minute, "p50").split(" "),
    sub: ({ spans }) => `p95 ${took(spans.minute, "p95")}`,
    spark: (row) => row.p50,
  },
  {
    name: "Slow answer (p99)",
    value: ({ spans }) => took(spans.minute, "p99").split(" "),
    sub: ({ spans }) => `slowest ${took(spans.minute, "max")}`,
    spark: (row) => row.p99,
  },
  {
    name: "Waiting in queues",
    value: ({ queues }) => [count(sum(queues, (queue) => queue.queued)), ""],
    sub: ({ queues }) => `oldest ${age(oldest(queues))}`,
    bad: ({ verdict, queues }) => verdict.state !== "well" && oldest(queues) > 5,
    live: ({ queues }) => sum(queues, (queue) => queue.queued),
    past: (row) => row.queued,
    floor: 10,
  },
  {
    name: "Dead letters",
    value: ({ queues }) => [count(sum(queues, (queue) => queue.dead)), ""],
    sub: ({ ledger }) => (ledger.difference ? `ledger off by ${count(ledger.difference)}` : "the ledger balances"),
    bad: ({ queues }) => sum(queues, (queue) => queue.dead) > 0,
    live: ({ queues }) => sum(queues, (queue) => queue.dead),
    past: (row) => row.dead,
    floor: 4,
  },
].map((tile) => ({ ...tile, sparkline: new Sparkline(tile.floor) }));

const tiles = new Keyed(
  $("tiles"),
  (tile) => tile.name,
  (tile) =>
    make(
      "div",
      { className: "tile" },
      make("dt", { textContent: tile.name }),
      make("dd", { className: "value" }, make("span"), make("small")),
      make("dd", { className: "sub" }),
      make("dd", { className: "chart" }, tile.sparkline.element),
    ),
  (element, tile) => {
    if (!tile.picture) return;
    const [, value, sub] = element.children;
    const [number, unit] = tile.value(tile.picture);
    element.className = tile.bad?.(tile.picture) ? "tile bad" : "tile";
    say(value.firstChild, number);
    say(value.lastChild, unit ?? "");
    say(sub, tile.sub(tile.picture));
    tile.sparkline.draw();
  },
);

tiles.show(TILES);

export function showTiles(picture) {
  for (const tile of TILES) {
    tile.picture = picture;
    if (tile.live) tile.sparkline.add(Math.floor(picture.at / 1000), tile.live(picture));
    else for (const row of picture.spans.second) tile.sparkline.add(row.at / 1000, tile.spark(row));
  }
  tiles.show(TILES);
}

/** The last minute before this page was opened. */
export async function loadMinute() {
  const [work, lay] = await Promise.all([ask("api/history.json", { span: "minute" }), ask("api/lately.json")]);
  for (const tile of TILES) {
    const [rows, of] = tile.spark ? [work.rows, tile.spark] : [lay.rows, tile.past];
    for (const row of rows) tile.sparkline.add(row.at / 1000, of(row));
  }
  tiles.show(TILES);
}

// ---- the web requests by span

const spansTable = new Table(
  $("spans-table"),
  [
    { name: "", title: "When", words: true, of: (row) => row.name },
    { name: "Requests", about: "HTTP requests to all web servers.", width: 10.5, of: (row) => count(row.count) },
    {
      name: "Per second",
      about: "The same by the seconds that were listened to.",
      width: 9,
      of: (row) => rate(perSecond(row)),
    },
    {
      name: "Failed",
      about: "Answered with status 500 and above; more than one of a thousand is coloured.",
      width: 9.5,
      of: (row) => percent(row.errors, row.count),
      mark: (row) => (row.errors > row.count / 1000 ? "bad" : undefined),
    },
    { name: "Data", about: "Bytes of the bodies of requests and answers.", width: 7, of: (row) => bytes(row.bytes) },
    { name: "p50", about: "Half of the requests took at most so long, to the answer's going out.", width: 7, of: (row) => took(row, "p50") },
    { name: "p95", about: "95 of a hundred took at most so long.", width: 7, of: (row) => took(row, "p95") },
    { name: "p99", about: "99 of a hundred took at most so long.", width: 7, of: (row) => took(row, "p99") },
    { name: "Max", about: "The longest.", width: 7.5, of: (row) => took(row, "max") },
  ],
  (row) => row.place,
);

export function showSpans({ second, minute, hour, day }) {
  const seconds = second.toReversed().map((row, place) => ({ ...row, place, name: clock(row.at) }));
  const longer = Object.entries({ minute, hour, day }).map(([span, row]) => ({
    ...row,
    place: span,
    name: `Last ${span}`,
  }));
  spansTable.show([...seconds, ...longer]);
}
