// Questions to the server, which is always the one that this page came from.

export class Problem extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

/** The JSON at `path`; throws a Problem, whose status is 0 when the server did not answer. */
export const ask = (path, parameters = {}) => {
  const given = Object.entries(parameters).filter(([, value]) => value !== "");
  return talk(given.length ? `${path}?${new URLSearchParams(given)}` : path, { method: "GET" });
};

/** Have something done: POST. The header is one that no other site's page can send. */
export const tell = (path, body = {}) =>
  talk(path, {
    method: "POST",
    headers: { "Content-Type": "application/json", "X-Gorgond": "stats" },
    body: JSON.stringify(body),
  });

async function talk(path, options) {
  let answer, body;
  try {
    answer = await fetch(path, { credentials: "same-origin", signal: AbortSignal.timeout(10_000), ...options });
    body = await answer.text();
  } catch {
    throw new Problem(0, "the stats server does not answer");
  }
  if (!answer.ok) throw new Problem(answer.status, message(body) ?? `the stats server answered ${answer.status}`);
  return body ? JSON.parse(body) : null;
}

function message(body) {
  try {
    return JSON.parse(body).error.message;
  } catch {
    return undefined;
  }
}
