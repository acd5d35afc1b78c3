"""A planned failover: the Sentinels name another master, and nothing that was acknowledged is lost.

Sentinels go by what replicas told them up to ten seconds ago. They may promote one that lacks what the other one alone
has acknowledged, and the other one follows it then. So the master takes no writes until all replicas that may be
promoted have what it has, and none after that: it follows the new master before it takes any again. One that
is cut short after a Sentinel was told leaves it so until its pause ends: what it took meanwhile would be lost, though a
replica had it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import Any

from redis.exceptions import ResponseError

from gorgond.redpill.errors import BrokerAway, BrokerError, BrokerRefused
from gorgond.redpill.meaning import meaning
from gorgond.redpill.redisprotocol import RedisProtocol
from gorgond.redpill.redisserver import DRIVER_ERRORS, NONSENSE, dial, driver, fields, pairs
from gorgond.redpill.resp import Command
from gorgond.redpill.sentineladdress import Place, place_of, shown, told_place
from gorgond.redpill.sentinels import Sentinels

ANSWER = 2.0  # seconds that a server may take for an answer
PAUSE = 10.0  # seconds without writes, told anew as long as we live
HOLD = ("CLIENT", "PAUSE", f"{PAUSE * 1000:.0f}", "WRITE")
# A master that takes no writes takes no greetings of Sentinels either: after 2.5 s they think that it is gone.
CATCH_UP = 2.0  # seconds in which the replicas must have all that it has
TAKE_OVER = 30.0  # seconds until another one is the master
LOOK = 0.05  # seconds between two looks
GONE = {"s_down", "o_down"}  # flags of a replica that a Sentinel does not promote
IN_HAND = "failover_in_progress"  # the flag of a master whose successor a Sentinel is about to make
OTHER = "INPROG"  # what one says that has another failover in hand
NOT_YET = ("NOGOODSLAVE", OTHER)  # the first of one that has just met the replicas


async def fail_over(sentinels: Sentinels, login: str) -> tuple[Place, Place]:
    """The master of before, and the one of now. `login` is `user:password` of who may order it of the Sentinels, empty
    where anybody may. Raises BrokerAway and BrokerRefused, which say why it is as it was."""
    try:
        return await _Failover(sentinels, login).run()
    except DRIVER_ERRORS as error:
        raise meaning(error) from None


class _Failover:
    def __init__(self, sentinels: Sentinels, login: str) -> None:
        self._sentinels, self._login = sentinels, login
        self._address = sentinels.address
        self._ours = False  # whether the pause is, and may end: no other one is about to be the master

    async def run(self) -> tuple[Place, Place]:
        old = (await self._sentinels.named()).master
        async with self._sentinel(old) as sentinel:
            candidates = await self._candidates(sentinel, old)
            try:
                self._ours = True
                await self._tell(old, *HOLD)
                await self._caught_up(old, candidates)
                await self._order(sentinel)
                new = await self._taken_over(old)
                with suppress(*DRIVER_ERRORS):  # a Sentinel tells it too, some seconds later
                    await self._tell(old, "REPLICAOF", *map(str, new))
                    self._ours = True
                await self._done(sentinel)
            finally:
                if self._ours:
                    with suppress(*DRIVER_ERRORS):  # the pause ends by itself
                        await self._tell(old, "CLIENT", "UNPAUSE")
        return old, new

    async def _tell(self, place: Place, *command: str) -> None:
        """Over a connection of its own: a Sentinel ends all to a Redis whose role it changes."""
        async with self._redis(place) as redis:
            await _told(redis, *command)

    async def _caught_up(self, master: Place, lacking: set[Place]) -> None:
        """Wait until each replica that may be promoted has all that the master has. Each is asked itself: it tells its
        master once a second only."""
        async with self._redis(master) as redis:
            sent = int((await _replication(redis))["master_repl_offset"])
        end = time.monotonic() + CATCH_UP
        while lacking := {each for each in lacking if await self._has(each) < sent}:
            if time.monotonic() > end:
                who = " and ".join(map(shown, sorted(lacking)))
                raise BrokerRefused(
                    f"{who} does not come to have all that the master has: try again when it has less to do"
                )
            await asyncio.sleep(LOOK)

    async def _has(self, place: Place) -> int:
        """How much a replica has of what its master sent."""
        try:
            async with self._redis(place) as replica:
                return int((await _replication(replica)).get("slave_repl_offset", 0))
        except DRIVER_ERRORS:
            return 0

    async def _candidates(self, sentinel: RedisProtocol, master: Place) -> set[Place]:
        """The replicas that it could promote. One that has the master among them has another failover in hand still."""
        about = pairs(await _told(sentinel, "SENTINEL", "MASTER", self._address.name))
        if IN_HAND in _flags(about):  # whose pause is not ours to end
            raise BrokerRefused("another failover is in hand: see what it comes to")
        end = time.monotonic() + TAKE_OVER
        while master in (found := await self._replicas(sentinel)):
            if time.monotonic() > end:
                raise BrokerAway(f"the Sentinels have not yet done with the failover to {shown(master)}: try again")
            await asyncio.sleep(LOOK)
        if not found:
            raise BrokerRefused("no replica is there that could take over")
        return found

    async def _replicas(self, sentinel: RedisProtocol) -> set[Place]:
        rows = await _told(sentinel, "SENTINEL", "REPLICAS", self._address.name)
        there = [row for row in map(pairs, rows) if not GONE & _flags(row)]
        return set(map(place_of, there))

    async def _order(self, sentinel: RedisProtocol) -> None:
        end = time.monotonic() + CATCH_UP
        while True:
            self._ours = False
            try:
                await _told(sentinel, "SENTINEL", "FAILOVER", self._address.name)
                return
            except ResponseError as error:
                self._ours = not str(error).startswith(OTHER)
                if not str(error).startswith(NOT_YET) or time.monotonic() > end:
                    raise
            await asyncio.sleep(LOOK)

    async def _taken_over(self, old: Place) -> Place:
        """The new master, as soon as the majority names it and it says so itself."""
        held = begun = time.monotonic()
        while (now := time.monotonic()) < begun + TAKE_OVER:
            with suppress(*DRIVER_ERRORS, BrokerAway):
                if now > held + PAUSE / 2:
                    held = now
                    await self._tell(old, *HOLD)
                new = (await self._sentinels.named()).master
                if new != old and await self._is_master(new):
                    return new
            await asyncio.sleep(LOOK)
        raise BrokerAway(
            f"no other master was named within {TAKE_OVER:g} s; {shown(old)} goes on after {PAUSE:g} s more"
        )

    async def _done(self, sentinel: RedisProtocol) -> None:
        """Wait until the Sentinel that does it has done with it: should the new master die before that, it would wait
        for it, and the others could not agree on the next one."""
        end = time.monotonic() + TAKE_OVER
        with suppress(*DRIVER_ERRORS):
            while IN_HAND in _flags(pairs(await _told(sentinel, "SENTINEL", "MASTER", self._address.name))):
                if time.monotonic() > end:
                    return
                await asyncio.sleep(LOOK)

    async def _is_master(self, place: Place) -> bool:
        async with self._redis(place) as redis:
            return bool((await _told(redis, "ROLE"))[0] == b"master")

    def _redis(self, place: Place) -> AbstractAsyncContextManager[RedisProtocol]:
        return _connected(self._address.redis(place))

    @asynccontextmanager
    async def _sentinel(self, master: Place) -> AsyncIterator[RedisProtocol]:
        """The first of the Sentinels that names this master too, as who may order it."""
        why: BrokerError = BrokerAway(f"the Sentinels do not all name {shown(master)} yet: try again")
        for place in self._address.sentinels:
            try:
                sentinel = await self._naming(place, master)
            except DRIVER_ERRORS as error:
                why = meaning(error)
                continue
            except NONSENSE as error:
                why = BrokerAway(f"the answer of the Sentinel at {shown(place)} makes no sense: {error!r}")
                continue
            if sentinel is not None:
                try:
                    yield sentinel
                finally:
                    sentinel.end()
                return
        raise why

    async def _naming(self, place: Place, master: Place) -> RedisProtocol | None:
        """The Sentinel there, if it names this master too. Raises the driver's errors, and NONSENSE."""
        sentinel = await _dial(self._address.sentinel(place, self._login))
        try:
            named = await _told(sentinel, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", self._address.name)
            if named and told_place(*named) == master:
                return sentinel
        except BaseException:
            sentinel.end()
            raise
        sentinel.end()
        return None


def _flags(about: Mapping[bytes, bytes]) -> set[str]:
    return set(about[b"flags"].decode().split(","))


async def _dial(url: str) -> RedisProtocol:
    async with asyncio.timeout(ANSWER):
        return await dial(driver(url))


@asynccontextmanager
async def _connected(url: str) -> AsyncIterator[RedisProtocol]:
    connection = await _dial(url)
    try:
        yield connection
    finally:
        connection.end()


async def _told(connection: RedisProtocol, *command: str) -> Any:
    """The answer to a command. Raises ResponseError, and the driver's errors."""
    words: Command = list(command)
    [answer] = await connection.ask([words], 1, ANSWER)
    if isinstance(answer, ResponseError):
        raise answer
    return answer


async def _replication(redis: RedisProtocol) -> dict[str, str]:
    """What a Redis says of who follows whom, and how closely."""
    return fields([await _told(redis, "INFO", "replication")])
