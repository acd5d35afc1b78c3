"""The brokers there are, by the scheme of their address. A new one is a line in DRIVERS."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module

from gorgond.redpill.broker import Broker

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
