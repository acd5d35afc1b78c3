// Whether the viewer is the operator: log in, log out, and what only the operator may change.

import { ask, tell } from "./api.js";
import { $, say } from "./dom.js";

const changes = new EventTarget();
let operator = false;

export const isOperator = () => operator;

/** Call `show` whenever somebody has logged in or out. */
export const onOperator = (show) => changes.addEventListener("change", show);

/** Ask the server who we are; after a reload we may be logged in already. */
export async function begin() {
  take((await ask("api/session").catch(() => ({ operator: false }))).operator);
}

/** Have something done that is the operator's; its answer. Throws a Problem. A login that has ended is noticed. */
export async function change(path) {
  try {
    return await tell(path);
  } catch (problem) {
    if (problem.status === 401) take(false);
    throw problem;
  }
}

export function askToLogIn() {
  say($("log-in-said"), "");
  $("log-in").showModal();
}

export async function logOut() {
  await change("api/logout");
  location.reload(); // what the operator saw is gone, all of it where only the operator may look
}

function take(is) {
  operator = is;
  changes.dispatchEvent(new Event("change"));
}

$("log-in-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  try {
    await tell("api/login", { password: $("password").value });
    $("log-in").close();
    take(true);
  } catch (problem) {
    say($("log-in-said"), problem.message);
  }
  $("password").value = "";
});
$("log-in-not").addEventListener("click", () => $("log-in").close());
