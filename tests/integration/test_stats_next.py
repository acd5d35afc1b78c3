"""What the next stats server knows of those that were there before it."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

from tests.conftest import RedisServer
from tests.integration.watched import fabric_in
from tests.waiting import eventually


def test_who_ended_with_the_stats_server_is_not_missed_and_who_was_killed_is(
    tmp_path: Path, redis_factory: Callable[..., RedisServer]
) -> None:
    state = tmp_path / "state"
    state.mkdir()
    with fabric_in(tmp_path, redis_factory) as fabric:
        # given three stores that a stats server has heard
        stats = fabric.start("stats", STATE_DIRECTORY=str(state))
        _, two, three = (fabric.start("store", "--instance", number) for number in "123")
        fabric.start("web")
        eventually(lambda: fabric.well() and len(fabric.picture()["instances"]) == 5)
        # when one is killed, and another one ends in good order with the stats server
        three.kill()
        for each in (stats, two):
            each.send_signal(signal.SIGTERM)
        assert [each.wait(timeout=60) for each in (stats, two)] == [0, 0]
        fabric.start("stats", STATE_DIRECTORY=str(state))
        # then the next one misses the first of them, and only that
        eventually(lambda: fabric.says("store@3", "has been silent"))
        assert not fabric.says("store@2")
