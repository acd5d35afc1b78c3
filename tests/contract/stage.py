"""What the loops on top of a broker are tried with: who looks, who handles, who asks."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

from gorgond.redpill import (
    DONE,
    AnyConsumer,
    Broker,
    BrokerAway,
    BrokerError,
    BrokerRefused,
    Caller,
    Consumer,
    Counts,
    DeadLetter,
    Done,
    Link,
    Listener,
    Message,
    Outcome,
    Producer,
    Reply,
    Room,
    connect,
    now_ms,
)
from gorgond.redpill.broker import Batch
from gorgond.redpill.memory import MemoryBroker, MemoryLink
from tests.waiting import eventually_async

Expect = Callable[[str], None]


OUTAGE = r"is away, waiting for it|is back after|was away [0-9]+ times more"
LATER = 60_000  # milliseconds: a deadline that no test reaches
SOON = (300, 3_000, 30_000)  # milliseconds: deadlines before which a busy machine begins with it, one at least


# ---- the stage


class Stage:
    """What a test looks at a broker with."""

    def __init__(self, broker: Broker) -> None:
        self.broker = broker

    @contextlib.asynccontextmanager
    async def link(self) -> AsyncIterator[Link]:
        link = self.broker.link("test")
        try:
            yield link
        finally:
            await link.close()

    async def counts(self, queue: str = "q") -> Counts:
        async with self.link() as link:
            # of a set of servers the last Sentinel may say only now which one is the master
            counts = (await link.persist(lambda: link.counts([queue])))[0]
        assert counts.difference() == 0, counts
        return counts

    async def dead(self, queue: str = "q") -> list[DeadLetter]:
        async with self.link() as link:
            return await link.dead(queue)

    async def push(self, *messages: Message, queue: str = "q") -> None:
        async with Producer(self.broker, "test") as producer:
            await producer.push(queue, *messages)

    async def done(self, number: int, queue: str = "q") -> None:
        async def all_done() -> bool:
            return (await self.counts(queue)).done == number

        await eventually_async(all_done)

    async def settled(self, queue: str = "q") -> None:
        """Wait until nothing is to be done any more."""

        async def none_left() -> bool:
            counts = await self.counts(queue)
            return not counts.queued + counts.in_flight + counts.delayed

        await eventually_async(none_left)


@contextlib.asynccontextmanager
async def running(*consumers: AnyConsumer | Listener) -> AsyncIterator[list[asyncio.Task[None]]]:
    """Run these; stop them in the end, when they must end well."""
    tasks = [asyncio.create_task(each.run()) for each in consumers]
    try:
        yield tasks
        for each in consumers:
            each.stop()
        async with asyncio.timeout(60):
            await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


class Handler:
    """A consumer's handler that notes its batches, and answers with what `answer` says."""

    def __init__(self, answer: Callable[[Message], Outcome] = lambda _: DONE) -> None:
        self.batches: list[list[str]] = []
        self.attempts: list[int] = []
        self.answer = answer

    @property
    def ids(self) -> list[str]:
        return [id for batch in self.batches for id in batch]

    async def __call__(self, batch: Sequence[Message]) -> Sequence[Outcome]:
        self.batches.append([message.id for message in batch])
        self.attempts += [message.attempts for message in batch]
        return [self.answer(message) for message in batch]


async def echo(batch: Sequence[Message]) -> Sequence[Outcome]:
    """Answers a call with its own id."""
    return [Done(json.dumps(message.id).encode()) for message in batch]


def messages(ids: str) -> list[Message]:
    return [Message("op", id=id) for id in ids]


async def taken(caller: Caller) -> None:
    """Wait until the broker has all that the caller asked."""
    await eventually_async(lambda: all(pending.taken for pending in caller._all()))


def request(id: str = "", within: int = LATER) -> Message:
    made = Message("op", deadline=now_ms() + within)
    return Message("op", id=id or made.id, deadline=made.deadline)


class Spy(MemoryBroker):
    """A broker in memory that shows the batches pushed, and can keep its answers for a while or lose them."""

    def __init__(self) -> None:
        super().__init__()
        self.rounds: list[list[int]] = []  # of each push the sizes of its batches
        self.in_flight = 0
        self.most_in_flight = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self.losses = 0
        self.fault: Exception | None = None

    def link(self, name: str) -> MemoryLink:
        return _SpyLink(self, name)


class _SpyLink(MemoryLink):
    broker: Spy

    async def push(self, producer: str, room: Room, batches: Sequence[Batch]) -> list[BrokerError | None]:
        spy = self.broker
        spy.rounds.append([len(batch.messages) for batch in batches])
        spy.in_flight += 1
        spy.most_in_flight = max(spy.most_in_flight, spy.in_flight)
        try:
            await spy.gate.wait()
            if spy.fault is not None:
                raise spy.fault
            answer = await super().push(producer, room, batches)
        finally:
            spy.in_flight -= 1
        if spy.losses:
            spy.losses -= 1
            raise BrokerAway("the answer is lost")
        return answer


# ---- Caller


@contextlib.asynccontextmanager
async def calling(
    stage: Stage,
    handler: Callable[[Sequence[Message]], Awaitable[Sequence[Outcome]]] | None = echo,
    limit: int = 100_000,
) -> AsyncIterator[Caller]:
    """A caller, and a consumer that answers it on queue q."""
    async with contextlib.AsyncExitStack() as stack:
        producer = await stack.enter_async_context(Producer(stage.broker, "p", Room(limit)))
        caller = await stack.enter_async_context(Caller(stage.broker, producer, "data", "c"))
        if handler is not None:
            await stack.enter_async_context(running(Consumer(stage.broker, "q", "consumer", handler)))
        yield caller


def answers(id: str, reply: Reply) -> bool:
    return reply.id == id and json.loads(reply.body) == id


async def refused(url: str) -> str:
    """Why a connection to that address is none, and of what kind that is."""
    link = connect(url, durable=False).link("test")
    try:
        await link.ping()
    except (BrokerAway, BrokerRefused) as error:
        return f"{type(error).__name__}: {error}"
    finally:
        await link.close()
    return "nothing is wrong"
