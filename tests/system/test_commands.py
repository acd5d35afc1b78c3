"""What docs/ show to an operator and what wants a host: each command as it stands there."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.system.conftest import get, post
from tests.system.machine import Machine
from tests.waiting import eventually

ID = "1a20aa6bf76000002fc67657962"  # of the documentation
DATABASE = (
    'python3 -c \'import sqlite3; sqlite3.connect("/var/lib/gorgond/gorgond.db")'
    '.backup(sqlite3.connect("/root/gorgond.db"))\''
)
EVERYTHING = "tar -C / -czf /root/gorgond.tar.gz etc/gorgond var/lib/gorgond $(cd / && ls etc/credstore/gorgond.*)"
SHOP = """
from gorgond.app import App

app = App("shop")


@app.get("/open")
async def open(ctx):
    return {"open": True}
"""


def test_what_happened_is_found(fabric: Machine) -> None:
    assert "gorgon-store@1.service" in fabric.run("systemctl status 'gorgon-*'")
    # when a note is stored, then the journal has it
    assert post(fabric, "/info/5", {"id": ID, "title": "hello"})
    eventually(lambda: f"items.added {ID}" in fabric.run("journalctl GORGON_ID=1a20aa6bf76000002fc67657962"))
    # and whoever follows is told the newest first of all
    assert "gorgon-journal" in fabric.run("journalctl -t gorgon-journal -f | head -n 1")
    # and nothing is an answer, too
    assert fabric.process("journalctl GORGON_USER=5 GORGON_EVENT=items.deleted").stderr == ""


def test_what_is_kept_is_taken_along_and_put_back(fabric: Machine) -> None:
    note = post(fabric, "/info/8", {"title": "kept"})["ids"][0]
    # when the database is copied while it is in use
    fabric.run(DATABASE)
    count = (
        "import sqlite3; print(sqlite3.connect('/root/gorgond.db').execute('SELECT count(*) FROM items').fetchone()[0])"
    )
    assert int(fabric.run(f'python3 -c "{count}"')) > 0
    # when all is taken along, with the queues, and put back
    fabric.run("systemctl stop gorgon.target gorgon.slice")
    fabric.run(EVERYTHING)
    fabric.run("rm -r /var/lib/gorgond/*")
    fabric.run("tar -C / -xzf /root/gorgond.tar.gz")
    fabric.run("systemctl start gorgon.target")
    # then it is there
    assert eventually(lambda: get(fabric, f"/items/{note}"))["title"] == "kept"


@pytest.mark.usefixtures("_journal_again")
def test_events_wait_for_no_journal_that_never_comes(fabric: Machine) -> None:
    fabric.run("gorgonctl scale journal 0")
    eventually(
        lambda: fabric.process("gorgonctl groups drop store_notify/journal").returncode == 0
    )  # once it has ended
    assert "store_notify/journal" not in fabric.run("gorgonctl groups")


@pytest.fixture
def _journal_again(fabric: Machine) -> Iterator[None]:
    yield
    fabric.run("gorgonctl scale journal 1")


def test_an_application_is_installed(fabric: Machine) -> None:
    (fabric.root / "root/shop.py").write_text(SHOP)
    fabric.run("cd /root && mkdir -p /etc/gorgond/app.d && cp shop.py /etc/gorgond/app.d/")
    fabric.run("systemctl reload gorgon.target")
    assert eventually(lambda: get(fabric, "/open")) == {"open": True}
    fabric.run("rm /etc/gorgond/app.d/shop.py")
    fabric.run("systemctl reload gorgon.target")
