"""The broker that is Redis, 7.0 or newer: every change of state is one script of `scripts/`, or one blocking command.

`redisserver` has what is known of the Redis, `rediswire` how a round trip is made.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Sequence
from typing import Any

from redis.exceptions import ResponseError

from gorgond.redpill import keys, script
from gorgond.redpill.broker import (
    ATTEMPTS,
    CLAIM_BYTES,
    DUE_MAX,
    FETCH_MAX,
    FORGET,
    IDLE,
    REASON_MAX,
    REPLY_TTL,
    Batch,
    Claim,
    Claimed,
    Counts,
    DeadLetter,
    Found,
    Group,
    Later,
    Lease,
    Room,
    Stale,
    Unique,
    UnixSocket,
    Voided,
)
from gorgond.redpill.clock import BrokerTime, now_ms
from gorgond.redpill.errors import BrokerAway, BrokerError, BrokerRefused, QueueFull, Superseded
from gorgond.redpill.limits import Entry, Limit
from gorgond.redpill.raw import age
from gorgond.redpill.redisprotocol import RedisProtocol
from gorgond.redpill.redisserver import RedisServer, dial, driver, fields
from gorgond.redpill.rediswire import RedisWire, nanoseconds, not_permitted
from gorgond.redpill.replication import Replication
from gorgond.redpill.resp import Command
from gorgond.redpill.script import Script
from gorgond.redpill.sentineladdress import is_own
from gorgond.redpill.servers import Servers

_ABOUT = ("server", "clients", "memory", "persistence", "stats")  # sections of INFO
_REPLY_TTL_MS = int(REPLY_TTL * 1000)
_IDLE_MS = int(IDLE * 1000)
_FIGURES = ("accepted", "done", "expired", "retried", "recovered", "requeued", "dropped", "overflow")


def _seconds(timeout: float) -> str:
    """A blocking command's timeout; 0 would mean for ever."""
    return f"{max(timeout, 0.001):.3f}"


def _run(which: Script, name: str, *args: str | bytes | int, who: str = "") -> list[str | bytes | int]:
    """A script on the keys of queue, topic, list or family `name`; those that somebody has alone are those of `who`."""
    names = keys.of(which, name, who)
    return ["EVALSHA", which.sha, len(names), *names, *args]


def _replying(name: str, replies: Sequence[bytes]) -> list[Command]:
    """The fast way to send replies, which may be large and would be copied about in a script."""
    key = keys.replies(name)
    return [["RPUSH", key, *replies], ["PEXPIRE", key, _REPLY_TTL_MS]]


def _ms(seconds: float) -> int:
    return max(int(seconds * 1000), 1)


def _when(later: Later) -> str:
    return str(later.ms) if later.at else f"+{later.ms}"


def _counts(answer: Sequence[Any]) -> Counts:
    """The figures of a queue. A field that is no figure is left out: any role that counts may write anything there."""
    queued, in_flight, delayed, dead, paused, head, *pairs = answer
    sums = dict.fromkeys(_FIGURES, 0)
    for name, figure in zip(pairs[::2], pairs[1::2], strict=True):
        if name.decode(errors="replace") in sums and figure.isdigit():
            sums[name.decode()] += int(figure)
    return Counts(queued, in_flight, delayed, dead, age(head, now_ms()), paused=bool(paused), **sums)


class RedisBroker(RedisServer):
    """A Redis by its URL."""

    def __init__(self, url: str, durable: bool) -> None:
        self._driver = driver(url)
        where = self._driver.connection_kwargs
        self._shown = where.get("path") or f"{where.get('host', 'localhost')}:{where.get('port', 6379)}"
        super().__init__(url, self._shown, durable)
        host = where.get("host", "localhost").lower()
        server = where.get("path") or ("localhost" if is_own(host) else host, where.get("port", 6379))
        self.place = server, where.get("db", 0)
        if "path" in where:
            self.socket = UnixSocket(where["path"], where.get("username") or "default", where.get("password") or "")

    @classmethod
    def at(cls, url: str, durable: bool) -> RedisBroker:
        return cls(url, durable)

    async def open(self) -> RedisProtocol:
        return await dial(self._driver)

    def link(self, name: str) -> RedisLink:
        return RedisLink(self, name, Servers(alone={self._shown: self.url}))


