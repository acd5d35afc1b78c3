"""Pushing: messages handed in during one turn of the event loop travel as one batch, one round in flight at a time.

So a batch grows with the load and a lone message waits for nobody. Every batch has a number of its own on its queue
and is sent again with it until the broker has answered: a lost answer does not make a second message.

While the broker is away everything waits here, each message only as long as somebody wants it: who gives up withdraws
it, so that an outage does not fill the memory, and the broker is not met with what is of no use any more.
"""

from __future__ import annotations

import asyncio
import functools
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple, Self

from gorgond.redpill import keys
from gorgond.redpill.broker import BATCH_MAX, BLOCK, CLAIM_BYTES, Batch, Broker, Later, Room
from gorgond.redpill.ending import Background
from gorgond.redpill.errors import BrokerAway, BrokerError, BrokerRefused, GorgonError, LoopEnded, OutcomeUnknown
from gorgond.redpill.hooks import UNHEARD, Hooks
from gorgond.redpill.logline import log
from gorgond.redpill.message import Message

LOOK = 0.1  # seconds between two looks whether what waits at the end is still wanted
FAR = 10**15  # ms since 1970, some 30,000 years
JOIN_MAX = 100  # messages that a round waits for, if each claim brings some: beyond it they cost it no less

ROOM = Room()

Outcome = Callable[[GorgonError | None], None]


class Due(NamedTuple):
    """When messages are due: after so many ms, or `at` so many since 1970, by the broker's clock."""

    ms: int
    at: bool

    @classmethod
    def of(cls, at: int | None, delay: float | None) -> Due | None:
        """As `Producer.push` is asked; None for at once. Raises ValueError."""
        if at is None and delay is None:
            return None
        if at is not None and delay is not None:
            raise ValueError("a message is due at a time or after a delay, not both")
        due = cls(int(at), True) if at is not None else cls(int((delay or 0.0) * 1000), False)
        if not 0 <= due.ms < FAR:
            raise ValueError(f"a message is due within {FAR // 10**12:,} * 10^12 ms, not at {at} or after {delay}")
        return due


class Submitted:
    """Messages that were handed in together, to be withdrawn when nobody wants them any more."""

    __slots__ = ("_line", "due", "outcome", "raws", "wanted")

    def __init__(self, raws: Sequence[bytes], outcome: Outcome, line: dict[Submitted, None], due: Due | None) -> None:
        self.raws = raws
        self.outcome = outcome
        self.due = due
        self.wanted = True
        self._line = line

    def withdraw(self) -> None:
        """Do not send them, unless they are on their way: then nobody waits until they are there."""
        self.wanted = False
        self._line.pop(self, None)


