"""One more of each at once, by the lists of docs/development.md: a role in a copy of gorgond, and a package with a
provider, a store and a sink. A note goes the whole way from the one to the other, and the role answers."""

from __future__ import annotations

import signal
import tempfile
from contextlib import closing
from pathlib import Path

import pytest

from gorgond.redpill import loads
from gorgond.stores import open_store
from gorgond.stores.contract import Query
from tests.integration.house import House, house
from tests.integration.test_house import answer, echoing
from tests.integration.test_plugins import POINTS, PROVIDER, SINK
from tests.integration.test_store_scheme import DRIVER
from tests.plugin import make_plugin
from tests.waiting import eventually
from tools.speed.ports import free_port

__all__ = ["echoing", "house"]

CONFIGURATION = """\
[provider.greet]
kind = greetings
words = good morning and welcome here

[store]
url = drawer://{data}/notes.db

[journal]
kind = pager
to = {data}/pager

[echo]
port = {port}
"""


@pytest.mark.usefixtures("redis_binary")
async def test_a_role_a_provider_a_store_and_a_sink_more_work_together(echoing: House, tmp_path: Path) -> None:
    # given a role more, and a package with one more of each kind that the configuration names
    modules = {"throwaway_provider": PROVIDER, "throwaway_sink": SINK, "throwaway_drawer": DRIVER}
    points = {**POINTS, "gorgond.stores": {"drawer": "throwaway_drawer:Drawer"}}
    package = {"PYTHONPATH": str(make_plugin(tmp_path / "package", modules, points))}
    output = tmp_path / "output"
    with tempfile.TemporaryDirectory() as data:  # a short path, for sockets
        conf, pager = Path(data) / "conf", Path(data) / "pager"
        conf.write_text(CONFIGURATION.format(data=data, port=free_port()))
        few = ("--web", "1", "--apps", "0", "--stores", "1", "--port", str(free_port()), "--stats-port", "0")
        up = ("up", "--data", data, "--config", str(conf), *few)
        # when gorgond runs
        with echoing.started(*up, output=output, **package) as process:
            # then what the provider brings is stored, and then handed to the sink
            eventually(lambda: pager.exists() and pager.read_text().count("\n") == 5)
            ids = [f"greet:{number}" for number in range(5)]
            assert sorted(pager.read_text().split()) == ids
            # and the role answers
            assert await answer(f"unix://{data}/calls.sock") == {"say": "hi"}
            process.send_signal(signal.SIGTERM)
            assert process.wait(timeout=60) == 0
        with closing(open_store(f"sqlite:///{data}/notes.db")) as store:
            [found] = store.find([Query("items", {"userid": 7}, limit=10)])
        assert isinstance(found, bytes)
        assert {item["id"]: item["title"] for item in loads(found)} == dict(
            zip(ids, ["good", "morning", "and", "welcome", "here"], strict=True)
        )
