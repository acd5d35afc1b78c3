"""A host whose broker becomes another one's."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.conftest import get, post
from tests.system.machine import Machine
from tests.waiting import eventually

BROKER, WATCH = "gorgon-broker.service", "gorgon-broker-watch.service"
HERE, ELSEWHERE = "url = unix:///run/gorgond/broker.sock", "url = redis://127.0.0.1:6379"


@pytest.fixture
def conf(fabric: Machine) -> Iterator[Path]:
    file = fabric.root / "etc/gorgond/gorgond.conf"
    before = file.read_text()
    yield file
    file.write_text(before)
    fabric.run("systemctl daemon-reload && gorgonctl restart")
    eventually(lambda: get(fabric, "/readyz") is not None)


@pytest.mark.parametrize("command", ["apply", "restart"])
def test_the_broker_that_was_this_hosts_own_is_stopped_and_what_it_holds_is_told(
    command: str, fabric: Machine, conf: Path
) -> None:
    # given a broker of this host that holds a job
    eventually(lambda: get(fabric, "/readyz") is not None)
    fabric.run("gorgonctl pause store_put")
    title = f"accepted before {command}"
    assert post(fabric, "/info/77", {"title": title}, "respond-async")
    before = set(fabric.units())
    # when the configuration names one that is elsewhere, and that is put into force
    conf.write_text(conf.read_text().replace(HERE, ELSEWHERE))
    said = fabric.run(f"systemctl daemon-reload && gorgonctl {command}")
    # then the one of this host does not run any more, all else does, and what it holds is told
    assert fabric.units("gorgon-broker*") == []
    assert set(fabric.units()) == before
    assert f"stopping {BROKER}" in said
    assert f"stopping {WATCH}" in said
    assert " of store_put" in said
    # when the configuration is as it was, then the job is handled
    conf.write_text(conf.read_text().replace(ELSEWHERE, HERE))
    fabric.run("systemctl daemon-reload && gorgonctl restart && gorgonctl resume store_put")
    eventually(lambda: title in [note["title"] for note in (get(fabric, "/info/77") or {"items": []})["items"]])
