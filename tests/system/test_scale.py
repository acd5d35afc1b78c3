"""The configuration, systemd and what runs agree on how many instances there are."""

from __future__ import annotations

import re

from tests.system.conftest import traffic
from tests.system.machine import Machine
from tests.waiting import eventually


def stores(*numbers: int) -> list[str]:
    return [f"gorgon-store@{number}.service" for number in numbers]


def wanted(machine: Machine) -> list[str]:
    """The store servers that systemd was told to run."""
    return sorted(unit for unit in machine.show("gorgon.target", "Wants").split() if unit.startswith("gorgon-store@"))


def configured(machine: Machine) -> str:
    found = re.search("^store = (.*)$", (machine.root / "etc/gorgond/gorgond.conf").read_text(), re.MULTILINE)
    assert found is not None
    return found[1]


def test_scaled_up_and_down_under_load(fabric: Machine) -> None:
    with traffic(fabric):
        # when four are wanted, then four are configured, known and there
        fabric.run("gorgonctl scale store 4")
        assert configured(fabric) == "4"
        assert wanted(fabric) == fabric.units("gorgon-store@*") == stores(1, 2, 3, 4)
        # when one more is started by hand
        fabric.run("systemctl start gorgon-store@7")
        assert fabric.units("gorgon-store@*") == stores(1, 2, 3, 4, 7)
        # when two are wanted, then all beyond are gone
        fabric.run("gorgonctl scale store 2")
        assert configured(fabric) == "2"
        assert wanted(fabric) == fabric.units("gorgon-store@*") == stores(1, 2)
        # and nothing lies on the desks of those that were stopped
        for number in (3, 4, 7):
            assert fabric.redis("KEYS", f"'*:desk:store@{number}.*'") == ""


def test_a_number_per_core_and_one_that_is_none(fabric: Machine) -> None:
    # when the number is per core, then there are as many as cores
    fabric.run("gorgonctl scale store '1 per core'")
    cores = int(fabric.run("cat /sys/devices/system/cpu/cpu*/topology/core_cpus_list | sort -u | wc -l"))
    assert wanted(fabric) == stores(*range(1, cores + 1))
    # when it is no number, then it is refused and nothing has changed
    refused = fabric.process("gorgonctl scale store many")
    assert (refused.returncode, configured(fabric)) == (78, "1 per core")
    assert "cannot be 'many'" in refused.stderr
    fabric.run("gorgonctl scale store 2")


def test_what_the_generator_understands(fabric: Machine) -> None:
    conf = fabric.root / "etc/gorgond/gorgond.conf"
    before = conf.read_text()
    # given a host with two cores of two threads each
    fabric.run(
        "mkdir -p /root/host/bin /root/host/cpu/cpu{0..3}/topology; "
        "for n in 0 1; do echo $n,$((n + 2)) | tee /root/host/cpu/cpu{$n,$((n + 2))}/topology/core_cpus_list; done; "
        "printf '#!/bin/sh\\necho 4\\n' >/root/host/bin/nproc; chmod +x /root/host/bin/nproc"
    )
    generate = (
        "rm -rf /root/made; mount --bind /root/host/cpu /sys/devices/system/cpu; PATH=/root/host/bin:$PATH; "
        "/usr/lib/systemd/system-generators/gorgond-generator /root/made; ls /root/made/gorgon.target.wants"
    )
    for stores, number in (
        ("3", 3), ("08", 8), ("1 per core", 2), ("2 per core", 4), ("0", 0), ("0 per core", 0),
        # what the services refuse counts as the default
        ("many", 2), ("many per core", 2), ("", 2), ("-1", 2), ("1000", 2), ("3 # three", 2),
    ):  # fmt: skip
        # when it is told what to run there
        conf.write_text(re.sub("^store = .*$", f"store = {stores}", before, flags=re.MULTILINE))
        units = fabric.run(f"unshare --mount bash -c '{generate}'").split()
        # then it wants as many, and what is not named in its default number
        assert sum(unit.startswith("gorgon-store@") for unit in units) == number, stores
        assert "gorgon-web@2.service" in units
    conf.write_text(before)


def test_what_was_started_by_hand_is_stopped_by_apply(fabric: Machine) -> None:
    fabric.run("systemctl start gorgon-store-read@1")
    assert "stopping gorgon-store-read@1.service" in fabric.run("gorgonctl apply")
    assert fabric.units("gorgon-store-read@*") == []


def test_the_port_of_the_configuration_is_the_one_that_is_served(fabric: Machine) -> None:
    conf = fabric.root / "etc/gorgond/gorgond.conf"
    before = conf.read_text()
    # when another port is configured
    conf.write_text(before.replace("address =\nport = 3000", "address = 127.0.0.1\nport = 3080"))
    fabric.run("systemctl daemon-reload && systemctl restart gorgon-web.socket")
    fabric.run("systemctl start gorgon.target")
    # then it is the one that answers
    asking = "python3 -c 'import urllib.request as r; r.urlopen(\"http://127.0.0.1:3080/info/1\")'"
    eventually(lambda: fabric.process(asking).returncode == 0)
    conf.write_text(before)
    fabric.run("systemctl daemon-reload && systemctl restart gorgon-web.socket && systemctl start gorgon.target")
