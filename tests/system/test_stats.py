"""The stats server as it is installed: for this host, sealed off like the others, with a password if there is one."""

from __future__ import annotations

from tests.system.conftest import get
from tests.system.machine import Machine
from tests.waiting import eventually


def test_it_shows_this_host_how_everything_fares(fabric: Machine) -> None:
    # given the installed fabric, then its stats server finds that all is well and names every instance
    eventually(lambda: get(fabric, "/api/stats.json", 3001)["verdict"]["state"] == "well")
    picture = get(fabric, "/api/stats.json", 3001)
    named = {f"gorgon-{each['role']}@{each['instance']}.service" for each in picture["instances"]}
    assert set(fabric.units()) <= named
    assert (picture["durability"], picture["ledger"]["difference"]) == ("always", 0)
    # and listens for this host alone, on the port that systemd holds
    assert "127.0.0.1:3001" in fabric.show("gorgon-stats.socket", "Listen")
    assert fabric.show("gorgon-stats@1", "PrivateNetwork") == "yes"


def test_the_operators_password_is_a_credential(fabric: Machine) -> None:
    secret = fabric.root / "etc/credstore/gorgond.stats.password"
    secret.write_text("open-sesame\n")
    fabric.run("systemctl daemon-reload && gorgonctl restart stats")
    asking = (
        "import urllib.request as r; print(r.urlopen(r.Request("
        '"http://127.0.0.1:3001/api/dead/store_put", headers={"Authorization": "Bearer %s"})).status)'
    )
    right, wrong = (f"python3 -c '{asking % password}'" for password in ("open-sesame", "wrong"))
    eventually(lambda: fabric.process(right).returncode == 0)
    assert fabric.process(wrong).returncode != 0
    secret.unlink()
    fabric.run("systemctl daemon-reload && gorgonctl restart stats")
