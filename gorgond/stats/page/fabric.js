// What the fabric is made of: roles and their instances, the ledger, Redis, the database, marks.

import { $, Keyed, Table, explain, icon, make, say } from "./dom.js";
import { age, ahead, bytes, count, counted, latency, moment, percent, rate } from "./format.js";

const positive = (value, word) => (value > 0 ? word : undefined);

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

/** It has ended in good order: what it did last is over. */
const ended = (item) => item.state === "done" || item.state === "gone";

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
    { name: "Instance", words: true, width: 20, of: (item) => (item.group ? item.role : breakable(item.name)) },
    {
      name: "State",
      about: "Draining: it ends after what it has begun. Silent: not heard for 2 s. Failed: it cannot run. Done: it had no more to do. Gone: it ended in good order.",
      width: 11,
      words: true,
      of: state,
    },
    {
      name: "Since",
      about: "How long it has been in this state.",
      width: 10,
      of: (item) => (item.group ? "" : age((item.now - item.since) / 1000)),
    },
    { name: "In /s", about: "Requests or messages that came, a second.", width: 7, of: (item) => rate(item.in) },
    { name: "Out /s", about: "Those that were done well, a second.", width: 7, of: (item) => rate(item.out) },
    {
      name: "Errors /s",
      about: "Those that were not, a second.",
      width: 8,
      of: (item) => rate(item.errors),
      mark: (item) => positive(item.errors, "bad"),
    },
    {
      name: "Lag",
      about: "By how much its event loop was late in the last second; more than 200 ms is coloured.",
      width: 7,
      of: (item) => age(item.lag),
      mark: (item) => positive(!ended(item) && item.lag > 0.2, "bad"),
    },
    {
      name: "Clock",
      about: "By how much its host's clock is ahead (+) or behind (−) that of the broker.",
      width: 8,
      of: (item) => (item.group ? "" : ahead(item.clock)),
      mark: (item) => positive(Math.abs(item.clock ?? 0) >= 1, "bad"),
    },
    {
      name: "Last turn",
      about: "When its slowest loop gave a sign of life; more than 5 s ago is coloured.",
      width: 9,
      of: (item) => (item.group || ended(item) ? "" : turned(item) < 2 ? "now" : `${age(turned(item))} ago`),
      mark: (item) => positive(!ended(item) && turned(item) > 5, "bad"),
    },
    {
      name: "CPU",
      about: "Its share of a core.",
      width: 10,
      of: (item) => (item.group ? "" : make("span", {}, gauge(item.cpu), percent(item.cpu, 1))),
    },
    { name: "Memory", about: "Resident in RAM.", width: 7, of: (item) => bytes(item.rss) },
    {
      name: "Restarts",
      about: "How often another process took its name since this stats server began.",
      width: 8,
      of: (item) => count(item.restarts),
    },
    { name: "Version", about: "Of gorgond.", width: 7, of: (item) => item.version ?? "" },
    { name: "Doing", about: "Its own line, as in systemctl status.", words: true, class: "fill", of: (item) => (ended(item) ? "" : (item.status ?? "")) },
  ],
  (item) => (item.group ? `role ${item.role}` : item.name),
  (item) => (item.group ? "group" : ""),
);

export function showInstances({ at, roles, instances }) {
  const number = (...states) => instances.filter((instance) => states.includes(instance.state)).length;
  const done = number("done") ? `, ${count(number("done"))} done` : "";
  const all = counted(instances.length - number("done", "gone"), "instance");
  say($("instances-sum"), `${count(number("up"))} of ${all} up${done}`);
  instancesTable.show(
    roles.flatMap((role) => [
      { ...role, group: true },
      ...instances.filter((instance) => instance.role === role.role).map((instance) => ({ ...instance, now: at })),
    ]),
  );
}

// ---- the ledger

const ENTRIES = [
  { key: "accepted", name: "Accepted", about: "All messages that the brokers ever took." },
  { key: "stored", name: "Stored", about: "Done: what was to be done with them is done." },
  { key: "queued", name: "Queued", about: "They wait for a consumer." },
  { key: "in_flight", name: "In flight", about: "A consumer is at work on them." },
  { key: "delayed", name: "Delayed", about: "To be tried again, or due later." },
  { key: "dead", name: "Dead", about: "Given up; the dead letters are below." },
  { key: "expired", name: "Expired", about: "Nobody waited for them any more." },
  { key: "dropped", name: "Dropped", about: "Dead letters that the operator deleted." },
  { key: "overflow", name: "Overflow", about: "Events that a full group could not keep." },
  { key: "difference", name: "Difference", about: "What is in none of these places. It must be 0." },
];

explain($("ledger"), "What the entries mean", ENTRIES);

const entries = new Keyed(
  $("ledger"),
  ({ key }) => key,
  ({ name, about }) => make("div", { title: about }, make("dt", { textContent: name }), make("dd")),
  (element, { key, value }) => {
    say(element.lastChild, count(value));
    element.lastChild.className = key === "difference" && value ? "bad" : value ? "" : "zero";
  },
);

export function showLedger(ledger) {
  entries.show(ENTRIES.map((entry) => ({ ...entry, value: ledger[entry.key] })));
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
    {
      name: "State",
      about: "Up, or for how long it has not answered.",
      width: 16,
      words: true,
      of: (redis) => standing(redis.away),
    },
    {
      name: "Memory",
      about: "What it uses, of maxmemory.",
      width: 23,
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
    { name: "Clients", about: "Connections that are open.", width: 7, of: (redis) => count(redis.clients) },
    {
      name: "Rejected",
      about: "Connections that it refused, since it began.",
      width: 8,
      of: (redis) => count(redis.rejected),
      mark: (redis) => positive(redis.rejected, "bad"),
    },
    {
      name: "Late fsyncs",
      about: "Writes that waited for the disk, since it began.",
      width: 10,
      of: (redis) => count(redis.delayed_fsync),
      mark: (redis) => positive(redis.delayed_fsync, "bad"),
    },
    { name: "Version", about: "Of Redis.", width: 8, of: (redis) => redis.version ?? "" },
    { name: "On disk", about: "What it does before it answers: always, everysec, or no.", width: 8, words: true, of: (redis) => (redis.aof ? redis.fsync : "no") },
  ],
  (redis) => redis.name,
);

const standing = (away) =>
  away
    ? make("span", { className: "state silent" }, icon("silent"), `away for ${age(away)}`)
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
