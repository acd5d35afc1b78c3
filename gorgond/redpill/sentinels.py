"""What the Sentinels of a set say: which Redis is the master now. A majority's word is taken, and no other.

A Sentinel may be away, behind what the others have decided, or alone with a master that is none any more. redis-py's
own pool takes the first Sentinel's word, and connects to an old master again.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass
from weakref import WeakKeyDictionary

from redis.exceptions import ResponseError

from gorgond.redpill.errors import BrokerAway, BrokerError, BrokerRefused
from gorgond.redpill.meaning import meaning
from gorgond.redpill.redisprotocol import RedisProtocol
from gorgond.redpill.redisserver import DRIVER_ERRORS, NONSENSE, dial, driver
from gorgond.redpill.sentineladdress import Place, SentinelAddress, shown, told_place

ANSWER = 2.0  # seconds that Sentinels have for an answer: over TLS, on busy hosts, it takes its time
OTHERS = 0.5  # seconds that the others have when so many have answered as could agree, and do not

_LET_ASK = "let anybody ask, in its sentinel.conf: user default on nopass -@all +ping +subscribe &+switch-master"
_LET_ASK += " +sentinel|get-master-addr-by-name +sentinel|replicas"


@dataclass(frozen=True, slots=True)
class Named:
    """What they name: where the master is, and how many replicas the set has, those that are away among them."""

    master: Place
    replicas: int


class Sentinels:
    """The Sentinels at an address; threads may share them. Raises ValueError for an address that the driver cannot
    read."""

    def __init__(self, address: SentinelAddress) -> None:
        self.address = address
        self._drivers = {place: driver(address.sentinel(place)) for place in address.sentinels}
        self._asking: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Task[Named]] = WeakKeyDictionary()

    async def named(self) -> Named:
        """What the majority names; who asks at the same time gets the same answer. Raises BrokerAway when no majority
        agrees, BrokerRefused when a majority says that an operator must act."""
        loop = asyncio.get_running_loop()
        asking = self._asking.get(loop)
        if asking is None or asking.done():
            asking = self._asking[loop] = loop.create_task(self._ask_all(), name="asking Sentinels")
            asking.add_done_callback(lambda task: task.cancelled() or task.exception())  # nobody may wait any more
        return await asyncio.shield(asking)

    async def _ask_all(self) -> Named:
        places = self.address.sentinels
        asked = {asyncio.ensure_future(self._ask(place)): place for place in places}
        said: dict[Place, Named | BrokerError] = {}
        waiting, end = set(asked), time.monotonic() + ANSWER
        try:
            while waiting and (left := end - time.monotonic()) > 0:
                done, waiting = await asyncio.wait(waiting, timeout=left, return_when=asyncio.FIRST_COMPLETED)
                said |= {asked[each]: each.result() for each in done}
                if (named := _majority(said, len(places))) is not None:
                    return named
                if sum(isinstance(each, Named) for each in said.values()) * 2 > len(places):
                    end = min(end, time.monotonic() + OTHERS)
        finally:
            for each in waiting:
                each.cancel()
        words = (f"{shown(place)}: {_words(said.get(place))}" for place in places)
        raise BrokerAway(f"no majority of the Sentinels of {self.address.name} names a master ({'; '.join(words)})")

    async def _ask(self, place: Place) -> Named | BrokerError:
        """What one of them names, or why it does not: BrokerRefused when an operator must act."""
        name = self.address.name
        try:
            async with self.dialled(place) as connection:
                commands = [["SENTINEL", "GET-MASTER-ADDR-BY-NAME", name], ["SENTINEL", "REPLICAS", name]]
                master, replicas = await connection.ask(commands, 2, ANSWER)
        except BrokerError as error:
            return error
        except DRIVER_ERRORS as error:
            return meaning(error)
        if master is None:
            return BrokerRefused(f"the Sentinels know no set that is called {name}")
        for answer in (master, replicas):
            if isinstance(answer, ResponseError):
                what = f"; {_LET_ASK}" if str(answer).startswith(("NOAUTH", "NOPERM")) else ""
                return BrokerRefused(f"a Sentinel says: {answer}{what}")
        try:
            return Named(told_place(*master), len(replicas))
        except NONSENSE as error:
            return BrokerAway(f"its answer makes no sense: {error!r}")

    @contextlib.asynccontextmanager
    async def dialled(self, place: Place) -> AsyncIterator[RedisProtocol]:
        """A connection to one of them, until the end of the block. Raises the driver's errors."""
        connection = await dial(self._drivers[place])
        try:
            yield connection
        finally:
            connection.end()


def _majority(said: dict[Place, Named | BrokerError], count: int) -> Named | None:
    """What more than half of so many Sentinels name. Raises BrokerRefused when so many refuse, for the same reason."""
    votes = Counter(each.master if isinstance(each, Named) else str(each) for each in said.values())
    if not votes:
        return None
    [(winner, number)] = votes.most_common(1)
    if number <= count // 2:
        return None
    same = [each for each in said.values() if isinstance(each, Named) and each.master == winner]
    if same:
        return max(same, key=lambda each: each.replicas)
    for each in said.values():
        if isinstance(each, BrokerRefused) and str(each) == winner:
            raise each
    return None


def _words(said: Named | BrokerError | None) -> str:
    if said is None:
        return "no answer in time"
    return f"it names {shown(said.master)}" if isinstance(said, Named) else str(said)
