"""Asking the servers of a broker, each for itself, as `replication` has it: Redis servers and Sentinels."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from redis.exceptions import ResponseError

from gorgond.redpill.clock import BrokerTime
from gorgond.redpill.errors import BrokerAway, BrokerError
from gorgond.redpill.meaning import meaning
from gorgond.redpill.redisprotocol import RedisProtocol
from gorgond.redpill.redisserver import DRIVER_ERRORS, NONSENSE, dial, driver, fields, pairs
from gorgond.redpill.rediswire import nanoseconds
from gorgond.redpill.replication import RedisState, Replication, SentinelState
from gorgond.redpill.resp import Command
from gorgond.redpill.sentineladdress import Place, SentinelAddress, place_of, shown, told_place

ANSWER = 2.0  # seconds that a server has for an answer
FRESH = 60.0  # seconds after which it is met anew, to see the certificate that it has by then


class Servers:
    """Those of the set at an address, or a Redis by itself: `alone` has its URL by where it is. For one event loop;
    connections stay open between two looks."""

    def __init__(self, address: SentinelAddress | None = None, alone: Mapping[str, str] | None = None) -> None:
        self._address = address
        places = address.sentinels if address is not None else ()
        self._sentinels = {shown(place): address.sentinel(place) for place in places if address is not None}
        self._known = {**(alone or {})}
        self._open: dict[str, tuple[RedisProtocol, float]] = {}  # by URL, with when it was made

    async def look(self) -> Replication:
        """What all of them say. All that are known are asked at the same time, those that the Sentinels name for the
        first time after them."""
        known = list(self._known)
        voices, answers = await asyncio.gather(
            asyncio.gather(*map(self._ask_sentinel, self._sentinels)), asyncio.gather(*map(self._ask_redis, known))
        )
        found = {place for _, places in voices for place in places}
        if found and self._address is not None:
            self._known = {shown(place): self._address.redis(place) for place in sorted(found)}
        more = await asyncio.gather(*(self._ask_redis(where) for where in self._known if where not in known))
        states = [each for each in (*answers, *more) if each[0].where in self._known]
        told = tuple(voice for voice, _ in voices)
        name, needed = (self._address.name, self._address.copies) if self._address is not None else ("", 0)
        servers = tuple(_together(states, Replication((), told).named_master))
        return Replication(servers, told, name, needed)

    async def times(self) -> list[BrokerTime]:
        """The clocks of the Redis servers, of those that say what it is."""
        await self.look()
        found = await asyncio.gather(*map(self._ask_time, self._known.values()))
        return [each for each in found if each is not None]

    async def _ask_time(self, url: str) -> BrokerTime | None:
        known, asked = BrokerTime(), time.monotonic_ns()
        try:
            (at,), _ = await self._ask(url, [["TIME"]])
            known.heard(nanoseconds(at), asked, time.monotonic_ns())
        except (BrokerError, *NONSENSE):
            return None
        return known

    def close(self) -> None:
        """Let go of the connections."""
        for connection, _ in self._open.values():
            connection.end()
        self._open.clear()

    async def _ask_sentinel(self, where: str) -> tuple[SentinelState, list[Place]]:
        """What a Sentinel says, and where the servers are that it knows."""
        name = self._address.name if self._address is not None else ""
        commands: list[Command] = [["SENTINEL", "GET-MASTER-ADDR-BY-NAME", name], ["SENTINEL", "REPLICAS", name]]
        try:
            (master, replicas), ends = await self._ask(self._sentinels[where], commands)
            if master is None:
                return SentinelState(where, error=f"it knows no set that is called {name}", ends=ends), []
            places = [told_place(*master), *map(place_of, map(pairs, replicas))]
        except BrokerError as error:
            return SentinelState(where, error=str(error)), []
        except NONSENSE as error:
            return SentinelState(where, error=f"its answer makes no sense: {error!r}"), []
        return SentinelState(where, shown(places[0]), ends=ends), places

    async def _ask_redis(self, where: str) -> tuple[RedisState, list[RedisState]]:
        """How a Redis is, and, as it says, those that follow it."""
        try:
            (info,), ends = await self._ask(self._known[where], [["INFO", "replication"]])
            return _read_state(where, fields([info]), ends)
        except BrokerError as error:
            return RedisState(where, error=str(error)), []
        except NONSENSE as error:
            return RedisState(where, error=f"its answer makes no sense: {error!r}"), []

    async def _ask(self, url: str, commands: Sequence[Command]) -> tuple[list[Any], float | None]:
        """The answers to commands, and when the certificate of who gives them ends. Raises BrokerError."""
        whole = False
        try:
            async with asyncio.timeout(ANSWER):
                connection = await self._connection(url)
                answers = await connection.ask(commands, len(commands), ANSWER)
            whole = True
        except TimeoutError:
            raise BrokerAway(f"no answer within {ANSWER:g} s") from None
        except DRIVER_ERRORS as error:
            raise meaning(error) from None
        finally:
            if not whole:
                self._end(url)
        for answer in answers:
            if isinstance(answer, ResponseError):
                raise meaning(answer)
        return answers, connection.certificate_ends

    async def _connection(self, url: str) -> RedisProtocol:
        known, since = self._open.get(url, (None, 0.0))
        if known is not None and not known.over and time.monotonic() - since < FRESH:
            return known
        self._end(url)
        made = await dial(driver(url))
        self._open[url] = made, time.monotonic()
        return made

    def _end(self, url: str) -> None:
        if url in self._open:
            self._open.pop(url)[0].end()


def _read_state(where: str, about: Mapping[str, str], ends: float | None) -> tuple[RedisState, list[RedisState]]:
    """A Redis by its fields in INFO, and those that follow it."""
    followers = []
    for name, text in about.items():  # which may be fewer than it counts
        row = dict(part.split("=", 1) for part in text.split(",")) if re.fullmatch(r"slave\d+", name) else {}
        if row.get("state") == "online":
            lacks = max(int(about["master_repl_offset"]) - int(row["offset"]), 0)
            place = row["ip"], int(row["port"])
            followers.append(RedisState(shown(place), "replica", where, lacks, int(row["lag"])))
    if about["role"] == "master":
        return RedisState(where, "master", ends=ends), followers
    error = "" if about["master_link_status"] == "up" else "its master does not answer it"
    follows = shown((about["master_host"], int(about["master_port"])))
    return RedisState(where, "replica", follows, error=error, ends=ends), followers


def _together(answers: Sequence[tuple[RedisState, list[RedisState]]], named: str) -> Iterator[RedisState]:
    """The servers, the master first, with what it says of each; those too that only it knows. Of two masters the one
    that is named has the last word."""
    masters = sorted((each for each in answers if each[0].role == "master"), key=lambda each: each[0].where == named)
    followers = {each.where: each for _, some in masters for each in some}
    for state, _ in sorted(answers, key=lambda answer: answer[0].role != "master"):
        told = followers.pop(state.where, None)
        if told is None or state.role != "replica":
            yield state
        else:
            yield replace(state, lacks=told.lacks, heard=told.heard)
    yield from followers.values()
