"""How many of a job are done at the same time, and how often it is begun: as it is declared, and as an app server asks.

    concurrency="20, 2 per shop"    20 on all app servers together, and 2 of those with the same argument `shop`
    limit="10/s per shop, 1000/h"   10 within any second of the same shop, 1000 within any hour in all

Those per argument are asked first: who waits for one of a shop's slots takes none that another shop could have.
"""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import os
import re
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from gorgond.app.annotations import Argument
from gorgond.app.response import plain_value
from gorgond.redpill import AtOnce, Broker, Entry, Link, Message, Within, dumps

MOST = 10_000  # under way, or begun within a time: more the broker is not to remember
GRACE = 60.0  # seconds that a job may take beyond its timeout until its slots are taken from it

_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_PER = r"(?: per (?P<per>\w+))?"
_CONCURRENCY = re.compile(rf"(?P<most>\d{{1,5}}){_PER}")
_LIMIT = re.compile(rf"(?P<most>\d{{1,5}})/(?P<unit>[smhd]){_PER}")


@dataclass(frozen=True, slots=True)
class Bound:
    """A limit as it is declared: `most` at the same time, or within so many `seconds`; with the same argument `per`, or
    of all, where that is none."""

    most: int
    seconds: float
    per: Argument | None

    def name(self, args: Mapping[str, Any]) -> str:
        """What those have in common that are counted with a job of these arguments."""
        if self.per is None:
            return "all"
        value = dumps(args.get(self.per.name, self.per.default), plain_value)
        return hashlib.sha256(self.per.name.encode() + b"\0" + value).hexdigest()[:32]


def bounds_of(concurrency: int | str | None, limit: str | None, arguments: Sequence[Argument]) -> tuple[Bound, ...]:
    """Those that are declared so, those per argument first. Raises ValueError."""
    known = {each.name: each for each in arguments}
    found = list(_read(_CONCURRENCY, concurrency, "concurrency", '2, or "20, 2 per ARGUMENT"', known))
    found += _read(_LIMIT, limit, "limit", '"10/s", or "10/s per ARGUMENT, 1000/h"', known)
    return tuple(sorted(found, key=lambda bound: bound.per is None))


def _read(
    pattern: re.Pattern[str], said: int | str | None, name: str, example: str, known: Mapping[str, Argument]
) -> Iterator[Bound]:
    for each in [] if said is None else str(said).split(","):
        match = pattern.fullmatch(each.strip())
        if match is None or not 1 <= int(match["most"]) <= MOST:
            raise ValueError(f"{name} cannot be {said!r}; it is as {example}, each from 1 to {MOST}")
        if match["per"] and match["per"] not in known:
            raise ValueError(f"{name}: {match['per']} is no argument; there are {', '.join(known) or 'none'}")
        yield Bound(int(match["most"]), _UNITS[match["unit"]] if name == "limit" else 0.0, known.get(match["per"]))


def entry_of(bounds: Sequence[Bound], message: Message, timeout: float) -> Entry:
    """How it is asked whether a job may be begun."""
    args = message.args["args"]
    return Entry(
        message.id,
        message.attempts,
        timeout + GRACE,
        [AtOnce(each.name(args), each.most) for each in bounds if not each.seconds],
        [Within(f"{each.name(args)}.{each.seconds:g}", each.most, each.seconds) for each in bounds if each.seconds],
    )


class Gate:
    """Where the workers of an app server ask, one question to a broker after another; `carrier` says over which one a
    queue goes."""

    def __init__(self, carrier: Callable[[str], Broker], name: str) -> None:
        self._carrier = carrier
        self._name = name
        self._asker = os.urandom(6).hex()
        self._links: dict[Broker, Link] = {}
        self._turns: defaultdict[Broker, asyncio.Lock] = defaultdict(asyncio.Lock)  # a link is for one at a time
        self._numbers = itertools.count(1)

    @asynccontextmanager
    async def passing(self, queue: str, entry: Entry) -> AsyncIterator[int]:
        """While it is within it has its slots, if it may be begun; else it is told when it is to come again, ms since
        1970. One that is cut short keeps them for who does it in its place."""
        async with self._asking(queue) as link:
            number = next(self._numbers)
            due = await link.persist(lambda: link.enter(queue, self._asker, number, entry))
        try:
            yield due
        except Exception:
            await self._exit(queue, number, entry)
            raise
        if not due:
            await self._exit(queue, number, entry)

    async def _exit(self, queue: str, number: int, entry: Entry) -> None:
        async with self._asking(queue) as link:
            await link.persist(lambda: link.exit(queue, self._asker, number, entry))

    @asynccontextmanager
    async def _asking(self, queue: str) -> AsyncIterator[Link]:
        """The link to the broker of a queue, for one at a time."""
        broker = self._carrier(queue)
        async with self._turns[broker]:
            if broker not in self._links:
                self._links[broker] = broker.link(f"{self._name} limits of jobs")
            yield self._links[broker]

    async def close(self) -> None:
        """Let go of the connections."""
        for link in self._links.values():
            await link.close()
