"""The messages of a batch side by side, and those of them that only go on."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any

from gorgond.auth.batches import PassingOn
from gorgond.redpill import CallFailed, Done, Message, Outcome, Producer, Retry, Room, Work
from gorgond.service.heartbeat import Heartbeats
from tests.contract.stage import Spy
from tests.waiting import eventually_async

SLOW = {"ask"}


def going(message: Message) -> bytes | None:
    """What goes on, marked; the others are asked about, or make no sense."""
    if message.op == "odd":
        raise RecursionError
    return None if message.op in SLOW else replace(message, next="", trace="gone").encode()


async def nothing(message: Message) -> Outcome:
    raise AssertionError(f"{message.op} only goes on")


class Stage:
    """A handler over a broker in memory that shows its rounds."""

    def __init__(self, work: Work, room: int) -> None:
        self.broker = Spy()
        self.producer = Producer(self.broker, "test", Room(room))
        self.heartbeat = Heartbeats().start("test")
        self.handler = PassingOn(work, self.heartbeat, going, self.producer)

    async def queued(self, queue: str = "app") -> int:
        link = self.broker.link("look")
        try:
            return (await link.counts([queue]))[0].queued
        finally:
            await link.close()


@contextlib.asynccontextmanager
async def handling(work: Work = nothing, room: int = 1000) -> AsyncIterator[Stage]:
    stage = Stage(work, room)
    async with stage.producer:
        yield stage


def passing(ids: str, next: str = "app", reply: str = "") -> list[Message]:
    return [Message("pass", id=id, next=next, reply=reply) for id in ids]


async def test_what_goes_on_goes_in_one_push_without_a_task_each() -> None:
    async with handling() as stage:
        # when a batch comes of which all goes on, to two queues
        begun: list[asyncio.Task[Any]] = []

        def begin(loop: asyncio.AbstractEventLoop, work: Any, **more: Any) -> asyncio.Task[Any]:
            begun.append(asyncio.Task(work, loop=loop, **more))
            return begun[-1]

        asyncio.get_running_loop().set_task_factory(begin)
        batch = [*passing("abc"), *passing("de", "other"), *passing("f")]
        outcomes = await stage.handler(batch)
        # then each is passed on, nothing is answered, and it took a task a queue
        assert outcomes == [Done(None)] * 6
        assert (await stage.queued(), await stage.queued("other")) == (4, 2)
        assert stage.broker.rounds == [[4, 2]]
        assert len(begun) == 2


async def test_what_takes_longer_holds_up_nothing_that_goes_on() -> None:
    answer = asyncio.Event()

    async def work(message: Message) -> Outcome:
        await answer.wait()
        return Done(message.id.encode())

    async with handling(work) as stage:
        # given a batch of which one waits for somebody
        batch = [*passing("a"), Message("ask", id="b"), *passing("c")]
        task = asyncio.create_task(stage.handler(batch))

        # then the others have gone on while it waits
        async def gone_on() -> bool:
            return await stage.queued() == 2

        await eventually_async(gone_on)
        assert not task.done()
        # and each has its own outcome, in the order of the batch
        answer.set()
        assert await task == [Done(None), Done(b"b"), Done(None)]


async def test_each_is_told_when_it_cannot_go_on(expected_logs: Callable[[str], None]) -> None:
    expected_logs("pass failed")
    async with handling(room=2) as stage:
        # given a queue that has room for two of them, and one whose name is none
        batch = [*passing("ab"), *passing("c", reply="r"), *passing("d"), *passing("e", "no name")]
        outcomes = await stage.handler(batch)
        # then two have gone on; who waits for another one is told that, and what nobody waits for comes again
        assert outcomes[:2] == [Done(None)] * 2
        assert await stage.queued() == 2
        assert isinstance(outcomes[2], Done)
        assert isinstance(outcomes[2].error, CallFailed)
        assert outcomes[2].error.code == 503
        assert [type(each) for each in outcomes[3:]] == [Retry, Retry]


async def test_one_that_makes_no_sense_keeps_no_other_from_going_on() -> None:
    async def work(message: Message) -> Outcome:
        return Done(error=CallFailed(400, f"{message.op} makes no sense"))

    async with handling(work) as stage:
        outcomes = await stage.handler([*passing("a"), Message("odd", id="b", next="app"), *passing("c")])
        assert outcomes[::2] == [Done(None), Done(None)]
        assert isinstance(outcomes[1], Done)
        assert isinstance(outcomes[1].error, CallFailed)
        assert await stage.queued() == 2
