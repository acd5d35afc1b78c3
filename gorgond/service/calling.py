"""A service's calls, each over the broker that carries the queue at which it ends."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from gorgond.redpill import Broker, Call, Caller, Message, Reply, Told
from gorgond.service.fabric import Fabric


class Calling(Protocol):
    """Who makes calls: a Caller of redpill's, or a RoutedCaller."""

    def call(self, queue: str, message: Message) -> asyncio.Future[Reply]:
        """As `Caller.call`."""


class RoutedCaller:
    """Calls over the broker `usual`, that of what has no route, or over that of the queue's. `caller` makes the Caller
    of a broker, when the first call goes there; `usual` is that of what has no route.

    A message with a routing slip goes over the broker of where it is sent on to, all the way: it is answered where it
    was asked, and whoever sends it on sends it over the broker that it came over.
    """

    def __init__(self, fabric: Fabric, usual: Broker, caller: Callable[[Broker], Caller]) -> None:
        self.usual = caller(usual)
        self._callers = {usual: self.usual}
        self._caller = caller
        self._carriers = {name: carrier for name in fabric.routes if (carrier := fabric.carrier(name, usual)) != usual}
        if not self._carriers:  # all goes there, by the shortest way
            self.call, self.ask = self.usual.call, self.usual.ask  # type: ignore[method-assign]

    def __len__(self) -> int:
        """How many calls wait for their reply."""
        return sum(map(len, self._callers.values()))

    def call(self, queue: str, message: Message) -> asyncio.Future[Reply]:
        """As `Caller.call`."""
        carrier = self._carriers.get(message.next or queue)
        return (self.usual if carrier is None else self._at(carrier)).call(queue, message)

    def ask(self, queue: str, message: Message, told: Told) -> Call:
        """As `Caller.ask`."""
        carrier = self._carriers.get(message.next or queue)
        return (self.usual if carrier is None else self._at(carrier)).ask(queue, message, told)

    def _at(self, broker: Broker) -> Caller:
        if broker not in self._callers:
            self._callers[broker] = self._caller(broker)
        return self._callers[broker]
