"""How far a host's clock is from the broker's, and what the log says of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import pytest

from gorgond.redpill import connect
from gorgond.redpill.memory import MemoryBroker
from gorgond.redpill.message import now_ms
from gorgond.service import clock as clock_module
from gorgond.service.clock import HostClock
from tests.conftest import RedisServer


async def compared(clock: HostClock, seconds: float) -> float | None:
    """What it finds over a new connection to a broker whose clock is behind by so much."""
    link = MemoryBroker(clock=lambda: now_ms() - int(seconds * 1000)).link("test")
    clock._connects = -1
    await clock.compare(link)
    return clock.ahead


async def test_the_log_says_once_that_it_is_off_and_once_that_it_is_right_again(
    caplog: pytest.LogCaptureFixture, expected_logs: Callable[[str], None]
) -> None:
    expected_logs("the clock of this host")
    clock = HostClock("db2")
    assert clock.ahead is None
    # what is found is that, to the ms or so
    assert await compared(clock, 0.2) == pytest.approx(0.2, abs=0.05)
    assert caplog.messages == []
    for seconds in (11.2, 11.2, 0.8, -0.2, -3600):
        assert await compared(clock, seconds) == pytest.approx(seconds, abs=0.05)
    assert caplog.messages == [
        "the clock of this host, db2, is 11.2 s ahead of the broker's: mend it, with timedatectl or chrony",
        "the clock of this host, db2, agrees with the broker's again",
        "the clock of this host, db2, is 3,600.0 s behind the broker's: mend it, with timedatectl or chrony",
    ]


async def test_it_is_compared_when_connected_and_every_so_often(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = 0

    def broker_clock() -> int:
        nonlocal asked
        asked += 1
        return now_ms()

    broker, clock = MemoryBroker(clock=broker_clock), HostClock("db2")
    link = broker.link("test")
    for _ in range(3):
        await clock.compare(link)
    assert asked == 1
    # over a new connection, it may be to another broker
    await link.close()
    await link.ping()
    await clock.compare(link)
    assert asked == 2
    monkeypatch.setattr(clock_module, "EVERY", 0.0)
    await clock.compare(link)
    await clock.compare(link)
    assert asked == 4
    # and while it is away nothing changes
    broker.kill()
    await clock.compare(link)
    assert clock.ahead == pytest.approx(0, abs=0.05)


async def test_an_answer_that_took_long_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock_module, "ROUND_MAX", 20)

    def slow() -> int:
        time.sleep(0.05)
        return 0

    clock = HostClock("db2")
    await clock.compare(MemoryBroker(clock=slow).link("test"))
    assert clock.ahead is None


async def test_messages_that_expire_by_it_are_told_once_a_minute(
    caplog: pytest.LogCaptureFixture, expected_logs: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    expected_logs("clock")
    clock = HostClock("db2")
    # those of a time when it was right, or behind, are not its doing
    clock.expired(5)
    await compared(clock, -11)
    clock.expired(6)
    await compared(clock, 11)
    caplog.clear()
    clock.expired(6)
    for count in (18, 19, 30):
        clock.expired(count)
    monkeypatch.setattr(clock, "_tell_at", 0.0)  # a minute later
    clock.expired(31)
    assert caplog.messages == [
        f"{words} deadline by this host's clock, which is 11.0 s ahead of the broker's"
        for words in ("12 messages were past their", "13 messages were past their")
    ]


async def test_a_broker_that_hangs_is_not_waited_for(
    redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given a broker that has told its time, and hangs
    monkeypatch.setattr(clock_module, "EVERY", 0.0)
    monkeypatch.setattr(clock_module, "PATIENCE", 60.0)
    link, clock = connect(redis_server.url, durable=False).link("test"), HostClock("db2")
    await clock.compare(link)
    assert clock.ahead == pytest.approx(0, abs=0.5)
    redis_server.pause()
    # then whoever asks goes on, and asks again when it is back
    monkeypatch.setattr(clock_module, "PATIENCE", 0.1)
    await asyncio.wait_for(clock.compare(link), 4)  # less than a round trip may take
    redis_server.resume()
    monkeypatch.setattr(clock_module, "PATIENCE", 60.0)
    connects = link.connects
    await clock.compare(link)
    assert link.connects == connects + 1
    await link.close()
