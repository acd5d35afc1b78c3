// What the fabric is made of: queues, roles and their instances, the ledger, Redis, the database, marks.

import { $, Keyed, Table, icon, make, say } from "./dom.js";
import { age, ahead, bytes, count, latency, moment, percent, rate } from "./format.js";

const positive = (value, word) => (value > 0 ? word : undefined);

// ---- queues

const QUEUE_OLD = 5; // seconds that a message may wait before the table says so in bold

const queuesTable = new Table(
  $("queues"),
  [
    {
      name: "Queue",
      words: true,
      of: (queue) =>
        queue.paused ? make("span", { className: "state" }, `${queue.name} `, icon("paused"), "paused") : queue.name,
    },
    {
      name: "Waiting",
      width: 8,
      of: (queue) => count(queue.queued),
      mark: (queue) => positive(queue.oldest > QUEUE_OLD, "bad"),
    },
    {
      name: "Oldest",
      width: 9,
      of: (queue) => (queue.queued ? age(queue.oldest) : "–"),
      mark: (queue) => positive(queue.oldest > QUEUE_OLD, "bad"),
    },
    { name: "In flight", width: 8, of: (queue) => count(queue.in_flight) },
    { name: "In /s", width: 7, of: (queue) => rate(queue.in) },
    { name: "Out /s", width: 8, of: (queue) => rate(queue.out) },
    { name: "Delayed", width: 8, of: (queue) => count(queue.delayed) },
    { name: "Dead", width: 6, of: (queue) => count(queue.dead), mark: (queue) => positive(queue.dead, "worse") },
    { name: "Retried", width: 8, of: (queue) => count(queue.retried) },
    { name: "Recovered", width: 10, of: (queue) => count(queue.recovered) },
    { name: "Expired", width: 8, of: (queue) => count(queue.expired) },
    { name: "Overflow", width: 9, of: (queue) => count(queue.overflow) },
    { name: "Dropped", width: 9, of: (queue) => count(queue.dropped) },
    { name: "Accepted", width: 12, of: (queue) => count(queue.accepted) },
    { name: "Done", width: 12, of: (queue) => count(queue.done) },
    {
      name: "Difference",
      width: 11,
      of: (queue) => count(queue.difference),
      mark: (queue) => (queue.difference ? "bad" : undefined),
    },
  ],
  (queue) => queue.name,
);

export function showQueues(queues) {
  const busy = queues.filter((queue) => queue.queued).length;
  say($("queues-sum"), `${queues.length} queues, ${busy === 0 ? "all empty" : `${busy} with messages waiting`}`);
  queuesTable.show(queues);
}

// ---- roles and instances

const gauge = (part) => {
  const bar = make("i");
  bar.style.width = `${Math.min(100, 100 * part)}%`;
  return make("span", { className: "gauge", ariaHidden: "true" }, bar);
};

const state = (item) =>
  item.group ? words(item) : make("span", { className: `state ${item.state}` }, icon(item.state), item.state);

/** A name that may go on in the next line at its dots. */
const breakable = (name) => make("span", {}, ...name.split(/(?<=\.)/).flatMap((part) => [part, make("wbr")]));

/** Seconds since the instance, or the slowest of its loops, gave a sign of life. */
const turned = (item) => Math.max(item.silent, item.stuck ?? 0);

const words = (role) =>
  ["up", "draining", "silent", "failed", "done", "gone"]
    .filter((it) => role[it])
    .map((it) => `${role[it]} ${it}`)
    .join(", ") || "none up";

const instancesTable = new Table(
  $("instances"),
  [
    { name: "Instance", words: true, of: (item) => (item.group ? item.role : breakable(item.name)) },
    { name: "State", width: 14, words: true, of: state },
    { name: "Since", width: 11, of: (item) => (item.group ? "" : age((item.now - item.since) / 1000)) },
    { name: "In /s", width: 8, of: (item) => rate(item.in) },
    { name: "Out /s", width: 8, of: (item) => rate(item.out) },
    { name: "Errors /s", width: 9, of: (item) => rate(item.errors), mark: (item) => positive(item.errors, "bad") },
    { name: "Loop lag", width: 9, of: (item) => age(item.lag), mark: (item) => positive(item.lag > 0.2, "bad") },
    {
      name: "Clock",
      width: 9,
      of: (item) => (item.group ? "" : ahead(item.clock)),
      mark: (item) => positive(Math.abs(item.clock ?? 0) >= 1, "bad"),
    },
    {
      name: "Last turn",
      width: 11,
      of: (item) => (item.group ? "" : turned(item) < 2 ? "now" : `${age(turned(item))} ago`),
      mark: (item) => positive(turned(item) > 5, "bad"),
    },
    {
      name: "CPU",
      width: 13,
      of: (item) => (item.group ? "" : make("span", {}, gauge(item.cpu), percent(item.cpu, 1))),
    },
    { name: "Memory", width: 9, of: (item) => bytes(item.rss) },
    { name: "Restarts", width: 9, of: (item) => count(item.restarts) },
    { name: "Version", width: 8, of: (item) => item.version ?? "" },
    { name: "Doing", width: 28, words: true, class: "fill", of: (item) => item.status ?? "" },
  ],
  (item) => (item.group ? `role ${item.role}` : item.name),
  (item) => (item.group ? "group" : ""),
);