class RedisLink(RedisWire):
    """A link to a broker, by way of Redis; `servers` are those that it is made of."""

    def __init__(self, broker: RedisServer, name: str, servers: Servers) -> None:
        super().__init__(broker, name)
        self._servers = servers

    async def ping(self) -> None:
        await self._ask(["PING"])

    async def clock(self) -> int:
        asked = time.monotonic_ns()
        at = nanoseconds(await self._ask(["TIME"]))
        self.broker.time.heard(at, asked, time.monotonic_ns())
        return at // 1_000_000

    async def push(self, producer: str, room: Room, batches: Sequence[Batch]) -> list[BrokerError | None]:
        commands = []
        for batch in batches:
            name, bounds = batch.name, (room.messages, room.bytes)
            if batch.topic:
                counted = (batch.number, keys.queue(name), *bounds)
                commands.append(_run(script.PUBLISH, name, *counted, *batch.messages, who=producer))
            else:
                later: list[str | bytes] = []
                for each in batch.later:
                    later += [_when(each), each.raw]
                limits = (batch.number, *bounds, _IDLE_MS, len(batch.later))
                commands.append(_run(script.PUSH, name, *limits, *later, *batch.messages, who=producer))
        outcome: list[BrokerError | None] = []
        for batch, answer in zip(batches, await self._promised(commands), strict=True):
            if answer == 1:
                outcome.append(None)
            elif answer == 0:
                outcome.append(QueueFull(batch.name))
            else:
                try:
                    await self._check(answer, batch.name)
                except BrokerRefused as refused:
                    outcome.append(refused)
                except QueueFull as full:
                    outcome.append(None if await self._was_accepted(producer, batch) else full)
        return outcome

    async def _was_accepted(self, producer: str, batch: Batch) -> bool:
        """Whether a batch for which Redis has no memory was accepted before; else it is refused from now on, however
        many copies of it come. A disk that Redis cannot write keeps it from noting that."""
        if batch.topic:
            return bool(await self._promise(["GET", keys.publisher(batch.name, producer)]) == b"%d" % batch.number)
        try:
            return bool(await self._promise(_run(script.REFUSE, batch.name, batch.number, who=producer)))
        except QueueFull:
            return bool(await self._promise(["GET", keys.producer(batch.name, producer)]) == b"%d 1" % batch.number)

    async def _follow(self, which: Script, name: str, *args: str | int, who: str = "", promises: bool = True) -> Any:
        """The answer of a script that does nothing when something else stands."""
        status, *rest = await self._persistent(_run(which, name, *args, who=who), promises)
        if status == b"stale":
            raise Stale(rest[0].decode())
        return rest

    async def take_if(self, queue: str, consumer: str, stands: str) -> tuple[str, int]:
        token, length = await self._follow(script.TAKE, queue, consumer, stands, who=consumer, promises=False)
        return token.decode(), length

    async def claim(self, queue: str, consumer: str, token: str, claim: Claim, attempts: int = ATTEMPTS) -> Claimed:
        commands: list[Command] = []
        for name, replies in claim.replies.items():
            commands += _replying(name, replies)
        failures: list[bytes | int] = []
        for failure in claim.failures:
            delay = -1 if failure.delay is None else int(failure.delay * 1000)
            reason = failure.reason[:REASON_MAX].encode(errors="replace")
            when = failure.at if failure.waits else delay
            failures += [failure.index, when, reason, int(failure.started), failure.waits.encode()]
        known = (claim.number, claim.length, claim.done, claim.want, attempts, claim.expired, claim.held)
        places = (claim.patience, len(claim.later), *claim.later, *failures)
        given: list[str | bytes | int] = [consumer, token, *known, CLAIM_BYTES, DUE_MAX, *places]
        commands.append(_run(script.CLAIM, queue, *given, who=consumer))
        *sent, answer = await self._round(commands)
        if any(isinstance(each, ResponseError) for each in sent):  # no memory for a plain RPUSH
            for name, replies in claim.replies.items():
                await self.reply(name, replies)
        try:
            status, *rest = await self._check(answer, queue)
        except QueueFull as full:
            raise BrokerAway(str(full)) from None
        if status == b"ok":
            return Claimed(rest[0], rest[3:], None if rest[1] < 0 else rest[1] / 1000, rest[2])
        if status == b"void":
            raise Voided(f"the desk of {consumer} on {queue} was given to others")
        raise Superseded(f"another process has taken over as {consumer} on {queue}")

    async def wait(self, queue: str, consumer: str, timeout: float) -> bytes | None:
        command = ["BLMOVE", keys.queue(queue), keys.desk(queue, consumer), "LEFT", "RIGHT", _seconds(timeout)]
        raw: bytes | None = await self._ask(command, queue, timeout)
        return raw

    async def stand_by(self, queue: str, timeout: float) -> bool:
        return await self._ask(["BLPOP", keys.bell(queue), _seconds(timeout)], queue, timeout) is not None

    async def leave(self, queue: str, consumer: str, token: str, unhandled: bool = False) -> int:
        given = (consumer, token, int(unhandled))
        return int(await self._persistent(_run(script.LEAVE, queue, *given, who=consumer)))

    async def recover(self, queue: str, silence: float) -> list[tuple[str, int]]:
        limits = int(silence * 1000), int(FORGET * 1000)
        found = await self._persistent(_run(script.RECOVER, queue, keys.desks(queue), *limits))
        return [(found[i].decode(), found[i + 1]) for i in range(0, len(found), 2)]

    async def reply(self, name: str, replies: Sequence[bytes]) -> None:
        """Here a script, which a Redis without memory still runs."""
        await self._persistent(_run(script.REPLY, name, _REPLY_TTL_MS, *replies))

    async def fetch(self, names: Sequence[str], timeout: float, most: int = FETCH_MAX) -> list[bytes]:
        lists = map(keys.replies, names)
        command: Command = ["BLMPOP", _seconds(timeout), len(names), *lists, "LEFT", "COUNT", most]
        answer = await self._ask(command, names[0], timeout)
        return [] if answer is None else list(answer[1])

    async def join_if(self, topic: str, group: str, limit: int, stands: str) -> bool:
        return bool((await self._follow(script.JOIN, f"{topic}/{group}", group, limit, stands))[0])

    async def part_if(self, topic: str, group: str, stands: str) -> bool:
        return bool((await self._follow(script.PART, f"{topic}/{group}", group, stands))[0])

    async def forget_if(self, topic: str, group: str, stands: str) -> bool:
        name = f"{topic}/{group}"
        return bool((await self._follow(script.FORGET, name, group, keys.desks(name), stands))[0])

    async def groups(self) -> list[Group]:
        topics = [keys.name_of(key) for key in await self._keys() if key == keys.groups(keys.name_of(key) or "none")]
        members = [await self._ask(["SMEMBERS", keys.groups(topic)], topic) for topic in topics]
        joined = {
            f"{topic}/{group.decode(errors='replace')}"
            for topic, some in zip(topics, members, strict=True)
            for group in some
        }
        names = sorted(
            {each for each in joined if keys.is_name(each)} | {each for each in await self.queues() if "/" in each}
        )
        now, found = await self.clock(), []
        for name, counts in zip(names, await self.counts(names) if names else [], strict=True):
            topic, _, group = name.partition("/")
            commands: list[Command] = [["MEMORY", "USAGE", key(name), "SAMPLES", 0] for key in (keys.queue, keys.held)]
            commands += [["HGET", keys.limits(topic), group], ["HVALS", keys.consumers(name)]]
            waiting, held, limit, consumers = [await self._check(each, name) for each in await self._round(commands)]
            heard = [int(each.split()[2]) for each in consumers]
            kept = counts.queued + counts.in_flight + counts.delayed + counts.dead
            most = int(limit) if limit is not None and limit.isdigit() else None
            idle = max(0, now - max(heard)) / 1000 if heard else None
            found.append(Group(name, kept, (waiting or 0) + (held or 0), most, idle, name in joined))
        return found

    async def listen(self, topics: Sequence[str], timeout: float) -> tuple[str, bytes] | None:
        if not self._listening:
            await self._ask(["SUBSCRIBE", *(keys.live(topic) for topic in topics)])
            await self._round((), replies=len(topics) - 1)  # a confirmation for each, but only one refusal
            self._listening = tuple(topics)
        if not self._heard:
            # Cutting a read short would cost the connection; a PING makes it end instead, and shows that Redis lives.
            alarm = asyncio.get_running_loop().call_later(timeout, self._send_ping)
            try:
                self._heard.extend(await self._round((), timeout, replies=1, more=True))
            finally:
                alarm.cancel()
        answer = self._heard.popleft()
        if answer[0] != b"message":
            return None
        return next(topic for topic in topics if keys.live(topic).encode() == answer[1]), answer[2]

    def _send_ping(self) -> None:
        if self._connection is not None:
            self._connection.send([["PING"]])

    async def counts(self, queues: Sequence[str]) -> list[Counts]:
        answers = await self._round([_run(script.COUNTS, name, keys.desks(name)) for name in queues])
        return [_counts(await self._check(answer, name)) for name, answer in zip(queues, answers, strict=True)]

    async def admit(self, family: str, asker: str, number: int, limits: Sequence[Limit], back: bool = False) -> float:
        names = [keys.asker(family, asker), *(keys.rate(family, limit.name) for limit in limits)]
        rates = [number for limit in limits for number in (limit.most, int(limit.seconds * 1000))]
        command: Command = ["EVALSHA", script.ADMIT.sha, len(names), *names, number, -1 if back else 1, *rates]
        return int(await self._ask(command, family)) / 1000

    async def enter(self, queue: str, asker: str, number: int, entry: Entry) -> int:
        slots = [key(queue, each.name) for each in entry.at_once for key in (keys.slots, keys.line)]
        starts = [keys.starts(queue, each.name) for each in entry.within]
        names = [*keys.of(script.ENTER, queue, asker)[:-3], *slots, *starts]
        asked = (number, f"{asker} {number}", entry.id, entry.start, _ms(entry.seconds), len(entry.at_once))
        rates = [figure for each in entry.within for figure in (each.most, _ms(each.seconds))]
        most = [each.most for each in entry.at_once]
        command: Command = ["EVALSHA", script.ENTER.sha, len(names), *names, *asked, *most, *rates]
        return int(await self._ask(command, queue))

    async def exit(self, queue: str, asker: str, number: int, entry: Entry) -> None:
        slots = [key(queue, each.name) for each in entry.at_once for key in (keys.slots, keys.line)]
        names = [*keys.of(script.EXIT, queue)[:-2], *slots]
        asked = (f"{asker} {number}", entry.id, _ms(entry.seconds))
        most = [each.most for each in entry.at_once]
        await self._persistent(["EVALSHA", script.EXIT.sha, len(names), *names, *asked, *most])

    async def lease_if(self, name: str, owner: str, seconds: float, done: int | None, stands: str) -> Lease:
        asked = (owner, int(seconds * 1000), -1 if done is None else done, stands)
        token, since, at, follows = await self._follow(script.LEASE, name, *asked)
        return Lease(token, None if since < 0 else since / 1000, at, follows.decode())

    async def unique(self, queue: str, step: Unique) -> tuple[str, bytes]:
        asked = (step.step, step.id, step.raw, step.at, int(step.seconds * 1000))
        id, raw = await self._promise(_run(script.UNIQUE, queue, *asked, who=step.key), queue)
        return id.decode(), raw

    async def about(self) -> dict[str, str]:
        commands: list[Command] = [["INFO", section] for section in _ABOUT]
        *infos, fsync = await self._round([*commands, ["CONFIG", "GET", "appendfsync"]])
        about = fields([await self._check(info, "") for info in infos])
        if not isinstance(fsync, ResponseError):
            about["appendfsync"] = fsync[1].decode()
        return about

    async def route(self) -> str:
        [kept] = await self._round((["GET", keys.ROUTE],))
        if not_permitted(kept):  # its users are those of an earlier gorgond, which knows of none
            return ""
        text: bytes | None = await self._check(kept, "")
        return (text or b"").decode(errors="replace")

    async def set_route(self, route: str) -> None:
        await self._persistent(["SET", keys.ROUTE, route], promises=True)

    async def replication(self) -> Replication:
        return await self._servers.look()

    async def server_times(self) -> list[BrokerTime]:
        return await self._servers.times()

    async def close(self) -> None:
        self._servers.close()
        await super().close()

    async def queues(self) -> list[str]:
        known = {keys.name_of(key) for key in await self._keys() if key.endswith((":counts", ":lanes", ":pushed"))}
        return sorted(filter(None, known))

    async def _keys(self) -> list[str]:
        found: set[str] = set()
        cursor = b"0"
        while True:
            cursor, some = await self._ask(["SCAN", cursor, "MATCH", "gorgon:{*", "COUNT", 1000])
            found.update(key.decode(errors="replace") for key in some)
            if cursor == b"0":
                return sorted(found)

    async def find(self, text: bytes) -> list[Found]:
        names = await self.queues()
        lists = [name for key in await self._keys() if key.endswith(":replies") and (name := keys.name_of(key))]
        commands: list[Command] = [_run(script.FIND, name, text, keys.desks(name)) for name in names]
        commands += [["LRANGE", keys.replies(name), 0, -1] for name in lists]
        answers = [await self._check(answer, "") for answer in await self._round(commands)]
        found = []
        for name, answer in zip(names, answers, strict=False):
            for place, detail, raw in zip(answer[::3], answer[1::3], answer[2::3], strict=True):
                found.append(Found(name, place.decode(), detail.decode(), raw))
        for name, answer in zip(lists, answers[len(names) :], strict=True):
            found += [Found(name, "reply", "", raw) for raw in answer if text in raw]
        return found

    async def dead(self, queue: str, after: int = 0, limit: int = 100) -> list[DeadLetter]:
        command: Command = ["ZRANGEBYSCORE", keys.dead(queue), f"({after}", "+inf", "LIMIT", 0, limit]
        letters = []
        for entry in await self._ask(command, queue):
            header, _, raw = entry.partition(b"\n")
            about = json.loads(header)
            letters.append(DeadLetter(about["n"], about["at"], about["reason"], about["attempts"], raw))
        return letters

    async def requeue(self, queue: str, number: int) -> bool:
        return bool(await self._promise(_run(script.REQUEUE, queue, number), queue))

    async def pause_if(self, queue: str, stands: str) -> bool:
        return bool((await self._follow(script.PAUSE, queue, stands))[0])

    async def resume_if(self, queue: str, stands: str) -> bool:
        return bool((await self._follow(script.RESUME, queue, stands))[0])

    async def drop(self, queue: str, number: int) -> bool:
        return bool(await self._promise(_run(script.DROP, queue, number), queue))