class Producer:
    """Pushes messages to queues and publishes events on topics, over one connection, in one event loop.

        async with Producer(broker, "shop@1", Room(messages=10_000, bytes=64_000_000)) as producer:
            await producer.push("orders", Message("order.pay", {"number": 7}))
            await producer.publish("order_changes", Message("order.paid", {"number": 7}))

    `broker` is what `connect` gave. `name` says in the log who pushes; where Redis has users it begins with the user's
    name and `@`. `room` is how many messages, and how many bytes of memory, a queue may hold: what goes beyond is
    refused. `hooks` are called as the loop turns and when it fails. Start with `async with`, or `start` and `stop`.

    Messages that are handed in during one turn of the event loop travel as one batch. While the broker is away
    everything waits here; a caller that does not want to wait so long cancels. A message that was accepted is in its
    queue once, also when it had to be sent again.

    `push` and `publish` raise QueueFull when there is no room and nothing was queued; BrokerRefused when an operator
    must act; BrokerError when the producer was stopped or has failed; ValueError for what is no name of a queue or
    topic, and TypeError or ValueError for arguments that are no JSON.
    """

    def __init__(self, broker: Broker, name: str, room: Room = ROOM, *, hooks: Hooks = UNHEARD) -> None:
        self._link = broker.link(f"{name} push")
        self._name = f"{name}:{os.urandom(6).hex()}"  # a process that starts anew numbers its batches anew
        self._room = room
        self._number = 0
        self._submitted = 0
        self._waiting: dict[tuple[str, bool], dict[Submitted, None]] = {}
        self._in_flight: list[list[Submitted]] = []  # what the round under way has, by batches
        self._filled = asyncio.Event()
        self._background: Background | None = None
        self._timer: asyncio.TimerHandle
        self._ended = False
        self._hooks = hooks

    async def __aenter__(self) -> Self:
        self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    def start(self) -> None:
        """Begin to send. Should sending ever end without `stop`, nothing is accepted any more, and the hook `failed` is
        called."""
        self._background = Background(self._run(), f"{self._name} push", self._over)
        self._turn()

    def _turn(self) -> None:
        """Have the loop turn, even when nobody pushes: so it shows that it could."""
        self._filled.set()
        self._timer = asyncio.get_running_loop().call_later(BLOCK, self._turn)

    def _over(self, ended: LoopEnded) -> None:
        self._end("pushing has failed; this was not queued")
        self._hooks.failed(ended)

    def _end(self, reason: str) -> None:
        self._ended = True
        self._timer.cancel()
        for line in self._waiting.values():
            _tell(line, BrokerError(reason))
        self._waiting.clear()

    async def stop(self, timeout: float = 5.0) -> None:
        """Send what waits, for `timeout` seconds at most, then let go of the connection. Nothing is waited for that was
        withdrawn."""
        if self._background is None:
            return
        background, self._background = self._background, None
        background.ending = True
        self._filled.set()
        end = time.monotonic() + timeout
        try:
            while not background.task.done() and time.monotonic() < end and self._is_wanted():
                await asyncio.wait({background.task}, timeout=LOOK)
        finally:  # also when whoever stops it has no more time
            await background.end()
            await self._link.close()
            self._end("stopped before the broker was back; this was not queued")

    def _is_wanted(self) -> bool:
        """Whether anybody still wants what waits or is on its way."""
        return bool(any(self._waiting.values()) or any(each.wanted for some in self._in_flight for each in some))

    def submit(
        self, name: str, raws: Sequence[bytes], outcome: Outcome, topic: bool = False, due: Due | None = None
    ) -> Submitted:
        """Hand in encoded messages that fit into one batch and travel in one; `outcome` is called once, with None
        when the broker has them, or with the error. `due`: the messages are for later.

        Raises ValueError for what is no name.
        """
        line = self._waiting.get((name, topic))
        if line is None:
            keys.queue(name)
            line = self._waiting[name, topic] = {}
        submitted = Submitted(raws, outcome, line, due)
        if self._ended:
            outcome(BrokerError("this producer was stopped"))
        else:
            line[submitted] = None
            self._submitted += 1
            self._filled.set()
        return submitted

    async def push(self, queue: str, *messages: Message, at: int | None = None, delay: float | None = None) -> None:
        """Put messages on a queue; back when the broker has them all.

        `at`: they are due then, in ms since 1970 by the broker's clock, at once when that has passed. `delay`: so many
        seconds after the broker got them. Until then they are delayed, which counts as waiting for what the queue may
        hold; then they are the next that a consumer gets.

        Raises QueueFull, BrokerRefused, OutcomeUnknown when it may have them and cannot be asked, and ValueError for
        both or for no time. Messages given together in one call may still travel in several batches. Cancelling it
        withdraws what is not on its way yet.
        """
        await self._all(queue, [message.encode() for message in messages], False, Due.of(at, delay))

    async def push_encoded(self, queue: str, raws: Sequence[bytes]) -> None:
        """The same for messages that are encoded already."""
        await self._all(queue, raws, False)

    async def publish(self, topic: str, *events: Message) -> None:
        """Give events to every durable group of a topic and to who listens now; back when the broker has them."""
        await self._all(topic, [event.encode() for event in events], True)

    async def push_each(self, queue: str, raws: Sequence[bytes]) -> list[GorgonError | None]:
        """The same: for each None, or the error with which it was refused. Raises ValueError for what is no name of a
        queue."""
        return await self._each(queue, raws, False)

    async def _all(self, name: str, raws: Sequence[bytes], topic: bool, due: Due | None = None) -> None:
        for error in await self._each(name, raws, topic, due):
            if error is not None:
                raise error

    async def _each(
        self, name: str, raws: Sequence[bytes], topic: bool, due: Due | None = None
    ) -> list[GorgonError | None]:
        if not raws:
            return []
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        parts = list(_parts(raws, min(BATCH_MAX, self._room.messages)))
        errors: list[GorgonError | None] = [None] * len(parts)
        left = len(parts)

        def note(place: int, error: GorgonError | None) -> None:
            nonlocal left
            errors[place] = error
            left -= 1
            if left == 0 and not done.done():
                done.set_result(None)

        submitted = [
            self.submit(name, part, functools.partial(note, place), topic, due) for place, part in enumerate(parts)
        ]
        try:
            await done
        except asyncio.CancelledError:
            for each in submitted:
                each.withdraw()
            raise
        return [error for error, part in zip(errors, parts, strict=True) for _ in part]

    async def _run(self) -> None:
        while True:
            self._hooks.beat()
            await self._filled.wait()
            self._filled.clear()
            while self._waiting:
                await self._let_others_join()
                await self._send()
            if self._background is None:
                return

    async def _let_others_join(self) -> None:
        """Wait as long as each turn of the event loop brings further messages: a round costs far more than a turn."""
        first, seen = self._submitted, -1
        while seen != self._submitted and self._submitted - first < JOIN_MAX:
            seen = self._submitted
            await asyncio.sleep(0)

    async def _send(self) -> None:
        """One round: a batch of every queue and topic that has something waiting."""
        batches: list[Batch] = []
        in_flight = self._in_flight = []
        for (name, topic), line in list(self._waiting.items()):
            some = _first(line, min(BATCH_MAX, self._room.messages))
            if not line:
                del self._waiting[name, topic]
            if some:
                self._number += 1
                messages = [raw for each in some if each.due is None for raw in each.raws]
                later = [Later(raw, *each.due) for each in some if each.due is not None for raw in each.raws]
                batches.append(Batch(name, self._number, messages, topic, later))
                in_flight.append(some)
        if not batches:
            return
        unsent = True

        async def push() -> Sequence[GorgonError | None]:
            nonlocal unsent
            try:
                return await self._link.push(self._name, self._room, batches)
            except BrokerAway as away:
                unsent = unsent and away.unsent
                raise

        try:
            answers = await self._link.persist(push, self._hooks.beat)
        except BrokerError as refused:
            answers = [refused] * len(batches)
        except BaseException:
            unknown = OutcomeUnknown("stopped before the broker answered; whether this was queued is not known")
            for some in in_flight:
                _tell(some, unknown)
            raise
        self._in_flight = []
        if not unsent:
            answers = [_after_a_loss(answer) for answer in answers]
        for answer, some in zip(answers, in_flight, strict=True):
            _tell(some, answer)


