"""Queues and topics that have a broker of their own: what is pushed goes there, what lies elsewhere is handled all the
same; in memory, on Redis, and where that broker is a set of Valkeys with a copy of all that counts."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

import pytest

from gorgond.config import load
from gorgond.errors import ConfigError
from gorgond.redpill import (
    DONE,
    Broker,
    Caller,
    Counts,
    Done,
    Message,
    Outcome,
    Producer,
    Reply,
    Room,
    Subscription,
    connect,
    now_ms,
)
from gorgond.redpill.memory import MemoryBroker
from gorgond.service.fabric import Fabric
from gorgond.service.life import Service
from gorgond.service.routing import agree, check_route
from gorgond.service.systemd import Notifier
from tests.brokers import BROKERS, SETS
from tests.contract.stage import Expect, Handler
from tests.waiting import eventually_async

Heard = list[tuple[str, str]]


@dataclass
class Site:
    """The brokers: `main`, `calls` apart from it, `other` of what has a route."""

    main: Broker
    calls: Broker
    other: Broker

    def fabric(self, *routed: str, over: Sequence[Broker | None] | None = None) -> Fabric:
        """With these queues routed to the other broker, or `over` these."""
        routes = {name: [self.other] if over is None else over for name in routed}
        return Fabric(self.main, self.calls, Room(1000, 10**9), routes, " ".join(f"{each}=other" for each in routed))

    async def counts(self, broker: Broker, queue: str) -> Counts:
        link = broker.link("look")
        try:
            return (await link.counts([queue]))[0]
        finally:
            await link.close()

    async def done(self, queue: str) -> list[int]:
        """How many each broker had of it that are done; nothing is lost at any."""
        found = [await self.counts(broker, queue) for broker in (self.main, self.calls, self.other)]
        assert not any(each.difference() for each in found)
        return [each.done for each in found]


@pytest.fixture(params=[*BROKERS, *SETS])
def site(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Site:
    if request.param == "memory":
        return Site(MemoryBroker("memory://a"), MemoryBroker("memory://b"), MemoryBroker("memory://c"))
    make = request.getfixturevalue("redis_factory")
    urls = [make().url for _ in range(2)]
    if request.param == "sentinel":
        monkeypatch.setattr("gorgond.redpill.rediswire.COPY_TIMEOUT", 60.0)
        urls.append(request.getfixturevalue("valkey_set").url(copies=1))
    else:
        urls.append(make().url)
    return Site(*(connect(url, durable=False) for url in urls))


class Toy(Service):
    """Consumes `jobs` and the group `topic/toys`, hears `topic`; notes where each came to it."""

    role = "toy"

    def __init__(self, fabric: Fabric, name: str = "1") -> None:
        super().__init__(load(os.devnull, {}, {}), fabric, name)
        self.heard: Heard = []
        self.calls = self.caller("toy_data")

    async def start(self) -> None:
        self.concurrent_consumer("jobs", self._note("jobs"))
        self.concurrent_consumer("asked", self._note("asked"))
        self.concurrent_subscription("topic", "toys", self._note("toys"))
        self.listener("topic", lambda _, event: self.heard.append(("live", event.id)), usual=self.fabric.durable)

    def _note(self, what: str) -> Callable[[Message], Awaitable[Outcome]]:
        async def note(message: Message) -> Outcome:
            self.heard.append((what, message.id))
            return Done(b"1") if message.reply else DONE

        return note

    def doing(self) -> str:
        return "playing"


@asynccontextmanager
async def playing(toy: Toy) -> AsyncIterator[Toy]:
    await agree(toy.fabric)
    running = asyncio.create_task(toy.run(Notifier()))
    ready = asyncio.create_task(toy.ready.wait())
    await asyncio.wait({running, ready}, return_when=asyncio.FIRST_COMPLETED)
    try:
        yield toy
    finally:
        toy.stop()
        await running


async def push(broker: Broker, id: str, queue: str = "jobs") -> None:
    async with Producer(broker, "test") as producer:
        await producer.push(queue, Message("op", id=id))


def asking(id: str, next: str = "") -> Message:
    return Message("op", id=id, next=next, deadline=now_ms() + 60_000)


async def test_a_routed_queue_is_pushed_to_its_broker_and_consumed_wherever_some_may_lie(site: Site) -> None:
    # given what was pushed before there was the route
    await push(site.main, "before")
    async with playing(Toy(site.fabric("jobs"))) as toy:
        # when more comes: by who knows the route, and by who does not
        await toy.producer("jobs").push("jobs", Message("op", id="now"))
        await push(site.calls, "elsewhere")
        # then each is handled once
        await eventually_async(lambda: len(toy.heard) == 3)
        assert sorted(toy.heard) == [("jobs", "before"), ("jobs", "elsewhere"), ("jobs", "now")]
        assert toy.calls.usual.reply_to  # it has the caller of what has no route alone
        # and what has no route goes where it went
        await toy.producer("asked").push("asked", Message("op", id="plain"))
        await eventually_async(lambda: ("asked", "plain") in toy.heard)
        await eventually_async(lambda: _is(site.done("jobs"), [1, 1, 1]))
        await eventually_async(lambda: _is(site.done("asked"), [1, 0, 0]))


async def _is(found: Awaitable[list[int]], wanted: list[int]) -> bool:
    return await found == wanted


async def test_a_call_goes_over_the_broker_of_the_queue_at_which_it_ends(site: Site) -> None:
    async with playing(Toy(site.fabric("asked"))) as toy:
        assert (await toy.calls.call("jobs", asking("a"))).body == b"1"
        assert (await toy.calls.call("asked", asking("b"))).body == b"1"
        told: list[object] = []
        toy.calls.ask("asked", asking("c"), told.append)
        await eventually_async(lambda: told)
        assert isinstance(told[0], Reply)
        # one with a routing slip goes there all the way, as who passes it on does not look where that leads
        passed = toy.calls.call("first", asking("d", next="asked"))
        await eventually_async(lambda: _is_queued(site, site.other, "first"))
        assert len(toy.calls) == 1
        passed.cancel()
        await eventually_async(lambda: _is(site.done("jobs"), [0, 1, 0]))
        await eventually_async(lambda: _is(site.done("asked"), [0, 0, 2]))


async def _is_queued(site: Site, broker: Broker, queue: str) -> bool:
    return (await site.counts(broker, queue)).queued == 1


async def test_who_does_not_know_a_route_is_answered_too(site: Site) -> None:
    async with (
        playing(Toy(site.fabric("asked"))),
        Producer(site.calls, "old") as producer,
        Caller(site.calls, producer, "old_data", "old") as caller,
    ):
        assert (await caller.call("asked", asking("a"))).body == b"1"


async def test_the_events_of_a_routed_topic_come_from_its_broker_and_from_that_of_before(site: Site) -> None:
    async with playing(Toy(site.fabric("topic"))) as toy, Producer(site.main, "old") as old:
        await eventually_async(lambda: _has_groups(site, "topic/toys", site.main, site.other))
        await toy.producer("topic").publish("topic", Message("op", id="new"))
        await old.publish("topic", Message("op", id="old"))
        # then the group has each once, and who listens hears it
        await eventually_async(lambda: len(toy.heard) == 4)
        assert sorted(toy.heard) == [("live", "new"), ("live", "old"), ("toys", "new"), ("toys", "old")]
        await eventually_async(lambda: _is(site.done("topic/toys"), [1, 0, 1]))


async def _has_groups(_: Site, name: str, *brokers: Broker) -> bool:
    for broker in brokers:
        link = broker.link("look")
        groups = [each.name for each in await link.groups() if each.joined]
        await link.close()
        if name not in groups:
            return False
    return True


async def test_a_group_misses_no_event_while_its_topic_moves(site: Site) -> None:
    # given a group of a topic that has no route yet, whose consumer is away
    old = Subscription(site.main, "topic", "toys", "old", Handler(), kept=77)
    running = asyncio.create_task(old.run())
    await old.joined.wait()
    old.stop()
    await running
    # when all agree on a route, and an event is published there before anybody consumes there
    fabric = site.fabric("topic")
    assert await agree(fabric) == [f"topic/toys at {site.other.shown}"]
    assert await agree(fabric) == []
    async with Producer(fabric.carrier("topic", fabric.durable), "p") as producer:
        await producer.publish("topic", Message("op", id="early"))
    # then the group has it, and keeps as many as before
    async with playing(Toy(fabric)) as toy:
        await eventually_async(lambda: ("toys", "early") in toy.heard)


async def test_a_route_is_taken_back_with_what_lies_there(site: Site) -> None:
    # given a queue that has a route, and one message there
    await push(site.other, "there")
    # when the route is back to the main brokers, and the other one is only drained
    async with playing(Toy(site.fabric("jobs", over=(None, site.other)))) as toy:
        await toy.producer("jobs").push("jobs", Message("op", id="back"))
        await eventually_async(lambda: len(toy.heard) == 2)
        await eventually_async(lambda: _is(site.done("jobs"), [1, 0, 1]))


async def test_who_routes_otherwise_than_agreed_does_not_start(site: Site) -> None:
    fabric, none = site.fabric("jobs"), site.fabric()
    link = site.main.link("test")
    # given nothing that was agreed on
    await check_route(link, none.route)
    with pytest.raises(ConfigError, match="route is jobs=other here, and the hosts have agreed on nothing"):
        await Toy(fabric).run(Notifier())
    # when all hosts have agreed
    await agree(fabric)
    async with playing(Toy(fabric)):
        pass
    # then one without the route is refused
    with pytest.raises(ConfigError, match="route is nothing here, and the hosts have agreed on jobs=other: write the"):
        await Toy(none).run(Notifier())
    await link.close()


async def test_a_pause_holds_wherever_some_may_lie(site: Site) -> None:
    async with playing(Toy(site.fabric("jobs"))) as toy:
        link = site.main.link("test")
        # when the queue is paused where that is remembered, then it is so at its own broker, too
        await link.pause("jobs")
        await eventually_async(lambda: _is_paused(site, "jobs", True))
        await toy.producer("jobs").push("jobs", Message("op", id="waits"))
        # and so it is undone
        await link.resume("jobs")
        await eventually_async(lambda: ("jobs", "waits") in toy.heard)
        await eventually_async(lambda: _is_paused(site, "jobs", False))
        # a queue that has no route stays as it is there
        assert not (await site.counts(site.other, "asked")).paused
        await link.close()


async def _is_paused(site: Site, queue: str, paused: bool) -> bool:
    return (await site.counts(site.other, queue)).paused is paused


async def test_without_one_broker_only_its_queues_stand_still(expected_logs: Expect) -> None:
    expected_logs("is away, waiting for it|is back after")
    main, calls, other = (MemoryBroker(f"memory://{name}") for name in "abc")
    fabric = Site(main, calls, other).fabric("jobs")
    async with playing(Toy(fabric)) as toy:
        # when the routed one is away
        other.kill()
        await eventually_async(lambda: "without broker memory://c" in toy.status())
        pushing = asyncio.ensure_future(toy.producer("jobs").push("jobs", Message("op", id="late")))
        # then the others go on, and the instance is heard
        await toy.producer("asked").push("asked", Message("op", id="on"))
        assert (await toy.calls.call("asked", asking("called"))).body == b"1"
        await eventually_async(lambda: ("asked", "on") in toy.heard)
        assert toy.status() == "playing; without broker memory://c"
        assert fabric.away() is None
        # and what waits for it is done when it is back
        other.start()
        await pushing
        await eventually_async(lambda: ("jobs", "late") in toy.heard)
        # when a main one is away the routed queue goes on
        main.kill()
        await toy.producer("jobs").push("jobs", Message("op", id="apart"))
        await eventually_async(lambda: ("jobs", "apart") in toy.heard)
        main.start()
        await eventually_async(lambda: not main.outage.length)


def test_the_brokers_by_name_and_by_what_they_carry() -> None:
    main, calls, other, last = (MemoryBroker(f"memory://{name}") for name in "abcd")
    fabric = replace(Site(main, calls, other).fabric("q", "t"), routes={"q": [other], "t": [None, last]})
    assert fabric.named == {"durable": main, "calls": calls, "memory://c": other, "memory://d": last}
    assert (fabric.carrier("q", main), fabric.carrier("t", calls), fabric.carrier("x", calls)) == (other, calls, calls)
    assert fabric.holders("t", (main,)) == (main, last)
    assert fabric.queues_of(last) == ["t"]