export function showInstances({ at, roles, instances }) {
  const number = (...states) => instances.filter((instance) => states.includes(instance.state)).length;
  const done = number("done") ? `, ${number("done")} done` : "";
  say($("instances-sum"), `${number("up")} of ${instances.length - number("done", "gone")} instances up${done}`);
  instancesTable.show(
    roles.flatMap((role) => [
      { ...role, group: true },
      ...instances.filter((instance) => instance.role === role.role).map((instance) => ({ ...instance, now: at })),
    ]),
  );
}

// ---- the ledger

const ENTRIES = [
  ["accepted", "Accepted"],
  ["stored", "Stored"],
  ["queued", "Queued"],
  ["in_flight", "In flight"],
  ["delayed", "Delayed"],
  ["dead", "Dead"],
  ["expired", "Expired"],
  ["dropped", "Dropped"],
  ["overflow", "Overflow"],
  ["difference", "Difference"],
];

const entries = new Keyed(
  $("ledger"),
  ([name]) => name,
  ([, title]) => make("div", {}, make("dt", { textContent: title }), make("dd")),
  (element, [name, , value]) => {
    say(element.lastChild, count(value));
    element.lastChild.className = name === "difference" && value ? "bad" : value ? "" : "zero";
  },
);

export function showLedger(ledger) {
  entries.show(ENTRIES.map(([name, title]) => [name, title, ledger[name]]));
  const note = $("ledger-text");
  const className = ledger.difference ? "note bad" : "note good";
  if (note.className === className && note.dataset.text === ledger.text) return;
  note.dataset.text = ledger.text;
  note.className = className;
  note.replaceChildren(icon(ledger.difference ? "degraded" : "well"), ledger.text);
}

// ---- Redis and the database

const redisTable = new Table(
  $("redis"),
  [
    { name: "", title: "Broker", words: true, of: (redis) => redis.name },
    { name: "State", width: 18, words: true, of: (redis) => standing(redis.away) },
    {
      name: "Memory",
      width: 24,
      of: (redis) =>
        redis.maxmemory
          ? make(
              "span",
              {},
              gauge(redis.memory / redis.maxmemory),
              `${bytes(redis.memory)} of ${bytes(redis.maxmemory)}`,
            )
          : bytes(redis.memory),
    },
    { name: "Clients", width: 8, of: (redis) => count(redis.clients) },
    {
      name: "Rejected",
      width: 9,
      of: (redis) => count(redis.rejected),
      mark: (redis) => positive(redis.rejected, "bad"),
    },
    {
      name: "Delayed fsyncs",
      width: 13,
      of: (redis) => count(redis.delayed_fsync),
      mark: (redis) => positive(redis.delayed_fsync, "bad"),
    },
    { name: "Version", width: 9, of: (redis) => redis.version ?? "" },
    { name: "On disk", width: 9, words: true, of: (redis) => (redis.aof ? redis.fsync : "no") },
  ],
  (redis) => redis.name,
);

const standing = (away) =>
  away
    ? make("span", { className: "state silent" }, icon("silent"), `away since ${age(away)}`)
    : make("span", { className: "state up" }, icon("up"), "up");

export const showRedis = (brokers) => redisTable.show(brokers);

export function showDatabase(database) {
  const where = $("database-state");
  const now = standing(database.away);
  if (!where.firstChild?.isEqualNode(now)) where.replaceChildren(now);
  say($("database-name"), `${database.name} ${database.version ?? ""}`);
  say(
    $("database-latency"),
    database.version
      ? `${latency(1000 * database.latency_ms)}, ${latency(1000 * database.roundtrip_ms)} by way of a store`
      : "–",
  );
  say($("database-pool"), database.version ? `${database.pool.open} open, ${database.pool.busy} in use` : "–");
  say($("database-reason"), database.reason || "–");
}

// ---- marks

const markList = new Keyed(
  $("marks"),
  (mark) => `${mark.at} ${mark.text}`,
  (mark) =>
    make(
      "li",
      {},
      icon("mark"),
      make("time", { dateTime: new Date(mark.at).toISOString() }),
      make("span", {
        textContent: mark.kind === "outage" || mark.text.includes(mark.kind) ? mark.text : `${mark.kind}: ${mark.text}`,
      }),
    ),
  (element, mark) => say(element.children[1], moment(mark.at)),
);

export const showMarks = (marks) => markList.show(marks.toSorted((one, other) => other.at - one.at));
