"""The two brokers, seen from inside, with a time that the test rules."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import redis

from gorgond.redpill import keys
from gorgond.redpill.broker import Broker, Counts, Link
from gorgond.redpill.memory import MemoryBroker
from gorgond.redpill.raw import forgiven, unmarked
from gorgond.redpill.redisbroker import RedisBroker

HOUR_MS = 3_600_000


@dataclass
class Places:
    """All that is kept of one queue."""

    queued: list[bytes]
    desks: dict[str, list[bytes]]
    delayed: list[bytes]
    dead: dict[int, bytes]
    figures: Counter[str]
    paused: bool

    def counts(self) -> Counts:
        """The figures, as the broker gives them too."""
        since = {name: figure for name, figure in self.figures.items() if name not in ("dead", "waited")}
        in_flight = sum(map(len, self.desks.values()))
        return Counts(len(self.queued), in_flight, len(self.delayed), len(self.dead), 0.0, paused=self.paused, **since)

    def all(self) -> Iterator[bytes]:
        """Every message, as it was pushed."""
        for some in (self.queued, *self.desks.values(), self.delayed, self.dead.values()):
            yield from map(as_pushed, some)


def as_pushed(raw: bytes) -> bytes:
    """The message with its attempts forgotten, and without the mark of one that is put off."""
    found = unmarked(raw)
    return forgiven(raw) if found is None else found[3]


class World(ABC):
    """A broker whose time the test rules."""

    broker: Broker
    can_die = False

    @abstractmethod
    def places(self, queue: str) -> Places:
        """What is where."""

    @abstractmethod
    def pass_hours(self, queues: Sequence[str], hours: int = 1) -> None:
        """Everything is so many hours older; or younger, as when the clock is set back."""


class InMemory(World):
    can_die = True

    def __init__(self) -> None:
        self.now = 1000 * HOUR_MS
        self.broker: MemoryBroker = MemoryBroker(clock=lambda: self.now)

    def places(self, queue: str) -> Places:
        kept = self.broker.queue(queue)
        desks = {consumer: list(desk) for consumer, desk in kept.desks.items() if desk}
        dead = {number: letter.raw for number, letter in kept.letters.items()}
        delayed = [raw for _, _, _, raw in sorted(kept.delayed)]
        return Places(list(kept.waiting), desks, delayed, dead, kept.figures.copy(), kept.paused)

    def pass_hours(self, queues: Sequence[str], hours: int = 1) -> None:
        self.now += hours * HOUR_MS


# Reads all places. Times within ten minutes are made one, since in memory the clock stands still.
_DUMP = """
local function still(at)
  local tens = math.floor((at - ARGV[1]) / 600000 + 0.5) - ARGV[2] * 6
  return string.format('%.0f', ARGV[1] + tens * 600000)
end
local delayed = redis.call('ZRANGE', KEYS[2], 0, -1, 'WITHSCORES')
for i = 1, #delayed, 2 do redis.call('ZADD', KEYS[2], still(delayed[i + 1]), delayed[i]) end
local consumers = redis.call('HGETALL', KEYS[4])
for i = 1, #consumers, 2 do
  local owner, at, given = string.match(consumers[i + 1], '^(%d+ %S+ )(%d+)(.*)$')
  redis.call('HSET', KEYS[4], consumers[i], owner .. still(at) .. given)
end
local since, last = string.match(redis.call('GET', KEYS[7]) or '', '^(%d+) (%d+)$')
if since then
  redis.call('SET', KEYS[7], still(since) .. ' ' .. still(last), 'KEEPTTL')
  redis.call('PEXPIRE', KEYS[7], redis.call('PTTL', KEYS[7]) - ARGV[2] * 3600000)
end
local desks = {}
for i, consumer in ipairs({'one', 'two', 'drain'}) do
  desks[i] = {consumer, redis.call('LRANGE', KEYS[1] .. ':desk:' .. consumer, 0, -1)}
end
return {redis.call('LRANGE', KEYS[1], 0, -1), desks, redis.call('ZRANGE', KEYS[2], 0, -1),
  redis.call('ZRANGE', KEYS[3], 0, -1, 'WITHSCORES'), redis.call('HGETALL', KEYS[5]),
  redis.call('LRANGE', KEYS[6], 0, -1), redis.call('HGETALL', KEYS[8]), redis.call('EXISTS', KEYS[9])}
"""


class InRedis(World):
    def __init__(self, broker: RedisBroker, client: redis.Redis) -> None:
        self.broker = broker
        self.start = int(time.time() * 1000)
        self._dump = client.register_script(_DUMP)

    def _read(self, queue: str, hours: int) -> Any:
        names = [keys.queue(queue), keys.delayed(queue), keys.dead(queue), keys.consumers(queue), keys.counts(queue)]
        names += [keys.held(queue), keys.watched(queue), keys.pushed(queue), keys.paused(queue)]
        return self._dump(names, [self.start, hours])

    def places(self, queue: str) -> Places:
        queued, desks, delayed, dead, figures, held, pushed, paused = self._read(queue, 0)
        lying = {consumer.decode(): desk for consumer, desk in desks if desk}
        letters = {int(number): entry.partition(b"\n")[2] for entry, number in _pairs(dead)}
        since = Counter({name.decode(): int(figure) for name, figure in (*_pairs(figures), *_pairs(pushed))})
        for name in ("paused", "later"):  # what earlier versions look at; what numbers what is pushed for later
            since.pop(name, 0)
        assert not (queued if paused else held)
        waiting = [entry.partition(b":")[2] for entry in delayed]
        return Places(queued or held, lying, waiting, letters, since, bool(paused))

    def pass_hours(self, queues: Sequence[str], hours: int = 1) -> None:
        for queue in queues:
            self._read(queue, hours)


def _pairs(flat: list[bytes]) -> Iterator[tuple[bytes, bytes]]:
    return zip(flat[::2], flat[1::2], strict=True)


def links_of(broker: Broker) -> list[Link]:
    """Three connections: of who is drawn, of who waits, and one over which late copies come."""
    return [broker.link(name) for name in ("test", "waiter", "network")]
