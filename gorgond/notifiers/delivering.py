"""The notifications of one channel: whether their users want them, and that none is sent twice as far as that can be.

    deliveries   {"id": "USER:NID:CHANNEL" or "USER:NID:CHANNEL:TARGET", "userid", "kind", "channel", "target", "by",
                  "state", "reason", "tries"}

    sending   it is being sent, or was, by a server that died at it
    waiting   it could not be sent, and is tried again
    sent, dead (given up), off (its user does not want it, or there is none)

Where a user may have several targets, a notification is made into a message for each of them first, with an id made of
its own: from then on each is sent, repeated and noted for itself, and one that fails delays no other.

Before a notification is sent, a delivery of its id is stored, and after that is noted in it. A repeat finds it "sent"
and is done. One that finds it "sending" comes from a server that died in between: it sends again, with the same id, by
which whoever gets it may know. `by` is the message's own id: that of another message with the same `key` finds that it
is somebody else's, and is done.

What its user wants is asked last, when nothing but sending is left: what was answered before that holds.
"""

from __future__ import annotations

import asyncio
import logging
import re
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple, Protocol, TypeVar
from urllib.parse import urlencode

from gorgond.app.clients import Document, StoreClient
from gorgond.app.notifying import (
    DELIVERIES,
    PREFERENCES,
    QUEUE,
    own_filter,
    preference_word,
    preferences_of,
    target_id,
    visible_part,
)
from gorgond.errors import Conflict, NotFound, NotSent, TargetGone, Undeliverable
from gorgond.notifiers.inbox import Inbox
from gorgond.notifiers.notifier import Notification, Notifier, Recipient
from gorgond.notifiers.pace import Pace
from gorgond.redpill import (
    DONE,
    ID_MAX,
    Attempts,
    CallFailed,
    Dead,
    GorgonError,
    Message,
    Outcome,
    Retry,
    contained,
    now_ms,
)
from gorgond.service.channels import OPERATION, counter_of
from gorgond.service.metrics import Metrics

PATIENT = Attempts(most=1000, first=10.0, longest=900.0)
KEPT = 5 * 86400.0  # seconds for which one that is not sent is tried again, as mail servers do
SOON = 1.0  # seconds until the store, or the broker, is asked again that did not answer
REASON_MAX = 300  # characters
TARGETS_MAX = 100  # of a user, for one channel

_ADDRESS = re.compile(r"[^\s<>\"']+@[^\s<>\"']+")

T = TypeVar("T")

log = logging.getLogger("gorgond.notify")


class Contact(NamedTuple):
    """How a user is reached."""

    name: str
    email: str


class Server(Protocol):
    """The notification server, as its channels see it."""

    metrics: Metrics
    draining: bool

    async def publish(self, event: Message) -> None:
        """Tell those who watch inboxes; back when the broker has it."""

    async def push(self, queue: str, message: Message, at: int | None = None) -> None:
        """Push a message, due at a time in ms since 1970 if that is given; back when it is kept."""

    async def push_all(self, messages: Sequence[tuple[str, Message]]) -> None:
        """Push each of these to the queue beside it; back when all are kept. Waits for a queue that has no room. Raises
        Leaving."""

    async def contact(self, user: str) -> Contact | None:
        """How the user of this id is reached, if there is one."""


class Leaving(GorgonError):
    """The server ends; whoever comes next sends what is left."""


