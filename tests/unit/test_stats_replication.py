"""The servers of a broker: what hurts is told with what to do, a failover for a while, and all of it has its place."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import pytest

from gorgond.commands.operator.replication import replication_lines
from gorgond.redpill import RedisState, Replication, SentinelState
from gorgond.stats.replication import DAY, ReplicationHealth, notes, reasons
from tests.unit.test_stats_verdict import broker, judged

A, B, C = "10.0.0.1:6379", "10.0.0.2:6379", "10.0.0.3:6379"
WATCHING = ["10.0.0.1:26379", "10.0.0.2:26379", "10.0.0.3:26379"]
MASTER = RedisState(A, "master")


def replica(where: str, **changes: Any) -> RedisState:
    return RedisState(where, **{"role": "replica", "follows": A, "lacks": 0, "heard": 0, **changes})


def sentinels(*names: str) -> tuple[SentinelState, ...]:
    """Those that name these masters; one that names none does not answer."""
    return tuple(
        SentinelState(where, name, "" if name else "refused") for where, name in zip(WATCHING, names, strict=True)
    )


def of(*servers: RedisState, names: Sequence[str] = (A, A, A), needed: int = 1) -> Replication:
    return Replication(servers, sentinels(*names), "gorgon", needed)


def row(replication: Replication) -> dict[str, Any]:
    health = ReplicationHealth()
    health.hear(replication)
    return health.row()


ALL = of(MASTER, replica(B), replica(C))
ONE = "there is one copy only of what is in gorgon, and [broker] url says copies=1"
GONE = RedisState(C, error="no answer within 2 s")


@pytest.mark.parametrize(
    ("replication", "told"),
    [
        (Replication((MASTER,)), []),  # by itself
        (ALL, []),
        (of(MASTER, replica(B), GONE, names=(A, A, "")),
         ["no server answers at 10.0.0.3: start that host, or mend its network (no answer within 2 s)"]),
        (of(MASTER, replica(B), GONE),
         [f"the Redis at {C} does not answer: systemctl status gorgon-broker there says why (no answer within 2 s)"]),
        (of(MASTER, replica(B), replica(C), names=(A, A, "")),
         ["the Sentinel at 10.0.0.3:26379 names no master: systemctl status gorgon-sentinel there says why (refused)"]),
        (of(MASTER, replica(B), replica(C), names=(A, A, B)),
         [f"the Sentinel at 10.0.0.3:26379 names {B} as the master, most name {A}: see that it reaches the others"]),
        (of(MASTER, replica(B, lacks=None, heard=None), replica(C)),
         [f"the Redis at {B} is no copy now: it still fetches what there is"]),
        (of(MASTER, replica(B, lacks=None, heard=None, error="its master does not answer it"), replica(C)),
         [f"the Redis at {B} is no copy now: its master does not answer it"]),
        (of(MASTER, replica(B, heard=14), replica(C)),
         [f"the Redis at {B} is no copy now: its master has not heard it for 14 s"]),
        (of(MASTER, replica(B, lacks=70_000_000), replica(C)),
         [f"the Redis at {B} lacks 70,000,000 bytes of what its master has: its disk or its network is too slow"]),
        (of(MASTER, needed=0),
         [f"one copy only of what is in gorgon, at {A}: it is lost with that host's disk"]),
        (of(MASTER, replica(B), RedisState(C, "master")),
         [f"2 Redis servers take themselves for the master of gorgon, and the Sentinels name {A}: what is written to "
          f"{C} will be lost; mend the network of that host, or stop its gorgon-broker"]),
        (of(MASTER, replica(B), RedisState(C, "master"), names=("", A, C)),
         [f"2 Redis servers take themselves for the master of gorgon: {A} and {C}; stop the gorgon-broker of the one "
          "that has lost the others",
          "no majority of the Sentinels of gorgon names a master: nobody takes over when one dies; start those that do "
          "not answer",
          "the Sentinel at 10.0.0.1:26379 names no master: systemctl status gorgon-sentinel there says why (refused)"]),
        (of(replica(A, follows=B), replica(B), replica(C)),
         [f"the Sentinels name {A} as the master of gorgon, which does not take itself for it"]),
        (of(RedisState(A, "master", ends=time.time() + 12.5 * DAY), replica(B, ends=time.time() + 40 * DAY)),
         ["the certificate of 10.0.0.1 ends in 12 days: gorgonctl tls on that host makes a new one"]),
    ],
)  # fmt: skip
def test_what_hurts_is_told_with_what_to_do(replication: Replication, told: list[str]) -> None:
    assert list(reasons(row(replication))) == told
    # and it is in the verdict
    found = judged(redis=[broker(replication=row(replication))])
    assert found["reasons"] == told
    assert found["state"] == ("degraded" if told else "well")


@pytest.mark.parametrize(
    ("replication", "told"),
    [
        (of(MASTER), "there is one copy only of what is in gorgon, and [broker] url says copies=1"),
        (
            of(MASTER, replica(B, heard=20)),
            "there is one copy only of what is in gorgon, and [broker] url says copies=1",
        ),
        (of(MASTER, replica(B), needed=2), "only 1 replica of gorgon is there, and [broker] url says copies=2"),
    ],
)
def test_too_few_copies_are_an_outage(replication: Replication, told: str) -> None:
    found = judged(redis=[broker(replication=row(replication))])
    assert found["state"] == "down"
    assert found["reasons"][0] == f"{told}: nothing is accepted until more are there"


def test_without_a_master_it_is_the_broker_that_is_away() -> None:
    away = of(RedisState(A, error="refused"), replica(B, lacks=None, heard=None))
    found = judged(redis=[broker(away=3.0, replication=row(away))])
    assert found["reasons"][0] == "broker b.sock has been away for 3 s"
    assert not [each for each in found["reasons"] if "nothing is accepted" in each]
    # and why is told too
    assert f"the Redis at {A} does not answer" in "; ".join(found["reasons"])


@pytest.mark.parametrize(
    ("replication", "holds"),
    [
        (ALL, "three copies: one host may die, and within seconds another one takes over"),
        (of(MASTER, replica(B), needed=0), "two copies: one host may die, and within seconds another one takes over"),
        (of(MASTER, replica(B)),
         "two copies: when one host dies nothing is lost, and nothing is accepted until there is another copy"),
        # one of three hosts is gone: without another one there is no majority
        (of(MASTER, replica(B), names=(A, A, "")), "two copies, and nobody takes over when the master's host dies"),
        (of(MASTER, replica(B), replica(C), names=(A, "", "")),
         "three copies, and nobody takes over when the master's host dies"),
        (of(MASTER), "one copy only: what is accepted is lost with the disk of its host"),
        (Replication((MASTER, replica(B))), "two copies"),
        (Replication((MASTER,)), ""),
    ],
)  # fmt: skip
def test_what_holds_is_one_sentence(replication: Replication, holds: str) -> None:
    assert row(replication)["holds"] == holds


def test_a_failover_is_told_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    # given a set whose master dies, so that nobody names one for a moment
    health = ReplicationHealth()
    health.hear(ALL)
    health.hear(of(RedisState(A, error="refused"), replica(B), replica(C)))
    assert health.row()["failover"] is None
    # when another one is the master
    health.hear(of(RedisState(B, "master"), replica(C, follows=B), names=(B, B, "")))
    # then it is told when, from and to, and hurts nobody
    found = judged(redis=[broker(replication=health.row())])
    assert found["notes"] == [f"failover 0 s ago: {B} is the master of gorgon, before it was {A}"]
    assert found["text"].endswith(found["notes"][0])
    assert health.row()["failovers"] == 1
    # for an hour
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + 3000.0)
    assert list(notes(health.row())) == [f"failover 50 min ago: {B} is the master of gorgon, before it was {A}"]
    monkeypatch.setattr(time, "monotonic", lambda: now + 3700.0)
    assert list(notes(health.row())) == []


def test_status_has_a_line_for_each_server() -> None:
    ends = time.time() + 400.5 * DAY
    replication = of(MASTER, replica(B, lacks=1800, heard=1, ends=ends), GONE, names=(A, A, ""))
    lines = replication_lines(row(replication))
    assert lines[0] == "gorgon has two copies, and nobody takes over when the master's host dies"
    assert [line.split() for line in lines[1:4]] == [
        ["server", "is", "lacks", "last", "heard", "certificate"],
        [A, "master"],
        [B, "replica", "of", A, "1.8", "kB", "1.0", "s", "ago", "400", "d"],
    ]
    assert lines[4].endswith("no answer within 2 s")
    assert lines[5].split() == ["10.0.0.1:26379", "Sentinel,", "names", A]
    # and none where one is by itself
    assert replication_lines(row(Replication((MASTER,)))) == []
