"""What accounts have their users told: letters, which are e-mails with a link, and that somebody logged in.

They are handed to the notification servers over the broker that lasts, under ids made of what asked for them: a message
that is handled twice sends one.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from urllib.parse import urlencode

from gorgond.app.letters import ADDRESS, CONFIRM, LOGIN, MOVED, RESET, TITLES, TO
from gorgond.app.notifying import QUEUE, SEND, notification_id, send_args
from gorgond.auth.links import Links
from gorgond.auth.records import Document
from gorgond.redpill import BrokerError, CallFailed, Message, now_ms
from gorgond.service.agents import browser_of

log = logging.getLogger("gorgond.auth")

Push = Callable[[str, Message], Awaitable[None]]
"""Keeps a message for a queue."""

_PAGES = {CONFIRM: "confirm", RESET: "reset", ADDRESS: "address"}
_TEXTS = {
    CONFIRM: "An account was made with this address. If it was you, log in there and follow this link, which holds for "
    "three days. If it was not, do nothing: the account is sent no more e-mails.",
    RESET: "Somebody, you perhaps, has forgotten the password of your account. This link, which holds for an hour and "
    "once, leads to where a new one is chosen. If you have not asked for it, do nothing.",
    ADDRESS: "Somebody, you perhaps, wants an account to have this address in place of the one that it has. If it was "
    "you, log in there and follow this link, which holds for a day. If it was not, do nothing.",
}
_LABELS = {CONFIRM: "Confirm the address", RESET: "Choose a new password", ADDRESS: "Have this address"}


class Letters:
    """`push` keeps what is to be sent, letters for the `channel` that sends e-mails; without one there are none. `site`
    is the website's address."""

    def __init__(self, push: Push, channel: str, site: str, links: Links) -> None:
        self._push = push
        self._channel = channel
        self._site = site
        self._links = links

    @property
    def offered(self) -> bool:
        """Whether letters are sent at all."""
        return bool(self._channel)

    def check_offered(self) -> None:
        """Raises CallFailed 404 where no letter is ever sent."""
        if not self.offered:
            raise CallFailed(
                404, "no e-mails are sent from here: for that the configuration needs [web] url, [auth] key and a "
                "section [notify.email]",
            )  # fmt: skip

    async def send(self, kind: str, user: Document, seed: str, to: str = "") -> None:
        """Send a letter with a link to a user, perhaps `to` another address than the account's; one for each `seed`.
        Raises BrokerError."""
        proof = {"token": self._links.token(kind, user, to)} | ({"email": to} if to else {})
        link = f"{self._site}/{_PAGES[kind]}?{urlencode(proof)}"
        data = {"title": TITLES[kind], "text": _TEXTS[kind], "url": link, "label": _LABELS[kind]}
        await self._tell(f"{QUEUE}:{self._channel}", kind, user["id"], data, seed, to)

    async def tell_moved(self, user: Document, email: str, seed: str) -> None:
        """Tell a user, at the address that the account has had until now, that it has another one. Raises
        BrokerError."""
        text = (
            f"E-mails go to {email} from now on, and who reads them may choose a new password. If it was not you who "
        )
        text += "changed that, log in and change it back, and the password too; or tell who runs this site."
        data = {"title": TITLES[MOVED], "text": text, "url": f"{self._site}/account", "label": "Your account"}
        await self._tell(f"{QUEUE}:{self._channel}", MOVED, user["id"], data, seed, user["email"])

    async def welcome(self, user: Document, seed: str) -> None:
        """Have a new user confirm the address, where letters are sent. That can be asked for again, so an account is
        made all the same when it is not possible now."""
        if not self.offered:
            return
        try:
            await self.send(CONFIRM, user, seed)
        except BrokerError as error:
            log.info("the address of user %s is confirmed later: %s", user["id"], error)

    async def tell_login(self, userid: str, client: Mapping[str, str], seed: str) -> None:
        """Tell a user that somebody logged in, where nobody of that account had before. Nobody is kept from logging in
        because it cannot be told."""
        where = f"With {browser_of(client['agent'])}, from the address {client['address'] or 'that nobody knows'}."
        advice = "If it was not you, change your password: all other sessions end with that."
        data = {"title": TITLES[LOGIN], "text": f"{where} {advice}", "url": "/account"}
        try:
            await self._tell(QUEUE, LOGIN, userid, data, seed)
        except BrokerError as error:
            log.info("user %s is not told of a login: %s", userid, error)

    async def _tell(self, queue: str, kind: str, userid: str, data: Mapping[str, str], seed: str, to: str = "") -> None:
        id = notification_id(userid, kind, seed)
        args = send_args(id, userid, kind, TITLES[kind], data, now_ms()) | ({TO: to} if to else {})
        await self._push(queue, Message(SEND, args, id))
