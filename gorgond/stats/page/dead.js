// Dead letters: list, find, look, requeue, drop, export. For the operator; the server decides, this only asks.

import { ask } from "./api.js";
import { $, Table, make, say } from "./dom.js";
import { bytes, count, counted, moment } from "./format.js";
import { askToLogIn, begin, canLogIn, change, howTo, isOperator, logOut, onOperator, sure } from "./operator.js";

const LOST = "What is dropped cannot be brought back.";
const AT_ONCE = 1000; // letters that the server settles for one question

let letters = [];
let lying = new Map(); // queue → how many dead letters it has
let next = ""; // behind which one the rest begins
let known = ""; // the queues as they are shown
let chosen = ""; // by the viewer; until then it is the first that has any
let done = ""; // what the last deed has come to
let late = 0; // pictures whose figures may still be those of before the last deed

const queue = () => $("dead-queue").value;

const table = new Table(
  $("letters"),
  [
    { name: "Letter", about: "Its number; c stands before those of the broker of calls, @ and where it is behind those of another one.", words: true, of: (letter) => letter.letter },
    { name: "Died", about: "When it was given up.", words: true, of: (letter) => moment(letter.at) },
    { name: "Operation", about: "What was to be done.", words: true, of: (letter) => letter.op || "not readable" },
    { name: "Id", about: "Of the message: its request's X-Request-Id, with more behind it.", words: true, class: "fill", of: (letter) => letter.id },
    { name: "Starts", about: "How often it was tried.", of: (letter) => count(letter.attempts) },
    { name: "Size", about: "Of the whole message.", of: (letter) => bytes(letter.size) },
    { name: "Reason", about: "Why it was given up.", words: true, class: "fill", of: (letter) => letter.reason },
    { name: "", title: "What to do", of: (letter) => letter.buttons },
  ],
  (letter) => `${letter.broker} ${letter.number}`,
);

function buttons(letter) {
  const button = (name, act, more = "") =>
    make("button", {
      type: "button",
      className: `row-button ${more}`,
      ariaLabel: `${name} letter ${letter.letter}`,
      textContent: name,
      onclick: () => act(letter),
    });
  return make(
    "span",
    { className: "deeds" },
    button("Look", look),
    button("Requeue", requeue),
    button("Drop", drop, "danger"),
  );
}

// ---- which queue

/** With each picture: the queues, and how many dead letters each has. */
export function showDead(queues) {
  lying = new Map(queues.map((it) => [it.name, it.dead]));
  const words = queues.map((it) => (it.dead ? `${it.name} (${count(it.dead)})` : it.name));
  if (words.join("\n") === known) {
    if (late-- > 0) load();
    return;
  }
  known = words.join("\n");
  $("dead-queue").replaceChildren(
    ...queues.map((it, index) => make("option", { value: it.name, textContent: words[index] })),
  );
  const first = queues.find((it) => it.dead) ?? queues[0];
  $("dead-queue").value = queues.some((it) => it.name === chosen) ? chosen : (first?.name ?? "");
  load();
}

$("dead-queue").addEventListener("change", () => {
  chosen = queue();
  begun();
});

$("dead-search").addEventListener("submit", (event) => {
  event.preventDefault();
  begun();
});
$("dead-id").addEventListener("search", begun); // also when it is emptied

/** Another list is wanted. */
function begun() {
  done = "";
  load();
}

// ---- the list

/** The first letters of the chosen queue, or those behind the last one that is shown. */
async function load(after = "") {
  const of = queue();
  const id = $("dead-id").value.trim();
  if (!of || !isOperator()) return;
  try {
    const answer = await ask(`api/dead/${encodeURIComponent(of)}`, { after, id });
    if (of !== queue()) return;
    const found = answer.letters.map((letter) => ({ ...letter, buttons: buttons(letter) }));
    letters = after === "" ? found : [...letters, ...found];
    next = answer.next;
    $("dead-export").href = `api/dead/${encodeURIComponent(of)}/letters.jsonl?${new URLSearchParams(id ? { id } : {})}`;
    show(done || (letters.length ? "" : `${of} has none${id ? ` that speaks of ${id}` : ""}`), answer.more);
  } catch (problem) {
    say($("dead-said"), problem.message);
  }
}

