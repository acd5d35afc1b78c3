// Jobs by name, and for the operator: pause, find, retry and drop. Only where an application declares some.

import { ask } from "./api.js";
import { $, Table, icon, make, say } from "./dom.js";
import { count, counted, latency, moment } from "./format.js";
import { change, howTo, isOperator, onOperator, sure } from "./operator.js";

const WAITS = "Nothing more of it is begun until it is resumed; what runs goes on, and what is enqueued waits.";
const LOST = "What is dropped cannot be brought back.";
const OLD = 5; // seconds that one may wait before the table says so in bold

const positive = (value, word) => (value > 0 ? word : undefined);
const time = (name, about, key) => ({ name, about, width: 9, of: (job) => (job[key] ? latency(job[key]) : "–") });

const NAME = {
  name: "Job",
  words: true,
  of: (job) => (job.paused ? make("span", { className: "state" }, `${job.name} `, icon("paused"), "paused") : job.name),
};

const COLUMNS = [
  NAME,
  {
    name: "Waiting",
    about: "Not begun yet.",
    width: 8,
    of: (job) => count(job.waiting),
    mark: (job) => positive(job.oldest > OLD, "bad"),
  },
  { name: "Running", about: "On the desk of an app server.", width: 8, of: (job) => count(job.running) },
  { name: "Scheduled", about: "Due later, or to be tried again.", width: 10, of: (job) => count(job.scheduled) },
  {
    name: "Failed",
    about: "Given up: dead letters, with the reason.",
    width: 8,
    of: (job) => count(job.failed),
    mark: (job) => positive(job.failed, "worse"),
  },
  { name: "Done", about: "All that were done.", width: 10, of: (job) => count(job.done) },
  time("Wait", "From when it might begin until it did, in the last hour: half of them waited no longer.", "wait_p50"),
  time("Wait 99 %", "The same of all but one in a hundred.", "wait_p99"),
  time("Work", "How long an attempt took in the last hour: half of them no longer.", "work_p50"),
  time("Work 99 %", "The same of all but one in a hundred.", "work_p99"),
  {
    name: "By the clock",
    about: "When it is enqueued by itself: minute, hour, day, month, day of the week, and where.",
    words: true,
    class: "fill",
    width: 26,
    of: (job) => (job.cron ? `${job.cron} ${job.tz}` : ""),
  },
  { name: "Last", about: "When the clock enqueued it.", words: true, width: 15, of: (job) => (job.last ? moment(job.last) : "") },
  { name: "Next", about: "When it will.", words: true, width: 15, of: (job) => (job.next ? moment(job.next) : "") },
];
const DEED = { name: "", title: "What to do", width: 9, of: (job) => pauseButton(job) };

let shown = []; // the jobs of the newest picture
let found = []; // what was found last
const selected = new Set(); // the ids of those that are ticked

let table = makeTable();
const results = new Table(
  $("jobs-found"),
  [
    { name: "Id", words: true, class: "fill", of: (job) => job.id },
    { name: "Job", words: true, of: (job) => job.job },
    { name: "State", words: true, width: 10, of: (job) => job.state, mark: (job) => (job.state === "failed" ? "worse" : undefined) },
    { name: "Enqueued", words: true, width: 15, of: (job) => (job.enqueued ? moment(job.enqueued) : "") },
    { name: "Arguments", words: true, class: "fill", of: (job) => (job.args ? JSON.stringify(job.args).slice(0, 300) : "") },
    { name: "Reason", words: true, class: "fill", of: (job) => job.reason ?? "" },
    { name: "", title: "Select", width: 5, of: (job) => tick(job) },
  ],
  (job) => job.id,
);

function makeTable() {
  return new Table($("jobs"), isOperator() ? [...COLUMNS, DEED] : COLUMNS, (job) => job.name);
}

