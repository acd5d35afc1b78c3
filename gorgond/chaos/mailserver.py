"""A mail server of the drill's own, which takes e-mails for its own users alone, and does what it is told: works,
refuses, hangs, or hangs up on what it has taken.

E-mails for others than the drill's users it puts off: a fabric that is not the drill's own sends them when it is over.
"""

from __future__ import annotations

import re
import socket
import socketserver
import threading
import time
from email import message_from_bytes
from typing import Literal, Self
from urllib.parse import urlsplit

from gorgond.chaos.accounts import DOMAIN
from gorgond.chaos.errors import Refused
from gorgond.config import Config

Mood = Literal["works", "refuses", "hangs", "hangs up"]

LOOPBACK = ("127.0.0.1", "localhost")
POLL = 0.05  # seconds between two looks whether it still hangs
_ADDRESS = re.compile(rb"<([^>]*)>")


class MailServer:
    """Listens on this port of the loopback address, 0 for a free one, from `start` to `stop`. `taken` are the ids of
    the notifications that it has, each as often as it came; `unsaid` those of which it did not say so."""

    def __init__(self, port: int = 0) -> None:
        self.taken: list[str] = []
        self.unsaid: list[str] = []
        self.mood: Mood = "works"
        self.port = port
        self._server: _Server

    def start(self) -> Self:
        """Begin to listen. Raises Refused."""
        try:
            self._server = _Server(("127.0.0.1", self.port), _Session)
        except OSError as error:
            raise Refused(
                f"port {self.port}, where the mail server is to be, is not to be had: {error.strerror}"
            ) from None
        self._server.mail = self
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
        return f"smtp://127.0.0.1:{self.port}"


def mail_port(config: Config) -> int:
    """The port of this host to which a channel of e-mails is to send; 0 where there is none."""
    for section in config.channels.values():
        url = urlsplit(str(getattr(section, "url", "")))
        if section.kind == "email" and url.scheme == "smtp" and url.hostname in LOOPBACK:
            return url.port or 25
    return 0


def lacks_mail(config: Config) -> str:
    """Why no mail server can take the place of the one that a fabric has; empty when one can."""
    port = mail_port(config)
    if not port:
        return "it needs a channel [notify.NAME] of kind email whose url is smtp:// at a port of this host"
    with socket.socket() as found:
        if found.connect_ex((LOOPBACK[0], port)) == 0:
            return f"port {port} of this host has a mail server, which is not the drill's to take the place of"
    return ""


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = daemon_threads = True
    mail: MailServer


class _Session(socketserver.StreamRequestHandler):
    """One connection: RFC 5321, as much of it as is needed."""

    server: _Server

    def handle(self) -> None:
        self._say("220 chaos.invalid")
        while (line := self.rfile.readline(1000)).strip():
            verb = line[:4].upper()
            if self.server.mail.mood == "refuses" and verb in (b"MAIL", b"EHLO"):
                self._say("421 not now")
                return
            if verb == b"QUIT":
                self._say("221 bye")
                return
            if verb == b"DATA":
                self._say("354 go on")
                if not self._take():
                    return
            elif verb == b"RCPT" and not (_ADDRESS.findall(line) or [b""])[0].endswith(f"@{DOMAIN}".encode()):
                self._say("451 a drill is under way: later")
            else:
                self._say("250 good")

    def _take(self) -> bool:
        """Take an e-mail; whether the connection goes on."""
        lines = []
        while (line := self.rfile.readline()) not in (b".\r\n", b""):
            lines.append(line)
        mail = self.server.mail
        mood = mail.mood
        if not line:
            return False
        id = str(message_from_bytes(b"".join(lines))["Message-ID"]).partition("@")[0].lstrip("<")
        mail.taken.append(id)
        if mood != "works":
            mail.unsaid.append(id)
            while mood == mail.mood == "hangs":
                time.sleep(POLL)
            return False
        self._say("250 taken")
        return True

    def _say(self, words: str) -> None:
        self.wfile.write(words.encode() + b"\r\n")
