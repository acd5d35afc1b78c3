"""The brokers of a fabric, and which of them carries a queue or a topic.

Without a route it depends on what is sent: a call goes over `calls`, whose callers ask again when it forgets, a job and
an event over `durable`, which lasts. These may be the same. What has a route, [broker] route, goes over the broker that
is named there, whatever it is.

A route may change while messages lie where they were pushed. So what is pushed goes to one broker, the `carrier`, and
what is consumed is consumed at all that may hold some: those named in the route, and those without it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import quote

from gorgond.config import Config
from gorgond.errors import ConfigError
from gorgond.redpill import Broker, Room, connect, follow
from gorgond.settings import MAIN, Route
from gorgond.settings import Broker as Settings

Routes = Mapping[str, Sequence[Broker | None]]
"""By queue or topic: the broker to which it is pushed, and others that may still hold some; None says those without a
route."""

_NOWHERE: Sequence[Broker | None] = (None,)


@dataclass(frozen=True, slots=True)
class Fabric:
    """Where queues are kept. `route` are the routes as all hosts must have them, in one text, without passwords."""

    durable: Broker
    calls: Broker
    room: Room
    routes: Routes = field(default_factory=dict)
    route: str = ""

    @property
    def main(self) -> tuple[Broker, ...]:
        """Those of all that has no route, each once."""
        return (self.durable,) if self.calls is self.durable else (self.durable, self.calls)

    @property
    def brokers(self) -> tuple[Broker, ...]:
        """Each broker once, the main ones first."""
        routed = (broker for some in self.routes.values() for broker in some if broker is not None)
        return tuple(dict.fromkeys((*self.main, *routed)))

    @property
    def named(self) -> dict[str, Broker]:
        """The same by what people call them: durable, calls, and others by where they are."""
        names = ("durable", "calls")[: len(self.main)]
        return dict(zip(names, self.main, strict=True)) | {
            each.shown: each for each in self.brokers[len(self.main) :]
        }  # fmt: skip

    def carrier(self, name: str, usual: Broker) -> Broker:
        """The broker to which queue or topic `name` is pushed; `usual` is that of what has no route."""
        first = self.routes.get(name, _NOWHERE)[0]
        return usual if first is None else first

    def holders(self, name: str, usual: Sequence[Broker]) -> tuple[Broker, ...]:
        """The brokers that may hold some of queue or topic `name`, those of what has no route first."""
        return tuple(dict.fromkeys((*usual, *(each for each in self.routes.get(name, ()) if each is not None))))

    def queues_of(self, broker: Broker) -> list[str]:
        """The queues and topics whose route names that broker."""
        return [name for name, some in self.routes.items() if broker in some]

    def away(self) -> Broker | None:
        """The first of the main brokers that is away."""
        return next((broker for broker in self.main if broker.outage.length), None)


def topic_of(queue: str) -> str:
    """What has the route of a queue: its topic, if it is that of a durable group, or itself."""
    return queue.partition("/")[0]


def connect_fabric(config: Config) -> Fabric:
    """The brokers that the configuration names; nothing is connected yet. This process takes the time of that of calls,
    where most deadlines are judged. Raises ConfigError."""
    durable = durable_broker(config)
    calls = calls_broker(config) if config.broker.calls else durable
    follow(calls.time)
    room = Room(config.broker.queue_limit, config.broker.queue_bytes)
    return Fabric(durable, calls, room, routed_brokers(config, (durable, calls)), agreement(config.broker.route))


def durable_broker(config: Config) -> Broker:
    """The one of [broker] url. Raises ConfigError when its driver cannot read that."""
    with config.blaming("broker", "url"):
        return connect(_sign(config.broker.url, config.broker))


def calls_broker(config: Config) -> Broker:
    """The one of [broker] calls, which must be given. Raises the same."""
    with config.blaming("broker", "calls"):
        return connect(_sign(config.broker.calls, config.broker), durable=False)


def routed_brokers(config: Config, main: Sequence[Broker]) -> Routes:
    """Those of [broker] route. Raises the same, for one of the `main` brokers, and for one that is named twice."""
    routes: dict[str, list[Broker | None]] = {}
    places = {each.place for each in main}
    with config.blaming("broker", "route"):
        made: dict[str, Broker | None] = {MAIN: None}
        for name, url in config.broker.route:
            if url not in made:
                made[url] = connect(_sign(url, config.broker))
            broker, some = made[url], routes.setdefault(name, [])
            if broker is not None:
                if broker.place in places:
                    raise ConfigError(f"{name} leads to one of the two brokers without a route: {MAIN} says these")
                if any(each is not None and each.place == broker.place for each in some):
                    raise ConfigError(f"{name} leads to {broker.shown} twice: leave one of them out")
            some.append(broker)
    return routes


def agreement(routes: Sequence[Route]) -> str:
    """The routes in one text that is the same for all hosts that route alike: by name, without passwords and what else
    says how one connects."""
    return " ".join(f"{name}={_place(url)}" for name, url in sorted(routes, key=lambda each: each[0]))


def _place(url: str) -> str:
    """Where a URL leads, without who goes there and how."""
    address, _, options = url.partition("?")
    database = re.search(r"(?:^|&)(db=\d+)", options)
    return re.sub(r"://[^/]*@", "://", address) + (f"?{database[1]}" if database else "")


def _sign(url: str, settings: Settings) -> str:
    """The URL with the configured user and password, unless it has its own."""
    scheme, _, rest = url.partition("://")
    if not settings.password or scheme == "memory" or "@" in rest.partition("/")[0]:
        return url
    return f"{scheme}://{settings.user}:{quote(settings.password, safe='')}@{rest}"