class Channel(ABC):
    """What all channels share: what fails is tried again, now or later."""

    def __init__(self, name: str, store: StoreClient, server: Server) -> None:
        self.name = name
        self.reason = ""
        """Why one could not be sent, the last time; without the address of whom it was for."""
        self._store = store
        self._server = server

    async def handle(self, message: Message) -> Outcome:
        """The outcome of a message of the channel's queue."""
        try:
            notification = Notification.of(message)
        except KeyError as missing:
            return Dead(f"it is no notification: {missing} is missing")
        try:
            await self._deliver(notification, message)
        except NotSent as failed:
            log.info("%s is sent later over %s: %s", notification.id, self.name, failed)
            self._count_failure("later", failed)
            return Retry(str(failed), failed.after)
        except Undeliverable as failed:
            self._count_failure("dead", failed)
            return Dead(str(failed))
        except Leaving as leaving:
            return Retry(str(leaving), delay=0.0)
        return DONE

    @abstractmethod
    async def _deliver(self, notification: Notification, message: Message) -> None:
        """Send a notification. Raises NotSent, Undeliverable and Leaving."""

    async def _ask(self, work: Callable[[], Awaitable[T]]) -> T:
        """The outcome of `work`, which asks the store or the broker, and may be done again. While they are away it is
        waited for them, since all others would fare as this one. Raises Undeliverable for what they refuse, and
        Leaving."""
        while True:
            try:
                return await work()
            except GorgonError as error:
                if isinstance(error, CallFailed) and error.code < 500 and not isinstance(error, Conflict):
                    raise Undeliverable(f"refused: {error}") from error
                log.debug("%s asks again: %s", self.name, error)
                await self._pause(SOON)

    async def _pause(self, seconds: float) -> None:
        """Wait so long, a second at most. Raises Leaving when the server ends."""
        if self._server.draining:
            raise Leaving("its server ends")
        await asyncio.sleep(min(seconds, SOON))

    def _count(self, what: str) -> None:
        self._server.metrics.count(counter_of(self.name, what))

    def _count_sent(self, notification: Notification) -> None:
        self._count("sent")
        seconds = max(now_ms() - notification.at, 0) / 1000
        self._server.metrics.measure(f"{OPERATION}{self.name}", 1, 0, 0, seconds)

    def _count_failure(self, what: str, why: GorgonError) -> None:
        self._count(what)
        self.reason = _ADDRESS.sub("…", str(why))[:REASON_MAX]


class IntoInbox(Channel):
    """The channel that is always there; who watches an inbox is told at once."""

    def __init__(self, name: str, store: StoreClient, server: Server) -> None:
        super().__init__(name, store, server)
        self._inbox = Inbox(store)

    async def _deliver(self, notification: Notification, message: Message) -> None:
        if await self._ask(lambda: self._put(notification)):
            self._count_sent(notification)
        else:
            self._count("off")

    async def _put(self, notification: Notification) -> bool:
        """Put it there, if its user wants it."""
        found = await self._store.find(PREFERENCES, {"id": notification.user}, limit=1)
        if found and preference_word(notification.kind, self.name) in found[0]["off"]:
            return False
        document = await self._inbox.put(notification)
        # Once more for a repeat: who put it there may have died before that.
        await self._server.publish(Message("notify.added", {"user": notification.user, **visible_part(document, 0)}))
        return True


