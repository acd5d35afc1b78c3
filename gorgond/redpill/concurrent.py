"""A consumer whose messages are handled at the same time, for handlers that wait for others: each is answered and
settled when it is done, in whatever order, so that a slow one holds up nobody.

It has one desk and one connection as any consumer has, and a claim settles what has finished since the last one. While
it waits for a message its connection is taken up; what is finished meanwhile is answered over a second one, and settled
with the claim that follows.
"""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace

from gorgond.redpill.broker import BLOCK, Broker, Claim, Failure, Link
from gorgond.redpill.consuming import AnyConsumer
from gorgond.redpill.errors import BrokerError
from gorgond.redpill.foreign import contained
from gorgond.redpill.hooks import UNHEARD, Hooks
from gorgond.redpill.logline import about, handling, log
from gorgond.redpill.message import ATTEMPTS_PREFIX, Message, decode_reply
from gorgond.redpill.outcome import THREE, Attempts, Outcome, Retry, settle
from gorgond.redpill.received import receive

NAP = 0.002
"""Seconds that a consumer with messages in hand waits for the end of one before it waits for a further message: under
load what has ended, its replies and what has come are one round trip then, where there would be three."""

BATCH = 16  # messages taken in one claim, so that one consumer does not take what others are idle for

Work = Callable[[Message], Awaitable[Outcome]]


@dataclass(slots=True)
class _Settled:
    """The fate of one message; the reply to its caller's list `name`, empty when there is none, or it was sent."""

    expired: int
    failures: Sequence[Failure]
    name: str = ""
    reply: bytes = b""


class _Job:
    """A message in hand. A suspect was started before."""

    __slots__ = ("suspect", "task")

    def __init__(self, task: asyncio.Task[_Settled], suspect: bool) -> None:
        self.task = task
        self.suspect = suspect


