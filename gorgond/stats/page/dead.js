// Dead letters: list, look, requeue, drop. For the operator; the server decides, this only asks.

import { ask } from "./api.js";
import { $, Table, make, say } from "./dom.js";
import { bytes, count, moment } from "./format.js";
import { askToLogIn, begin, change, isOperator, logOut, onOperator } from "./operator.js";

let letters = [];
let known = ""; // the queues as they are shown
let chosen = ""; // by the viewer; until then it is the first that has any
let done = ""; // what the last deed has come to

const queue = () => $("dead-queue").value;

const table = new Table(
  $("letters"),
  [
    { name: "Number", words: true, of: (letter) => String(letter.number) },
    { name: "Died", words: true, of: (letter) => moment(letter.at) },
    { name: "Operation", words: true, of: (letter) => letter.op || "not readable" },
    { name: "Starts", of: (letter) => count(letter.attempts) },
    { name: "Size", of: (letter) => bytes(letter.size) },
    { name: "Reason", words: true, class: "fill", of: (letter) => letter.reason },
    { name: "", title: "What to do", of: (letter) => letter.buttons },
  ],
  (letter) => `${letter.broker} ${letter.number}`,
);

function buttons(letter) {
  const button = (name, act, more = "") =>
    make("button", {
      type: "button",
      className: `row-button ${more}`,
      ariaLabel: `${name} letter ${letter.number}`,
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
  const words = queues.map((it) => (it.dead ? `${it.name} (${count(it.dead)})` : it.name));
  if (words.join("\n") === known) return;
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
  done = "";
  load();
});

// ---- the list

/** The first letters of the chosen queue, or those after the last one that is shown. */
async function load(after = "") {
  const of = queue();
  if (!of || !isOperator()) return;
  try {
    const answer = await ask(`api/dead/${encodeURIComponent(of)}`, { after });
    if (of !== queue()) return;
    const found = answer.letters.map((letter) => ({ ...letter, buttons: buttons(letter) }));
    letters = after === "" ? found : [...letters, ...found];
    show(done || (letters.length ? "" : `${of} has none`), answer.more);
  } catch (problem) {
    say($("dead-said"), problem.message);
  }
}

function show(words, more = false) {
  $("to-log-in").hidden = isOperator();
  $("log-out").hidden = !isOperator();
  $("letters").hidden = letters.length === 0;
  $("more-letters").hidden = !more;
  table.show(letters);
  say($("dead-said"), words);
}

onOperator(() => {
  letters = [];
  done = "";
  show(isOperator() ? "" : "Only the operator may see them");
  load();
});
begin();
$("more-letters").addEventListener("click", () => load(letters.at(-1).number));
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
  say($("letter-title"), `Letter ${letter.number} of ${queue()}`);
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

const requeue = (letter) => settle(letter, "requeue", `Letter ${letter.number} is back in ${queue()}`);

function drop(letter) {
  const sure = $("sure");
  say($("sure-title"), `Drop letter ${letter.number} of ${queue()}?`);
  sure.returnValue = "";
  sure.onclose = () => sure.returnValue === "drop" && settle(letter, "drop", `Letter ${letter.number} is dropped`);
  sure.showModal();
}

async function settle(letter, deed, words) {
  try {
    const broker = new URLSearchParams({ broker: letter.broker });
    await change(`api/dead/${encodeURIComponent(queue())}/${letter.number}/${deed}?${broker}`);
    done = words;
  } catch (problem) {
    done = problem.message;
  }
  await load();
  $("dead").focus({ preventScroll: true }); // the button that had it is gone
}