class Outside(Channel):
    """A channel that leads outside. `pace` says when one more may be sent, `site` is the website's address, if there is
    one."""

    def __init__(self, notifier: Notifier, store: StoreClient, server: Server, pace: Pace, site: str) -> None:
        super().__init__(notifier.name, store, server)
        self._notifier = notifier
        self._pace = pace
        self._site = site

    async def _deliver(self, notification: Notification, message: Message) -> None:
        target = str(message.args.get("target", ""))
        if self._notifier.targets and not target:
            await self._expand(notification, message)
            return
        delivery = delivery_of(notification, self.name, target, message.id)
        recipient = await self._ask(lambda: self._begin(delivery))
        if recipient is not None:
            await self._deliver_to(notification, recipient, delivery)

    async def _deliver_to(self, notification: Notification, recipient: Recipient, delivery: Document) -> None:
        """Send it, and note that. Raises NotSent, Undeliverable and Leaving."""
        unsubscribe = await self._may_send(notification)
        if unsubscribe is None:
            await self._ask(lambda: self._note(delivery["id"], in_state("off")))
            return
        try:
            await self._send(notification, recipient._replace(unsubscribe=unsubscribe))
        except TargetGone as failed:
            self._count("gone")
            gone = in_state("off", str(failed))
            await self._ask(lambda: self._note(delivery["id"], gone))
            await self._ask(lambda: self._forget(recipient.target))
            return
        except (NotSent, Undeliverable) as failed:
            noted = in_state("waiting" if isinstance(failed, NotSent) else "dead", str(failed))
            await self._ask(lambda: self._note(delivery["id"], noted))
            raise
        self._count_sent(notification)
        await self._ask(lambda: self._note(delivery["id"], in_state("sent")))

    async def _may_send(self, notification: Notification) -> str | None:
        """Wait until one more may be sent: the address to be sent no more of its kind, or None if its user wants none
        of it."""
        while wait := await self._pace.turn():
            await self._pause(wait)
        preferences = await self._ask(lambda: preferences_of(self._store, notification.user))
        if preference_word(notification.kind, self.name) in preferences["off"]:
            self._count("off")
            return None
        return self._unsubscribe_link(notification, preferences["token"])

    async def _expand(self, notification: Notification, message: Message) -> None:
        """Have it sent to each of its user's targets that is to have it."""
        found = await self._ask(
            lambda: self._store.find(self._notifier.targets, own_filter(notification.user), limit=TARGETS_MAX)
        )
        targets = [target_id(each) for each in found if self._notifier.wants(each, notification)]
        await self._server.push_all([(f"{QUEUE}:{self.name}", message_for(message, each)) for each in targets])

    async def _begin(self, delivery: Document) -> Recipient | None:
        """Whom to send it, if it is to be sent by who handles this message."""
        id, user, target = delivery["id"], delivery["userid"], delivery["target"]
        with suppress(Conflict):  # it was begun, by a message of before or another one of the same key
            await self._store.insert(DELIVERIES, delivery)
        found = await self._store.find(DELIVERIES, {"id": id}, limit=1, fields=["by", "state"])
        if not found or found[0]["by"] != delivery["by"] or not await self._takes_up(delivery, found[0]["state"]):
            return None
        recipient = await self._recipient(user, target)
        if recipient is None:
            await self._note(id, in_state("off", "there is no such target" if target else "there is no such user"))
        return recipient

    async def _recipient(self, user: str, target: str) -> Recipient | None:
        if not target:
            contact = await self._server.contact(user)
            return Recipient(user, contact.name, contact.email, "", self._site) if contact else None
        there = await self._store.find(self._notifier.targets, {"id": f"{user}:{target}"}, limit=1)
        return Recipient(user, "", "", "", self._site, there[0]) if there else None

    async def _takes_up(self, delivery: Document, state: str) -> bool:
        """Whether one that was begun and has come so far is to be sent."""
        return state != "sent"

    async def _send(self, notification: Notification, recipient: Recipient) -> None:
        """Raises NotSent, for some days, and Undeliverable."""
        try:
            await contained(self._notifier.send(notification, recipient))
        except Undeliverable:
            raise
        except NotSent as failed:
            if now_ms() - notification.at > KEPT * 1000:
                raise Undeliverable(f"it was tried for {KEPT / 86400:.0f} days: {failed}") from failed
            raise
        except Exception as error:
            log.exception("%s could not be sent over %s", notification.kind, self.name)
            raise NotSent(f"{type(error).__name__}: {error}") from error

    async def _forget(self, target: Mapping[str, Any]) -> None:
        with suppress(NotFound):
            await self._store.delete(self._notifier.targets, target["id"])

    async def _note(self, id: str, changes: Mapping[str, Any]) -> None:
        try:
            await self._store.patch(DELIVERIES, id, changes)
        except NotFound:  # its user's account has ended meanwhile
            log.debug("delivery %s is gone", id)

    def _unsubscribe_link(self, notification: Notification, token: str) -> str:
        if not self._site:
            return ""
        about = {"who": notification.user, "kind": notification.kind, "channel": self.name, "token": token}
        return f"{self._site}/notifications/unsubscribe?{urlencode(about)}"


def delivery_of(notification: Notification, channel: str, target: str, by: str) -> Document:
    """The delivery of a notification over a channel, to a target where there are such, as it begins."""
    id = ":".join(filter(None, (notification.user, notification.id, channel, target)))
    return {
        "id": id, "userid": notification.user, "kind": notification.kind, "channel": channel, "target": target,
        "by": by, "state": "sending", "tries": 0,
    }  # fmt: skip


def in_state(state: str, reason: str = "") -> Document:
    """The changes of a delivery that is in another state."""
    return {"state": state, "reason": reason[:REASON_MAX] or None}


def message_for(message: Message, target: str) -> Message:
    """The message that sends a notification to one target, made of the one that sends it to all of its user's."""
    id = f"{message.id}:{target}"[-ID_MAX:]
    return Message(message.op, {**message.args, "target": target}, id, sent=message.sent, trace=message.trace)
