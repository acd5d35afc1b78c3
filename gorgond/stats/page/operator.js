// Whether the viewer is the operator: log in, log out, and what only the operator may change.

import { ask, tell } from "./api.js";
import { $, say } from "./dom.js";

const changes = new EventTarget();
let operator = false;
let password = true; // whether there is one

export const isOperator = () => operator;

/** How to become the operator, or to have one. */
export const howTo = () =>
  password
    ? "is for the operator: log in"
    : "is for the operator, and there is none yet: set [stats] password, for a gorgond up GORGOND_STATS_PASSWORD, and start it again";

export const canLogIn = () => password && !operator;

/** Call `show` whenever somebody has logged in or out. */
export const onOperator = (show) => changes.addEventListener("change", show);

/** Ask the server who we are; after a reload we may be logged in already. */
export async function begin() {
  const session = await ask("api/session").catch(() => ({ operator: false }));
  password = session.password ?? true;
  take(session.operator);
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

/** Ask before something is done that others feel. */
export function sure(title, text, no, yes, act) {
  const dialog = $("sure");
  say($("sure-title"), title);
  say($("sure-text"), text);
  say($("sure-not"), no);
  say($("sure-yes"), yes);
  dialog.returnValue = "";
  dialog.onclose = () => dialog.returnValue === "yes" && act();
  dialog.showModal();
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
