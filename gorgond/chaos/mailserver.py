"""A mail server of the drill's own, which takes e-mails for its own users alone.

E-mails for others it puts off: a fabric that is not the drill's own sends them when it is over.
"""

from __future__ import annotations

import re
from email import message_from_bytes
from typing import ClassVar

from gorgond.chaos.accounts import DOMAIN
from gorgond.chaos.outside import Outside, Session

_ADDRESS = re.compile(rb"<([^>]*)>")


class _Mails(Session):
    """RFC 5321, as much of it as is needed."""

    def handle(self) -> None:
        self.say("220 chaos.invalid\r\n")
        while (line := self.rfile.readline(1000)).strip():
            verb = line[:4].upper()
            if self.refuses and verb in (b"MAIL", b"EHLO"):
                self.say("421 not now\r\n")
                return
            if verb == b"QUIT":
                self.say("221 bye\r\n")
                return
            if verb == b"DATA":
                self.say("354 go on\r\n")
                if not self._take():
                    return
            elif verb == b"RCPT" and not (_ADDRESS.findall(line) or [b""])[0].endswith(f"@{DOMAIN}".encode()):
                self.say("451 a drill is under way: later\r\n")
            else:
                self.say("250 good\r\n")

    def _take(self) -> bool:
        """Take an e-mail; whether the connection goes on."""
        lines = []
        while (line := self.rfile.readline()) not in (b".\r\n", b""):
            lines.append(line)
        id = str(message_from_bytes(b"".join(lines))["Message-ID"]).partition("@")[0].lstrip("<")
        if not line or not self.taken(id):
            return False
        self.say("250 taken\r\n")
        return True


class MailServer(Outside):
    """Takes e-mails."""

    kind: ClassVar[str] = "email"
    scheme: ClassVar[str] = "smtp"
    usual: ClassVar[int] = 25
    session: ClassVar[type[Session]] = _Mails