onOperator(() => {
  table = makeTable();
  table.show(shown);
  $("jobs-search").hidden = !isOperator();
  if (!isOperator()) showFound([]);
  say($("jobs-said"), isOperator() ? "" : `To find, retry and pause ${howTo()}`);
});

export function showJobs(jobs) {
  shown = jobs;
  $("jobs-part").hidden = jobs.length === 0;
  const failed = jobs.reduce((sum, job) => sum + job.failed, 0);
  say($("jobs-sum"), `${counted(jobs.length, "job")}${failed ? `, ${count(failed)} failed` : ""}`);
  table.show(jobs);
  const names = jobs.map((job) => job.name);
  const choice = $("jobs-name");
  if (names.join() === [...choice.options].slice(1).map((option) => option.value).join()) return;
  const before = choice.value;
  choice.replaceChildren(choice.options[0], ...names.map((name) => make("option", { value: name, textContent: name })));
  choice.value = names.includes(before) ? before : "";
}

// ---- pause and resume

function pauseButton({ name, paused }) {
  const word = paused ? "Resume" : "Pause";
  return make("button", { type: "button", className: "row-button", ariaLabel: `${word} ${name}`, textContent: word });
}

$("jobs").addEventListener("click", ({ target }) => {
  const row = target.closest("button")?.closest("tr");
  const job = shown[[...$("jobs").tBodies[0].children].indexOf(row)];
  if (!job) return;
  if (job.paused) turn(job.name, "resume");
  else sure(`Pause ${job.name}?`, WAITS, "Let it run", "Pause it", () => turn(job.name, "pause"));
});

const turn = (name, deed) =>
  attempt(async () => {
    await change(`api/queues/${encodeURIComponent(`app_job:${name}`)}/${deed}`);
    return `${name} is ${deed}d`;
  });

async function attempt(act) {
  try {
    say($("jobs-said"), await act());
  } catch (problem) {
    say($("jobs-said"), problem.message);
  }
}

// ---- find

$("jobs-search").addEventListener("submit", (event) => {
  event.preventDefault();
  attempt(find);
});

async function find() {
  const asked = { text: $("jobs-text").value.trim(), job: $("jobs-name").value, state: $("jobs-state").value };
  const answer = await ask("api/jobs", asked);
  showFound(answer.jobs);
  return `${counted(found.length, "job")} found${answer.more ? ", and there may be more" : ""}`;
}

function showFound(jobs) {
  found = jobs;
  selected.clear();
  $("jobs-found").hidden = found.length === 0;
  $("jobs-deeds").hidden = !found.some((job) => job.state === "failed");
  results.show([]); // so that every tick is made anew
  results.show(found);
}

function tick(job) {
  if (job.state !== "failed") return "";
  const box = make("input", { type: "checkbox", ariaLabel: `Select ${job.id}` });
  box.addEventListener("change", () => (box.checked ? selected.add(job.id) : selected.delete(job.id)));
  return box;
}

// ---- retry and drop what is selected

$("jobs-retry").addEventListener("click", () => settle("retry", "begun anew"));
$("jobs-drop").addEventListener("click", () => {
  if (!selected.size) return say($("jobs-said"), "Select some first");
  sure(`Drop ${counted(selected.size, "job")}?`, LOST, "Keep them", "Drop them", () => settle("drop", "dropped"));
});

const settle = (deed, words) =>
  attempt(async () => {
    const chosen = found.filter((job) => selected.has(job.id));
    if (!chosen.length) return "Select some first";
    let done = 0;
    for (const job of chosen) {
      await change(`api/jobs/${encodeURIComponent(job.job)}/${encodeURIComponent(job.id)}/${deed}`);
      done += 1;
      say($("jobs-said"), `${counted(done, "job")} ${words}`);
    }
    showFound(found.filter((job) => !chosen.includes(job)));
    $("jobs-part").focus({ preventScroll: true }); // the button that had it may be gone
    return `${counted(done, "job")} ${words}`;
  });
