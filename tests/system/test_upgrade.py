"""An upgrade from an earlier version, which had other scripts, messages and rights, while clients ask."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.system.conftest import Packages, get, post, traffic
from tests.system.machine import Machine
from tests.waiting import eventually

ADA = {"email": "ada@example.org", "password": "a horse without a battery"}


@pytest.fixture
def machine(suite: str, packages: Packages, tmp_path: Path) -> Iterator[Machine]:
    """A machine that runs the earlier version."""
    with Machine(suite, tmp_path / "machine") as machine:
        machine.add_repository(packages.earlier)
        machine.run("apt-get install -y -qq gorgond")
        conf = machine.root / "etc/gorgond/gorgond.conf"
        # somebody logs in all the time, and on a slow machine what restarts may take longer than usual
        text = re.sub("^(attempts|address_attempts) = .*", r"\1 = 1000", conf.read_text(), flags=re.MULTILINE)
        conf.write_text(re.sub("^deadline = .*", "deadline = 60s", text, flags=re.MULTILINE))
        machine.run("gorgonctl restart auth web")
        # the broker's was edited, so it stays as it is: a socket for one user alone, a file of users of its own
        with (machine.root / "etc/gorgond/broker.conf").open("a") as file:
            file.write("hz 20\n")
        yield machine


def test_an_upgrade_from_an_earlier_version_fails_no_request_and_loses_no_job(
    machine: Machine, packages: Packages
) -> None:
    # given a user, a session and a note
    machine.run("gorgonctl scale web 2")
    note = eventually(lambda: post(machine, "/info/5", {"title": "hello"}))
    assert post(machine, "/auth/register", ADA)
    before = digest(machine)
    # when this version is installed under load
    machine.add_repository(packages.later)
    with traffic(machine, account=ADA) as load:
        said = machine.run("apt-get install -y -q -o Dpkg::Options::=--force-confold gorgond")
        eventually(lambda: queues(machine))
    # then no request failed and no note is lost, and the instances of the two versions, which are not the same inside,
    # worked together, since they were restarted one after another
    assert digest(machine) != before
    assert load.requests > 200
    assert said.count("restarting gorgon-") == len(machine.units())
    # and every job is in exactly one place, none was given up
    found = eventually(lambda: [] if busy(there := queues(machine)) else there)
    assert [queue for queue in found if queue["difference"] or queue["dead"]] == []
    # and each role, which were all one user before, is a user of its own
    for role in ("broker", "web@1", "auth@1", "journal@1"):
        pid = machine.show(f"gorgon-{role}", "MainPID")
        assert machine.run(f"stat --format=%U /proc/{pid}") == f"gorgon-{role.partition('@')[0]}"
    # and what was there before is there, the user with her session too
    assert get(machine, "/info/5")["items"][0]["id"] == note["ids"][0]
    assert post(machine, "/auth/login", ADA)["token"]


def busy(queues: list[dict[str, Any]]) -> bool:
    """Whether something is under way."""
    return any(queue["queued"] + queue["in_flight"] + queue["delayed"] for queue in queues)


def digest(machine: Machine) -> str:
    """What the installed scripts of the queues are."""
    return machine.run("cat /usr/lib/python3/dist-packages/gorgond/redpill/scripts/*.lua | sha256sum")


def queues(machine: Machine) -> list[dict[str, Any]]:
    """The figures of all queues; none while the broker is restarted, whose unit is another now."""
    done = machine.process("gorgonctl queues --json")
    found: list[dict[str, Any]] = json.loads(done.stdout) if done.returncode == 0 else []
    return found
