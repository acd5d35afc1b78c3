"""A client that watches an inbox as docs/notifications.md says, whatever becomes of its connection: over server-sent
events, and again from the number that it was shown last."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from contextlib import suppress
from urllib.request import Request, urlopen

AGAIN = 0.1  # seconds until it connects again
SILENT = 60.0  # and after which a connection that says nothing is taken for dead: it says something every 15 s


class Watcher:
    """Watches the inbox of a new user at the web server of this URL. `shown` are the titles, in the order in which they
    were shown; `read` reads the inbox up to a number, when a stream says that too much was missed."""

    def __init__(self, url: str, name: str, read: Callable[[str, int], list[str]]) -> None:
        account = {"email": f"{name}@notes.example", "password": f"the password of {name}"}
        self._url = url
        self.user = str(self._post("/auth/register", account)["id"])
        self._token = str(self._post("/auth/login", account)["token"])
        self._read = read
        self.last = 0
        self.shown: list[str] = []
        self.connections = self.resets = 0

    def _post(self, path: str, body: dict[str, str]) -> dict[str, str]:
        request = Request(f"{self._url}{path}", json.dumps(body).encode(), {"Content-Type": "application/json"})
        with urlopen(request, timeout=60) as answer:
            found: dict[str, str] = json.load(answer)
            return found

    async def run(self) -> None:
        """Watch until cancelled."""
        host, _, port = self._url.removeprefix("http://").partition(":")
        while True:
            with suppress(OSError, EOFError, TimeoutError):
                reader, writer = await asyncio.open_connection(host, int(port))
                try:
                    await self._watch(reader, writer)
                finally:
                    writer.close()
                    await writer.wait_closed()
            await asyncio.sleep(AGAIN)

    async def _watch(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        target, headers = f"/me/notifications/live?since={self.last}", f"Authorization: Bearer {self._token}"
        writer.write(f"GET {target} HTTP/1.1\r\nHost: test\r\n{headers}\r\n\r\n".encode())
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), SILENT)
        status = int(head.split(b" ")[1])
        if status != 200:
            assert status in (502, 503, 504), head
            return
        self.connections += 1
        while True:
            block = (await asyncio.wait_for(reader.readuntil(b"\n\n"), SILENT)).decode()
            lines = (
                line.partition(": ") for line in block.splitlines()
            )  # also the lengths of HTTP's chunks: no fields
            self._take({name: text for name, _, text in lines})

    def _take(self, fields: dict[str, str]) -> None:
        event = fields.get("event")
        if event == "notification":
            told = json.loads(fields["data"])
            assert told["number"] == int(fields["id"]) == self.last + 1, (told["number"], self.last)
            self.last = told["number"]
            self.shown.append(told["data"]["title"])
        elif event == "reset":
            self.resets += 1
            newest = int(fields["id"])
            self.shown += self._read(self.user, self.last)[: newest - self.last]
            self.last = newest
