"""The stats server as it is installed: on this host's own address, sealed off like the others, for the operator."""

from __future__ import annotations

import json
from typing import Any

from tests.system.machine import Machine
from tests.waiting import eventually

PASSWORD = "/etc/credstore/gorgond.stats.password"
_ASK = (
    "import sys, urllib.request as r; "
    'print(r.urlopen(r.Request("http://127.0.0.1:3001" + sys.argv[1], '
    'headers={"Authorization": "Bearer " + sys.argv[2]}), timeout=60).read().decode())'
)


def ask(machine: Machine, path: str, password: str = f"$(cat {PASSWORD})") -> Any:
    """The JSON of an answer to who has this password, or None when there is none."""
    done = machine.process(f"python3 -c '{_ASK}' {path} \"{password}\"")
    return json.loads(done.stdout) if done.returncode == 0 else None


def test_it_shows_the_operator_how_everything_fares(fabric: Machine) -> None:
    # given the installed fabric, then its stats server finds that all is well and names every instance
    eventually(lambda: ask(fabric, "/api/stats.json")["verdict"]["state"] == "well")
    picture = ask(fabric, "/api/stats.json")
    named = {f"gorgon-{each['role']}@{each['instance']}.service" for each in picture["instances"]}
    assert set(fabric.units()) <= named
    assert (picture["durability"], picture["ledger"]["difference"]) == ("always", 0)
    # and listens for this host alone, on the port that systemd holds
    assert "127.0.0.1:3001" in fabric.show("gorgon-stats.socket", "Listen")
    assert fabric.show("gorgon-stats@1", "PrivateNetwork") == "yes"
    # and nobody without the password looks, but gorgonctl, which root alone has it for
    assert ask(fabric, "/api/stats.json", "") is None
    assert fabric.run(f"stat --format='%a %U' {PASSWORD}") == "600 root"
    assert "watched for" in fabric.run("gorgonctl status")


def test_the_operators_password_is_a_credential(fabric: Machine) -> None:
    secret = fabric.root / PASSWORD.removeprefix("/")
    made = secret.read_text()
    secret.write_text("open-sesame\n")
    fabric.run("systemctl daemon-reload && gorgonctl restart stats")
    eventually(lambda: ask(fabric, "/api/dead/store_put", "open-sesame") is not None)
    assert ask(fabric, "/api/dead/store_put", "wrong") is None
    secret.write_text(made)
    fabric.run("systemctl daemon-reload && gorgonctl restart stats")
