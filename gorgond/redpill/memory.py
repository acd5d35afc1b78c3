"""The broker in memory: the whole contract within one process, for tests, simulators and trying things out.

    MemoryBroker.at("memory://NAME")      the one broker of that name in this process; what `connect` gives
    MemoryBroker(clock=lambda: now)       one of its own, with a clock (milliseconds) that the test moves
    broker.kill(), broker.start()         an outage: meanwhile every operation, also one that blocks, raises
                                          BrokerAway; what the broker holds stays

It belongs to one event loop: nothing in it is locked, and nothing is kept when the process ends. The clock rules
silence, delays and expiry; what a blocking call waits is the event loop's time.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, TypeVar

from gorgond.redpill import keys
from gorgond.redpill.broker import (
    ATTEMPTS,
    FETCH_MAX,
    REPLY_TTL,
    Batch,
    Broker,
    Claim,
    Claimed,
    Counts,
    DeadLetter,
    Found,
    Group,
    Lease,
    Link,
    Room,
    Stale,
    Unique,
)
from gorgond.redpill.clock import host_ms
from gorgond.redpill.errors import BrokerAway, BrokerError, QueueFull
from gorgond.redpill.limits import Entry, Limit
from gorgond.redpill.memoryqueue import MemoryQueue
from gorgond.redpill.memoryunique import Standing

T = TypeVar("T")


class _ReplyList:
    """The replies for one caller; they are gone when the clock reaches `expires`."""

    def __init__(self) -> None:
        self.replies: deque[bytes] = deque()
        self.expires = 0
        self.waiters: dict[asyncio.Future[None], str] = {}

    def expire(self, now: int) -> None:
        if now >= self.expires:
            self.replies.clear()

    def take(self, most: int) -> list[bytes]:
        return [self.replies.popleft() for _ in range(min(len(self.replies), most))]


@dataclass(frozen=True, slots=True)
class _Lease:
    """Times are the broker's, in milliseconds."""

    owner: str = ""
    token: int = 0
    ends: int = 0
    length: int = 0
    done: int = -1

    def stands(self) -> str:
        return f"{self.token} {self.ends} {self.done}"


class MemoryBroker(Broker):
    """Queues, topics and reply lists in memory."""

    in_process = True
    _shared: ClassVar[dict[str, MemoryBroker]] = {}

    def __init__(self, url: str = "memory://", clock: Callable[[], int] = host_ms) -> None:
        super().__init__(url, url)
        self.clock = clock
        self.alive = True
        self.life = 0  # how often it was killed
        self.marks: dict[str, tuple[int, bool]] = {}  # by producer and queue: its last batch, whether it was accepted
        self.groups: defaultdict[str, dict[str, int]] = defaultdict(dict)  # topic -> group -> its limit
        self.listeners: defaultdict[str, dict[MemoryLink, None]] = defaultdict(dict)
        self.replies: defaultdict[str, _ReplyList] = defaultdict(_ReplyList)
        self.leases: dict[str, _Lease] = {}
        self.route = ""
        self.asked: dict[str, tuple[int, float]] = {}  # by asker: the number of its last question, and the answer
        self.uniques: dict[str, Standing] = {}  # by key
        self.rates: dict[str, float] = {}  # until when what a limit counted counts, by its key
        self.blocked: set[asyncio.Future[Any]] = set()
        self._queues: dict[str, MemoryQueue] = {}

    @classmethod
    def at(cls, url: str, durable: bool = False) -> MemoryBroker:  # noqa: ARG003 - it never is
        """The broker at this address, made when it is first asked for."""
        broker = cls._shared.get(url)
        if broker is None:
            broker = cls._shared[url] = cls(url)
        return broker

    def link(self, name: str) -> MemoryLink:
        return MemoryLink(self, name)

    def kill(self) -> None:
        """Begin an outage; connections are lost, data is not."""
        self.alive = False
        self.life += 1
        self.listeners.clear()
        for future in self.blocked:
            future.cancel()

    def start(self) -> None:
        """End the outage."""
        self.alive = True

    def queue(self, name: str) -> MemoryQueue:
        """The queue of that name, which comes to be when it is first used. Raises ValueError for what is no name."""
        queue = self._queues.get(name)
        if queue is None:
            keys.queue(name)
            queue = self._queues[name] = MemoryQueue(name)
        return queue

    def forget(self, name: str) -> None:
        """Delete all that a queue keeps, but how often it was switched, and those who wait."""
        queue = self.queue(name)
        fresh = self._queues[name] = MemoryQueue(name)
        fresh.epoch, fresh.waiters = queue.epoch, queue.waiters

    def used_queues(self) -> list[str]:
        """The names of the queues that were ever used."""
        return sorted(name for name, queue in self._queues.items() if queue.figures or queue.consumers)


