"""Subscription and Listener; in memory and on Redis."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from gorgond.redpill import (
    Listener,
    Message,
    Producer,
    Subscription,
    connect,
    session,
)
from tests.conftest import RedisServer
from tests.contract.stage import OUTAGE, Expect, Handler, Stage, messages, running
from tests.waiting import eventually_async


async def test_each_group_gets_each_event_once(stage: Stage) -> None:
    left, right, alone = Handler(), Handler(), Handler()
    consumers = [
        Subscription(stage.broker, "topic", "pair", "left", left, batch=1),
        Subscription(stage.broker, "topic", "pair", "right", right, batch=1),
        Subscription(stage.broker, "topic", "single", "alone", alone),
    ]
    ids = [f"{number:03}" for number in range(40)]
    async with running(*consumers), Producer(stage.broker, "p") as producer:
        await asyncio.gather(*(consumer.joined.wait() for consumer in consumers))
        for id in ids:
            await producer.publish("topic", Message("event", id=id))
        await stage.done(40, "topic/pair")
        await stage.done(40, "topic/single")

    assert sorted(left.ids + right.ids) == ids
    assert alone.ids == ids


async def test_a_group_keeps_events_for_consumers_that_are_away(stage: Stage) -> None:
    async def subscribed() -> Handler:
        handler = Handler()
        consumer = Subscription(stage.broker, "topic", "group", "consumer", handler, kept=3)
        async with running(consumer):
            await consumer.joined.wait()
            await eventually_async(lambda: handler.ids or first)
        return handler

    first = True
    await subscribed()
    first = False
    async with Producer(stage.broker, "p") as producer:
        await producer.publish("topic", *messages("abcde"))

    assert (await subscribed()).ids == ["c", "d", "e"]
    assert (await stage.counts("topic/group")).overflow == 2


async def test_a_group_that_was_deleted_past_us_is_made_again(
    redis_stage: Stage, shared_redis: RedisServer, expected_logs: Expect, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected_logs("the group group of topic was no group any more, and is made again")
    monkeypatch.setattr(session, "REJOIN", 0.1)
    handler = Handler()
    consumer = Subscription(redis_stage.broker, "topic", "group", "consumer", handler)
    async with running(consumer), Producer(redis_stage.broker, "p") as producer:
        await consumer.joined.wait()
        # when somebody deletes the groups of the topic, of which nobody is told
        assert shared_redis.cli("DEL", "gorgon:{topic}:groups") == "1"
        # then the consumer finds out, and hears of what is published from then on
        await eventually_async(lambda: shared_redis.cli("SCARD", "gorgon:{topic}:groups") == "1")
        await producer.publish("topic", *messages("a"))
        await redis_stage.done(1, "topic/group")
    assert handler.ids == ["a"]
    # and tells that it missed something
    assert consumer.tally.rejoined == 1


async def test_a_subscription_joins_again_when_the_broker_has_forgotten_it(
    redis_stage: Stage, shared_redis: RedisServer, expected_logs: Expect
) -> None:
    expected_logs("has lost its desk of topic/group")
    handler = Handler()
    consumer = Subscription(redis_stage.broker, "topic", "group", "consumer", handler)
    async with running(consumer), Producer(redis_stage.broker, "p") as producer:
        await consumer.joined.wait()
        shared_redis.cli("FLUSHALL")
        await eventually_async(lambda: "group" in shared_redis.cli("SMEMBERS", "gorgon:{topic}:groups"))
        await producer.publish("topic", *messages("a"))
        await eventually_async(lambda: handler.ids == ["a"])


async def test_listeners_hear_what_happens_now(stage: Stage, expected_logs: Expect) -> None:
    expected_logs("an event of two is dropped: ")
    heard: list[tuple[str, str]] = []
    listener = Listener(stage.broker, ["one", "two"], "ear", lambda topic, event: heard.append((topic, event.id)))
    async with running(listener), Producer(stage.broker, "p") as producer:

        async def hears() -> bool:
            await producer.publish("one", Message("event", id="first"))
            return bool(heard)

        await eventually_async(hears)
        told: list[object] = []
        producer.submit("two", [b"garbage"], told.append, topic=True)
        await producer.publish("two", *messages("ab"))
        await producer.publish("three", *messages("c"))
        await eventually_async(lambda: ("two", "b") in heard)
    assert set(heard) == {("one", "first"), ("two", "a"), ("two", "b")}


async def test_a_listener_hears_again_after_an_outage(
    redis_factory: Callable[..., RedisServer], expected_logs: Expect
) -> None:
    expected_logs(OUTAGE)
    server = redis_factory()
    stage = Stage(connect(server.url, durable=False))
    heard: set[str] = set()
    listener = Listener(stage.broker, ["topic"], "ear", lambda _, event: heard.add(event.id))
    async with running(listener), Producer(stage.broker, "p") as producer:
        for id in "ab":

            async def hears(id: str = id) -> bool:
                await producer.publish("topic", Message("event", id=id))
                return id in heard

            await eventually_async(hears)
            if id == "a":
                server.kill()
                await eventually_async(lambda: stage.broker.outage.length)
                await asyncio.to_thread(server.start)
