// The queues: what lies in each, what became of all that it ever took, and for the operator pause and resume.

import { $, Table, icon, make, say } from "./dom.js";
import { age, count, counted, rate } from "./format.js";
import { change, howTo, isOperator, onOperator, sure } from "./operator.js";

const WAITS =
  "Nothing more is taken from it until it is resumed. What is pushed waits; requests that need an answer of it wait until their deadline, and then fail.";
const OLD = 5; // seconds that a message may wait before the table says so in bold

const positive = (value, word) => (value > 0 ? word : undefined);

const NAME = {
  name: "Queue",
  words: true,
  of: (queue) =>
    queue.paused ? make("span", { className: "state" }, `${queue.name} `, icon("paused"), "paused") : queue.name,
};

const NOW = [
  {
    name: "Waiting",
    about: "Messages that no consumer has taken yet.",
    width: 8,
    of: (queue) => count(queue.queued),
    mark: (queue) => positive(queue.oldest > OLD, "bad"),
  },
  {
    name: "Oldest",
    about: "How long the one at the head has waited; more than 5 s is coloured.",
    width: 9,
    of: (queue) => (queue.queued ? age(queue.oldest) : "–"),
    mark: (queue) => positive(queue.oldest > OLD, "bad"),
  },
  { name: "In flight", about: "On a consumer's desk.", width: 8, of: (queue) => count(queue.in_flight) },
  { name: "Delayed", about: "To be tried again, or due later.", width: 8, of: (queue) => count(queue.delayed) },
  {
    name: "Dead",
    about: "Given up: dead letters, below.",
    width: 7,
    of: (queue) => count(queue.dead),
    mark: (queue) => positive(queue.dead, "worse"),
  },
  { name: "In /s", about: "Messages that came in the last second.", width: 8, of: (queue) => rate(queue.in) },
  { name: "Out /s", about: "Messages that were done in the last second.", width: 8, of: (queue) => rate(queue.out) },
];

const ALL = [
  { name: "Accepted", about: "All that it ever took.", width: 12, of: (queue) => count(queue.accepted) },
  { name: "Done", about: "All that was done.", width: 12, of: (queue) => count(queue.done) },
  { name: "Retried", about: "Tried again after a failure.", width: 8, of: (queue) => count(queue.retried) },
  {
    name: "Recovered",
    about: "Taken from the desks of consumers that died.",
    width: 10,
    of: (queue) => count(queue.recovered),
  },
  { name: "Requeued", about: "Dead letters that were put back.", width: 9, of: (queue) => count(queue.requeued) },
  { name: "Dropped", about: "Dead letters that were deleted.", width: 8, of: (queue) => count(queue.dropped) },
  { name: "Expired", about: "Past their deadline: nobody waited any more.", width: 8, of: (queue) => count(queue.expired) },
  { name: "Overflow", about: "Events that a full group lost.", width: 9, of: (queue) => count(queue.overflow) },
  {
    name: "Difference",
    about: "Accepted, and in no place: must be 0.",
    width: 10,
    of: (queue) => count(queue.difference),
    mark: (queue) => (queue.difference ? "bad" : undefined),
  },
];

const DEED = { name: "", title: "What to do", width: 9, of: (queue) => button(queue) };

let shown = []; // the queues of the newest picture
let table = makeTable();

function makeTable() {
  const chosen = document.querySelector("#queues-view input:checked").value;
  const columns = chosen === "all" ? ALL : isOperator() ? [...NOW, DEED] : NOW;
  return new Table($("queues"), [NAME, ...columns], (queue) => queue.name);
}

function remake() {
  table = makeTable();
  table.show(shown);
}

$("queues-view").addEventListener("change", remake);
onOperator(() => {
  remake();
  say($("queues-said"), isOperator() ? "" : `To pause a queue ${howTo()}`);
});

export function showQueues(queues) {
  shown = queues;
  const busy = queues.filter((queue) => queue.queued).length;
  say($("queues-sum"), `${counted(queues.length, "queue")}, ${busy ? `${count(busy)} with messages waiting` : "all empty"}`);
  table.show(queues);
}

// ---- pause and resume

function button({ name, paused }) {
  return make("button", {
    type: "button",
    className: "row-button",
    ariaLabel: `${paused ? "Resume" : "Pause"} ${name}`,
    title: paused
      ? "Consumers take from it again"
      : "Consumers take nothing more from it until it is resumed; pushes go on, and what was begun is finished",
    textContent: paused ? "Resume" : "Pause",
  });
}

/** One listener for all of them: a button is made anew whenever it says something else. */
$("queues").addEventListener("click", ({ target }) => {
  const row = target.closest("button")?.closest("tr");
  const queue = shown[[...$("queues").tBodies[0].children].indexOf(row)];
  if (!queue) return;
  if (queue.paused) turn(queue.name, "resume");
  else sure(`Pause ${queue.name}?`, WAITS, "Let it run", "Pause it", () => turn(queue.name, "pause"));
});

async function turn(name, deed) {
  try {
    await change(`api/queues/${encodeURIComponent(name)}/${deed}`);
    say($("queues-said"), `${name} is ${deed}d`);
  } catch (problem) {
    say($("queues-said"), problem.message);
  }
}
