// This browser among those in which its user is told what is new, by web push. The list of them does without JavaScript.

const section = document.getElementById("browsers");
const logout = document.querySelector('form[action="/logout"]');
const able = "serviceWorker" in navigator && "PushManager" in window && "Notification" in window;
const PATIENCE = 5000; // ms

async function subscription() {
  const registration = await navigator.serviceWorker.getRegistration("/static/");
  return registration?.pushManager.getSubscription();
}

async function placeOf(subscription) {
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(subscription.endpoint));
  return Array.from(new Uint8Array(digest), (byte) => byte.toString(16).padStart(2, "0")).join("").slice(0, 32);
}

async function ask(method, path, body) {
  const headers = { "Content-Type": "application/json", "X-XSRF-Token": logout.elements._xsrf.value };
  const sent = { method, headers, body: JSON.stringify(body), signal: AbortSignal.timeout(PATIENCE) };
  const answer = await fetch(`/me/notifications/browsers${path}`, sent);
  if (!answer.ok) throw new Error((await answer.json()).error.message);
}

async function worker() {
  const registration = await navigator.serviceWorker.register(section.dataset.worker);
  const coming = registration.installing ?? registration.waiting;
  if (!registration.active)
    await new Promise((done) => coming.addEventListener("statechange", () => coming.state === "activated" && done()));
  return registration;
}

async function subscribe() {
  if ((await Notification.requestPermission()) !== "granted") throw new Error("this browser does not allow it");
  const { pushManager } = await worker();
  await (await pushManager.getSubscription())?.unsubscribe(); // it may be of another key
  const fresh = await pushManager.subscribe({ userVisibleOnly: true, applicationServerKey: section.dataset.key });
  const { endpoint, keys } = fresh.toJSON();
  await ask("POST", "", { endpoint, keys, agent: navigator.userAgent });
  location.href = "/notifications/preferences?did=told";
}

async function leave() {
  const here = await subscription();
  if (!here) return;
  await ask("DELETE", `/${await placeOf(here)}`).catch(() => {}); // the push service says that it is gone
  await here.unsubscribe();
}

// Who logs out is told no more here: others may sit there next.
logout?.addEventListener("submit", async (event) => {
  if (!able) return;
  event.preventDefault();
  await leave().catch(() => {});
  logout.submit();
});

async function offer() {
  const here = await subscription();
  const listed = here && document.getElementById(`browser-${await placeOf(here)}`);
  if (listed) {
    await worker(); // of this version
    listed.querySelector(".here").hidden = false;
    listed.querySelector("form").addEventListener("submit", () => here.unsubscribe());
    return;
  }
  const offer = section.querySelector(".offer");
  const button = offer.querySelector("button");
  offer.hidden = false;
  button.addEventListener("click", async () => {
    button.disabled = true;
    const said = section.querySelector(".offered");
    said.textContent = "";
    await subscribe().catch((error) => (said.textContent = `That did not work: ${error.message}.`));
    button.disabled = false;
  });
}

if (section?.dataset.key && able) offer();
