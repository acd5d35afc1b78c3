"""E-mails, handed over by SMTP to a mail server, which sees to the rest.

    [notify.email]
    url = smtp://127.0.0.1:25
    sender = notes@example.org

A mail has the notification's id in its Message-ID: one that is sent twice, since a server died or a connection ended
before the mail server had said that it has it, is the same mail. In its headers is how to be sent no more (RFC 8058):
the programs of mail providers ask for it, with one click of their user.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import formatdate
from pathlib import Path
from typing import Any, ClassVar

from gorgond.errors import Undeliverable
from gorgond.notifiers.notifier import Notification, Notifier, Recipient
from gorgond.notifiers.smtp import Mailer
from gorgond.notifiers.templates import Templates
from gorgond.redpill import now_ms
from gorgond.settings import Notify, setting
from gorgond.validators import matching, urls


@dataclass(frozen=True, slots=True)
class Email(Notify):
    """The mail server, and what e-mails say."""

    url: str = setting(
        "smtp://127.0.0.1:25", urls("smtp://", "smtps://", "smtp+starttls://"), "the mail server", secret=True
    )
    sender: str = setting(
        "gorgond@localhost", matching("an e-mail address", r"[\w.+=-]+@[\w.-]+"), "from whom e-mails come"
    )
    bounces: str = setting(
        "",
        matching("an e-mail address with at most 14 characters before the @, or nothing", r"([\w.=-]{1,14}@[\w.-]+)?"),
        "to where e-mails come back that cannot be delivered, each to an address of its own; empty: to the sender",
    )
    templates: str = setting(
        "/etc/gorgond/notify.d", matching("an absolute path", r"/\S.*"), "a directory for each kind, with what it says"
    )


class EmailNotifier(Notifier):
    """Sends e-mails, a thread for each that is under way."""

    settings = Email
    in_hand: ClassVar[int] = 4
    loud: ClassVar[bool] = True

    def __init__(self, name: str, settings: Email) -> None:
        super().__init__(name, settings)
        self._sender = settings.sender
        self._bounces = settings.bounces
        self._templates = Templates(Path(settings.templates))
        self._mailer = Mailer(settings.url)
        self._threads = ThreadPoolExecutor(self.in_hand, f"{name} smtp")

    def reaches(self, recipient: Recipient) -> bool:
        return bool(recipient.email)  # who came from another site may have none

    async def send(self, notification: Notification, recipient: Recipient) -> None:
        mail = self._mail(notification, recipient)
        loop = asyncio.get_running_loop()
        sender = self._return_path(notification)
        await loop.run_in_executor(self._threads, self._mailer.send, mail, sender, recipient.email)

    def _return_path(self, notification: Notification) -> str:
        """To where it comes back if it cannot be delivered: by an address of its own that is known, whatever the mail
        servers on its way write (VERP)."""
        local, at, domain = self._bounces.partition("@")
        return f"{local}+{notification.user}.{notification.id}@{domain}" if at else self._sender

    def _mail(self, notification: Notification, recipient: Recipient) -> EmailMessage:
        """The e-mail. Raises Undeliverable for what cannot be one."""
        values: dict[str, Any] = {
            "title": notification.title, "kind": notification.kind, "data": notification.data,
            "name": recipient.name, "site": recipient.site, "unsubscribe": recipient.unsubscribe,
        }  # fmt: skip
        texts = self._templates.texts(notification.kind, values)
        mail = EmailMessage(SMTP)
        try:
            mail["From"] = self._sender
            mail["To"] = Address(recipient.name, addr_spec=recipient.email)
            mail["Subject"] = texts.subject
        except Exception as error:  # an address in a form that no mail server would take
            raise Undeliverable(f"no e-mail can be addressed to user {recipient.user}: {error}") from error
        mail["Date"] = formatdate(now_ms() / 1000)
        mail["Message-ID"] = f"<{notification.id}@{self._sender.partition('@')[2]}>"
        mail["Auto-Submitted"] = "auto-generated"
        if recipient.unsubscribe:
            mail["List-Unsubscribe"] = f"<{recipient.unsubscribe}>"
            mail["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"
        mail.set_content(texts.text)
        mail.add_alternative(texts.html, subtype="html")
        return mail

    async def close(self) -> None:
        # A thread that waits for a mail server ends by its time limit: nobody waits for that.
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._mailer.close()
