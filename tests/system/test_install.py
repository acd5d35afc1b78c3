"""From a bare Debian to an answer, and all the way back."""

from __future__ import annotations

import time
from pathlib import Path

from tests.neighbours import Neighbours
from tests.system.conftest import Packages, get, post, traffic
from tests.system.machine import Machine
from tests.waiting import eventually


def test_installed_by_name_it_answers_and_comes_back_after_a_reboot(bare: Machine) -> None:
    # given a bare machine, when the package is installed by its name
    with Neighbours() as neighbours:
        started = time.monotonic()
        bare.run("apt-get install -y -qq gorgond")
        bare.run("systemctl start gorgon-store@1 gorgon-store@2 gorgon-store@3 gorgon-store@4")
        # then a note that is posted is found again, half a minute later at most
        note = eventually(lambda: post(bare, "/info/5", {"title": "hello"}))
        assert get(bare, "/info/5")["items"][0]["id"] == note["ids"][0]
        assert time.monotonic() - started <= 30 * neighbours.slowdown
    assert set(bare.units("gorgon-store@*")) >= {f"gorgon-store@{number}.service" for number in (1, 2, 3, 4)}
    # and nothing was said that would worry anybody
    assert bare.run("journalctl --no-pager --unit='gorgon*' --priority=warning --quiet _TRANSPORT=stdout") == ""
    assert bare.run("systemctl --failed --no-legend --plain") == ""
    # and nothing listens but the web servers, and for this host alone the stats and the notification servers
    assert listening(bare) == {("0" * 32, 3000), ("0100007F", 3001), ("0100007F", 3002)}
    # when four are wanted for good and the machine is restarted
    bare.run("gorgonctl scale store 4")
    before = bare.units()
    bare.reboot()
    # then the same instances are up by themselves, and the note is there
    assert eventually(lambda: get(bare, "/info/5"))["items"][0]["id"] == note["ids"][0]
    eventually(lambda: bare.units() == before)


def test_upgrade_remove_install_again_purge(machine: Machine, packages: Packages) -> None:
    # given a running fabric with a note and an edited configuration
    machine.run("apt-get install -y -qq gorgond")
    machine.run("gorgonctl scale web 2")
    conf = machine.root / "etc/gorgond/gorgond.conf"
    conf.write_text(conf.read_text().replace("deadline = 10s", "deadline = 9s"))
    note = eventually(lambda: post(machine, "/info/5", {"title": "hello"}))
    broker = machine.show("gorgon-broker", "MainPID")
    # when a higher version is installed under load
    machine.add_repository(packages.later)
    with traffic(machine) as load:
        said = machine.run("apt-get install -y -q -o Dpkg::Options::=--force-confold gorgond")
    # then no request failed, the instances are of the new version, and the broker went on
    assert load.requests > 200
    assert "gorgond 0.9.0" in machine.run("gorgond --version")
    assert said.count("restarting gorgon-") == len(machine.units())
    assert machine.show("gorgon-broker", "MainPID") == broker
    # and the edited configuration is still there, the new version's beside it
    assert "deadline = 9s" in conf.read_text()
    assert "As of 0.9.0" in conf.with_name("gorgond.conf.dpkg-dist").read_text()
    # when a file of the broker's is another at the next upgrade, then the broker is restarted too
    with (machine.root / "etc/gorgond/broker.conf").open("a") as file:
        file.write("hz 20\n")
    machine.run("apt-get install -y -qq --reinstall gorgond")
    assert machine.show("gorgon-broker", "MainPID") not in ("0", broker)
    # when it is removed
    machine.run("apt-get remove -y -qq gorgond")
    # then nothing of it runs, and data and configuration are left
    assert machine.processes() == []
    assert "deadline = 9s" in conf.read_text()
    assert (machine.root / "var/lib/gorgond/gorgond.db").exists()
    # when it is installed again
    machine.run("apt-get install -y -qq gorgond")
    # then the note is there
    assert eventually(lambda: get(machine, "/info/5"))["items"][0]["id"] == note["ids"][0]
    # when it is purged, while an instance cannot run
    conf.write_text(conf.read_text().replace("[web]", "[web]\nno = such setting"))
    machine.process("systemctl restart gorgon-web@1")
    eventually(lambda: machine.show("gorgon-web@1", "ActiveState") == "failed")
    machine.run("apt-get purge -y -qq gorgond")
    # then nothing is left but the users
    assert machine.processes() == []
    assert left_of(machine) == []
    assert machine.run("systemctl list-units --all --no-legend --plain 'gorgon*'") == ""
    assert machine.run("getent passwd gorgond gorgon-web")


def test_a_port_that_is_taken_is_told_by_apt(machine: Machine) -> None:
    # given a machine on which another program has the port
    machine.run("systemd-run --unit=other python3 -m http.server 3000")
    eventually(lambda: ("00000000", 3000) in listening(machine))
    # when the package is installed, then that succeeds and says so
    said = machine.run("apt-get install -y -q gorgond 2>&1")
    assert "gorgond: gorgon-web.socket has no port" in said
    # when the port is free and it is done what was said, then it answers
    machine.run("systemctl stop other && systemctl daemon-reload && systemctl start gorgon.target")
    assert eventually(lambda: get(machine, "/info/5"))


def listening(machine: Machine) -> set[tuple[str, int]]:
    """The addresses and ports on which something listens for TCP, the addresses as the kernel writes them."""
    rows = [line.split() for line in machine.run("tail -q -n +2 /proc/net/tcp /proc/net/tcp6").splitlines()]
    places = (row[1].split(":") for row in rows if row[3] == "0A")
    return {(address, int(port, 16)) for address, port in places}


def left_of(machine: Machine) -> list[str]:
    """Files with gorgon in their path, but for the repository, apt's own and the journal."""
    found = machine.run("find / /run -xdev -path '*gorgon*' -print").splitlines()
    ours = ("/srv/", "/var/lib/apt/", "/etc/apt/", "/var/cache/apt/", "/var/log/", "/proc/", "/sys/", "/dev/")
    return [path for path in found if not path.startswith(ours) and not Path(path).name.startswith("gorgond.gpg")]