class ConcurrentConsumer(AnyConsumer):
    """Consumes a queue, many messages at the same time, each for itself.

        async def work(message):
            return Done(await price_of(message.args["number"]))

        await ConcurrentConsumer(broker, "orders", "till@1", work, limit=50).run()

    `work` is given one message and returns its outcome; up to `limit` are under way, 1 at least. A message is answered
    and settled when it is done, whatever came before it. `broker`, `queue`, `name`, `attempts`, `finishes`, `hooks` and
    what `run` raises are as those of a `Consumer`. Raises ValueError for a `limit` below 1, and for what is no name of
    a queue.

    Those that may have killed their consumer before are handled few at a time, with nothing else. Work under way is
    cancelled when others have got what was on the desk, or when `run` ends otherwise than by `stop`.
    """

    def __init__(
        self,
        broker: Broker,
        queue: str,
        name: str,
        work: Work,
        limit: int = 100,
        *,
        attempts: Attempts = THREE,
        finishes: bool = False,
        hooks: Hooks = UNHEARD,
    ) -> None:
        if limit < 1:
            raise ValueError(f"a consumer handles 1 message or more at the same time, not {limit}")
        super().__init__(broker, queue, name, attempts, finishes, hooks, self._forget)
        self._work = work
        self._limit = limit
        self._jobs: list[_Job] = []  # in the order of the desk; behind them may lie what is not handed out yet
        self._ended = asyncio.Event()
        self._more = True  # whether the queue may have more for us
        self._waiting = False
        self._rested = False  # since something was begun
        self._replies = _Replies(broker.link(f"{name} {queue} replies"))

    async def run(self) -> None:
        try:
            await super().run()
        finally:
            self._forget()
            await self._replies.close()

    def _forget(self) -> None:
        """With a new token nothing of the old desk is ours."""
        for job in self._jobs:
            job.task.cancel()
        self._jobs.clear()

    async def _consume(self) -> None:
        ending = self._session.ending
        await self._session.take()
        self._begin(await self._turn_over())
        while self._jobs or not ending.asked:
            self._begin(await self._next())
            ending.idle = not self._jobs
            await asyncio.sleep(0)  # what needs nobody else is done now, and is settled at once

    async def _next(self) -> Sequence[bytes]:
        """The messages to begin next; it settles those that are finished, and waits as long as there is nothing to
        do."""
        self._replies.check()
        if any(job.task.done() for job in self._jobs):
            return await self._turn_over()
        full = len(self._jobs) >= self._limit or len(self._jobs) < self._session.length
        if self._session.ending.asked or full or any(job.suspect for job in self._jobs):
            return () if await self._one_ends(BLOCK) else await self._turn_over()  # which shows that the consumer lives
        if self._more:
            return await self._turn_over()
        if self._jobs and not self._rested:
            self._rested = True
            await self._one_ends(NAP)
            return ()
        self._waiting = True
        try:
            raw = await self._session.wait()
        finally:
            self._waiting = False
        if raw is None:
            return () if self._session.ending.asked and not self._jobs else await self._turn_over()
        self._more = True
        return (raw,)

    async def _one_ends(self, timeout: float) -> bool:
        """Wait for the end of a job; False when there was none in time."""
        self._ended.clear()
        try:
            async with asyncio.timeout(timeout):
                return await self._ended.wait()
        except TimeoutError:
            return False

    async def _turn_over(self) -> Sequence[bytes]:
        """Settle what is finished, and claim."""
        claim, kept = Claim(), list[_Job]()
        failures: list[Failure] = []
        later: list[int] = []
        for position, job in enumerate(self._jobs):
            if not job.task.done():
                kept.append(job)
                continue
            settled = job.task.result()
            if kept:
                later.append(position)
            else:
                claim.done += 1
            claim.expired += settled.expired
            failures += [replace(each, index=position) for each in settled.failures]
            if settled.reply:
                await self._session.answer(settled.name, settled.reply)
        claim.failures, claim.later, claim.held = failures, later, len(kept)
        self._jobs = kept
        room = max(min(BATCH, self._limit - len(kept)), 0)
        raws = await self._session.claim(claim, room)
        self._more = len(raws) >= room
        return raws

    def _begin(self, raws: Sequence[bytes]) -> None:
        loop = asyncio.get_running_loop()
        self._rested = self._rested and not raws
        for raw in raws:
            task = loop.create_task(self._handle(raw))
            task.add_done_callback(self._end)
            self._jobs.append(_Job(task, raw.startswith(ATTEMPTS_PREFIX)))

    def _end(self, task: asyncio.Task[_Settled]) -> None:
        """A job is done; its reply is sent at once if the consumer's own connection is taken up."""
        self._ended.set()
        if self._waiting and not task.cancelled() and task.exception() is None:
            settled = task.result()
            if settled.reply:
                self._replies.send(settled.name, settled.reply)
                settled.reply = b""

    async def _handle(self, raw: bytes) -> _Settled:
        """Handle one message, in a task of its own: what becomes of it."""
        received = receive((raw,), self._finishes)
        self._account.count_received(received)
        if not received.messages:
            self._account.count_settled(received, (), (), 0.0)
            return _Settled(received.expired, received.failures)
        ((index, message),) = received.messages
        handling.set((message.id,))  # of this task's own context
        began = time.monotonic()
        try:
            outcome = await contained(self._work(message))
        except Exception as error:  # noqa: BLE001 - a handler may fail as it likes
            log.exception("%s: handling %s failed", self.queue, message.op)
            outcome = Retry(f"{type(error).__name__}: {error}")
        took = time.monotonic() - began
        self.tally.busy += took
        failure, reply = settle(index, message, outcome, self._attempts)
        if failure is not None:
            received.failures.append(failure)
        self._account.count_settled(received, ((index, message, outcome),), (len(reply),), took)
        return _Settled(0, received.failures, message.reply, reply)


class _Replies:
    """Sends replies over a connection of its own; those of one turn of the event loop travel together."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._waiting: dict[str, list[bytes]] = {}
        self._task: asyncio.Task[None] | None = None

    def check(self) -> None:
        """Raise what sending failed with."""
        if self._task is not None and self._task.done():
            self._task.result()

    def send(self, name: str, reply: bytes) -> None:
        """Have it sent soon, to this list."""
        self._waiting.setdefault(name, []).append(reply)
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._run())

    async def _run(self) -> None:
        while self._waiting:
            some, self._waiting = self._waiting, {}
            for name, raws in some.items():
                try:
                    await self._link.persist(functools.partial(self._link.reply, name, raws))
                except BrokerError as error:
                    ids = [decode_reply(raw).id for raw in raws]
                    log.error("%d replies to %s cannot be sent: %s", len(raws), name, error, extra=about(*ids))

    async def close(self) -> None:
        """Send what waits, as long as the broker is there, then let go of the connection."""
        if self._task is not None:
            await asyncio.wait({self._task}, timeout=BLOCK)
            self._task.cancel()
        await self._link.close()
