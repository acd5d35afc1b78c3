"""How far a host's clock is from the broker's, what the log says of it, and when nothing is to work there."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import pytest

from gorgond.errors import ClockOff
from gorgond.redpill import BrokerTime, connect
from gorgond.redpill.memory import MemoryBroker
from gorgond.service import clock as clock_module
from gorgond.service.clock import HostClock
from tests.conftest import RedisServer

S = 1_000_000_000  # ns
FAR = 86_400.0  # a limit beyond all that is tried


class Clocks:
    """This host's and the broker's; each can be set."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, limit: float) -> None:
        self.broker, self._own = BrokerTime(), 0.0
        really = time.time_ns

        self.host = HostClock("db2", self.broker, limit)
        monkeypatch.setattr("time.time_ns", lambda: really() + int(self._own * S))
        self._really = really
        self.set_broker(0)

    def set_own(self, seconds: float) -> None:
        self._own = seconds

    async def servers(self, *ahead: float) -> list[BrokerTime]:
        """The clocks of servers that are so many seconds ahead."""
        found, now = [BrokerTime() for _ in ahead], time.monotonic_ns()
        for each, seconds in zip(found, ahead, strict=True):
            each.heard(self._really() + int(seconds * S), now, now)
        return found

    def set_broker(self, seconds: float) -> None:
        now = time.monotonic_ns()
        self.broker.heard(self._really() + int(seconds * S), now, now)


@pytest.fixture
def clocks(monkeypatch: pytest.MonkeyPatch) -> Clocks:
    return Clocks(monkeypatch, FAR)


@pytest.fixture
def limited(monkeypatch: pytest.MonkeyPatch) -> Clocks:
    return Clocks(monkeypatch, 2.0)


@pytest.mark.parametrize(
    ("others", "starts"),
    [
        pytest.param([0.0, 1.9], True, id="both replicas agree with this host"),
        pytest.param([15.0, 0.0], False, id="one of them agrees, as that of this host does"),
        pytest.param([0.0], False, id="the only one agrees"),
        pytest.param([15.0, 15.0], False, id="none agrees"),
        pytest.param([], False, id="there is none"),
    ],
)
async def test_who_begins_is_not_refused_where_most_servers_of_the_broker_agree_with_the_host(
    monkeypatch: pytest.MonkeyPatch, expected_logs: Callable[[str], None], others: list[float], starts: bool
) -> None:
    expected_logs("^the broker's clock is 15.0 s ahead of that of this host, db2, and of most of the broker's servers:")
    # given a master that is 15 s ahead of this host, and replicas
    clocks, link = Clocks(monkeypatch, 2.0), MemoryBroker().link("test")
    clocks.set_broker(15)
    monkeypatch.setattr(link, "server_times", lambda: clocks.servers(15.0, *others))
    await clocks.host.hear_servers(link)
    if not starts:
        with pytest.raises(ClockOff):
            clocks.host.look()
        return
    clocks.host.look()
    # then it goes on, and ends when its own clock is set
    clocks.host.look()
    clocks.set_own(3)
    with pytest.raises(ClockOff):
        clocks.host.look()


def test_the_log_says_once_that_it_is_off_and_once_that_it_is_right_again(
    clocks: Clocks, caplog: pytest.LogCaptureFixture, expected_logs: Callable[[str], None]
) -> None:
    expected_logs("the clock of this host")
    clocks.set_own(0.2)
    clocks.host.look()
    assert caplog.messages == []
    for seconds in (11.2, 11.2, 0.3, -0.1, -3600):
        clocks.set_own(seconds)
        clocks.host.look()
        assert clocks.host.ahead == pytest.approx(seconds, abs=0.05)
    assert caplog.messages == [
        "the clock of this host, db2, is 11.2 s ahead of the broker's: mend it, with timedatectl or chrony",
        "the clock of this host, db2, agrees with the broker's again",
        "the clock of this host, db2, is 3,600.0 s behind the broker's: mend it, with timedatectl or chrony",
    ]


@pytest.mark.parametrize("seconds", [2.5, -2.5, 15, 3600, -3600])
def test_who_begins_on_a_host_that_is_off_is_refused(limited: Clocks, seconds: float) -> None:
    limited.set_own(seconds)
    with pytest.raises(ClockOff, match=r"^the clock of this host, db2, .* more than \[broker\] clock_limit"):
        limited.host.look()


