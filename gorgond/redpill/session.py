"""A consumer's session with the broker: its desk, the list of what it has taken and not yet settled.

The session takes the desk, which gives it a fencing token, and makes claims, numbered 1, 2, 3, … A claim is one round
trip: it settles what was handled, sends its replies and brings the next messages. On an empty queue the session waits
for the broker to put a message on the desk, or stands by when it is another consumer's turn: a claim says which, and
scripts/claim.lua why. A message leaves the desk only when it is settled, so whatever happens to the consumer, what it
had is found on its desk: by its successor of the same name, or by any consumer of the queue, which looks for silent
ones every few seconds.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import random
import time
from collections.abc import Callable, Coroutine
from typing import Any

from gorgond.redpill.broker import (
    AT_QUEUE,
    BLOCK,
    CLAIM_BYTES,
    HEEDED,
    IDLE,
    SILENCE,
    STANDING_BY,
    TOUCH,
    Broker,
    Claim,
    Voided,
)
from gorgond.redpill.deadline import Deadline
from gorgond.redpill.ending import Ending
from gorgond.redpill.errors import BrokerAway, BrokerError, QueueFull
from gorgond.redpill.logline import counted, log
from gorgond.redpill.message import ATTEMPTS_PREFIX

LEAVE = 1.0  # seconds that giving up a desk may take; what is not given up is found
SHORTEST = 0.01  # seconds to wait for a message, however soon one is due
REJOIN = 60.0  # seconds between two looks whether a group is still one
LATE_STEPS = 3  # from one claim to the next: Redis, the answer, the handler
POLL = 0.1  # seconds between two looks at a queue whose broker has no room to let us wait there


class Abandoned(Exception):
    """The consumer ends although it cannot handle what it was given: that goes back to the queue."""


class Session:
    """The desk of the consumer `name` on `queue`. `attempts` is how often a message's handling is started at most;
    `beat` is called before each round trip; `renewed` is called when the desk was taken: nothing of before is ours;
    `rejoined` when the group was made again that somebody had deleted."""

    def __init__(
        self,
        broker: Broker,
        queue: str,
        name: str,
        attempts: int,
        beat: Callable[[], None],
        renewed: Callable[[], None] = lambda: None,
        rejoined: Callable[[], None] = lambda: None,
    ) -> None:
        self.ending = Ending(broker)
        self.token = ""  # the fencing token of our desk, empty when we have none
        self.length = 0  # how many messages lie on the desk, as far as we know
        self.joined = asyncio.Event()  # set when no further event of the group is missed
        self._link = broker.link(f"{name} {queue}")
        self._queue = queue
        self._name = name
        self._attempts = attempts
        self._beat = beat
        self._renewed, self._rejoined = renewed, rejoined
        self._group: tuple[str, str, int] | None = None
        self._number = 0  # of the last claim
        self._due: float | None = None  # in how many seconds after it the next of the delayed is due
        self._stand = AT_QUEUE  # how it said to wait
        self._room = 1  # that it had
        self._patience = HEEDED
        self._crowded = False  # whether the last claim that brought anything brought several
        self._unhandled = False
        self._look_at = 0.0  # when to look for silent consumers
        self._rejoin_at = 0.0  # when to look whether the group is still one
        self._replies: dict[str, list[bytes]] = {}  # that go with the next claim
        self._size = 0  # bytes of them

    def join(self, topic: str, group: str, kept: int) -> None:
        """The queue is that of a group, which is joined before the desk is taken. The group lasts beyond this session,
        but a broker that has lost the desk may have lost it too."""
        self._group = topic, group, kept

    async def run(self, work: Coroutine[Any, Any, None]) -> None:
        """Await `work`, which consumes until it is to end; then give the desk up."""
        try:
            if not await self.ending.over(work):
                self.token = ""  # the broker does not answer: what it gave us meanwhile is found on the desk
        except Abandoned:
            self._unhandled = True
        finally:
            await self._leave()

    async def take(self) -> None:
        """Take the desk."""
        if self._group is not None:
            await self._link.persist(functools.partial(self._link.join, *self._group), self._beat)
            self._rejoin_at = time.monotonic() + REJOIN
            self.joined.set()
        take = functools.partial(self._link.take, self._queue, self._name)
        self.token, self.length = await self._link.persist(take, self._beat)
        self._number = 0
        self._renewed()
        if self.length:
            log.warning("%s found %d unfinished on its desk of %s", self._name, self.length, self._queue)

    async def claim(self, claim: Claim, room: int) -> list[bytes]:
        """Settle what `claim` says, and take up to `room` messages: what to handle next. A desk that was lost meanwhile
        is taken anew."""
        self._number += 1
        claim.number, claim.length, claim.patience = self._number, self.length, self._patience
        self._patience = HEEDED
        claim.want = 0 if self.ending.asked else claim.held + room
        self._room = room
        claim.replies, self._replies, self._size = self._replies, {}, 0
        try:
            self.length, messages, self._due, self._stand = await self._link.persist(
                lambda: self._link.claim(self._queue, self._name, self.token, claim, self._attempts), self._beat
            )
        except Voided:
            log.warning(
                "%s has lost its desk of %s: it was silent for too long and others have it, or the broker forgot it",
                self._name, self._queue,
            )  # fmt: skip
            await self.take()
            return await self.claim(Claim(), room)
        if messages:
            self.ending.idle = False
            self._crowded = len(messages) > 1
        if not messages or time.monotonic() > self._look_at:
            await self._look_for_silent()
        if self._group is not None and time.monotonic() > self._rejoin_at:
            await self._rejoin(*self._group)
        return messages

    async def wait(self) -> bytes | None:
        """Wait for the broker to put a message on the desk, which is to be handled then; or, when it is another one's
        turn, to be rung for; or until the next of the delayed is due. None: claim, there may be something, unless it is
        to end."""
        timeout = IDLE if self.ending.idle else BLOCK
        timeout = timeout if self._due is None else min(timeout, max(SHORTEST, self._due))
        self._beat()
        try:
            raw = await (self.ending.unless_asked(self._wait(timeout)) if self.ending.idle else self._wait(timeout))
        except BrokerAway as away:
            self._link.note_loss(away)
            if not self.length:
                await self.take()  # it may lie there, its answer lost; else the next claim finds that, and is void
            return None
        except QueueFull:  # a Redis without memory lets nobody wait, but hands out what is there
            await asyncio.sleep(POLL)
            return None
        if raw is None:
            return None
        self.length += 1
        # The broker counts a further start before it happens. Where messages come by the dozen, the others lie there
        # already: handled by itself the first would cost as much as all of them, here and wherever it leads.
        return None if self._crowded or raw.startswith(ATTEMPTS_PREFIX) else raw

    async def _wait(self, timeout: float) -> bytes | None:
        if self._stand == AT_QUEUE:
            return await self._link.wait(self._queue, self._name, timeout)
        if self._stand == STANDING_BY and not await self._link.stand_by(self._queue, timeout):
            return None
        if self._room > 1:  # who takes one message at a time has a whole batch in each
            due = time.monotonic() + HEEDED / 1000
            await asyncio.sleep(HEEDED / 1000)
            # On a host that is so busy that we are late, the one whose turn it is may be late at each step it takes.
            self._patience = HEEDED + round(LATE_STEPS * 1000 * (time.monotonic() - due))
        return None

    async def answer(self, name: str, reply: bytes) -> None:
        """Have a reply sent to the list `name`: with the next claim, or before it when they are too many for one."""
        if self._size + len(reply) > CLAIM_BYTES and self._replies:
            replies, self._replies, self._size = self._replies, {}, 0
            for each, some in replies.items():  # a repeat does no harm
                await self._link.persist(functools.partial(self._link.reply, each, some), self._beat)
        self._size += len(reply)
        self._replies.setdefault(name, []).append(reply)

    async def touch(self) -> None:
        """Repeat the last claim, which shows that the consumer lives and changes nothing else."""
        claim = Claim(self._number, self.length, want=TOUCH)
        with contextlib.suppress(BrokerError):  # whatever it is, the next claim meets it too
            await self._link.claim(self._queue, self._name, self.token, claim)
            await self._look_for_silent()

    async def _look_for_silent(self) -> None:
        """Every few seconds, give the desks of dead consumers back to the queue."""
        if time.monotonic() < self._look_at:
            return
        # Soon enough for each sign of life to be a look: a gap of half the silence would begin the watch anew.
        self._look_at = time.monotonic() + SILENCE / 4 * random.uniform(0.5, 0.9)
        with contextlib.suppress(BrokerError):  # whatever it is, the next claim meets it too
            for consumer, messages in await self._link.recover(self._queue, SILENCE):
                what = counted(messages, "message")
                log.warning("%s is silent: back in the queue: %s of %s", consumer, what, self._queue)

    async def _rejoin(self, topic: str, group: str, kept: int) -> None:
        """Make the group again that somebody has deleted past us: else its consumer would be deaf, and not know it."""
        self._rejoin_at = time.monotonic() + REJOIN
        with contextlib.suppress(BrokerError):  # whatever it is, the next claim meets it too
            if await self._link.join(topic, group, kept):
                log.error(
                    "the group %s of %s was no group any more, and is made again: what was published meanwhile, for up "
                    "to %g s, it never gets",
                    group, topic, REJOIN,
                )  # fmt: skip
                self._rejoined()

    async def _leave(self) -> None:
        """Give back what was not started, unless the broker is away: then it is found on the desk."""
        try:
            if self.token and self.ending.asked:
                async with asyncio.timeout(LEAVE):
                    await self._link.leave(self._queue, self._name, self.token, self._unhandled)
        except (BrokerError, TimeoutError) as error:
            reason = str(error) or f"no answer within {LEAVE:g} s"
            log.warning("%s could not give up its desk of %s: %s", self._name, self._queue, reason)
        finally:
            await self._link.close()


class SignsOfLife:
    """Sent while a handler takes long, so that other consumers do not take this one for dead; as long as the event loop
    turns."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._deadline = Deadline(self._send)
        self._touching: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """A handler begins."""
        self._deadline.set(time.monotonic() + SILENCE / 4)

    async def end(self) -> None:
        """It has ended: from now on the connection is free for others."""
        self._deadline.lift()
        if self._touching is not None:
            await self._touching
            self._touching = None

    def _send(self) -> None:
        if self._touching is None or self._touching.done():
            self._touching = asyncio.get_running_loop().create_task(self._session.touch())
        self.begin()
