"""The notifications of one channel: whether their users want them, and that none is sent twice as far as that can be.

    deliveries   {"id": "USER:NID:CHANNEL" or "USER:NID:CHANNEL:TARGET", "userid", "kind", "channel", "target", "by",
                  "state", "reason", "tries", "window"}

    sending   it is being sent, or was, by a server that died at it
    waiting   it could not be sent, and is tried again
    sent, dead (given up), off (its user does not want it, or there is none), gathered (into a digest)

Where a user may have several targets, a notification is made into a message for each of them first, with an id made of
its own: from then on each is sent, repeated and noted for itself, and one that fails delays no other.

Before a notification is sent, a delivery of its id is stored, and after that is noted in it. A repeat finds it "sent"
and is done. One that finds it "sending" comes from a server that died in between: it sends again, with the same id, by
which whoever gets it may know. `by` is the message's own id: that of another message with the same `key` finds that it
is somebody else's, and is done.

Nothing is noted or made for who is no user, or whose account is ending: it would outlast that.

A letter (`app.letters`) that is given up is no dead letter of the queue: the link in it may hold yet, and would lie
there for who looks. Its delivery says why, and its user asks for another one.

An address that its user has not confirmed gets letters alone (`app.letters`): by one of them it is confirmed. Those who
registered when there were none get all.

What its user wants is asked last, when nothing but sending is left: what was answered before that holds.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import re
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple, Protocol, TypeVar
from urllib.parse import urlencode

from gorgond.app.clients import Document, StoreClient
from gorgond.app.letters import DIGEST, LETTERS, TO
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
from gorgond.app.times import quiet_until
from gorgond.errors import Conflict, NotFound, NotSent, TargetGone, Undeliverable
from gorgond.notifiers.digests import Digests
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
from gorgond.service.channels import OPERATION, UNSETTLED, counter_of
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
    proved: bool  # or nobody has asked for it


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
        """How the user of this id is reached; None where there is none, or the account is ending."""


class Leaving(GorgonError):
    """The server ends; whoever comes next sends what is left."""


class Quiet(GorgonError):
    """Its user is not to be disturbed until a time, ms since 1970."""

    def __init__(self, until: int) -> None:
        super().__init__("its user's quiet hours")
        self.until = until


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
            if notification.kind not in LETTERS:
                return Dead(str(failed))
            log.warning("%s to user %s is given up: %s", notification.kind, notification.user, failed)
        except Quiet as quiet:
            self._count("quiet")
            return Retry(str(quiet), delay=max(0.0, (quiet.until - now_ms()) / 1000))
        except Leaving as leaving:
            return Retry(str(leaving), delay=0.0)
        return DONE

    @abstractmethod
    async def _deliver(self, notification: Notification, message: Message) -> None:
        """Send a notification. Raises NotSent, Undeliverable, Quiet and Leaving."""

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

    def _tell_nobody(self, notification: Notification, target: str = "") -> None:
        who = f"target {target} of user {notification.user}" if target else f"user {notification.user}"
        log.info("%s is sent to nobody over %s: there is no %s", notification.id, self.name, who)

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
        await self._ask(lambda: self._put(notification))

    async def _put(self, notification: Notification) -> None:
        """Put it there, if its user wants it."""
        document = await self._inbox.put(notification, lambda: self._is_wanted(notification))
        if document is None:
            self._count("off")
            return
        # Once more for a repeat: who put it there may have died before that.
        added = {"user": notification.user, **visible_part(document, 0)}
        await self._server.publish(Message("notify.added", added))
        self._count_sent(notification)

    async def _is_wanted(self, notification: Notification) -> bool:
        user = notification.user
        contact, found = await asyncio.gather(
            self._server.contact(user), self._store.find(PREFERENCES, {"id": user}, limit=1)
        )
        if contact is None:
            self._tell_nobody(notification)
            return False
        return not found or preference_word(notification.kind, self.name) not in found[0]["off"]


class Outside(Channel):
    """A channel that leads outside. `pace` says when one more may be sent, `site` is the website's address, if there is
    one."""

    def __init__(self, notifier: Notifier, store: StoreClient, server: Server, pace: Pace, site: str) -> None:
        super().__init__(notifier.name, store, server)
        self._notifier = notifier
        self._pace = pace
        self._site = site
        self._digests = Digests(notifier.name, store, functools.partial(server.push, f"{QUEUE}:{notifier.name}"))

    async def _deliver(self, notification: Notification, message: Message) -> None:
        target = str(message.args.get("target", ""))
        to = str(message.args.get(TO, "")) if notification.kind in LETTERS else ""
        recipient = await self._ask(lambda: self._recipient(notification, target, to))
        if recipient is None:
            self._tell_nobody(notification, target)
            self._count("off")
            await self._ask(lambda: self._drop(delivery_of(notification, self.name, target, message.id)["id"]))
            return
        if not target and await self._is_gathered(notification, message.id):
            return
        if self._notifier.targets and not target:
            await self._expand(notification, message)
            return
        delivery = delivery_of(notification, self.name, target, message.id)
        if await self._ask(lambda: self._begin(delivery, notification, recipient)):
            await self._deliver_to(notification, recipient, delivery)

    async def _deliver_to(self, notification: Notification, recipient: Recipient, delivery: Document) -> None:
        """Send it, and note that. Raises NotSent, Undeliverable, Quiet and Leaving."""
        may = await self._may_send(notification)
        if may is None:
            await self._ask(lambda: self._note(delivery["id"], in_state("off")))
            return
        said, unsubscribe = may
        try:
            await self._send(said, recipient._replace(unsubscribe=unsubscribe))
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
        if notification.kind == DIGEST:
            await self._ask(lambda: self._digests.tidy(notification))

    async def _is_gathered(self, notification: Notification, by: str) -> bool:
        """Whether its user wants it in a digest, where it is then. Raises Quiet when nothing is wanted just now."""
        if not self._notifier.loud or notification.kind in LETTERS:
            return False
        preferences = await self._ask(lambda: preferences_of(self._store, notification.user))
        times, word = preferences.get("times") or {}, preference_word(notification.kind, self.name)
        if word in preferences["off"]:
            return False
        if word in preferences.get("digest", ()) and not self._notifier.targets:
            await self._ask(lambda: self._gather(notification, by, times))
            return True
        _check_loud(times)
        return False

    async def _gather(self, notification: Notification, by: str, times: Mapping[str, Any]) -> None:
        """Put it into a digest, unless it was sent already, or has a message of its own."""
        delivery = delivery_of(notification, self.name, "", by)
        with suppress(Conflict):
            await self._store.insert(DELIVERIES, delivery)
        found = await self._store.find(DELIVERIES, {"id": delivery["id"]}, limit=1, fields=["by", "state"])
        if found and found[0]["by"] == by and found[0]["state"] in (*UNSETTLED, "gathered"):
            await self._digests.add(DELIVERIES, delivery["id"], notification, times)
            self._count("gathered")

    async def _may_send(self, notification: Notification) -> tuple[Notification, str] | None:
        """Wait until one more may be sent: what is sent of it, and the address to be sent no more of its kind; None if
        its user wants none of it. Raises Quiet when nothing is wanted just now, and Leaving."""
        while wait := await self._pace.turn():
            await self._pause(wait)
        if notification.kind in LETTERS:
            return notification, ""
        preferences = await self._ask(lambda: preferences_of(self._store, notification.user))
        if self._notifier.loud:  # quiet hours may have begun while it waited for its turn, or was tried in vain
            _check_loud(preferences.get("times") or {})
        wanted = await self._wanted(notification, preferences["off"])
        if wanted is None:
            self._count("off")
            return None
        return wanted, self._unsubscribe_link(notification, preferences["token"])

    async def _wanted(self, notification: Notification, off: Collection[str]) -> Notification | None:
        """What is sent of it, to a user who does not want what is `off`; None: nothing."""
        if notification.kind == DIGEST:
            return await self._ask(lambda: self._digests.whole(notification, off))
        return None if preference_word(notification.kind, self.name) in off else notification

    async def _expand(self, notification: Notification, message: Message) -> None:
        """Have it sent to each of its user's targets that is to have it."""
        found = await self._ask(
            lambda: self._store.find(self._notifier.targets, own_filter(notification.user), limit=TARGETS_MAX)
        )
        targets = [target_id(each) for each in found if self._notifier.wants(each, notification)]
        await self._server.push_all([(f"{QUEUE}:{self.name}", message_for(message, each)) for each in targets])

    async def _begin(self, delivery: Document, notification: Notification, recipient: Recipient) -> bool:
        """Whether it is to be sent by who handles this message."""
        id = delivery["id"]
        with suppress(Conflict):  # it was begun, by a message of before or another one of the same key
            await self._store.insert(DELIVERIES, delivery)
        found = await self._store.find(DELIVERIES, {"id": id}, limit=1, fields=["by", "state"])
        if not found or found[0]["by"] != delivery["by"]:
            return False
        if found[0]["state"] == "gathered":  # its user wants it by itself since
            await self._digests.add(DELIVERIES, id, notification, {})
            return False
        if not await self._takes_up(delivery, found[0]["state"]):
            return False
        if not self._notifier.reaches(recipient):
            await self._note(id, in_state("off", "there is no address that was confirmed"))
            return False
        return True

    async def _recipient(self, notification: Notification, target: str, to: str) -> Recipient | None:
        """Who is to have it, at this target of theirs if there is one, or a letter at the address `to`; None where that
        is nobody."""
        user = notification.user
        if not target:
            contact = await self._server.contact(user)
            if contact is None:
                return None
            email = contact.email if contact.proved or notification.kind in LETTERS else ""
            return Recipient(user, contact.name, to or email, "", self._site)
        there = await self._store.find(self._notifier.targets, {"id": f"{user}:{target}"}, limit=1)
        return Recipient(user, "", "", "", self._site, there[0]) if there else None

    async def _takes_up(self, delivery: Document, state: str) -> bool:
        """Whether one that was begun and has come so far is to be sent."""
        return state != "sent"

    async def _send(self, notification: Notification, recipient: Recipient) -> None:
        """Raises NotSent, for as long as it is to be tried again, and Undeliverable."""
        try:
            await contained(self._notifier.send(notification, recipient))
        except Undeliverable:
            raise
        except NotSent as failed:
            kept = self._kept(notification)
            if now_ms() - notification.at > kept * 1000:
                raise Undeliverable(f"it was tried for {kept / 3600:.0f} hours: {failed}") from failed
            raise
        except Exception as error:
            log.exception("%s could not be sent over %s", notification.kind, self.name)
            raise NotSent(f"{type(error).__name__}: {error}") from error

    def _kept(self, notification: Notification) -> float:
        """Seconds for which it is tried."""
        return LETTERS.get(notification.kind, KEPT)  # a link that is over is of no use

    async def _drop(self, id: str) -> None:
        """Note that a delivery is for nobody any more, if it was begun: what is not settled stays for ever."""
        found = await self._store.find(DELIVERIES, {"id": id}, limit=1, fields=["state"])
        if found and found[0]["state"] in UNSETTLED:
            await self._note(id, in_state("off", "there is nobody there any more"))

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


def _check_loud(times: Mapping[str, Any]) -> None:
    """Raises Quiet in the quiet hours that a user's `times` have."""
    if until := quiet_until(times, now_ms()):
        raise Quiet(until)


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
