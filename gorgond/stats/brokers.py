"""The words of the brokers and the database about themselves: rows for the picture."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gorgond.stats.replication import ReplicationHealth

MINUTE = 60  # looks, one a second, over which growth is told

DURABILITY = {"always": "always", "everysec": "everysec", "no": "none"}


@dataclass(slots=True)
class BrokerHealth:
    """A broker by what people call it; `queues` are those that have their route there, none of a main one. `about` is
    what `Link.about` gave last, `away` seconds without an answer; `route` is what all hosts have agreed on, where that
    is kept."""

    name: str
    where: str
    queues: Collection[str] = ()
    route: str | None = None
    about: Mapping[str, str] = field(default_factory=dict)
    away: float = 0.0
    reason: str = ""
    lost: Mapping[str, int] = field(default_factory=dict)  # accepted messages of which it has no record, by queues
    deaf: Collection[str] = ()  # queues of groups that were deleted, and missed events
    replication: ReplicationHealth = field(default_factory=ReplicationHealth)
    _growing: deque[tuple[int, int]] = field(default_factory=lambda: deque(maxlen=MINUTE))

    def take_answer(self, about: Mapping[str, str]) -> None:
        """It has answered."""
        self.about, self.away, self.reason = about, 0.0, ""
        self._growing.append((self._number("rejected_connections"), self._number("aof_delayed_fsync")))

    def _number(self, key: str) -> int:
        return int(self.about.get(key, "0"))

    def row(self) -> dict[str, Any]:
        """For the picture. `refused` and `slow_fsyncs` are of the last minute, `rejected` and `delayed_fsync` since the
        broker started; `fsync` is empty where it keeps nothing on disk or does not tell."""
        (refused, slow), (refused_now, slow_now) = (self._growing[0], self._growing[-1]) if self._growing else _NOTHING
        aof = self.about.get("aof_enabled") == "1"
        return {
            "name": self.name,
            "where": self.where,
            "queues": sorted(self.queues),
            "route": self.route,
            "version": self.about.get("redis_version", ""),
            "memory": self._number("used_memory"),
            "maxmemory": self._number("maxmemory"),
            "clients": self._number("connected_clients"),
            "rejected": self._number("rejected_connections"),
            "refused": max(refused_now - refused, 0),
            "aof": aof,
            "fsync": self.about.get("appendfsync", "") if aof else "",
            "delayed_fsync": self._number("aof_delayed_fsync"),
            "slow_fsyncs": max(slow_now - slow, 0),
            "away": round(self.away, 1),
            "reason": self.reason,
            "lost": dict(self.lost),
            "deaf": sorted(self.deaf),
            "replication": self.replication.row(),
        }


_NOTHING = ((0, 0), (0, 0))


def durability(rows: Sequence[Mapping[str, Any]]) -> str:
    """The durability of what was accepted, that of the weakest broker that keeps some: always, everysec, none or
    unknown. Of the rows the first is that of the durable broker."""
    found = {_durability(row) for row in rows if row is rows[0] or row["queues"]}
    return next(each for each in ("none", "unknown", "everysec", "always") if each in found)


def _durability(row: Mapping[str, Any]) -> str:
    if not row["version"]:
        return "unknown"
    return DURABILITY.get(row["fsync"], "unknown") if row["aof"] else "none"
