"""A service whose loop ends although nobody asked it to ends itself, and says which it was."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Awaitable, Callable

import pytest

from gorgond.config import load
from gorgond.redpill import DONE, Caller, Consumer, GorgonError, LoopEnded, Message, Producer, Room, keys, now_ms
from gorgond.redpill.errors import BrokerError
from gorgond.redpill.memory import MemoryBroker
from gorgond.service.fabric import Fabric
from gorgond.service.life import Service
from gorgond.service.systemd import Notifier
from tests.waiting import eventually_async


class Toy(Service):
    """Has one loop, a producer and a caller."""

    role = "toy"

    def __init__(self, loop: Callable[[], Awaitable[None]], ends: bool = False) -> None:
        broker = MemoryBroker()
        super().__init__(load(os.devnull, {}, {}), Fabric(broker, broker, Room()), "1")
        self.pushes = self.producer("toys")
        self.calls = self.caller("toy_data")
        self._work = loop
        self._ends = ends
        self.working: asyncio.Task[None]

    async def start(self) -> None:
        async def work(_: Callable[[], None] = lambda: None) -> None:
            await self._work()

        self.working = self.task(work(), "the loop") if self._ends else self.loop(work, "the loop")

    def doing(self) -> str:
        return "playing"


async def for_ever() -> None:
    await asyncio.Event().wait()


async def at_once() -> None:
    return


async def fails() -> None:
    raise KeyError("odd")


def cancelled(toy: Toy, what: str) -> None:
    task = {"loop": toy.working, "producer": background(toy.pushes), "caller": background(toy.calls.usual)}[what]
    task.cancel()


def background(end: Producer | Caller) -> asyncio.Task[None]:
    assert end._background is not None
    return end._background.task


@pytest.mark.parametrize("what", ["loop", "producer", "caller"])
async def test_a_loop_that_is_cancelled_ends_the_service(what: str) -> None:
    toy = Toy(for_ever)
    running = asyncio.create_task(toy.run(Notifier()))
    await toy.ready.wait()
    cancelled(toy, what)
    with pytest.raises(GorgonError, match="was cancelled, and nobody had asked it to end") as ended:
        await asyncio.wait_for(running, 60)
    assert {"loop": "the loop", "producer": " push", "caller": " replies"}[what] in str(ended.value)


class Refused(Toy):
    """Is not let in by something that it needs."""

    async def start(self) -> None:
        self.consumer("q", lambda batch: asyncio.sleep(0, [DONE] * len(batch)))

    async def meet(self) -> None:
        for _ in range(100):  # as long as others would take what is there
            await asyncio.sleep(0)
        raise BrokerError("not you")


async def test_who_is_not_let_in_takes_nothing() -> None:
    toy = Refused(for_ever)
    broker = toy.fabric.durable
    async with Producer(broker, "p") as producer:
        await producer.push("q", Message("op"))
    # when it begins, then it ends with what it was told, and what it would have taken lies where it was
    with pytest.raises(BrokerError, match="not you"):
        await asyncio.wait_for(toy.run(Notifier()), 60)
    link = broker.link("look")
    [counts] = await link.counts(["q"])
    assert (counts.queued, counts.done, counts.in_flight) == (1, 0, 0)


async def test_calls_fail_when_nobody_listens_for_replies_any_more() -> None:
    toy = Toy(for_ever)
    running = asyncio.create_task(toy.run(Notifier()))
    await toy.ready.wait()
    deadline = now_ms() + 60_000
    call = toy.calls.call("q", Message("op", deadline=deadline))
    cancelled(toy, "caller")
    # then the one under way fails, and so do others that come
    with pytest.raises(BrokerError, match="there will be no answer"):
        await call
    with pytest.raises(BrokerError, match="there will be no answer"):
        await toy.calls.call("q", Message("op", deadline=deadline))
    with pytest.raises(GorgonError):
        await running


async def test_a_loop_that_returns_ends_the_service_unless_it_may() -> None:
    with pytest.raises(GorgonError, match="the loop has ended, and nobody had asked it to"):
        await Toy(at_once).run(Notifier())
    toy = Toy(at_once, ends=True)
    running = asyncio.create_task(toy.run(Notifier()))
    await toy.ready.wait()
    await eventually_async(toy.working.done)
    assert not running.done()
    toy.stop()
    await running


async def test_a_loop_that_fails_ends_the_service_and_is_named() -> None:
    with pytest.raises(LoopEnded, match=r"^the loop has failed: KeyError: 'odd'$") as ended:
        await Toy(fails).run(Notifier())
    assert isinstance(ended.value.foreign, KeyError)


@pytest.mark.parametrize("host", ["büro", "büro 2", "a b", "x" * 300, "web_1.example"])
async def test_any_name_of_a_host_makes_good_names(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: host)
    toy = Toy(for_ever)
    # then every list and consumer of the service has a name that the broker takes
    keys.queue(toy.calls.usual.reply_to)
    keys.queue(toy.name)
    assert re.fullmatch(r"[!-~]+", toy.name)


async def test_its_status_says_that_messages_wait_for_a_newer_one() -> None:
    toy = Toy(for_ever)
    assert toy.status() == "playing"
    # when one of its consumers has just left a message for a newer consumer
    consumer = Consumer(toy.fabric.durable, "store_put", "consumer", lambda _: asyncio.sleep(0, ()))
    toy.consumers.append(consumer)
    consumer.newer.add()
    # then it says so, in words that make the verdict tell it
    assert toy.status() == "waiting for a newer gorgond, which messages of store_put need"


def test_two_hosts_are_never_one_name() -> None:
    assert len({keys.word(host) for host in ("büro", "bäro", "b-ro", "a b", "a-b", "a_b")}) == 6
    assert keys.word("web_1.example") == "web_1.example"
    # nor are two long ones
    long = [keys.word("ü" * 60 + end) for end in ("1", "2")]
    assert long[0] != long[1]
    assert [len(each) <= keys.WORD_MAX for each in long] == [True, True]


def test_a_caller_without_a_good_name_is_refused_at_once() -> None:
    broker = MemoryBroker()
    with pytest.raises(ValueError, match="is no queue name"):
        Caller(broker, Producer(broker, "p"), "data", "a b")