class MemoryLink(Link):
    """A connection to the broker in memory."""

    broker: MemoryBroker

    def __init__(self, broker: MemoryBroker, name: str) -> None:
        super().__init__(broker, name)
        self._life = -1  # that of the broker it is connected to
        self._listening = False
        self._heard: deque[tuple[str, bytes]] = deque()
        self._ears: dict[asyncio.Future[None], str] = {}

    async def _round(self) -> None:
        """The way to the broker, on which others run."""
        self._asked = time.monotonic()
        await asyncio.sleep(0)
        if not self.broker.alive:
            raise BrokerAway("the broker is down")
        if self._life != self.broker.life:
            self._life = self.broker.life
            self._listening = False
            self._heard.clear()
            self.note_connection()
            self.broker.met = True

    async def _block(self, waiters: Sequence[dict[asyncio.Future[T], str]], who: str, timeout: float) -> T | None:
        """Wait to be served by whoever brings what is waited for; None when nobody did in time.

        Never cut short, since being served and running out of time may come at once.
        """
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        for each in waiters:
            each[future] = who
        self.broker.blocked.add(future)
        try:
            await asyncio.wait((future,), timeout=timeout)
        finally:
            for each in waiters:
                each.pop(future, None)
            self.broker.blocked.discard(future)
        if future.cancelled():
            raise BrokerAway("the broker went down")
        return future.result() if future.done() else None

    async def ping(self) -> None:
        await self._round()

    async def clock(self) -> int:
        asked = time.monotonic_ns()
        await self._round()
        at = self.broker.clock()
        self.broker.time.heard(at * 1_000_000, asked, time.monotonic_ns())
        return at

    async def push(self, producer: str, room: Room, batches: Sequence[Batch]) -> list[BrokerError | None]:
        marked = [(keys.producer(batch.name, producer), batch) for batch in batches]
        await self._round()
        outcome: list[BrokerError | None] = []
        for mark, batch in marked:
            seen, accepted = self.broker.marks.get(mark, (0, True))
            if seen < batch.number:
                if batch.topic:
                    self._publish(batch.name, batch.messages, room)
                accepted = batch.topic or self._push(batch, room)
                self.broker.marks[mark] = batch.number, accepted
            outcome.append(None if accepted else QueueFull(batch.name))
        return outcome

    def _push(self, batch: Batch, room: Room) -> bool:
        queue = self.broker.queue(batch.name)
        accepted = queue.push(batch.messages, room, batch.later, self.broker.clock())
        queue.serve()
        return accepted

    def _publish(self, topic: str, events: Sequence[bytes], room: Room) -> None:
        for group, limit in self.broker.groups[topic].items():
            queue = self.broker.queue(f"{topic}/{group}")
            queue.push_newest(events, limit, room.bytes)
            queue.serve()
        for listener in self.broker.listeners[topic]:
            listener.hear((topic, event) for event in events)

    async def take_if(self, queue: str, consumer: str, stands: str) -> tuple[str, int]:
        taken = self.broker.queue(queue)
        await self._round()
        return taken.take(consumer, stands, self.broker.clock())

    async def claim(self, queue: str, consumer: str, token: str, claim: Claim, attempts: int = ATTEMPTS) -> Claimed:
        claimed = self.broker.queue(queue)
        for name in claim.replies:
            keys.queue(name)
        await self._round()
        for name, replies in claim.replies.items():
            self._reply(name, replies)
        try:
            return claimed.claim(consumer, token, claim, attempts, self.broker.clock())
        finally:
            claimed.serve()

    async def wait(self, queue: str, consumer: str, timeout: float) -> bytes | None:
        waited = self.broker.queue(queue)
        await self._round()
        if not waited.waiting or waited.paused:
            return await self._block([waited.waiters], consumer, timeout)
        raw = waited.waiting.popleft()
        waited.desks[consumer].append(raw)
        return raw

    async def leave(self, queue: str, consumer: str, token: str, unhandled: bool = False) -> int:
        left = self.broker.queue(queue)
        await self._round()
        returned = left.leave(consumer, token, unhandled)
        left.serve()
        return returned

    async def recover(self, queue: str, silence: float) -> list[tuple[str, int]]:
        recovered = self.broker.queue(queue)
        await self._round()
        found = recovered.recover(int(silence * 1000), self.broker.clock())
        recovered.serve()
        return found

    async def reply(self, name: str, replies: Sequence[bytes]) -> None:
        keys.queue(name)
        await self._round()
        self._reply(name, replies)

    def _reply(self, name: str, replies: Sequence[bytes]) -> None:
        now = self.broker.clock()
        kept = self.broker.replies[name]
        kept.expire(now)
        kept.replies += replies
        kept.expires = now + int(REPLY_TTL * 1000)
        _wake(kept.waiters)

    async def fetch(self, names: Sequence[str], timeout: float, most: int = FETCH_MAX) -> list[bytes]:
        for name in names:
            keys.queue(name)
        await self._round()
        lists = [self.broker.replies[name] for name in names]
        for each in lists:
            each.expire(self.broker.clock())
        if not any(each.replies for each in lists):
            await self._block([each.waiters for each in lists], self.name, timeout)
        return next((each.take(most) for each in lists if each.replies), [])

    async def join_if(self, topic: str, group: str, limit: int, stands: str) -> bool:
        queue, groups = self.broker.queue(f"{topic}/{group}"), self.broker.groups[topic]
        await self._round()
        new = group not in groups
        if groups.get(group) != limit:
            queue.switch(stands)
            groups[group] = limit
        return new

    async def part_if(self, topic: str, group: str, stands: str) -> bool:
        queue, groups = self.broker.queue(f"{topic}/{group}"), self.broker.groups[topic]
        await self._round()
        if group not in groups:
            return False
        queue.switch(stands)
        del groups[group]
        return True

    async def forget_if(self, topic: str, group: str, stands: str) -> bool:
        name = f"{topic}/{group}"
        queue, groups = self.broker.queue(name), self.broker.groups[topic]
        await self._round()
        if group not in groups and name not in self.broker.used_queues():
            return False
        queue.switch(stands)
        groups.pop(group, None)
        self.broker.forget(name)
        return True

    async def groups(self) -> list[Group]:
        await self._round()
        joined = {
            f"{topic}/{group}": most for topic, some in self.broker.groups.items() for group, most in some.items()
        }
        names = sorted({*joined, *(name for name in self.broker.used_queues() if "/" in name)})
        now, found = self.broker.clock(), []
        for name in names:
            queue = self.broker.queue(name)
            counts, heard = queue.counts(now), [each.at for each in queue.consumers.values()]
            kept = counts.queued + counts.in_flight + counts.delayed + counts.dead
            idle = max(0, now - max(heard)) / 1000 if heard else None
            found.append(Group(name, kept, sum(map(len, queue.waiting)), joined.get(name), idle, name in joined))
        return found

    async def listen(self, topics: Sequence[str], timeout: float) -> tuple[str, bytes] | None:
        for topic in topics:
            keys.queue(topic)
        await self._round()
        if not self._listening:
            self._listening = True
            for topic in topics:
                self.broker.listeners[topic][self] = None
        if not self._heard:
            await self._block([self._ears], self.name, timeout)
        return self._heard.popleft() if self._heard else None

    def hear(self, events: Iterable[tuple[str, bytes]]) -> None:
        """Take events in, for the next calls of `listen`."""
        self._heard.extend(events)
        _wake(self._ears)

    async def counts(self, queues: Sequence[str]) -> list[Counts]:
        found = [self.broker.queue(name) for name in queues]
        await self._round()
        now = self.broker.clock()
        return [queue.counts(now) for queue in found]

    async def admit(self, family: str, asker: str, number: int, limits: Sequence[Limit], back: bool = False) -> float:
        names = [keys.rate(family, limit.name) for limit in limits]
        who = keys.asker(family, asker)
        await self._round()
        seen, answer = self.broker.asked.get(who, (0, 0.0))
        if seen < number:
            answer = self._admit(names, limits, back)
            self.broker.asked[who] = number, answer
        return answer

    def _admit(self, names: Sequence[str], limits: Sequence[Limit], back: bool) -> float:
        now, rates = self.broker.clock(), self.broker.rates
        for name in [name for name, until in rates.items() if until <= now]:
            del rates[name]
        ends, wait = {}, 0.0
        for name, limit in zip(names, limits, strict=True):
            each = int(limit.seconds * 1000)
            if name in rates:
                rates[name] = min(rates[name], now + limit.most * each)
            ends[name] = rates.get(name, now) + (-each if back else each)
            wait = max(wait, ends[name] - limit.most * each - now)
        if wait and not back:
            return wait / 1000
        rates.update(ends)
        return 0.0

    async def enter(self, queue: str, asker: str, number: int, entry: Entry) -> int:
        entered, who = self.broker.queue(queue), keys.asker(queue, asker)
        await self._round()
        seen, due = self.broker.asked.get(who, (0, 0))
        if seen < number:
            due = entered.limits.enter(entry, f"{asker} {number}", self.broker.clock())
            self.broker.asked[who] = number, due
            entered.serve()
        return int(due)

    async def exit(self, queue: str, asker: str, number: int, entry: Entry) -> None:
        left = self.broker.queue(queue)
        await self._round()
        left.limits.exit(entry, f"{asker} {number}", self.broker.clock())
        left.serve()

    async def lease_if(self, name: str, owner: str, seconds: float, done: int | None, stands: str) -> Lease:
        key = keys.lease(name)
        await self._round()
        now, leases, length = self.broker.clock(), self.broker.leases, int(seconds * 1000)
        lease = leases.get(key, _Lease())
        lease = replace(lease, ends=min(lease.ends, now + lease.length), done=min(lease.done, now))
        held = lease.ends > now
        ours = not held or lease.owner == owner
        fresh = stands == lease.stands()
        if fresh and ours:
            token = lease.token if held else max(lease.token + 1, now)
            lease = _Lease(owner, token, now + length, length, lease.done if done is None else min(done, now))
        leases[key] = lease
        if not fresh:
            raise Stale(lease.stands())
        since = None if lease.done < 0 else (now - lease.done) / 1000
        return Lease(lease.token if ours and length else 0, since, now, lease.stands())

    async def unique(self, queue: str, step: Unique) -> tuple[str, bytes]:
        key = keys.unique(queue, step.key)
        await self._round()
        now, uniques = self.broker.clock(), self.broker.uniques
        for name in [name for name, standing in uniques.items() if standing.ends <= now]:
            del uniques[name]
        standing = uniques.setdefault(key, Standing())
        answer = standing.take(step, now)
        if not standing.id:
            del uniques[key]
        return answer

    async def about(self) -> dict[str, str]:
        await self._round()
        return {}

    async def route(self) -> str:
        await self._round()
        return self.broker.route

    async def set_route(self, route: str) -> None:
        await self._round()
        self.broker.route = route

    async def queues(self) -> list[str]:
        await self._round()
        return self.broker.used_queues()

    async def find(self, text: bytes) -> list[Found]:
        await self._round()
        found = [place for name in self.broker.used_queues() for place in self.broker.queue(name).find(text)]
        for name, kept in sorted(self.broker.replies.items()):
            kept.expire(self.broker.clock())
            found += [Found(name, "reply", "", raw) for raw in kept.replies if text in raw]
        return found

    async def dead(self, queue: str, after: int = 0, limit: int = 100) -> list[DeadLetter]:
        letters = self.broker.queue(queue).letters
        await self._round()
        return [letters[number] for number in sorted(letters) if number > after][:limit]

    async def requeue(self, queue: str, number: int) -> bool:
        requeued = self.broker.queue(queue)
        await self._round()
        done = requeued.requeue(number)
        requeued.serve()
        return done

    async def pause_if(self, queue: str, stands: str) -> bool:
        paused = self.broker.queue(queue)
        await self._round()
        return paused.pause(stands)

    async def resume_if(self, queue: str, stands: str) -> bool:
        resumed = self.broker.queue(queue)
        await self._round()
        done = resumed.resume(stands)
        resumed.serve()
        return done

    async def drop(self, queue: str, number: int) -> bool:
        dropped = self.broker.queue(queue)
        await self._round()
        return dropped.drop(number)

    async def close(self) -> None:
        self._life = -1
        for listeners in self.broker.listeners.values():
            listeners.pop(self, None)


def _wake(waiters: dict[asyncio.Future[None], str]) -> None:
    """Wake the one that waits longest."""
    for future in waiters:
        if not future.done():
            future.set_result(None)
            return
