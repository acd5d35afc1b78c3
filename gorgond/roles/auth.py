"""AuthServer: says who asks, and serves what users do with their accounts.

    auth_get   a message with `next` has the credentials of who asks as its `user`: {"token": digest or empty, "need":
               "required" or "optional", "rights": a role or empty}. They are replaced by the user, {"id", "name",
               "email", "roles", "session"}, or by nothing where none is needed and there is no token, and the message
               goes on to `next`, which is none of our own queues; or its caller is answered 401 or 403. One without
               `next` asks this server: `auth.operations` lists what.
    auth_put   what takes long or changes something goes on to there by itself, so that nobody waits behind it

Messages go on before they are settled, so none is lost when this process dies, and some may arrive twice.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Sequence
from typing import Any

from gorgond.auth import operations, site_logins
from gorgond.auth.identities import Identities
from gorgond.auth.limits import Limits
from gorgond.auth.oauth2 import IdentityProvider
from gorgond.auth.operations import ENDING, QUICK, Operations, check_arguments
from gorgond.auth.passwords import Passwords
from gorgond.auth.records import Records
from gorgond.auth.rights import User, check_need, unknown
from gorgond.auth.sealing import Sealing
from gorgond.auth.site_logins import SiteLogins
from gorgond.auth.tokens import TOPIC, Tokens
from gorgond.auth.users import Users
from gorgond.config import Config
from gorgond.errors import ConfigError
from gorgond.redpill import (
    Broker,
    BrokerError,
    Caller,
    CallFailed,
    Consumer,
    DeadlineExceeded,
    Done,
    GorgonError,
    Listener,
    Message,
    Outcome,
    Producer,
    Retry,
    contained,
    dumps,
    handling,
    told,
)
from gorgond.service.fabric import Fabric
from gorgond.service.life import Service
from gorgond.service.pseudonyms import Pseudonyms

PUT_LANES = 4  # of those that may take long, at a time
OURS = "auth_"  # so the names of the queues begin to which none but us may push, auth_get excepted
ARGUMENTS = {**operations.ARGUMENTS, **site_logins.ARGUMENTS}
TURN = 1.0  # seconds between two signs of life while others are waited for

log = logging.getLogger("gorgond.auth")


class AuthServer(Service):
    """One auth server."""

    role = "auth"

    def __init__(self, config: Config, fabric: Fabric, instance: str) -> None:
        super().__init__(config, fabric, instance)
        settings = config.auth
        self.producers = {
            broker: Producer(broker, self.name, fabric.room, hooks=self.hooks(f"push to {broker.outage.what}"))
            for broker in fabric.brokers
        }
        calls = self.producers[fabric.calls]
        self._caller = Caller(fabric.calls, calls, "auth_data", self.name, hooks=self.hooks("replies"))
        self._link = fabric.calls.link(f"{self.name} limits")
        self._sealing = Sealing(settings.key)
        self._passwords = Passwords()
        records = Records(self._caller)
        self.tokens = Tokens(records, settings.idle, settings.lifetime, lambda event: calls.publish(TOPIC, event))
        # The first key is everybody's; without one, each auth server has pseudonyms of its own.
        pseudonyms = Pseudonyms(settings.key.split()[0].encode() if settings.key else os.urandom(32))
        limits = Limits(self._link, settings.attempts, settings.address_attempts, pseudonyms)
        users = Users(records)
        accounts = Operations(users, self._passwords, self.tokens, limits)
        self._sites = _sites(config)
        logins = SiteLogins(self._sites, Identities(records, users), users, limits, accounts)
        self._public = {**accounts.public, **logins.public}
        self._own = {**accounts.own, **logins.own}
        self._listener: Listener
        self._listening: asyncio.Task[None]
        self._running: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        for producer in self.producers.values():
            producer.start()
        self._caller.start()
        self._listener = Listener(
            self.fabric.calls,
            [TOPIC],
            self.name,
            lambda _, event: self.tokens.heard(event),
            self.tokens.missed,
            hooks=self.hooks(TOPIC),
        )
        self._listening = self.spawn(self._listener.run(), TOPIC)
        consumers: list[_AuthConsumer] = []
        for broker in self.fabric.brokers:
            consumers.append(_GetConsumer(self, broker, self.name))
            count = PUT_LANES if broker is self.fabric.calls else 1
            consumers += [_PutConsumer(self, broker, f"{self.name}.{number}") for number in range(count)]
        for consumer in consumers:
            self.consumers.append(consumer)
        self._running = [self.spawn(consumer.run(), f"{consumer.name} {consumer.queue}") for consumer in consumers]

    async def drain(self) -> None:
        for consumer in self.consumers:
            consumer.stop()
        await asyncio.wait(self._running)
        self._listener.stop()
        await asyncio.wait({self._listening})
        await self._caller.stop()
        for producer in self.producers.values():
            await producer.stop()
        await self._link.close()
        self._passwords.close()
        for site in self._sites.values():
            site.close()

    def doing(self) -> str:
        return self.consuming()

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
        """Who asks, by the credentials in a message. Raises CallFailed 401 and 403, and what asking the store raises;
        a message without a deadline waits for the store as long as it takes."""
        credentials: dict[str, Any] = message.user or {}
        token = credentials.get("token", "")
        user = None
        while token and user is None:
            try:
                user = await self.tokens.user_of(token)
            except (DeadlineExceeded, BrokerError):
                if message.deadline:
                    raise
        check_need(user, credentials.get("need", "required"), credentials.get("rights", ""))
        return user


class _AuthConsumer(Consumer):
    """A consumer whose messages are handled side by side."""

    def __init__(
        self, service: AuthServer, broker: Broker, queue: str, name: str, batch: int, finishes: bool = False
    ) -> None:
        self._heartbeat = f"{name} {queue} at {broker.outage.what}"
        hooks = service.consumer_hooks(self._heartbeat, queue)
        super().__init__(broker, queue, name, self._all, batch, finishes=finishes, hooks=hooks)
        self._service = service
        self._producer = service.producers[broker]

    async def run(self) -> None:
        await super().run()
        self._service.heartbeats.end(self._heartbeat)

    async def _all(self, batch: Sequence[Message]) -> Sequence[Outcome]:
        tasks = [asyncio.ensure_future(self._outcome(message)) for message in batch]
        waiting = set(tasks)
        try:
            while waiting:
                _, waiting = await asyncio.wait(waiting, timeout=TURN)
                self._beat()
        finally:
            for task in waiting:
                task.cancel()
        return [task.result() for task in tasks]

    async def _outcome(self, message: Message) -> Outcome:
        handling.set((message.id,))  # of this task's own context
        try:
            return await contained(self._handle_one(message))
        except CallFailed as failed:
            return Done(error=failed)
        except GorgonError as error:
            if message.reply:
                return Done(error=told(error) or CallFailed(500, str(error)))
            return Retry(str(error))
        except Exception as error:
            log.exception("%s failed", message.op)
            return Retry(f"{type(error).__name__}: {error}")

    async def _handle_one(self, message: Message) -> Outcome:
        raise AssertionError("a consumer serves auth_get or auth_put")


class _GetConsumer(_AuthConsumer):
    """Serves auth_get."""

    def __init__(self, service: AuthServer, broker: Broker, name: str) -> None:
        super().__init__(service, broker, "auth_get", name, 64)

    async def _handle_one(self, message: Message) -> Outcome:
        service = self._service
        if message.next.startswith(OURS):  # we alone may push there
            raise CallFailed(403, f"next: {message.next} is for the auth server alone")
        if message.next:
            user = await service.who(message)
            await self._producer.push(message.next, message.forwarded(user=user))
            return Done(None)
        if message.op in QUICK:
            return await service.answer(message)
        await self._producer.push("auth_put", message)
        return Done(None)


class _PutConsumer(_AuthConsumer):
    """Serves auth_put. What was begun is done to its end: half a change might not be one."""

    def __init__(self, service: AuthServer, broker: Broker, name: str) -> None:
        super().__init__(service, broker, "auth_put", name, 1, finishes=True)

    async def _handle_one(self, message: Message) -> Outcome:
        return await self._service.answer(message)


def _sites(config: Config) -> dict[str, IdentityProvider]:
    """The other sites that the configuration names. Raises ConfigError."""
    if config.oauth2 and not config.web.url:
        raise ConfigError("[web] url must be given, as https://notes.example: other sites send browsers back to it")
    base = config.web.url.rstrip("/")
    return {
        name: IdentityProvider(name, each, f"{base}/auth/oauth2/{name}/callback")
        for name, each in config.oauth2.items()
    }
