// Whether the viewer is the operator: log in, log out, and what only the operator may change.

import { ask, tell } from "./api.js";
import { $, say } from "./dom.js";

const changes = new EventTarget();
let operator = false;
let xsrf = "";

export const isOperator = () => operator;

/** Call `show` whenever somebody has logged in or out. */
export const onOperator = (show) => changes.addEventListener("change", show);

/** Ask the server who we are; after a reload we may be logged in already. */
export async function begin() {
  take(await ask("api/session").catch(() => ({ operator: false })));
}

/** Have something done that is the operator's; throws a Problem. A login that has ended is noticed. */
export async function change(path) {
  try {
    return await tell(path, {}, { "X-XSRF-Token": xsrf });
  } catch (problem) {
    if (problem.status === 401) take({ operator: false });
    throw problem;
  }
}

export function askToLogIn() {
  if ($("log-in").open) return;
  say($("log-in-said"), "");
  $("log-in").showModal();
}

export const logOut = async () => take(await change("api/logout"));

function take(session) {
  operator = session.operator;
  xsrf = session.xsrf ?? "";
  changes.dispatchEvent(new Event("change"));
}

$("log-in-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  try {
    const session = await tell("api/login", { password: $("password").value });
    $("log-in").close();
    take(session);
  } catch (problem) {
    say($("log-in-said"), problem.message);
  }
  $("password").value = "";
});
$("log-in-not").addEventListener("click", () => $("log-in").close());
