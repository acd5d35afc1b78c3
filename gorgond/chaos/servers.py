"""The Redis servers of a fabric, asked and set directly: what redpill's links do not offer, since no role needs it."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from redis import Redis, exceptions
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from gorgond.chaos.errors import Refused
from gorgond.config import Config
from gorgond.redpill import keys, parse_set
from gorgond.service.fabric import connect_fabric

TIMEOUT, SENTINEL_TIMEOUT = 5.0, 1.0  # seconds a question may take
_COUNTS = re.compile(r"gorgon:\{([^{}]+)\}(/[^:]+)?:(counts|pushed)")


class Server:
    """One Redis, `name` being what its process is called: broker, or calls; or where it is."""

    def __init__(self, name: str, url: str) -> None:
        self.name = name
        self.url = url
        address = parse_set(url)
        self._client: Any = _connect(url) if address is None else _Set(address)

    @property
    def redis(self) -> Any:
        """Who asks it; of a set the master that its Sentinels name now. Raises RedisError when they name none."""
        return self._client.master() if isinstance(self._client, _Set) else self._client

    @property
    def socket(self) -> Path:
        """Its unix socket. Raises Refused when it has none."""
        parts = urlsplit(self.url)
        if parts.scheme != "unix":
            raise Refused(f"{self.name} is reached over the network; this needs one on a unix socket")
        return Path(unquote(parts.path))

    def answers(self) -> bool:
        """Whether it serves; one that reads its file does not yet."""
        try:
            return bool(self.redis.ping())
        except RedisError:
            return False

    def info(self, figure: str) -> int:
        """A number of INFO's."""
        return int(self.redis.info()[figure])

    def setting(self, key: str) -> str:
        """A setting as it is."""
        return str(self.redis.config_get(key)[key])

    def set(self, key: str, value: str) -> None:
        """Change a setting until the next restart."""
        self.redis.config_set(key, value)

    def drop_clients(self) -> None:
        """Break all connections but ours."""
        for kind in ("normal", "pubsub"):
            self.redis.execute_command("CLIENT", "KILL", "TYPE", kind, "SKIPME", "yes")

    def queues(self) -> list[str]:
        """The names of all queues that were ever used."""
        found = (_COUNTS.fullmatch(key) for key in self.redis.scan_iter(match="gorgon:*", count=1000))
        return sorted({match[1] + (match[2] or "") for match in found if match})

    def counts(self, queue: str) -> dict[str, int]:
        """A queue's counters as they lie there: accepted, done, dead, recovered …"""
        parts = [self.redis.hgetall(key) for key in (keys.counts(queue), keys.pushed(queue))]
        return dict(sum((Counter({name: int(number) for name, number in part.items()}) for part in parts), Counter()))

    def count_accepted(self, queue: str) -> int:
        """How many messages a queue has accepted since it was made."""
        return self.counts(queue).get("accepted", 0)

    def count_settled(self, queue: str) -> int:
        """How many of those nobody has to do anything with any more."""
        counts = self.counts(queue)
        gone = sum(counts.get(name, 0) for name in ("done", "expired", "dropped", "overflow"))
        return gone + int(self.redis.zcard(keys.dead(queue)))

    def desks(self, queue: str) -> dict[str, int]:
        """How many messages lie on the desk of each consumer."""
        return {
            consumer: self.redis.llen(keys.desk(queue, consumer))
            for consumer in self.redis.hkeys(keys.consumers(queue))
        }

    def tokens(self, queue: str) -> dict[str, int]:
        """The fencing token of each consumer, also if it is void."""
        return {consumer: int(text.split()[0]) for consumer, text in self.redis.hgetall(keys.consumers(queue)).items()}

    def forget(self, queue: str) -> None:
        """Delete a queue with all that is in it."""
        self.redis.delete(
            keys.queue(queue), *self.redis.scan_iter(match=f"{keys.queue(queue)}:*".replace("[", "\\["), count=1000)
        )

    def places(self, queue: str) -> Iterator[tuple[str, str]]:
        """Each message of a queue at one moment: (where it lies, the message); dead ones with their header."""
        desks = [keys.desk(queue, consumer) for consumer in self.redis.hkeys(keys.consumers(queue))]
        with self.redis.pipeline(transaction=True) as asked:
            asked.lrange(keys.queue(queue), 0, -1)
            asked.lrange(keys.held(queue), 0, -1)
            asked.zrange(keys.delayed(queue), 0, -1)
            asked.zrange(keys.dead(queue), 0, -1)
            for desk in desks:
                asked.lrange(desk, 0, -1)
            waiting, held, delayed, dead, *in_flight = asked.execute()
        for place, messages in (("queued", waiting), ("held", held), ("delayed", delayed), ("dead", dead)):
            for message in messages:
                yield place, message
        for desk in in_flight:
            for message in desk:
                yield "in flight", message

    def close(self) -> None:
        """Let go of the connections."""
        self._client.close()


class _Set:
    """Several Redis servers of which the Sentinels at an address, as redpill reads it, name the master."""

    def __init__(self, address: Any) -> None:
        self._address = address
        once = Retry(NoBackoff(), 0)  # who is cut off would be asked for many seconds
        self._sentinels = [
            _connect(address.sentinel(place), SENTINEL_TIMEOUT, retry=once) for place in address.sentinels
        ]
        self._silent = dict.fromkeys(range(len(self._sentinels)), 0.0)  # when each was last, by its number
        self._masters: dict[tuple[str, int], Any] = {}

    def master(self) -> Any:
        """Who asks the one that most of them name. Those that were silent last are asked last."""
        votes: Counter[tuple[str, int]] = Counter()
        for number in sorted(self._silent, key=lambda number: self._silent[number]):
            place = self._named_by(number)
            if place is None:
                self._silent[number] = time.monotonic()
                continue
            votes[place] += 1
            if votes[place] > len(self._sentinels) // 2:
                if place not in self._masters:
                    self._masters[place] = _connect(self._address.redis(place))
                return self._masters[place]
        raise exceptions.ConnectionError(f"no majority of the Sentinels of {self._address.name} names a master")

    def _named_by(self, number: int) -> tuple[str, int] | None:
        try:
            found = self._sentinels[number].execute_command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self._address.name)
        except RedisError:
            return None
        return (str(found[0]), int(found[1])) if found else None

    def close(self) -> None:
        """Let go of the connections."""
        for each in (*self._sentinels, *self._masters.values()):
            each.close()


def _connect(url: str, timeout: float = TIMEOUT, **options: Any) -> Any:
    """Who asks the server at this URL. Older drivers take a certificate for any name, unless they are told."""
    if url.startswith("rediss:") and "ssl_cert_reqs=none" not in url and "ssl_check_hostname" not in url:
        options["ssl_check_hostname"] = True
    return Redis.from_url(url, socket_timeout=timeout, decode_responses=True, **options)


def servers_of(config: Config) -> dict[str, Server]:
    """The servers of a fabric by name: broker, calls where that is another one, and others by where they are."""
    fabric = connect_fabric(config)
    named = {"broker" if name == "durable" else name: broker.url for name, broker in fabric.named.items()}
    return {name: Server(name, url) for name, url in named.items()}
