// Shows what the site's notification servers push, whether or not a page of the site is open.

self.addEventListener("install", () => self.skipWaiting());

self.addEventListener("push", (event) => {
  const { id, title, text, url } = event.data.json();
  // One that comes twice is shown once: it has the same tag.
  event.waitUntil(self.registration.showNotification(title, { body: text, tag: id, data: { url } }));
});

self.addEventListener("notificationclick", (event) => {
  event.notification.close();
  event.waitUntil(show(new URL(event.notification.data.url || "/notifications", self.location.origin).href));
});

async function show(url) {
  const pages = await self.clients.matchAll({ type: "window", includeUncontrolled: true });
  const page = pages.find((each) => each.url === url);
  return page ? page.focus() : self.clients.openWindow(url);
}
