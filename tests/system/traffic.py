"""Clients of a web server, each asking as fast as it is answered, until told to stop; then what became of it, as JSON.

    python -m tests.system.traffic http://127.0.0.1:3000 17 KEPT NEW [ACCOUNT]

Adds notes of user 17 and reads them, with KEPT clients that keep their connection and NEW ones that make one for each
request; with an ACCOUNT, the JSON of a login, they also queue notes, ask who they are, and for their own notes by way
of an application, and somebody else logs in again and again. Ends when its standard input does. A connection is made
again without a failure only after an answer that announced its end, as HTTP/1.1 wants it.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from typing import Any
from urllib.parse import urlsplit

LOGIN_PAUSE = 0.2  # seconds between two logins, each of which takes some CPU


@dataclass(frozen=True, slots=True)
class Ask:
    """A request, and the status of its answer."""

    method: str
    path: str
    status: int
    body: str = ""
    headers: dict[str, str] = field(default_factory=dict)


def notes_of(uid: str) -> list[Ask]:
    """What clients ask, one after another."""
    return [Ask("POST", f"/info/{uid}", 201, '{"title": "a note"}'), Ask("GET", f"/info/{uid}?lim=1", 200)]


def as_user(uid: str, token: str) -> list[Ask]:
    """What they ask besides with the token of a session."""
    own = {"Authorization": f"Bearer {token}"}
    return [
        Ask("POST", f"/info/{uid}", 202, '{"title": "a job"}', {"Prefer": "respond-async"}),
        Ask("GET", "/auth/me", 200, headers=own),
        Ask("GET", "/me/notes?lim=1", 200, headers=own),
    ]


def asked(address: str, path: str, body: str) -> dict[str, Any]:
    """What is answered to a POST."""
    connection = HTTPConnection(address, timeout=60)
    connection.request("POST", path, body, {"Content-Type": "application/json"})
    answer: dict[str, Any] = json.loads(connection.getresponse().read())
    connection.close()
    return answer


class Client:
    """One client, in a thread of its own."""

    def __init__(self, address: str, asks: list[Ask], keep: bool, pause: float = 0.002) -> None:
        self.attempts = 0
        self.longest = 0.0
        self.stored: list[str] = []
        self.failures: list[str] = []
        self._address, self._asks, self._keep, self._pause = address, asks, keep, pause
        self._connection: HTTPConnection | None = None

    def run(self, stop: threading.Event) -> None:
        """Ask until told to stop."""
        while not stop.is_set():
            started = time.monotonic()
            ask = self._asks[self.attempts % len(self._asks)]
            self.attempts += 1
            try:
                self._ask(ask)
            except (OSError, HTTPException) as error:
                self.failures.append(f"{time.strftime('%H:%M:%S')} {ask.method} {ask.path}: {error!r}")
                self._drop()
                time.sleep(0.01)
            self.longest = max(self.longest, time.monotonic() - started)
            time.sleep(self._pause)
        self._drop()

    def _ask(self, ask: Ask) -> None:
        if self._connection is None:
            self._connection = HTTPConnection(self._address, timeout=60)
            self._connection.connect()
        headers = {"Content-Type": "application/json", **ask.headers} if ask.body else ask.headers
        self._connection.request(ask.method, ask.path, ask.body or None, headers)
        answer = self._connection.getresponse()
        text = answer.read()
        if answer.status != ask.status:
            got = f"status {answer.status}: {text[:200]!r}"
            self.failures.append(f"{time.strftime('%H:%M:%S')} {ask.method} {ask.path}: {got}")
        elif ask.path.startswith("/info/") and ask.body:
            self.stored += json.loads(text)["ids"]
        if answer.will_close or not self._keep:
            self._drop()

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection = None


def main(url: str, uid: str, kept: str, new: str, account: str = "") -> None:
    """Run until the end of standard input."""
    address = urlsplit(url).netloc
    asks = notes_of(uid)
    if account:
        asks += as_user(uid, asked(address, "/auth/login", account)["token"])
    clients = [Client(address, asks, keep) for keep in [True] * int(kept) + [False] * int(new)]
    if account:
        other = json.dumps({"email": "other@example.org", "password": "a lamp that is not lit"})
        asked(address, "/auth/register", other)
        clients.append(Client(address, [Ask("POST", "/auth/login", 200, other)], True, LOGIN_PAUSE))
    stop = threading.Event()
    threads = [threading.Thread(target=client.run, args=(stop,)) for client in clients]
    for thread in threads:
        thread.start()
    sys.stdin.read()
    stop.set()
    for thread in threads:
        thread.join()
    found: dict[str, Any] = {
        "requests": sum(client.attempts for client in clients),
        "longest": max(client.longest for client in clients),
        "failures": [failure for client in clients for failure in client.failures],
        "stored": [each for client in clients for each in client.stored],
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
