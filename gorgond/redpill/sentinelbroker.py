"""The broker that is a set of Redis servers which Sentinels watch over: one is the master, and followed by the others.

A connection goes to the master that the majority of the Sentinels names and that says itself that it is one. It ends
when the majority names another one.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from weakref import WeakKeyDictionary

from redis.exceptions import ResponseError

from gorgond.redpill.errors import BrokerAway, BrokerRefused
from gorgond.redpill.failover import fail_over
from gorgond.redpill.logline import counted, log
from gorgond.redpill.meaning import ROUND_TIMEOUT
from gorgond.redpill.redisbroker import RedisLink
from gorgond.redpill.redisprotocol import RedisProtocol
from gorgond.redpill.redisserver import RedisServer, dial, driver
from gorgond.redpill.sentineladdress import SentinelAddress, is_own, shown
from gorgond.redpill.sentinels import Named, Sentinels
from gorgond.redpill.sentinelwatch import SentinelWatch
from gorgond.redpill.servers import Servers


class SentinelBroker(RedisServer):
    """A set of Redis servers by the address of its Sentinels."""

    def __init__(self, url: str, durable: bool) -> None:
        address = SentinelAddress.of(url)
        self._sentinels = Sentinels(address)
        super().__init__(url, f"{address.name} of {','.join(map(shown, address.sentinels))}", durable, address.copies)
        self.set_name, self.place = address.name, (address.name, frozenset(address.sentinels), address.database)
        driver(address.redis(address.sentinels[0]))  # an option that it does not know is told now
        self._watches: WeakKeyDictionary[asyncio.AbstractEventLoop, SentinelWatch] = WeakKeyDictionary()

    @classmethod
    def at(cls, url: str, durable: bool) -> SentinelBroker:
        return cls(url, durable)

    def link(self, name: str) -> RedisLink:
        return RedisLink(self, name, Servers(self._sentinels.address))

    async def fail_over(self, login: str = "") -> tuple[str, str]:
        old, new = await fail_over(self._sentinels, login)
        return shown(old), shown(new)

    async def open(self) -> RedisProtocol:
        watch = self._watches.setdefault(asyncio.get_running_loop(), SentinelWatch(self._sentinels))
        switches = watch.switches
        named = await self._sentinels.named()
        where = shown(named.master)
        if is_own(named.master[0]):
            raise BrokerRefused(
                f"the Sentinels name {where} as the master, which is another one on each host: have them monitor it by "
                "the address by which the other hosts reach it"
            )
        try:
            async with watch.meeting(named.master, ROUND_TIMEOUT):
                connection = await self._master(named)
        except TimeoutError:
            raise BrokerAway(f"{where}, which the Sentinels named, has not answered") from None
        watch.add(connection, named.master)
        if watch.switches != switches:  # before it could be heard that this one is left
            connection.end()
            raise BrokerAway("the Sentinels name another master by now")
        return connection

    async def _master(self, named: Named) -> RedisProtocol:
        """A connection to the master that they name, if it says so itself."""
        connection = await dial(driver(self._sentinels.address.redis(named.master)))
        try:
            [role] = await connection.ask([["ROLE"]], 1, ROUND_TIMEOUT)
            if isinstance(role, ResponseError):
                raise role
            if role[:1] != [b"master"]:
                raise BrokerAway(f"{shown(named.master)}, which the Sentinels name, is no master yet")
            self.role = role
            if not self.checked:
                self._count(max(named.replicas, len(role[2])))
        except BaseException:
            connection.end()
            raise
        return connection

    def _count(self, most: int) -> None:
        """Refuse a set that never could have so many copies, with `most` replicas, those that are away among them; warn
        about what it lacks."""
        if self.copies > most:
            raise BrokerRefused(
                f"its address says copies={self.copies}, and {self._sentinels.address.name} has "
                f"{counted(most, 'replica')}: say copies={most}, or make another host's Redis a replica"
            )
        places = self._sentinels.address.sentinels
        host, number = Counter(host for host, _ in places).most_common(1)[0]
        if number * 2 > len(places):
            log.warning(
                "%d of %d Sentinels are on %s, and when it dies nobody names another master: have each on a host of "
                "its own", number, len(places), host,
            )  # fmt: skip
        if self.copies > (followers := len(self.role[2])):
            what = counted(self.copies, "replica")
            log.warning("of the %s that must have what counts the broker has %d now", what, followers)
        if self.durable and not self.copies:
            log.warning("the broker loses what came last when its master dies: put copies=1 into its address")
