"""From one host to three, with the commands of docs/hosts.md: what was accepted is there whichever of them dies."""

from __future__ import annotations

import json
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from http.client import HTTPConnection, HTTPException
from pathlib import Path

import pytest

from gorgond.chaos.errors import Refused
from gorgond.chaos.hosts.network import OURS, SWITCH, Network, address_of, ip
from gorgond.chaos.mongod import mongod
from gorgond.config import rewritten
from tests.conftest import left_out
from tests.system.conftest import Packages
from tests.system.machine import Machine
from tests.waiting import eventually

ADDRESSES = [address_of(each) for each in (1, 2, 3)]
LINE = f"gorgonctl join {' '.join(ADDRESSES)}"
INSTANCES = {"web": 1, "store": 1, "auth": 0, "app": 0, "notify": 0, "journal": 0, "stats": 0}
UID = 5


def plug(number: int) -> Callable[[Machine], None]:
    """A cable to the others for the machine of this number."""

    def plugged(machine: Machine) -> None:
        cable, inside = f"h{number}", machine.leader
        ip(f"link add {cable} type veth peer name eth0 netns {inside}")
        ip(f"link set {cable} master {SWITCH}")
        ip(f"link set {cable} up")
        ip(f"addr add {address_of(number)}/24 dev eth0", of=inside)
        ip("link set eth0 up", of=inside)

    return plugged


class Host:
    """A machine with a cable to the others."""

    def __init__(self, machine: Machine, number: int) -> None:
        self.machine, self.number, self.address = machine, number, address_of(number)

    def join(self, invitation: str = "") -> str:
        """What the line says that is the same on each host; with an invitation as a new one."""
        if not invitation:
            return self.machine.run(LINE)
        file = self.machine.root / "root/invitation"
        file.write_text(invitation)
        return self.machine.run(f"{LINE.replace('join', 'join --invited')} </root/invitation")

    def role(self) -> str:
        return "master" if "role:master" in self.machine.redis("INFO", "replication") else "replica"


class Posts:
    """Notes that are queued again and again, each at one host after another until one has accepted it."""

    def __init__(self) -> None:
        self.addresses = ADDRESSES[:1]
        self.accepted: list[str] = []
        self.refused = 0
        self.longest = 0.0
        self._ending = threading.Event()

    def run(self) -> None:
        number = 0
        while not self._ending.is_set():
            begun = time.monotonic()
            while not self._post(self.addresses[number % len(self.addresses)], f"note {number}"):
                number += 1
                if self._ending.wait(0.05):
                    return
            self.longest = max(self.longest, time.monotonic() - begun)
            number += 1
            self._ending.wait(0.02)

    def _post(self, address: str, title: str) -> bool:
        connection = HTTPConnection(address, 3000, timeout=15)
        try:
            headers = {"Content-Type": "application/json", "Prefer": "respond-async"}
            connection.request("POST", f"/info/{UID}", json.dumps({"title": title}), headers)
            answer = connection.getresponse()
            body = answer.read()
        except (OSError, HTTPException):  # a host that is off, or has not joined yet
            self.refused += 1
            return False
        finally:
            connection.close()
        if answer.status == 202:
            self.accepted += json.loads(body)["ids"]
            return True
        self.refused += 1
        assert answer.status in (503, 504), (answer.status, body)
        return False

    def end(self) -> None:
        self._ending.set()


@contextmanager
def posting() -> Iterator[Posts]:
    """Somebody posts meanwhile."""
    posts = Posts()
    with ThreadPoolExecutor(1) as thread:  # in the network of this one
        running = thread.submit(posts.run)
        try:
            yield posts
        finally:
            posts.end()
        running.result()


