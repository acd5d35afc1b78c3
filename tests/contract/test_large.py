"""Large messages are handed out as small ones are; Redis moves them, and does not write them anew."""

from __future__ import annotations

from gorgond.redpill import connect
from gorgond.redpill.broker import CLAIM_BYTES
from gorgond.redpill.redisbroker import RedisBroker
from tests.conftest import RedisServer
from tests.contract.bench import Bench, raw, raws

HALF = CLAIM_BYTES // 2


def large(id: str, size: int) -> bytes:
    """A message of so many bytes."""
    return raw(id)[:-1] + b',"trace":"' + b"-" * (size - len(raw(id)) - 11) + b'"}'


async def test_a_claim_brings_no_more_bytes_than_fit(bench: Bench) -> None:
    # given: large messages among small ones, three of which are too much for one claim
    a, b, c = (large(id, HALF - 1000) for id in "abc")
    await bench.push(a, *raws("d"), b, c, *raws("e"))
    consumer = await bench.consumer()
    # then: what does not fit stays where it is, in its order
    assert await consumer.claim(want=9) == [a, *raws("d"), b]
    assert await bench.places() == (2, 3, 0, 0)
    assert await consumer.claim(done=3, want=9) == [c, *raws("e")]
    assert await consumer.claim(done=2, want=9) == []


async def test_one_that_is_larger_than_a_claim_comes_alone(bench: Bench) -> None:
    a, b = large("a", 3 * HALF), large("b", 5000)
    await bench.push(a, b)
    consumer = await bench.consumer()
    assert await consumer.claim(want=9) == [a]
    assert await consumer.claim(done=1, want=9) == [b]


async def test_one_that_was_started_waits_until_those_before_it_are_settled(bench: Bench) -> None:
    # given: a large message that was started before, behind one that was not
    a, b = large("a", 5000), large("b", 5000)
    await bench.push(a, b'{"attempts":1,' + b[1:])
    consumer = await bench.consumer()
    # then: it comes by itself, the start counted
    assert await consumer.claim(want=9) == [a]
    assert await bench.places() == (1, 1, 0, 0)
    assert await consumer.claim(done=1, want=9) == [b'{"attempts":2,' + b[1:]]


async def test_redis_writes_large_ones_once(shared_redis: RedisServer) -> None:
    bench = Bench(connect(shared_redis.url, durable=False))
    assert isinstance(bench.broker, RedisBroker)
    for size, moves in ((3000, 3), (300, 0)):
        await bench.push(*(large(id, size) for id in "abc"), queue=f"q{size}")
        consumer = await bench.consumer(queue=f"q{size}")
        shared_redis.cli("CONFIG", "RESETSTAT")
        assert len(await consumer.claim(want=3)) == 3
        stats = shared_redis.cli("INFO", "commandstats")
        assert ("cmdstat_lmove:calls=3" in stats) is (moves == 3)
        assert ("cmdstat_rpush:calls=1" in stats) is (moves == 0)