@pytest.mark.parametrize("seconds", [2.5, -2.5, 15, 3600, -3600])
def test_who_runs_ends_when_its_own_clock_was_set(
    limited: Clocks, seconds: float, expected_logs: Callable[[str], None]
) -> None:
    expected_logs("the clock of this host")
    limited.set_own(-1.5)
    limited.host.look()
    limited.set_own(seconds)
    with pytest.raises(ClockOff, match=r"\(2 s\): mend it, with timedatectl or chrony"):
        limited.host.look()


@pytest.mark.parametrize("seconds", [2.5, -2.5, 15, 3600, -3600])
def test_who_runs_goes_on_when_it_was_the_brokers_clock(
    limited: Clocks, seconds: float, expected_logs: Callable[[str], None]
) -> None:
    expected_logs("the clock of this host")
    limited.set_own(0.2)
    limited.host.look()
    limited.set_broker(seconds)
    limited.host.look()
    assert limited.host.ahead == pytest.approx(0.2 - seconds, abs=0.05)
    # also while its own is put right within the limit of what it was
    limited.set_own(0)
    limited.host.look()


def test_who_runs_goes_on_when_its_clock_has_gone_wrong_slowly(
    limited: Clocks, expected_logs: Callable[[str], None]
) -> None:
    """Nobody can tell whose fault that is; who begins is refused, and people have long been told."""
    expected_logs("the clock of this host")
    for tenth in range(40):
        limited.set_broker(tenth / 10)
        limited.host.look()


@pytest.mark.parametrize(
    ("off", "taken"),
    [(0, 0), (9, 0), (-9, 0), (11, 11), (-11, -11)],
    ids=lambda ms: f"{ms} ms",
)
def test_a_clock_that_agrees_as_far_as_the_asking_can_tell_is_taken_as_it_is(
    monkeypatch: pytest.MonkeyPatch, off: int, taken: int
) -> None:
    """So that on one host nothing is dated before what it came after. The asking took 20 ms, in which the broker may
    have spoken at any time."""
    ms = 1_000_000
    monkeypatch.setattr("time.time_ns", lambda: 5_000 * S)
    monkeypatch.setattr("time.monotonic_ns", lambda: 100 * S)
    broker = BrokerTime()
    broker.heard(5_000 * S + off * ms, 100 * S - 10 * ms, 100 * S + 10 * ms)
    assert broker.base == 4_900 * S + taken * ms


async def test_while_the_broker_is_away_nothing_changes() -> None:
    broker = MemoryBroker()
    clock, link = HostClock("db2", broker.time, FAR), broker.link("test")
    await clock.compare(link)
    assert clock.ahead == pytest.approx(0, abs=0.05)
    broker.kill()
    await clock.compare(link)
    assert clock.ahead == pytest.approx(0, abs=0.05)


def test_an_answer_that_took_long_says_nothing() -> None:
    broker = BrokerTime()
    now = time.monotonic_ns()
    broker.heard(0, now - S, now)
    clock = HostClock("db2", broker, 0.001)
    clock.look()
    assert clock.ahead is None


async def test_a_broker_that_hangs_is_not_waited_for(
    redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given a broker that has told its time, and hangs
    monkeypatch.setattr(clock_module, "PATIENCE", 60.0)
    broker = connect(redis_server.url, durable=False)
    link, clock = broker.link("test"), HostClock("db2", broker.time, FAR)
    await clock.compare(link)
    assert clock.ahead == pytest.approx(0, abs=0.5)
    redis_server.pause()
    # then whoever asks goes on, and asks again when it is back
    monkeypatch.setattr(clock_module, "PATIENCE", 0.1)
    monkeypatch.setattr("gorgond.redpill.rediswire.ROUND_TIMEOUT", 600.0)
    await asyncio.wait_for(clock.compare(link), 60)  # less than a round trip may take
    redis_server.resume()
    monkeypatch.setattr(clock_module, "PATIENCE", 60.0)
    connects = link.connects
    await clock.compare(link)
    assert link.connects == connects + 1
    await link.close()
