"""The brokers there are, by the scheme of their address. A new one is a line in DRIVERS."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING

from gorgond.redpill.broker import Broker

if TYPE_CHECKING:
    from gorgond.redpill.sentineladdress import SentinelAddress

DRIVERS: Mapping[str, str] = {
    "redis": "gorgond.redpill.redisbroker:RedisBroker",
    "rediss": "gorgond.redpill.redisbroker:RedisBroker",
    "unix": "gorgond.redpill.redisbroker:RedisBroker",
    "sentinel": "gorgond.redpill.sentinelbroker:SentinelBroker",
    "sentinels": "gorgond.redpill.sentinelbroker:SentinelBroker",
    "memory": "gorgond.redpill.memory:MemoryBroker",
}
"""By scheme, the module and the class; a module is imported when an address asks for it."""


def connect(url: str, durable: bool = True) -> Broker:
    """The broker at `url`: redis://, rediss://, unix:// (user, password and ?db= as redis-py reads them),
    sentinel://, sentinels:// (`sentineladdress`), memory://NAME.

    `durable` says that messages must outlive it, so that a Redis that is not set up for it is warned about. Nothing is
    connected yet. Raises ValueError for any other address.
    """
    scheme = url.partition("://")[0]
    if scheme not in DRIVERS:
        *some, last = (f"{known}://" for known in DRIVERS)
        raise ValueError(f"{scheme}:// is no broker; allowed are {', '.join(some)} and {last}")
    module, _, name = DRIVERS[scheme].partition(":")
    driver: type[Broker] = getattr(import_module(module), name)
    return driver.at(url, durable)


def parse_set(url: str) -> SentinelAddress | None:
    """The parts of the address of a set: where its Sentinels are, what they call it, how its servers are met; None for
    that of a server by itself. Raises ValueError for one that is no good."""
    if url.partition("://")[0] not in ("sentinel", "sentinels"):
        return None
    from gorgond.redpill.sentineladdress import SentinelAddress  # rarely needed

    return SentinelAddress.of(url)
