"""What a late copy does at a Redis that has forgotten what it knew: that of calls, which began anew, or one that had
not written the last second to its disk. docs/protocol.md says so ("A broker that forgets")."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import redis

from gorgond.redpill.broker import Batch, Failure, Link, Room
from gorgond.redpill.errors import Superseded
from gorgond.redpill.limits import Limit
from gorgond.redpill.redisbroker import RedisBroker
from tests.conftest import RedisServer
from tests.contract.bench import raw
from tests.contract.puppet import Puppet


@asynccontextmanager
async def linked(server: RedisServer) -> AsyncIterator[tuple[Link, redis.Redis]]:
    """A link, and what makes the Redis forget: its scripts and the version are there again at once."""
    broker = RedisBroker(server.url, durable=False)
    link = broker.link("test")
    with redis.Redis.from_url(server.url) as client:
        client.flushdb()
        try:
            yield link, client
        finally:
            await link.close()


async def push(link: Link, number: int) -> None:
    assert await link.push("p", Room(), [Batch("q", number, [raw("a")])]) == [None]


async def test_a_late_push_is_done_once_more(shared_redis: RedisServer) -> None:
    async with linked(shared_redis) as (link, client):
        # given a batch, and a Redis that has forgotten its number
        await push(link, 7)
        client.flushdb()
        # when a copy arrives, then it is there again, with its id: that is a repeat for whoever handles it
        await push(link, 7)
        assert client.lrange("gorgon:{q}", 0, -1) == [raw("a")]
        # and when its producer has gone on, a further copy has no effect
        await push(link, 8)
        await push(link, 7)
        [counts] = await link.counts(["q"])
        assert (counts.accepted, counts.queued, counts.difference()) == (2, 2, 0)


async def test_a_late_question_about_a_limit_counts_once_more(shared_redis: RedisServer) -> None:
    async with linked(shared_redis) as (link, client):
        limit = [Limit("anna", 1, 600)]
        assert await link.admit("login", "asker", 7, limit) == 0
        client.flushdb()
        assert await link.admit("login", "asker", 7, limit) == 0
        assert await link.admit("login", "asker", 8, limit) > 0


async def test_a_late_claim_settles_nothing_of_a_successor(shared_redis: RedisServer) -> None:
    async with linked(shared_redis) as (link, client):
        # given a consumer's claim that settles, and a Redis that forgets
        await push(link, 1)
        old = Puppet(link)
        await old.take()
        assert await old.claim() == [raw("a")]
        client.flushdb()
        # when the consumer takes its desk anew and has as much on it as then
        new = Puppet(link)
        await new.take()
        await push(link, 2)
        assert await new.claim() == [raw("a")]
        # then a copy of the old claim that would settle it is void, since a token has the time in it
        with pytest.raises(Superseded):
            await old.claim(done=1)
        [counts] = await link.counts(["q"])
        assert (counts.in_flight, counts.done, counts.difference()) == (1, 0, 0)


async def test_a_late_switch_is_done_as_if_it_was_asked_for_now_and_can_be_undone(shared_redis: RedisServer) -> None:
    async with linked(shared_redis) as (link, client):
        # given a queue that was paused and resumed, and a Redis that has forgotten how often
        assert await link.pause_if("q", "")
        assert await link.resume_if("q", "1")
        client.flushdb()
        # when a copy of the pause arrives, then it is paused, which everybody sees, until somebody resumes it
        assert await link.pause_if("q", "")
        assert (await link.counts(["q"]))[0].paused
        assert await link.resume("q")
        assert not (await link.counts(["q"]))[0].paused


async def test_a_dead_letters_number_may_be_given_again(shared_redis: RedisServer) -> None:
    async with linked(shared_redis) as (link, client):

        async def give_up() -> int:
            consumer = Puppet(link)
            await consumer.take()
            await consumer.claim()
            await consumer.claim(done=1, want=0, failures=[Failure(0, None, "no")])
            return (await link.dead("q"))[-1].number

        await push(link, 1)
        assert await give_up() == 1
        assert await link.requeue("q", 1)
        client.flushdb()
        await push(link, 2)
        # then another letter has the number, and a copy of what was said of the first is done to it
        assert await give_up() == 1
        assert await link.requeue("q", 1)
        [counts] = await link.counts(["q"])
        assert (counts.queued, counts.dead, counts.difference()) == (1, 0, 0)
