"""The stats server on a fabric whose broker is a set of Redis servers: it says what holds and what does not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.conftest import RedisServer
from tests.integration.watched import Fabric, fabric_in
from tests.programs import asked, gorgonctl
from tests.sets import NAME, PASSWORD, MakeSet, Member, Set, sets
from tests.waiting import eventually


@pytest.fixture
def make_set(redis_binary: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[MakeSet]:
    with sets(redis_binary, tmp_path_factory) as make:
        yield make


class Watched:
    """A fabric on a set."""

    def __init__(self, fabric: Fabric, some: Set) -> None:
        self.fabric, self.set = fabric, some
        self.settings = {"GORGOND_BROKER_URL": some.url(), "GORGOND_BROKER_CALLS": ""}
        for role in ("stats", "store", "web"):
            fabric.start(role, **self.settings)
        eventually(lambda: fabric.well() and self.replication["copies"] == len(some.members))

    @property
    def replication(self) -> dict[str, Any]:
        found: dict[str, Any] = self.fabric.picture()["redis"][0]["replication"]
        return found

    def figure(self, name: str) -> float:
        """What Prometheus reads."""
        text = (asked(f"{self.fabric.stats}/metrics") or b"").decode()
        families = text_string_to_metric_families(text)
        return float(next(each.value for family in families for each in family.samples if each.name == name))


@pytest.fixture
def watched(tmp_path: Path, redis_factory: Callable[..., RedisServer], make_set: MakeSet) -> Iterator[Watched]:
    with fabric_in(tmp_path, redis_factory) as fabric:
        yield Watched(fabric, make_set(replicas=2))


def place_of(member: Member) -> str:
    host, port = member.place
    return f"{host}:{port}"


def test_what_holds_and_what_does_not_is_told(watched: Watched) -> None:
    master, replica, other = watched.set.members
    # given a set of three that is well, also to gorgonctl and Prometheus
    status = gorgonctl("status", **watched.settings).stdout
    assert f"{NAME} has three copies: one host may die" in status
    assert f"replica of {place_of(master)}" in status
    assert watched.figure("gorgond_broker_copies") == 3
    assert watched.figure("gorgond_broker_sentinels_agreeing") == 3
    # when a replica hangs, then it is told, and how many copies there are
    replica.pause()
    eventually(lambda: watched.fabric.says(f"the Redis at {place_of(replica)} does not answer"))
    assert watched.replication["copies"] == 2
    # when the other one hangs too, then there is one copy, and nothing is accepted
    other.pause()
    eventually(
        lambda: watched.fabric.says("Down: there is one copy only of what is in", "copies=1: nothing is accepted")
    )
    # until they are back
    replica.resume()
    other.resume()
    eventually(watched.fabric.well)
    # when a Sentinel ends, then that is told
    watched.set.sentinels[0].kill()
    host, port = watched.set.sentinels[0].place
    eventually(lambda: watched.fabric.says(f"the Sentinel at {host}:{port} names no master"))
    # when the others end too, then that nobody takes over
    for each in watched.set.sentinels[1:]:
        each.kill()
    eventually(lambda: watched.fabric.says(f"no majority of the Sentinels of {NAME} names a master"))


def test_a_failover_is_told(watched: Watched) -> None:
    old = watched.set.members[0]
    # when the master dies
    old.kill()
    new = watched.set.switched(old)
    # then it is told when, from and to, as a mark too
    told = f"{place_of(new)} is the master of {NAME}, before it was {place_of(old)}"
    eventually(lambda: watched.fabric.says("failover", told))
    marks = [each["text"] for each in watched.fabric.picture()["marks"]]
    assert f"{place_of(new)} is the master of {NAME} instead of {place_of(old)}" in marks
    assert watched.figure("gorgond_broker_failovers_total") == 1
    # and that the old one is away, until it is back as a replica
    assert watched.fabric.says(f"the Redis at {place_of(old)} does not answer")
    old.start()
    eventually(lambda: watched.replication["copies"] == 3)
    eventually(watched.fabric.well)


def test_who_knows_one_redis_alone_is_told(watched: Watched) -> None:
    # given an instance with the address of the master, as one of before there were several has
    host, port = watched.set.members[0].place
    watched.fabric.start("auth", **{**watched.settings, "GORGOND_BROKER_URL": f"redis://:{PASSWORD}@{host}:{port}"})
    # then its host is told
    eventually(lambda: watched.fabric.says("1 instance of", "knows one Redis alone", f"that it is of {NAME}"))
