"""A server of the drill's own to which notifications are sent, and which does what it is told: works, refuses, hangs,
or hangs up on what it has taken.

On a fabric that is not the drill's own it takes the place of one of this host that is not there.
"""

from __future__ import annotations

import socket
import socketserver
import threading
import time
from collections.abc import Callable
from typing import ClassVar, Literal, Self
from urllib.parse import urlsplit

from gorgond.chaos.errors import Refused
from gorgond.config import Config

Mood = Literal["works", "refuses", "hangs", "hangs up"]

POLL = 0.05  # seconds between two looks whether it still hangs
LOOPBACK = ("127.0.0.1", "localhost")


class Session(socketserver.StreamRequestHandler):
    """One connection to it."""

    server: _Server

    def taken(self, id: str) -> bool:
        """Take what has this id; whether it is to be said so."""
        return self.server.outside.take(id)

    @property
    def refuses(self) -> bool:
        return self.server.outside.mood == "refuses"

    def say(self, words: str) -> None:
        """Lines of text."""
        self.wfile.write(words.encode())


class Outside:
    """Listens on this port of the loopback address, 0 for a free one, from `start` to `stop`. `ids` are those of the
    notifications that it has, each as often as it came; `unsaid` those of which it did not say so."""

    kind: ClassVar[str]  # of the channel that sends to it
    scheme: ClassVar[str]
    usual: ClassVar[int]  # the port where the channel names none
    session: ClassVar[type[Session]]

    def __init__(self, port: int = 0) -> None:
        self.ids: list[str] = []
        self.unsaid: list[str] = []
        self.mood: Mood = "works"
        self.port = port
        self._server: _Server

    def start(self) -> Self:
        """Begin to listen. Raises Refused."""
        try:
            self._server = _Server(("127.0.0.1", self.port), self.session)
        except OSError as error:
            raise Refused(f"port {self.port}, where notifications go, is not to be had: {error.strerror}") from None
        self._server.outside = self
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(POLL,), daemon=True).start()
        return self

    def stop(self) -> None:
        """End it."""
        self.mood = "works"  # who hangs goes on, and ends
        self._server.shutdown()
        self._server.server_close()

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}"

    def take(self, id: str) -> bool:
        """Take what has this id; whether it is to be said so."""
        self.ids.append(id)
        mood = self.mood
        if mood == "works":
            return True
        self.unsaid.append(id)
        while mood == self.mood == "hangs":
            time.sleep(POLL)
        return False

    @classmethod
    def of(cls, config: Config) -> Self:
        """The one to which a channel of this configuration sends; not started."""
        return cls(cls._port_in(config))

    @classmethod
    def _port_in(cls, config: Config) -> int:
        for section in config.channels.values():
            url = urlsplit(str(getattr(section, "url", "")))
            if section.kind == cls.kind and url.scheme == cls.scheme and url.hostname in LOOPBACK:
                return url.port or cls.usual
        return 0

    @classmethod
    def lacks(cls) -> Callable[[Config], str]:
        """What says why it cannot take the place of the server that a fabric has; empty when it can."""

        def lacks(config: Config) -> str:
            port = cls._port_in(config)
            if not port:
                return f"it needs a channel of kind {cls.kind} whose url is {cls.scheme}:// at a port of this host"
            with socket.socket() as found:
                if found.connect_ex((LOOPBACK[0], port)) == 0:
                    return f"port {port} of this host has a server, which is not the drill's to take the place of"
            return ""

        return lacks


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = daemon_threads = True
    outside: Outside
