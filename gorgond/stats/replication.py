"""The servers that a broker is made of, as rows for the picture and in words: what an operator has to know of them.

No reason begins with a name, as those of the verdict.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from gorgond.redpill import Replication
from gorgond.service.words import counted

DAY = 86400.0
RENEW = 30.0  # days before its end from which a certificate is told
BEHIND = 64_000_000  # bytes that a replica may lack before it is told
TOLD = 3600.0  # seconds for which it is told that another one is the master

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Failover:
    """One Redis became the master instead of another one, at a time of the monotonic clock."""

    at: float
    was: str
    now: str


@dataclass(slots=True)
class ReplicationHealth:
    """What the servers of a broker said last, and what became of the master."""

    last: Replication = field(default_factory=Replication)
    failovers: int = 0
    failover: Failover | None = None
    _master: str = ""

    def hear(self, replication: Replication) -> None:
        """They have answered, or not."""
        self.last = replication
        master = replication.named_master
        if not master or master not in replication.masters:
            return
        if self._master and master != self._master:
            self.failovers += 1
            self.failover = Failover(time.monotonic(), self._master, master)
        self._master = master

    def row(self) -> dict[str, Any]:
        """For the picture: `ends_in` and `ago` are seconds."""
        last, failover = self.last, self.failover
        return {
            "name": last.name,
            "needed": last.needed,
            "named": last.named_master,
            "copies": last.copies,
            "holds": describe_safety(last),
            "servers": [{**_row(each), "is_copy": each.is_copy} for each in last.servers],
            "sentinels": [_row(each) for each in last.sentinels],
            "failovers": self.failovers,
            "failover": failover
            and {"ago": round(time.monotonic() - failover.at), "from": failover.was, "to": failover.now},
        }


def _row(state: Any) -> dict[str, Any]:
    """One server; instead of when its certificate ends, in how many seconds it does."""
    row = asdict(state)
    ends = row.pop("ends")
    return {**row, "ends_in": None if ends is None else round(ends - time.time())}


def server_rows(row: Row) -> list[Row]:
    """The servers, where there is more to say of them than that one is there."""
    return [*row["servers"], *row["sentinels"]] if row["name"] or len(row["servers"]) > 1 else []


def masters(row: Row) -> list[str]:
    """Where those are that take themselves for the master."""
    return [each["where"] for each in row["servers"] if each["role"] == "master"]


def agreeing_sentinels(row: Row) -> list[str]:
    """Where the Sentinels are that name the master which the majority names."""
    return [each["where"] for each in row["sentinels"] if each["names"] and each["names"] == row["named"]]


# ---- in words

_NUMBERS = ("no copy", "one copy only", "two copies", "three copies", "four copies", "five copies")


def describe_safety(replication: Replication) -> str:
    """What may happen without harm, in a sentence."""
    number = replication.copies
    copies = _NUMBERS[number] if number < len(_NUMBERS) else f"{number} copies"
    if not replication.name:
        return copies if number > 1 else ""
    if number < 2:
        return f"{copies}: what is accepted is lost with the disk of its host"
    agreeing = sum(each.names == replication.named_master for each in replication.sentinels if each.names)
    if (agreeing - 1) * 2 <= len(replication.sentinels):  # without the one on the host that dies
        return f"{copies}, and nobody takes over when the master's host dies"
    if number - 2 < replication.needed:  # without the host that dies, and the master
        return f"{copies}: when one host dies nothing is lost, and nothing is accepted until there is another copy"
    return f"{copies}: one host may die, and within seconds another one takes over"


def stops(row: Row) -> Iterator[str]:
    """Why nothing is accepted although the broker answers."""
    replicas = sum(each["is_copy"] for each in row["servers"])
    if masters(row) and replicas < row["needed"]:
        less = f"only {counted(replicas, 'replica')} of {row['name']} {'is' if replicas == 1 else 'are'} there"
        what = less if replicas else f"there is one copy only of what is in {row['name']}"
        yield f"{what}, and [broker] url says copies={row['needed']}: nothing is accepted until more are there"


def reasons(row: Row) -> Iterator[str]:
    """What hurts, and what to do about it, what hurts most first."""
    if row["name"]:
        yield from _mastership(row)
        yield from _copies(row)
        yield from _silences(row)
        yield from _replicas(row)
        yield from _opinions(row)
    yield from _certificates(row)


def notes(row: Row) -> Iterator[str]:
    """What hurts no more, and is told beside all else for a while."""
    failover = row["failover"]
    if failover and failover["ago"] < TOLD:
        ago = failover["ago"]
        when = f"{ago} s" if ago < 120 else f"{ago // 60} min"
        yield f"failover {when} ago: {failover['to']} is the master of {row['name']}, before it was {failover['from']}"


def _mastership(row: Row) -> Iterator[str]:
    called, named, those = row["name"], row["named"], masters(row)
    if len(those) > 1:
        what = f"{len(those)} Redis servers take themselves for the master of {called}"
        if named:
            others = " and ".join(each for each in those if each != named)
            yield (
                f"{what}, and the Sentinels name {named}: what is written to {others} will be lost; mend the network "
                "of that host, or stop its gorgon-broker"
            )
        else:
            yield f"{what}: {' and '.join(those)}; stop the gorgon-broker of the one that has lost the others"
    if not named:
        yield (
            f"no majority of the Sentinels of {called} names a master: nobody takes over when one dies; start those "
            "that do not answer"
        )
    elif named not in those and any(each["where"] == named and each["role"] for each in row["servers"]):
        yield f"the Sentinels name {named} as the master of {called}, which does not take itself for it"


def _copies(row: Row) -> Iterator[str]:
    if masters(row) and row["copies"] == 1 and not row["needed"]:
        yield f"one copy only of what is in {row['name']}, at {masters(row)[0]}: it is lost with that host's disk"


def _host(where: str) -> str:
    return where.rpartition(":")[0]


def _silences(row: Row) -> Iterator[str]:
    """Servers that do not answer; those of a host of which none does as one."""
    silent = {"Redis": [each for each in row["servers"] if not each["role"]]}
    silent["Sentinel"] = [each for each in row["sentinels"] if not each["names"]]
    whole = Counter(_host(each["where"]) for each in (*row["servers"], *row["sentinels"]))
    whole -= Counter(_host(each["where"]) for some in silent.values() for each in some)
    off = {_host(each["where"]): each["error"] for each in silent["Redis"] if not whole[_host(each["where"])]}
    for host, error in off.items():
        yield f"no server answers at {host}: start that host, or mend its network ({error})"
    for kind, some in silent.items():
        for each in some:
            if _host(each["where"]) not in off:
                yield f"the {kind} at {each['where']} {_SILENT[kind]} there says why ({each['error']})"


_SILENT = {
    "Redis": "does not answer: systemctl status gorgon-broker",
    "Sentinel": "names no master: systemctl status gorgon-sentinel",
}


def _replicas(row: Row) -> Iterator[str]:
    for each in row["servers"]:
        if each["role"] == "replica" and not each["is_copy"]:
            late = f"its master has not heard it for {each['heard']} s" if each["heard"] is not None else ""
            why = each["error"] or late or "it still fetches what there is"
            yield f"the Redis at {each['where']} is no copy now: {why}"
        elif each["lacks"] is not None and each["lacks"] > BEHIND:
            yield (
                f"the Redis at {each['where']} lacks {each['lacks']:,} bytes of what its master has: its disk or its "
                "network is too slow"
            )


def _opinions(row: Row) -> Iterator[str]:
    for each in row["sentinels"]:
        if each["names"] and row["named"] and each["names"] != row["named"]:
            yield (
                f"the Sentinel at {each['where']} names {each['names']} as the master, most name {row['named']}: see "
                "that it reaches the others"
            )


def _certificates(row: Row) -> Iterator[str]:
    ends: dict[str, list[float]] = {}
    for each in (*row["servers"], *row["sentinels"]):
        if each["ends_in"] is not None and each["ends_in"] < RENEW * DAY:
            ends.setdefault(_host(each["where"]), []).append(each["ends_in"])
    for host, some in ends.items():
        days = counted(int(min(some) // DAY), "day")
        yield f"the certificate of {host} ends in {days}: gorgonctl tls on that host makes a new one"
