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
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace

from gorgond.redpill.broker import BLOCK, Broker, Claim, Failure, Link
from gorgond.redpill.consumer import POLL, Consumer
from gorgond.redpill.errors import BrokerAway, BrokerError, QueueFull
from gorgond.redpill.foreign import contained
from gorgond.redpill.hooks import UNHEARD, Hooks
from gorgond.redpill.logline import about, log
from gorgond.redpill.message import ATTEMPTS_PREFIX, Message, decode_reply
from gorgond.redpill.outcome import Outcome, Retry
from gorgond.redpill.topic import KEPT

NAP = 0.002
"""Seconds that a consumer with messages in hand waits for the end of one before it waits for a further message: under
load what has ended, its replies and what has come are one round trip then, where there would be three."""

BATCH = 16  # messages taken in one claim, so that one consumer does not take what others are idle for

Work = Callable[[Message], Awaitable[Outcome]]


class _Job:
    """A message in hand: the task makes the claim that would settle it alone. A suspect was started before."""

    __slots__ = ("suspect", "task")

    def __init__(self, task: asyncio.Task[Claim], suspect: bool) -> None:
        self.task = task
        self.suspect = suspect


class ConcurrentConsumer(Consumer):
    """Handles up to `limit` messages of `queue` at the same time, each with a call of `work`, which gives its outcome.

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
        finishes: bool = False,
        hooks: Hooks = UNHEARD,
    ) -> None:
        super().__init__(broker, queue, name, _unused, min(BATCH, limit), finishes=finishes, hooks=hooks)
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
            for job in self._jobs:
                job.task.cancel()
            await self._replies.close()

    async def _consume(self) -> None:
        await self._take()
        self._begin(await self._claim(Claim()))
        while self._jobs or not self._ending.asked:
            self._begin(await self._next())
            self._ending.idle = not self._jobs
            await asyncio.sleep(0)  # what needs nobody else is done now, and is settled at once

    async def _next(self) -> Sequence[bytes]:
        """What is to be begun next; it settles what is finished, and waits as long as there is nothing to do."""
        self._replies.check()
        if any(job.task.done() for job in self._jobs):
            return await self._claim_over()
        full = len(self._jobs) >= self._limit or len(self._jobs) < self._length
        if self._ending.asked or full or any(job.suspect for job in self._jobs):
            return (
                () if await self._one_ends(BLOCK) else await self._claim_over()
            )  # which shows that the consumer lives
        if self._more:
            return await self._claim_over()
        if self._jobs and not self._rested:
            self._rested = True
            await self._one_ends(NAP)
            return ()
        return await self._wait()

    async def _one_ends(self, timeout: float) -> bool:
        """Wait for the end of a job; False when there was none in time."""
        self._ended.clear()
        try:
            async with asyncio.timeout(timeout):
                return await self._ended.wait()
        except TimeoutError:
            return False

    async def _claim_over(self) -> Sequence[bytes]:
        """Settle what is finished, and claim."""
        claim, position, kept = Claim(), 0, []
        failures: list[Failure] = []
        later: list[int] = []
        replies: dict[str, list[bytes]] = {}
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
            _add(replies, settled.replies)
        claim.failures, claim.replies, claim.later, claim.held = failures, replies, later, len(kept)
        self._jobs = kept
        self._batch = max(min(BATCH, self._limit - len(kept)), 0)
        raws = await self._claim(claim)
        self._more = len(raws) >= self._batch
        return raws

    def _begin(self, raws: Sequence[bytes]) -> None:
        loop = asyncio.get_running_loop()
        self._rested = self._rested and not raws
        for raw in raws:
            task = loop.create_task(self._handle([raw]))
            task.add_done_callback(self._end)
            self._jobs.append(_Job(task, raw.startswith(ATTEMPTS_PREFIX)))

    def _end(self, task: asyncio.Task[Claim]) -> None:
        """A job is done; its reply is sent at once if the consumer's own connection is taken up."""
        self._ended.set()
        if self._waiting and not task.cancelled() and task.exception() is None:
            claim = task.result()
            self._replies.send(claim.replies)
            claim.replies = {}

    async def _outcomes(self, messages: list[tuple[int, Message]], claim: Claim) -> list[tuple[int, Message, Outcome]]:
        """Of the one message that a job has."""
        outcomes: list[tuple[int, Message, Outcome]] = []
        started = time.monotonic()
        for index, message in messages:
            try:
                outcomes.append((index, message, await contained(self._work(message))))
            except Exception as error:  # noqa: BLE001 - a handler may fail as it likes
                log.exception("%s: handling %s failed", self.queue, message.op)
                outcomes.append((index, message, Retry(f"{type(error).__name__}: {error}")))
        self._took = time.monotonic() - started
        self.tally.busy += self._took
        return outcomes

    async def _wait(self) -> Sequence[bytes]:
        """Wait for the broker to put a message on the desk."""
        self._beat()
        self._waiting = True
        try:
            raw = await self._link.wait(self.queue, self.name, BLOCK)
        except BrokerAway as away:  # it may lie there, its answer lost: then the next claim says that the desk is void
            self._link.lost(away)
            return await self._claim_over()
        except QueueFull:  # a Redis without memory lets nobody wait, but hands out what is there
            await asyncio.sleep(POLL)
            return await self._claim_over()
        finally:
            self._waiting = False
        if raw is None:
            return await self._claim_over()
        self._length += 1
        self._more = True
        if raw.startswith(ATTEMPTS_PREFIX):
            return await self._claim_over()  # the broker counts a further start before it happens
        return [raw]

    async def _take(self) -> None:
        """With a new token nothing of the old desk is ours."""
        for job in self._jobs:
            job.task.cancel()
        self._jobs.clear()
        await super()._take()


class ConcurrentSubscription(ConcurrentConsumer):
    """A concurrent consumer of the durable group `group` of `topic`, as `Subscription` is a consumer."""

    def __init__(
        self,
        broker: Broker,
        topic: str,
        group: str,
        name: str,
        work: Work,
        limit: int = 100,
        kept: int = KEPT,
        *,
        finishes: bool = False,
        hooks: Hooks = UNHEARD,
    ) -> None:
        super().__init__(broker, f"{topic}/{group}", name, work, limit, finishes=finishes, hooks=hooks)
        self.joined = asyncio.Event()  # set when no further event is missed
        self._join = functools.partial(self._link.join, topic, group, kept)

    async def _take(self) -> None:
        await self._link.persist(self._join, self._beat)
        self.joined.set()
        await super()._take()


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

    def send(self, replies: Mapping[str, Sequence[bytes]]) -> None:
        """Have these sent soon."""
        _add(self._waiting, replies)
        if self._waiting and (self._task is None or self._task.done()):
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


def _add(sums: dict[str, list[bytes]], replies: Mapping[str, Sequence[bytes]]) -> None:
    for name, raws in replies.items():
        sums.setdefault(name, []).extend(raws)


async def _unused(_: Sequence[Message]) -> Sequence[Outcome]:
    raise AssertionError("a concurrent consumer handles each message by itself")
