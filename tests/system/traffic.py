"""Clients of a web server, each asking as fast as it is answered, until told to stop; then what became of it, as JSON.

    python -m tests.system.traffic http://127.0.0.1:3000 17 [KEPT NEW]

Adds notes of user 17 and reads them, with KEPT clients that keep their connection and NEW ones that make one for each
request; ends when its standard input does. A connection is made again without a failure only after an answer that
announced its end, as HTTP/1.1 wants it.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from http.client import HTTPConnection, HTTPException
from typing import Any
from urllib.parse import urlsplit


class Client:
    """One client, in a thread of its own."""

    def __init__(self, address: str, uid: int, keep: bool) -> None:
        self.attempts = 0
        self.longest = 0.0
        self.stored: list[str] = []
        self.failures: list[str] = []
        self._address, self._uid, self._keep = address, uid, keep
        self._connection: HTTPConnection | None = None

    def run(self, stop: threading.Event) -> None:
        """Ask until told to stop."""
        while not stop.is_set():
            started = time.monotonic()
            self.attempts += 1
            adding = self.attempts % 2 == 1
            try:
                self._ask(adding)
            except (OSError, HTTPException) as error:
                self.failures.append(f"{time.strftime('%H:%M:%S')} {'POST' if adding else 'GET'}: {error!r}")
                self._drop()
                time.sleep(0.01)
            self.longest = max(self.longest, time.monotonic() - started)
            time.sleep(0.002)

    def _ask(self, adding: bool) -> None:
        if self._connection is None:
            self._connection = HTTPConnection(self._address, timeout=60)
            self._connection.connect()
        if adding:
            body = json.dumps({"title": f"note {self.attempts}"})
            self._connection.request("POST", f"/info/{self._uid}", body, {"Content-Type": "application/json"})
        else:
            self._connection.request("GET", f"/info/{self._uid}?lim=1")
        answer = self._connection.getresponse()
        text = answer.read()
        if answer.status != (201 if adding else 200):
            self.failures.append(f"{time.strftime('%H:%M:%S')} status {answer.status}: {text[:200]!r}")
        elif adding:
            self.stored += json.loads(text)["ids"]
        if answer.will_close or not self._keep:
            self._drop()

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection = None


def main(url: str, uid: str, kept: str = "6", new: str = "3") -> None:
    """Run until the end of standard input."""
    address = urlsplit(url).netloc
    clients = [Client(address, int(uid), keep) for keep in [True] * int(kept) + [False] * int(new)]
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
