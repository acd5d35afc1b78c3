// Times in the reader's own zone; new notes and notifications as they come. Without it the site does all else just as well.

const local = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });

function localTimes(within) {
  for (const time of within.querySelectorAll("time[datetime]")) time.textContent = local.format(new Date(time.dateTime));
}

const MOST = 40; // notes kept on a page that grows

function listen(list) {
  const source = new EventSource(list.dataset.live); // it connects again by itself, and says which event it has seen last
  source.addEventListener("note", (event) => {
    const { id, html } = JSON.parse(event.data);
    const fresh = document.createRange().createContextualFragment(html).firstElementChild;
    localTimes(fresh);
    const old = document.getElementById(`note-${id}`);
    if (old?.textContent === fresh.textContent) return;
    fresh.classList.add("new");
    if (old) old.replaceWith(fresh);
    else list.prepend(fresh);
    document.getElementById("none")?.remove();
    while (list.children.length > MOST) list.lastElementChild.remove();
  });
  source.addEventListener("gone", (event) => document.getElementById(`note-${JSON.parse(event.data).id}`)?.remove());
  source.addEventListener("reset", () => location.reload()); // something was missed meanwhile
}

// The page of the inbox as it is now, each time that something has happened; once more if that was so meanwhile.
function watch(inbox) {
  const source = new EventSource(inbox.dataset.inbox);
  let loading = false, again = false;
  async function load() {
    again = true;
    if (loading) return;
    loading = true;
    while (again) {
      again = false;
      const answer = await fetch(location.href, { headers: { Accept: "text/html" } }).catch(() => null);
      if (!answer?.ok) continue;
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      const fresh = page.getElementById("inbox");
      if (!fresh) return location.reload(); // the session has ended
      localTimes(fresh);
      document.getElementById("inbox").replaceChildren(...fresh.childNodes);
      document.title = page.title;
    }
    loading = false;
  }
  for (const kind of ["notification", "read", "reset"]) source.addEventListener(kind, load);
}

localTimes(document);
const inbox = document.querySelector("[data-inbox]");
if (inbox) watch(inbox);
const list = document.querySelector("[data-live]");
if (list) listen(list);
