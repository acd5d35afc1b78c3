"""Hosts of any name, and two of the same name: UTS namespaces as hosts, process namespaces as machines; wants root."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import RedisServer
from tests.integration.watched import Fabric, fabric_in
from tests.programs import ROOT, asked, gorgonctl
from tests.waiting import eventually

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="makes namespaces, which root alone may")

CALLED = "import os, socket, sys; socket.sethostname(sys.argv[1]); os.execv(sys.argv[2], sys.argv[2:])"
"""A host may have a name that hostname(1) does not give it."""


class Hosts:
    """Starts processes of a fabric on hosts with names, each a machine of its own unless it is not `apart`."""

    def __init__(self, fabric: Fabric, processes: ExitStack) -> None:
        self._fabric = fabric
        self._processes = processes

    def start(self, host: str, *arguments: str, apart: bool = True) -> subprocess.Popen[bytes]:
        namespaces = ["--pid", "--fork", "--kill-child", "--mount-proc"] if apart else []
        settings = {
            "GORGOND_CONFIG": os.devnull,
            "GORGOND_BROKER_URL": self._fabric.durable.url,
            "GORGOND_BROKER_CALLS": self._fabric.calls.url,
            "GORGOND_STORE_URL": f"sqlite:///{self._fabric.directory}/test.db",
        }
        process = subprocess.Popen(
            [
                "unshare",
                "--uts",
                *namespaces,
                sys.executable,
                "-c",
                CALLED,
                host,
                sys.executable,
                "-m",
                "gorgond",
                *arguments,
            ],
            cwd=ROOT,
            env={**os.environ, **settings},
            stdin=subprocess.DEVNULL,
        )
        self._processes.callback(process.wait)
        self._processes.callback(process.kill)
        return process


@pytest.fixture
def fabric(tmp_path: Path, redis_factory: Callable[..., RedisServer]) -> Iterator[Fabric]:
    with fabric_in(tmp_path, redis_factory) as fabric:
        fabric.start("stats")
        fabric.start("web", GORGOND_WEB_DEADLINE="60s")
        eventually(lambda: asked(f"{fabric.web}/healthz"))
        yield fabric


@pytest.fixture
def hosts(fabric: Fabric) -> Iterator[Hosts]:
    with ExitStack() as processes:
        yield Hosts(fabric, processes)


def stores(fabric: Fabric) -> dict[str, str]:
    """The stores that are there, and their machines."""
    rows = fabric.picture().get("instances", [])
    return {row["name"]: row["machine"] for row in rows if row["role"] == "store" and row["state"] == "up"}


def notes(fabric: Fabric, titles: range) -> list[object]:
    """Write notes of these titles, each answered with 201: their ids."""
    found = []
    for title in titles:
        answer = asked(f"{fabric.web}/info/5", b'{"title": "%d"}' % title)
        assert answer is not None
        found += json.loads(answer)["ids"]
    return found


@pytest.mark.parametrize(("host", "word"), [("b\u00fcro 2", "b_xfc_ro_x20_2"), ("a/b|c%d", "a_x2f_b_x7c_c_x25_d")])
def test_a_host_of_any_name_works(fabric: Fabric, hosts: Hosts, host: str, word: str) -> None:
    hosts.start(host, "store")
    eventually(lambda: f"store@1.{word}" in stores(fabric))
    assert len(notes(fabric, range(5))) == 5
    eventually(fabric.well)


def test_two_hosts_of_the_same_name_are_told_and_both_work(fabric: Fabric, hosts: Hosts) -> None:
    # given two machines of the same name, one cloned from the other, each with a store of the same number
    processes = [hosts.start("clone", "store") for _ in range(2)]
    eventually(lambda: len(stores(fabric)) == 2)
    found = stores(fabric)
    # then each has a desk of its own, and neither ends the other
    assert len(set(found.values())) == 2
    eventually(lambda: fabric.says("2 hosts are called clone (machines ", *found.values(), "with hostnamectl"))
    for queue in ("store_get", "store_put"):
        taken = fabric.durable.cli("HKEYS", f"gorgon:{{{queue}}}:lanes").splitlines()
        for machine in found.values():
            assert any(f"store@1.clone:{machine}" in consumer for consumer in taken)
    assert len(set(notes(fabric, range(30)))) == 30
    assert [each.poll() for each in processes] == [None, None]
    assert not fabric.says("two processes have the name")


def test_a_host_that_is_gone_is_one_line(fabric: Fabric, hosts: Hosts) -> None:
    # given three instances on a host of their own, besides others
    fabric.start("store")
    roles = ("store",), ("store", "--instance", "2"), ("auth",)
    there = [hosts.start("far", *arguments, apart=False) for arguments in roles]
    eventually(lambda: fabric.well() and len([row for row in all_rows(fabric) if row["host"] == "far"]) == 3)
    # when that host is gone
    for process in there:
        process.kill()
    # then the verdict says so once, and nothing of each
    eventually(lambda: fabric.says("host far is gone: its 3 instances have been silent for"))
    assert [each for each in fabric.picture()["verdict"]["reasons"] if "far" in each and "host far" not in each] == []
    # until the operator says that it will not come back
    variables = {"GORGOND_BROKER_URL": fabric.durable.url, "GORGOND_BROKER_CALLS": fabric.calls.url}
    variables |= {"GORGOND_STATS_PORT": fabric.stats.rpartition(":")[2]}
    done = gorgonctl("forget", "far", **variables)
    assert (done.returncode, done.stdout) == (0, "far is missed no more\n")
    eventually(fabric.well)


def all_rows(fabric: Fabric) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = fabric.picture().get("instances", [])
    return found