function show(words, more = false) {
  $("to-log-in").hidden = !canLogIn();
  $("log-out").hidden = !isOperator();
  $("dead-search").hidden = !isOperator();
  $("dead-all").hidden = letters.length === 0 || $("dead-id").value.trim() !== "";
  $("letters").hidden = letters.length === 0;
  $("more-letters").hidden = !more;
  table.show(letters);
  say($("dead-said"), words);
}

onOperator(() => {
  letters = [];
  done = "";
  show(isOperator() ? "" : `To see them, and to act on them, ${howTo()}`);
  load();
});
begin();
$("more-letters").addEventListener("click", () => load(next));
$("to-log-in").addEventListener("click", askToLogIn);
$("log-out").addEventListener("click", () => logOut().catch((problem) => say($("dead-said"), problem.message)));

// ---- what can be done with one

function look(letter) {
  const facts = {
    Died: moment(letter.at),
    Reason: letter.reason,
    Starts: count(letter.attempts),
    Operation: letter.op,
    Size: bytes(letter.size),
    Broker: letter.broker,
  };
  const pairs = Object.entries(facts).flatMap(([name, value]) => [
    make("dt", { textContent: name }),
    make("dd", { textContent: value || "–" }),
  ]);
  say($("letter-title"), `Letter ${letter.letter} of ${queue()}`);
  $("letter-facts").replaceChildren(...pairs);
  say($("letter-raw"), pretty(letter.raw));
  $("letter").showModal();
}

/** JSON with indentation, anything else as it is: the server cuts what is long. */
function pretty(raw) {
  try {
    return JSON.stringify(JSON.parse(raw), null, 2);
  } catch {
    return raw;
  }
}

const requeue = (letter) => settle(letter, "requeue", `Letter ${letter.letter} is back in ${queue()}`);

const drop = (letter) =>
  sure(`Drop letter ${letter.letter} of ${queue()}?`, LOST, "Keep it", "Drop it", () =>
    settle(letter, "drop", `Letter ${letter.letter} is dropped`),
  );

async function settle(letter, deed, words) {
  const broker = new URLSearchParams({ broker: letter.broker });
  try {
    await change(`api/dead/${encodeURIComponent(queue())}/${letter.number}/${deed}?${broker}`);
    done = words;
  } catch (problem) {
    done = problem.message;
  }
  await settled();
}

async function settled() {
  late = 3;
  await load();
  $("dead").focus({ preventScroll: true }); // the button that had it is gone
}

// ---- what can be done with all

$("requeue-all").addEventListener("click", () => settleAll(queue(), "requeue", "back in the queue"));
$("drop-all").addEventListener("click", () =>
  sure(`Drop ${counted(lying.get(queue()), "dead letter")} of ${queue()}?`, LOST, "Keep them", "Drop all", () =>
    settleAll(queue(), "drop", "dropped"),
  ),
);

/** As many as there are now, the oldest first: one that dies again meanwhile is left. */
async function settleAll(of, deed, what) {
  let left = Math.max(lying.get(of), letters.length);
  let sum = 0;
  try {
    while (left > 0) {
      const limit = new URLSearchParams({ limit: Math.min(left, AT_ONCE) });
      const answer = await change(`api/dead/${encodeURIComponent(of)}/${deed}?${limit}`);
      sum += answer.done;
      left = answer.done ? left - answer.done : 0;
      say($("dead-said"), `${counted(sum, "letter")} ${what}`);
    }
    done = `${counted(sum, "letter")} of ${of} ${sum === 1 ? "is" : "are"} ${what}`;
  } catch (problem) {
    done = `${counted(sum, "letter")} ${what}; then: ${problem.message}`;
  }
  await settled();
}
