"""What the servers of a broker say, each for itself: which is the master, which follow it and how closely, and whom
each Sentinel names. Nobody's word is taken for another's: a master that is cut off takes itself for one still.
"""

from __future__ import annotations

from dataclasses import dataclass

LATE = 10  # seconds without a word after which a replica is not taken for a copy


@dataclass(frozen=True, slots=True)
class RedisState:
    """A Redis of the broker. `role` is master or replica; one that does not answer has none, and `error` says why.
    `lacks` is how many bytes it has not told its master to have, `heard` how many seconds ago it told that; None where
    nobody knows. `ends`: when its certificate does, in seconds since 1970; None without TLS."""

    where: str
    role: str = ""
    follows: str = ""
    lacks: int | None = None
    heard: int | None = None
    error: str = ""
    ends: float | None = None

    @property
    def is_copy(self) -> bool:
        """Whether it has what its master has, but for what is under way."""
        return self.role == "replica" and self.heard is not None and self.heard <= LATE


@dataclass(frozen=True, slots=True)
class SentinelState:
    """A Sentinel and which master it names; without one, `error` says why."""

    where: str
    names: str = ""
    error: str = ""
    ends: float | None = None


@dataclass(frozen=True, slots=True)
class Replication:
    """All of them, at one moment. `name` is that of the set that the Sentinels watch, empty without Sentinels; `needed`
    is how many replicas must have what counts."""

    servers: tuple[RedisState, ...] = ()
    sentinels: tuple[SentinelState, ...] = ()
    name: str = ""
    needed: int = 0

    @property
    def masters(self) -> list[str]:
        """Where those are that take themselves for the master."""
        return [each.where for each in self.servers if each.role == "master"]

    @property
    def replicas(self) -> list[str]:
        """Where those are that have what the master has."""
        return [each.where for each in self.servers if each.is_copy]

    @property
    def copies(self) -> int:
        """How many servers have what is accepted."""
        return len(self.masters[:1]) + len(self.replicas)

    @property
    def named_master(self) -> str:
        """The master that a majority of the Sentinels names; empty where none does."""
        names = [each.names for each in self.sentinels if each.names]
        most = max(names, key=names.count, default="")
        return most if names.count(most) * 2 > len(self.sentinels) else ""