@pytest.fixture
def hosts(suite: str, packages: Packages, tmp_path: Path) -> Iterator[list[Host]]:
    """Three machines with the package, one of which is in use, and a database that all reach."""
    with ExitStack() as closing:
        try:
            closing.enter_context(Network())
            binary = mongod()
        except Refused as refused:
            left_out(str(refused))
        database = tmp_path / "mongod"
        database.mkdir()
        words = [
            binary,
            "--dbpath",
            database,
            "--bind_ip",
            OURS,
            "--nounixsocket",
            "--quiet",
            "--logpath",
            f"{database}.log",
        ]
        serving = closing.enter_context(subprocess.Popen(list(map(str, words))))
        closing.callback(serving.kill)
        made = [
            Host(closing.enter_context(Machine(suite, tmp_path / f"h{each}", plug=plug(each))), each)
            for each in (1, 2, 3)
        ]
        for host in made:
            host.machine.add_repository(packages.now)
        with ThreadPoolExecutor(len(made)) as threads:
            list(threads.map(_install, [host.machine for host in made]))
        yield made


def _install(machine: Machine) -> None:
    policy = machine.root / "usr/sbin/policy-rc.d"
    policy.write_text("#!/bin/sh\nexit 101\n")  # nothing starts yet: fewer processes do
    policy.chmod(0o755)
    machine.run("apt-get install -y -qq gorgond")
    policy.unlink()
    conf = machine.root / "etc/gorgond/gorgond.conf"
    text = rewritten(conf.read_text(), "store", "url", f"mongodb://{OURS}/notes")
    for role, number in INSTANCES.items():
        text = rewritten(text, "instances", role, str(number))
    conf.write_text(text)
    machine.run("systemctl daemon-reload && systemctl start gorgon.target")


def notes(at: Host) -> set[str]:
    """The notes that there are."""
    found: set[str] = set()
    while True:
        connection = HTTPConnection(at.address, 3000, timeout=60)
        connection.request("GET", f"/info/{UID}?lim=1000&off={len(found)}")
        page = json.loads(connection.getresponse().read())["items"]
        connection.close()
        found |= {each["id"] for each in page}
        if not page:
            return found


@pytest.mark.dear(1)
def test_three_hosts_share_a_broker_and_one_of_them_may_die(hosts: list[Host]) -> None:
    first, second, third = hosts
    with posting() as posts:
        # given the first, in use, which says what is left to do, as does any that is not invited
        eventually(lambda: len(posts.accepted) > 10)
        said = first.join()
        assert (
            f"on {second.address}: ssh {first.address} gorgonctl invite | {LINE.replace('join', 'join --invited')}"
            in said
        )
        assert f"then on {first.address} once more: {LINE}" in said
        assert "needs the secrets of the others" in second.machine.process(LINE).stderr
        # when the others join, and the first once more
        invitation = first.machine.run("gorgonctl invite")
        for host in (second, third):
            assert f"has what the master has, {first.address}" in host.join(invitation)
        said = first.join()
        # then there are three copies, and the same line again changes nothing
        eventually(lambda: "three copies: one host may die" in first.machine.run("gorgonctl broker status"))
        assert "is written" not in third.join()
        assert [host.role() for host in hosts] == ["master", "replica", "replica"]
        # and the mastership is given away, and no request fails
        posts.addresses, posts.refused = ADDRESSES, 0
        said = third.machine.run("gorgonctl broker failover")
        assert f"it was {first.address}:6379" in said
        assert posts.refused == 0
        master = next(host for host in hosts if host.role() == "master")
        assert master is not first
        # when the host of the master dies
        before = len(posts.accepted)
        master.machine.kill()
        eventually(lambda: len(posts.accepted) > before + 20)
        # and comes back
        master.machine.boot()
        # then it is a replica of another one
        eventually(lambda: master.role() == "replica")
        eventually(lambda: "three copies" in first.machine.run("gorgonctl broker status"))
        # when the host leaves that has the master now
        leaver = next(host for host in hosts if host.role() == "master")
        said = leaver.machine.run("gorgonctl leave")
        assert "the old copy in /var/lib/gorgond/broker must be deleted" in said
        assert leaver.machine.units("gorgon-broker*") == leaver.machine.units("gorgon-sentinel*") == []
        left = next(host for host in hosts if host is not leaver)
        eventually(lambda: "two copies" in left.machine.run("gorgonctl broker status"))
        before = len(posts.accepted)
        eventually(lambda: len(posts.accepted) > before + 20)
    # then all that was accepted is there
    eventually(lambda: set(posts.accepted) <= notes(left))
