"""An endpoint of the drill's own, which takes notifications by HTTP.

Those that are not the drill's it puts off: a fabric that is not the drill's own sends them when it is over.
"""

from __future__ import annotations

import json
from contextlib import suppress
from typing import ClassVar

from gorgond.chaos.outside import Outside, Session

KIND = "chaos"  # of the drill's notifications


class _Requests(Session):
    """HTTP/1.1, as much of it as is needed."""

    def handle(self) -> None:
        while line := self.rfile.readline(10_000):
            length = 0
            while (line := self.rfile.readline(10_000)).strip():
                name, _, text = line.decode("latin-1").partition(":")
                length = int(text) if name.lower() == "content-length" else length
            body = self.rfile.read(length)
            told: dict[str, str] = {}
            with suppress(ValueError):
                told = json.loads(body)
            if self.refuses or told.get("kind") != KIND:
                self.say("HTTP/1.1 503 Later\r\nContent-Length: 0\r\n\r\n")
            elif self.taken(str(told.get("id"))):
                self.say("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            else:
                return


class Endpoint(Outside):
    """Takes notifications by HTTP."""

    kind: ClassVar[str] = "http"
    scheme: ClassVar[str] = "http"
    usual: ClassVar[int] = 80
    session: ClassVar[type[Session]] = _Requests
