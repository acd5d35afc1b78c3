// Times in the reader's own zone; new notes as they come. Without it the site does all else just as well.

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

localTimes(document);
const list = document.querySelector("[data-live]");
if (list) listen(list);
