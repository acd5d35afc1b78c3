"""The brokers of a fabric: one for what must last, one for calls, whose callers ask again when it forgets.

They may be the same. A call goes over `calls`, a job and an event over `durable`; servers consume their queues on both.
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote

from gorgond.config import Config
from gorgond.redpill import Broker, Room, connect, follow
from gorgond.settings import Broker as Settings


@dataclass(frozen=True, slots=True)
class Fabric:
    """Where queues are kept."""

    durable: Broker
    calls: Broker
    room: Room

    @property
    def brokers(self) -> tuple[Broker, ...]:
        """Each broker once."""
        return (self.durable,) if self.calls is self.durable else (self.durable, self.calls)

    def away(self) -> Broker | None:
        """The first broker that is away."""
        return next((broker for broker in self.brokers if broker.outage.length), None)


def connect_fabric(config: Config) -> Fabric:
    """The brokers that the configuration names; nothing is connected yet. This process takes the time of that of calls,
    where most deadlines are judged. Raises ConfigError."""
    durable = durable_broker(config)
    calls = calls_broker(config) if config.broker.calls else durable
    follow(calls.time)
    return Fabric(durable, calls, Room(config.broker.queue_limit, config.broker.queue_bytes))


def durable_broker(config: Config) -> Broker:
    """The one of [broker] url. Raises ConfigError when its driver cannot read that."""
    with config.blaming("broker", "url"):
        return connect(_sign(config.broker.url, config.broker))


def calls_broker(config: Config) -> Broker:
    """The one of [broker] calls, which must be given. Raises the same."""
    with config.blaming("broker", "calls"):
        return connect(_sign(config.broker.calls, config.broker), durable=False)


def _sign(url: str, settings: Settings) -> str:
    """The URL with the configured user and password, unless it has its own."""
    scheme, _, rest = url.partition("://")
    if not settings.password or scheme == "memory" or "@" in rest.partition("/")[0]:
        return url
    return f"{scheme}://{settings.user}:{quote(settings.password, safe='')}@{rest}"
