"""Pulling: a consumer is one loop with one connection and one desk, the list of what it has taken and not yet settled.

A claim is one round trip: it settles the batch just handled, sends its replies and brings the next batch. On an empty
queue the consumer waits for the broker to put a message on its desk. A message leaves the desk only when it is settled,
so whatever happens to the consumer, what it had is found on its desk: by its successor of the same name, or by any
consumer of the queue, which looks for silent ones every few seconds.

The handler gets the messages of a batch and returns one outcome for each. `Unavailable`, raised by the handler, says
that what it depends on is away: the consumer keeps the batch, shows that it lives, and calls again. Any other exception
fails the batch; its messages come again few at a time, the last time one by one.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import random
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from gorgond.redpill import keys
from gorgond.redpill.broker import (
    BATCH_MAX,
    BLOCK,
    CLAIM_BYTES,
    SILENCE,
    TOUCH,
    Broker,
    Claim,
    Failure,
    Voided,
)
from gorgond.redpill.ending import Ending
from gorgond.redpill.errors import BrokerAway, BrokerError, CallFailed, QueueFull, Undecodable
from gorgond.redpill.foreign import contained
from gorgond.redpill.hooks import UNHEARD, Hooks
from gorgond.redpill.logline import about, handling, log
from gorgond.redpill.message import ATTEMPTS_PREFIX, PROTOCOL, Message, Reply, decode, now_ms
from gorgond.redpill.outcome import (
    Done,
    Outcome,
    Retry,
    Unavailable,
    encoded,
    failure_of,
    left_for_newer,
    told_nobody,
)
from gorgond.redpill.persist import BACKOFF
from gorgond.redpill.seldom import Seldom

SHOWN = 3  # reasons in a line of the log
LEAVE = 1.0  # seconds that giving up a desk may take; what is not given up is found
POLL = 0.1  # seconds between two looks at a queue whose broker has no room to let us wait there

Handler = Callable[[Sequence[Message]], Awaitable[Sequence[Outcome]]]


@dataclass(slots=True)
class Tally:
    """What a consumer did since it started."""

    handled: int = 0
    failed: int = 0
    expired: int = 0
    batches: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    busy: float = 0.0  # seconds spent in the handler


class Consumer:
    """Consumes `queue` under `name`, which must be its own among all processes: two of a name fight, the newer wins.

    `batch` messages are taken at a time, 1000 at most (ValueError otherwise). `run` ends after `stop`, with the desk
    empty, or with Superseded or BrokerRefused; cancelling it leaves its desk to be found.

    One that `finishes` handles a message that may have been started although its deadline has passed: its handler
    changes something in several steps, of which the first may have been done.
    """

    def __init__(
        self,
        broker: Broker,
        queue: str,
        name: str,
        handler: Handler,
        batch: int = 64,
        *,
        finishes: bool = False,
        hooks: Hooks = UNHEARD,
    ) -> None:
        if not 0 < batch <= BATCH_MAX:
            raise ValueError(f"a consumer takes 1 to {BATCH_MAX} messages at a time, not {batch}")
        self.queue = queue
        self.name = name
        self.tally = Tally()
        self._finishes = finishes
        self._beat = hooks.beat
        self._measure = hooks.measure
        self.newer = Seldom()  # messages that wait for a newer consumer
        self._link = broker.link(f"{name} {queue}")
        self._handler = handler
        self._batch = batch
        self._token = ""
        self._claim_number = 0
        self._length = 0
        self._ending = Ending(broker)
        self._unhandled = False
        self._look_at = 0.0
        self._took = 0.0  # seconds that the handler had for the last batch
        self._reminder: asyncio.TimerHandle
        self._reminding: asyncio.Task[None] | None = None

    def stop(self) -> None:
        """Take nothing more, finish what is on the desk, end."""
        self._ending.ask()

    async def run(self) -> None:
        """Consume until stopped."""
        try:
            if not await self._ending.over(self._consume()):
                self._token = ""  # the broker does not answer: what it gave us meanwhile is found on the desk
        except _Abandoned:
            pass
        finally:
            await self._leave()

    async def _consume(self) -> None:
        await self._take()
        messages: Sequence[bytes] = await self._claim(Claim())
        while messages or not self._ending.asked:
            self._ending.idle = not messages
            messages = await self._claim(await self._handle(messages)) if messages else await self._wait()

    async def _take(self) -> None:
        self._token, self._length = await self._link.persist(lambda: self._link.take(self.queue, self.name), self._beat)
        self._claim_number = 0
        if self._length:
            log.warning("%s found %d unfinished on its desk of %s", self.name, self._length, self.queue)

    async def _claim(self, claim: Claim) -> list[bytes]:
        """Settle and take: what to handle next. A desk that was lost meanwhile is taken anew."""
        self._claim_number += 1
        claim.number, claim.length = self._claim_number, self._length
        claim.want = 0 if self._ending.asked else claim.held + self._batch
        try:
            self._length, messages = await self._link.persist(
                lambda: self._link.claim(self.queue, self.name, self._token, claim), self._beat
            )
        except Voided:
            log.warning(
                "%s has lost its desk of %s: it was silent for too long and others have it, or the broker forgot it",
                self.name, self.queue,
            )  # fmt: skip
            await self._take()
            return await self._claim(Claim())
        if messages:
            self._ending.idle = False
        if not messages or time.monotonic() > self._look_at:
            await self._look_for_silent()
        return messages

    async def _wait(self) -> Sequence[bytes]:
        """Wait for the broker to put a message on the desk."""
        self._beat()
        try:
            raw = await self._link.wait(self.queue, self.name, BLOCK)
        except BrokerAway as away:
            self._link.lost(away)
            await self._take()  # it may lie there, its answer lost
            return await self._claim(Claim())
        except QueueFull:  # a Redis without memory lets nobody wait, but hands out what is there
            await asyncio.sleep(POLL)
            return await self._claim(Claim())
        if raw is None:
            return await self._claim(Claim())
        self._length = 1
        if raw.startswith(ATTEMPTS_PREFIX):
            return await self._claim(Claim())  # the broker counts a further start before it happens
        return [raw]

    async def _look_for_silent(self) -> None:
        """Every few seconds, give the desks of dead consumers back to the queue."""
        if time.monotonic() < self._look_at:
            return
        # Soon enough for each reminder to be a look: a gap of half the silence would begin the watch anew.
        self._look_at = time.monotonic() + SILENCE / 4 * random.uniform(0.5, 0.9)
        with contextlib.suppress(BrokerError):  # whatever it is, the next claim meets it too
            for consumer, messages in await self._link.recover(self.queue, SILENCE):
                log.warning("%s is silent: its %d messages of %s go back to the queue", consumer, messages, self.queue)

    async def _leave(self) -> None:
        """Give back what was not started, unless the broker is away: then it is found on the desk."""
        try:
            if self._token and self._ending.asked:
                async with asyncio.timeout(LEAVE):
                    await self._link.leave(self.queue, self.name, self._token, self._unhandled)
        except (BrokerError, TimeoutError) as error:
            log.warning("%s could not give up its desk of %s: %s", self.name, self.queue, error)
        finally:
            await self._link.close()

    async def _handle(self, raws: Sequence[bytes]) -> Claim:
        """Handle a batch; the claim that settles it."""
        claim = Claim(done=len(raws))
        failures: list[Failure] = []
        messages = self._sorted_out(raws, claim, failures)
        in_hand = handling.set([message.id for _, message in messages])
        try:
            outcomes = await self._outcomes(messages, claim)
        finally:
            handling.reset(in_hand)
        if log.isEnabledFor(logging.DEBUG):
            self._tell(outcomes)
        replies: dict[str, list[bytes]] = {}
        size = 0
        sums: dict[str, list[int]] = {}  # by operation: messages, failures, bytes
        for index, message, outcome in outcomes:
            figures = sums.get(message.op)
            if figures is None:
                figures = sums[message.op] = [0, 0, 0]
            figures[0] += 1
            figures[2] += len(raws[index])
            if isinstance(outcome, Done):
                error = outcome.error
                figures[1] += error is not None
                if not message.reply:
                    if error is not None:
                        failures.append(failure_of(index, message, told_nobody(error)))
                    continue
                if outcome.body is None and error is None:
                    continue
                reply = Reply(message.id, outcome.body or b"", error, outcome.status, outcome.headers)
            else:
                figures[1] += 1
                failures.append(failure := failure_of(index, message, outcome))
                if failure.delay is not None or not message.reply:
                    continue
                reply = Reply(message.id, error=CallFailed(500, "the request could not be handled"))
            raw = encoded(reply)
            if size + len(raw) > CLAIM_BYTES and replies:
                await self._reply(replies)
                replies, size = {}, 0
            size += len(raw)
            figures[2] += len(raw)
            replies.setdefault(message.reply, []).append(raw)
            self.tally.bytes_out += len(raw)
        for op, (count, errors, bytes) in sums.items():
            self._measure(op, count, errors, bytes, self._took)
        claim.failures, claim.replies = failures, replies
        if failures:
            self._tell_given_up(messages, failures)
        failed = sum(failure.started for failure in failures)
        self.tally.batches += 1
        self.tally.expired += claim.expired
        self.tally.failed += failed
        self.tally.handled += len(raws) - claim.expired - len(failures)
        return claim

    def _sorted_out(self, raws: Sequence[bytes], claim: Claim, failures: list[Failure]) -> list[tuple[int, Message]]:
        """The messages that are to be handled, with their places; what becomes of the others is put down."""
        messages: list[tuple[int, Message]] = []
        now = now_ms()
        for index, raw in enumerate(raws):
            self.tally.bytes_in += len(raw)
            try:
                message = decode(raw)
                if message.reply:  # could it be answered?
                    keys.queue(message.reply)
                    message.id.encode()
            except (Undecodable, ValueError) as error:
                failures.append(Failure(index, None, f"undecodable: {error}"))
                continue
            if message.expired(now) and not (self._finishes and message.attempts):
                claim.expired += 1
            elif message.needs > PROTOCOL:
                failures.append(left_for_newer(index, message))
                self._tell_left(message)
            else:
                messages.append((index, message))
        return messages

    def _tell_left(self, message: Message) -> None:
        if count := self.newer.add():
            log.warning(
                "%s leaves %d messages of %s for a newer consumer, as %s, which needs protocol %d: this one knows %d",
                self.name, count, self.queue, message.op, message.needs, PROTOCOL, extra=about(message.id),
            )  # fmt: skip

    def _tell_given_up(self, messages: Sequence[tuple[int, Message]], failures: Sequence[Failure]) -> None:
        """One line for a batch; the dead letters say the rest."""
        given_up = {failure.index: failure.reason for failure in failures if failure.delay is None}
        if given_up:
            log.warning(
                "%s: %d messages of %s are dead letters now: %s",
                self.name, len(given_up), self.queue, "; ".join(list(dict.fromkeys(given_up.values()))[:SHOWN]),
                extra=about(*(message.id for index, message in messages if index in given_up)),
            )  # fmt: skip

    def _tell(self, outcomes: Sequence[tuple[int, Message, Outcome]]) -> None:
        """A line for each message; the time is its batch's."""
        for _, message, outcome in outcomes:
            how = type(outcome).__name__.lower()
            if not isinstance(outcome, Done) or outcome.error:
                how += f", {outcome.error if isinstance(outcome, Done) else outcome.reason}"
            log.debug("%s %s: %s in %.1f ms", self.queue, message.op, how, self._took * 1000, extra=about(message.id))

    async def _reply(self, replies: Mapping[str, Sequence[bytes]]) -> None:
        """Send replies before the claim that settles them, which could not carry them all. A repeat does no harm."""
        for name, some in replies.items():
            await self._link.persist(functools.partial(self._link.reply, name, some), self._beat)

    async def _outcomes(self, messages: list[tuple[int, Message]], claim: Claim) -> list[tuple[int, Message, Outcome]]:
        """What the handler makes of the messages; those whose deadline passes while it is unable are expired."""
        delay = BACKOFF[0]
        while messages:
            self._beat()
            batch = [message for _, message in messages]
            self._reminder = asyncio.get_running_loop().call_later(SILENCE / 4, self._remind)
            started = time.monotonic()
            outcomes: Sequence[Outcome] = ()
            try:
                outcomes = await contained(self._handler(batch))
                if len(outcomes) != len(batch):
                    raise ValueError(f"{len(outcomes)} outcomes for {len(batch)} messages")
            except Unavailable:
                if self._ending.asked:
                    self._unhandled = True
                    raise _Abandoned from None
            except Exception as error:  # noqa: BLE001 - a handler may fail as it likes
                log.exception("%s: handling %s failed", self.queue, " ".join(sorted({each.op for each in batch})))
                outcomes = [Retry(f"{type(error).__name__}: {error}")] * len(batch)
            finally:
                self._reminder.cancel()
                if self._reminding is not None:
                    await self._reminding
                    self._reminding = None
            self._took = time.monotonic() - started
            self.tally.busy += self._took
            if outcomes:
                return [(index, message, outcome) for (index, message), outcome in zip(messages, outcomes, strict=True)]
            await self._touch()
            await asyncio.sleep(delay)
            delay = min(delay * 2, BACKOFF[1])
            if not self._finishes:
                now = now_ms()
                claim.expired += sum(message.expired(now) for _, message in messages)
                messages = [(index, message) for index, message in messages if not message.expired(now)]
        return []

    def _remind(self) -> None:
        """The handler takes long: tell the other consumers that this one lives, as long as the event loop does."""
        loop = asyncio.get_running_loop()
        if self._reminding is None or self._reminding.done():
            self._reminding = loop.create_task(self._touch())
        self._reminder = loop.call_later(SILENCE / 4, self._remind)

    async def _touch(self) -> None:
        """Repeat the last claim, which shows that the consumer lives and changes nothing else."""
        claim = Claim(self._claim_number, self._length, want=TOUCH)
        with contextlib.suppress(BrokerError):  # whatever it is, the next claim meets it too
            await self._link.claim(self.queue, self.name, self._token, claim)
            await self._look_for_silent()


class _Abandoned(Exception):
    """Stopping while the handler is unable: the messages go back to the queue."""
