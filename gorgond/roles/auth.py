"""AuthServer: says who asks, and serves what users do with their accounts.

    auth_get   a message with `next` has the credentials of who asks as its `user`: {"token": digest or empty, "need":
               "required" or "optional", "rights": a role or empty}. They are replaced by the user, {"id", "name",
               "email", "roles", "session"}, or by nothing where none is needed and there is no token, and the message
               goes on to `next`, which is none of our own queues; or its caller is answered 401 or 403. One without
               `next` asks this server: `auth.operations` lists what.
    auth_put   what takes long or changes something goes on to there by itself, so that nobody waits behind it
    auth_erase what is left to do for accounts that ended, at the broker that lasts (`auth.erasing`)

Messages go on before they are settled, so none is lost when this process dies, and some may arrive twice.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping
from typing import Any, Unpack

from gorgond.app.letters import letter_channel
from gorgond.auth import erasing, operations, proving, site_logins
from gorgond.auth.batches import PassingOn, SideBySide
from gorgond.auth.erasing import Erasing
from gorgond.auth.identities import Identities
from gorgond.auth.letters import Letters
from gorgond.auth.limits import Limits
from gorgond.auth.links import Links
from gorgond.auth.oauth2 import IdentityProvider
from gorgond.auth.operations import ENDING, QUICK, Operations, check_arguments
from gorgond.auth.passwords import Passwords
from gorgond.auth.proving import Proving
from gorgond.auth.records import Records
from gorgond.auth.rights import User, check_need, unknown
from gorgond.auth.sealing import Sealing
from gorgond.auth.site_logins import SiteLogins
from gorgond.auth.sites import check_sites
from gorgond.auth.tokens import TOPIC, Tokens
from gorgond.auth.users import Users
from gorgond.config import Config
from gorgond.errors import Mistakes
from gorgond.redpill import (
    Attempts,
    Broker,
    BrokerError,
    CallFailed,
    DeadlineExceeded,
    Done,
    Message,
    Outcome,
    Producer,
    Work,
    dumps,
)
from gorgond.service.ends import Handling
from gorgond.service.fabric import Fabric
from gorgond.service.life import Service
from gorgond.service.pseudonyms import Pseudonyms

PUT_CONSUMERS = 4  # of those that may take long, at a time
OURS = "auth_"  # so the names of the queues begin to which none but us may push, auth_get excepted
ARGUMENTS = {**operations.ARGUMENTS, **site_logins.ARGUMENTS, **proving.ARGUMENTS}
PATIENT = Attempts(most=1000)  # what is left to do outlasts a broker that takes nothing for hours


class AuthServer(Service):
    """One auth server."""

    role = "auth"

    def __init__(self, config: Config, fabric: Fabric, instance: str) -> None:
        super().__init__(config, fabric, instance)
        settings = config.auth
        records = kept = Records(self.caller("auth_data"))
        if fabric.durable is not fabric.calls:
            kept = Records(self.caller("auth_data", fabric.durable))
        self._link = fabric.calls.link(f"{self.name} limits")
        self._sealing = Sealing(settings.key)
        self._passwords = Passwords()
        self.tokens = Tokens(records, settings.idle, settings.lifetime, self._tell)
        # The first key is everybody's; without one, each auth server has pseudonyms of its own.
        pseudonyms = Pseudonyms(settings.key.split()[0].encode() if settings.key else os.urandom(32))
        limits = Limits(self._link, settings.attempts, settings.address_attempts, pseudonyms)
        users = Users(records)
        self._erasing = Erasing(records, kept, users, self.tokens, self._keep)
        links = Links(settings.key)
        letters = Letters(self._push, letter_channel(config), config.web.url.rstrip("/"), links)
        accounts = Operations(users, self._passwords, self.tokens, limits, self._erasing, letters)
        self._sites, identities = _sites(config), Identities(records, users, self.tokens)
        logins = SiteLogins(self._sites, identities, limits, accounts)
        proofs = Proving(links, letters, users, identities, self._passwords, self.tokens, limits, accounts, self._push)
        self._public = {**accounts.public, **logins.public, **proofs.public}
        self._own = {**accounts.own, **logins.own, **proofs.own}

    async def start(self) -> None:
        self.listener(TOPIC, lambda _, event: self.tokens.take_event(event), self.tokens.forget_all)
        for broker in self.fabric.brokers:
            self._pass_on(broker, self.producer_over(broker))
            for number in range(PUT_CONSUMERS if broker is self.fabric.calls else 1):
                # It finishes what it has begun: half a change might not be one.
                self._side_by_side(broker, "auth_put", self.answer, 1, part=str(number), finishes=True)

        for broker in self.fabric.holders(erasing.QUEUE, (self.fabric.durable,)):
            self._side_by_side(broker, erasing.QUEUE, self._erase, 4, finishes=True, attempts=PATIENT)

    async def _tell(self, event: Message) -> None:
        """Tell the other auth servers, those that hear it now."""
        await self.producer(TOPIC, self.fabric.calls).publish(TOPIC, event)

    async def _push(self, queue: str, message: Message) -> None:
        await self.producer(queue).push(queue, message)

    async def _keep(self, job: Message, delay: float) -> None:
        await self.producer(erasing.QUEUE).push(erasing.QUEUE, job, delay=delay or None)

    async def _erase(self, job: Message) -> Outcome:
        await self._erasing.part(job)
        return Done()

    def _pass_on(self, broker: Broker, producer: Producer) -> None:
        """Consume auth_get. What comes over a broker goes on over it."""
        heartbeat = self.heartbeats.start(f"auth_get at {broker.outage.what}")
        handler = PassingOn(functools.partial(self._look_up, producer), heartbeat, self._forward_at_once, producer)
        self.consumer("auth_get", handler, 64, broker=broker, heartbeat=heartbeat)

    def _side_by_side(
        self, broker: Broker, queue: str, work: Work, batch: int, part: str = "", **more: Unpack[Handling]
    ) -> None:
        """Consume a queue, whose messages are handled side by side."""
        heartbeat = self.heartbeats.start(f"{queue}{part} at {broker.outage.what}")
        handler = SideBySide(work, heartbeat)
        self.consumer(queue, handler, batch, broker=broker, part=part, heartbeat=heartbeat, **more)

    async def close(self) -> None:
        await self._link.close()
        self._passwords.close()
        for site in self._sites.values():
            site.close()

    def doing(self) -> str:
        return self.consuming()

    def _forward_at_once(self, message: Message) -> bytes | None:
        """The message as it goes on, if it does and we know already who asks. None: look it up. Raises CallFailed 401,
        403, and anything for a message that makes no sense."""
        if not message.next or message.next.startswith(OURS):
            return None
        credentials: dict[str, Any] = message.user or {}
        token = credentials.get("token", "")
        user = self.tokens.cached_user(token) if token else None
        if token and user is None:
            return None
        return message.forward(user=_admit(user, credentials)).encode()

    async def _look_up(self, producer: Producer, message: Message) -> Outcome:
        """Find out who asks and pass the message on; or answer it."""
        if message.next.startswith(OURS):  # we alone may push there
            raise CallFailed(403, f"next: {message.next} is for the auth server alone")
        if message.next:
            user = await self.who(message)
            await producer.push(message.next, message.forward(user=user))
            return Done(None)
        if message.op in QUICK:
            return await self.answer(message)
        await producer.push("auth_put", message)
        return Done(None)

    async def answer(self, message: Message) -> Outcome:
        """Do what a message asks of this server. Raises CallFailed, and what asking the store raises."""
        message = self._sealing.opened(message)
        check_arguments(message, ARGUMENTS.get(message.op, list(message.args)))
        if message.op in self._public:
            answer = await self._public[message.op](message)
        elif message.op in self._own:
            try:
                user = await self.who(message)
            except CallFailed as failed:
                if failed.code == 401 and message.op in ENDING and message.attempts:
                    return Done()  # whoever began this before us had ended the session, and could not say so
                raise
            if user is None:
                raise unknown("this needs a user: log in")
            answer = await self._own[message.op](message, user)
        else:
            raise CallFailed(400, f"{message.op}: auth_get takes {', '.join((*self._public, *self._own))}")
        return Done(dumps(answer), status=201 if message.op == "auth.register" else 200)

    async def who(self, message: Message) -> User | None:
        """The user who asks, by the credentials in a message. Raises CallFailed 401 and 403, and what asking the store
        raises; a message without a deadline waits for the store as long as it takes."""
        credentials: dict[str, Any] = message.user or {}
        token = credentials.get("token", "")
        user = None
        while token and user is None:
            try:
                user = await self.tokens.user_of(token)
            except (DeadlineExceeded, BrokerError):
                if message.deadline:
                    raise
        return _admit(user, credentials)


def _admit(user: User | None, credentials: Mapping[str, Any]) -> User | None:
    """The user, who is enough for what the credentials ask for. Raises CallFailed 401 and 403."""
    check_need(user, credentials.get("need", "required"), credentials.get("rights", ""))
    return user


def _sites(config: Config) -> dict[str, IdentityProvider]:
    """The other sites that the configuration names. Raises ConfigError."""
    mistakes = Mistakes()
    check_sites(config, mistakes)
    mistakes.tell()
    base = config.web.url.rstrip("/")
    return {
        name: IdentityProvider(name, each, f"{base}/auth/oauth2/{name}/callback")
        for name, each in config.oauth2.items()
    }