def _parts(raws: Sequence[bytes], most: int) -> Iterator[Sequence[bytes]]:
    """`raws` in parts that each fit into one batch."""
    begin = size = 0
    for end, raw in enumerate(raws):
        size += len(raw)
        if end > begin and (end - begin >= most or size > CLAIM_BYTES):
            yield raws[begin:end]
            begin, size = end, len(raw)
    yield raws[begin:]


def _first(line: dict[Submitted, None], most: int) -> list[Submitted]:
    """Take from the line as much as may travel together."""
    some: list[Submitted] = []
    count = size = 0
    for each in line:
        count += len(each.raws)
        size += sum(map(len, each.raws))
        if some and (count > most or size > CLAIM_BYTES):
            break
        some.append(each)
    if len(some) == len(line):
        line.clear()
    else:
        for each in some:
            del line[each]
    return some


def _after_a_loss(answer: GorgonError | None) -> GorgonError | None:
    """The meaning of an answer that is not the first one, which was lost. Only a refusal says nothing about the first
    time: all others know what became of the batch of this number."""
    if not isinstance(answer, BrokerRefused):
        return answer
    return OutcomeUnknown(f"whether this was queued is not known: its answer was lost; now the broker says: {answer}")


def _tell(some: Iterable[Submitted], answer: GorgonError | None) -> None:
    """Call each; what one of them raises is not the others' business."""
    for each in some:
        try:
            each.outcome(answer)
        except Exception:  # noqa: BLE001 - it is theirs
            log.exception("somebody could not be told what became of a push")
