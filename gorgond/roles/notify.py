"""NotificationServer: brings notifications to people, over each channel that they want.

    notify_put         what applications want somebody to know (`ctx.notify`): passed on to each channel's queue
    notify_put:inbox   into the user's inbox, documents in the store
    notify_put:NAME    over the channel [notify.NAME], whose kind says how: `gorgond.notifiers`

Those who are connected over Socket.IO hear what comes into their inboxes: `gorgond.live`.

Each channel has a queue of its own, so one whose server is dead delays no other. Messages go on before they are settled
and under ids that are made of what they were, so none is lost, and a repeat is known for one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

from gorgond.app.browsers import KEY, KEYS
from gorgond.app.clients import StoreClient
from gorgond.app.notifying import INBOX, QUEUE, TOPIC
from gorgond.config import Config
from gorgond.errors import ConfigError, Conflict
from gorgond.http.server import open_port
from gorgond.live.door import Door
from gorgond.notifiers import NOTIFIERS
from gorgond.notifiers.delivering import PATIENT, SOON, Channel, Contact, IntoInbox, Leaving, Outside
from gorgond.notifiers.notifier import Notifier
from gorgond.notifiers.pace import Pace
from gorgond.notifiers.retrying import Retrying
from gorgond.notifiers.targeted import Targeted
from gorgond.notifiers.tidying import Tidying
from gorgond.redpill import (
    DONE,
    ID_MAX,
    Attempts,
    BrokerError,
    CallFailed,
    GorgonError,
    Message,
    Outcome,
    Reply,
    Retry,
    contained,
    loads,
    new_id,
    now_ms,
)
from gorgond.service.calling import Calling
from gorgond.service.ends import Together
from gorgond.service.fabric import Fabric
from gorgond.service.leading import Leading
from gorgond.service.life import Service, log
from gorgond.service.systemd import listening_sockets

IN_HAND = 64  # notifications on their way into inboxes, or passed on to the channels, at the same time
STEADY = Attempts(most=10)  # what needs nobody but the store fails by our own deaths alone
ANSWER_MS = 10_000  # for one question to the store
TIDYING = "notify:tidying"  # the lease of the one that tidies
CONTACT = "notify_store_get"  # the queue over which we ask for the address of a user


class NotificationServer(Service):
    """One notification server."""

    role = "notify"

    def __init__(self, config: Config, fabric: Fabric, instance: str) -> None:
        super().__init__(config, fabric, instance)
        if INBOX in config.channels:
            raise ConfigError(f"[notify.{INBOX}]: that channel is always there, and has no settings: call it otherwise")
        self._asking = _Asking(self.caller("notify_data"))
        self._store = store = StoreClient(self._asking)
        site = config.web.url.rstrip("/")
        self._channels: dict[str, Channel] = {INBOX: IntoInbox(INBOX, store, self)}
        self._notifiers: list[Notifier] = []
        self._paces: list[Pace] = []
        for name, settings in config.channels.items():
            notifier: Notifier = NOTIFIERS.load(settings.kind)(name, settings)
            self._check_targets(notifier)
            pace = Pace(fabric.durable.link(f"{self.name} {name} pace"), name, settings.rate)
            self._notifiers.append(notifier)
            self._paces.append(pace)
            kind = Retrying if notifier.schedule else Targeted if notifier.targets else Outside
            self._channels[name] = kind(notifier, store, self, pace, site)
        self._leading = Leading(fabric.durable.link(f"{self.name} lease"), TIDYING, self.consumes_as)
        self._tidying = Tidying(store, self._leading, config.notifications, self.metrics)
        self._door = Door(self._user_of, store, self._hear, partial(self.loop, ends=True), config)
        self.port = 0

    def _check_targets(self, notifier: Notifier) -> None:
        """Two channels to the same targets would send everything twice."""
        for each in self._notifiers:
            if notifier.targets and each.targets == notifier.targets:
                raise ConfigError(
                    f"[notify.{notifier.name}]: [notify.{each.name}] sends to the same {each.targets}: one of them is "
                    "enough, since users say which of them want what"
                )

    async def start(self) -> None:
        sockets = listening_sockets("notify")
        if sockets is None:
            sockets = open_port(self.config.notify.address, self.config.notify.port)
        self.port = sockets[0].getsockname()[1]
        self.concurrent_consumer(f"{QUEUE}:{INBOX}", self._channels[INBOX].handle, IN_HAND, attempts=STEADY)
        for each in self._notifiers:
            channel = self._channels[each.name]
            self.concurrent_consumer(f"{QUEUE}:{each.name}", channel.handle, each.in_hand, attempts=PATIENT)
            self.task(self._open(each), f"open {each.name}")
        self.concurrent_consumer(QUEUE, self._pass_on, IN_HAND, attempts=STEADY)
        self._lead = self.loop(self._leading.run, "lease")
        self._tidy = self.loop(self._tidying.run, "tidy")
        self.listener("auth_notify", lambda _, event: self._door.hear_session(event), self._door.doubt_sessions)
        self._door.listen(sockets)

    async def drain(self) -> None:
        await self._door.close()
        self._tidy.cancel()
        await asyncio.wait({self._tidy})

    async def _open(self, notifier: Notifier) -> None:
        """Have a notifier fetch what it needs."""
        while True:
            try:
                await contained(notifier.open(self))
            except GorgonError as error:
                log.debug("%s is opened later: %s", notifier.name, error)
            except Exception:  # noqa: BLE001 - a notifier may fail as it likes
                log.exception("%s could not be opened", notifier.name)
            else:
                return
            await asyncio.sleep(SOON)

    async def _pass_on(self, message: Message) -> Outcome:
        """Give a notification to each channel."""
        copies = [
            (
                f"{QUEUE}:{name}",
                Message(
                    message.op, message.args, f"{message.id}:{name}"[-ID_MAX:], sent=message.sent, trace=message.trace
                ),
            )
            for name in self._channels
        ]
        try:
            await self.push_all(copies)
        except Leaving as leaving:
            return Retry(str(leaving), delay=0.0)
        return DONE

    async def push(self, queue: str, message: Message, at: int | None = None) -> None:
        """Push a message, due at a time if that is given; back when it is kept."""
        await self.producer(queue).push(queue, message, at=at)

    async def push_all(self, messages: Sequence[tuple[str, Message]]) -> None:
        """Push each of these to the queue beside it; back when all are kept. Waits for a queue that has no room. Raises
        Leaving."""
        while messages:
            pushes = (self.push(queue, message) for queue, message in messages)
            done = await asyncio.gather(*pushes, return_exceptions=True)
            for failed in done:
                if failed is not None and not isinstance(failed, BrokerError):
                    raise failed
            messages = [each for each, failed in zip(messages, done, strict=True) if failed is not None]
            if messages:
                if self.draining:
                    raise Leaving(f"no room for it: {', '.join(sorted({queue for queue, _ in messages}))}")
                await asyncio.sleep(SOON)

    async def publish(self, event: Message) -> None:
        """Tell those who watch inboxes; back when the broker has it."""
        await self.producer(TOPIC).publish(TOPIC, event)

    async def contact(self, user: str) -> Contact | None:
        """How the user of this id is reached; None where there is none, or the account is ending."""
        asked = {"filter": {"id": user}, "fields": ["name", "email", "confirmed", "erased"], "limit": 1}
        try:
            found = loads((await self._asking.ask(CONTACT, "users.find", asked)).body)
        except CallFailed as failed:
            if failed.code != 403:
                raise
            # A store that does not tell so much yet: another one does, or this one after its upgrade.
            raise CallFailed(503, str(failed)) from failed
        if not found or found[0].get("erased"):
            return None
        return Contact(found[0]["name"], found[0]["email"], found[0].get("confirmed", True))

    async def kept_key(self, public: str, private: str) -> str:
        """The private key that all notification servers have: this one, if there was none."""
        with suppress(Conflict):
            await self._store.insert(KEYS, {"id": KEY, "public": public, "private": private})
        asked = {"filter": {"id": KEY}, "fields": ["private"], "limit": 1}
        found = loads((await self._asking.ask(CONTACT, f"{KEYS}.find", asked)).body)
        return str(found[0]["private"])

    async def _user_of(self, session: str) -> str:
        """The id of the user of a session. Raises what a call raises, CallFailed 401 when it has ended."""
        asks = {"token": session, "need": "required", "rights": ""}
        return str(loads((await self._asking.ask("auth_get", "auth.me", {}, user=asks)).body)["id"])

    def _hear(self, topic: str, heard: Callable[[str, Message], None], missed: Callable[[], None]) -> Together:
        return self.listener(topic, heard, missed, usual=self.fabric.durable)

    async def close(self) -> None:
        self._lead.cancel()
        await asyncio.wait({self._lead})
        await self._leading.leave()
        for pace in self._paces:
            await pace.close()
        for notifier in self._notifiers:
            try:
                await contained(notifier.close())
            except Exception:  # noqa: BLE001 - a notifier may fail as it likes
                log.exception("%s could not be closed", notifier.name)

    def doing(self) -> str:
        return f"{self.consuming()}; port {self.port}: {self._door.state}"

    def snapshot(self) -> dict[str, Any]:
        reasons = {name: channel.reason for name, channel in self._channels.items() if channel.reason}
        return {**super().snapshot(), "reasons": reasons}


class _Asking:
    """The questions to other servers: each has a deadline of its own. Raises what a call raises."""

    def __init__(self, caller: Calling) -> None:
        self._caller = caller

    async def ask(
        self,
        queue: str,
        op: str,
        args: dict[str, Any],
        private: bool = False,
        user: dict[str, str] | None = None,
    ) -> Reply:
        """Have something read, by the user of these credentials if there are any."""
        message = Message(op, args, new_id(), user=user, deadline=now_ms() + ANSWER_MS)
        reply = await self._caller.call(queue, message)
        if reply.error is not None:
            raise reply.error
        return reply

    async def change(self, queue: str, op: str, args: dict[str, Any]) -> Reply:
        """Have something changed."""
        return await self.ask(queue, op, args)
