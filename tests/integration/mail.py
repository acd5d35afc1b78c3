"""A mail server that does what a test tells it: takes e-mails, refuses them, says nothing, hangs up."""

from __future__ import annotations

import asyncio
import email
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email.message import EmailMessage
from email.policy import SMTP as POLICY
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

from tools.speed.ports import free_port

Answer = Callable[[EmailMessage], str]
TAKEN = "250 taken"
HANG_UP = "hang up"  # take the e-mail, and say nothing of it
HANG = "hang"  # the same, and stay


class MailServer:
    """Takes e-mails; `answer` says what is said to each, and `connected` what to one who connects."""

    def __init__(self) -> None:
        self.mails: list[EmailMessage] = []  # those that were taken
        self.offered: list[EmailMessage] = []  # all that came
        self.recipients: list[str] = []
        self.senders: list[str] = []  # on the envelopes
        self.answer: Answer = lambda _: TAKEN
        self.refused: dict[str, str] = {}  # what is said of addresses
        self.connections = 0
        self._controller = Controller(self, hostname="127.0.0.1", port=free_port())

    @property
    def url(self) -> str:
        return f"smtp://127.0.0.1:{self._controller.port}"

    # ---- what aiosmtpd asks

    async def handle_EHLO(  # noqa: N802
        self, server: SMTP, session: Session, envelope: Envelope, hostname: str, responses: list[str]
    ) -> list[str]:
        self.connections += 1
        session.host_name = hostname
        return responses

    async def handle_RCPT(  # noqa: N802
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if address in self.refused:
            return self.refused[address]
        envelope.rcpt_tos.append(address)
        return "250 good"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        content: Any = envelope.content
        mail: Any = email.message_from_bytes(content, policy=POLICY)
        self.offered.append(mail)
        said = self.answer(mail)
        if said in (TAKEN, HANG_UP, HANG):
            self.mails.append(mail)
            self.recipients += envelope.rcpt_tos
            self.senders.append(str(envelope.mail_from))
        if said == HANG_UP:
            assert server.transport is not None
            server.transport.close()
        if said == HANG:
            await asyncio.sleep(3600)
        return said

    @contextmanager
    def running(self) -> Iterator[MailServer]:
        self._controller.start()
        try:
            yield self
        finally:
            self._controller.stop()


def ids(mails: list[EmailMessage]) -> list[str]:
    """Their Message-IDs."""
    return [str(mail["Message-ID"]) for mail in mails]
