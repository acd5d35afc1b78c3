"""An outage that several meet: told once, over when it is over for all who still try."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from gorgond.redpill.errors import BrokerAway
from gorgond.redpill.memory import MemoryBroker
from gorgond.redpill.outage import Outage


@pytest.fixture
def outage(expected_logs: Callable[[str], None]) -> Outage:
    expected_logs("database is away, waiting for it: full|database is back after")
    return Outage("database")


def test_it_is_over_when_it_is_over_for_all(outage: Outage, caplog: pytest.LogCaptureFixture) -> None:
    # given a writer and a reader that meet it
    outage.begin("full", "writer")
    outage.begin("full", "reader")
    # when one of them is answered, then it goes on
    outage.end("reader")
    outage.end("reader")
    assert outage.length > 0
    # when both are, then it is over
    outage.end("writer")
    assert (outage.length, outage.reason) == (0.0, "")
    assert len(caplog.records) == 2


def test_who_tries_no_more_does_not_count(outage: Outage, monkeypatch: pytest.MonkeyPatch) -> None:
    outage.begin("full", "writer")
    monkeypatch.setattr(Outage, "GIVEN_UP", 0.0)
    outage.end("reader")
    assert outage.length == 0


def test_what_comes_and_goes_is_told_once_a_minute_with_its_number(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, expected_logs: Callable[[str], None]
) -> None:
    expected_logs("broker ")
    now = 1000.0
    monkeypatch.setattr("time.monotonic", lambda: now)

    def told() -> list[str]:
        said = [record.getMessage() for record in caplog.records]
        caplog.clear()
        return said

    outage = Outage("broker")
    # when its connections are cut all the time
    for _ in range(400):
        now += 0.05
        outage.begin("cut")
        assert outage.length == 0
        now += 0.01
        assert outage.length > 0
        outage.end()
    # then the first is told
    assert told() == ["broker is away, waiting for it: cut", "broker is back after 0.0 s"]
    # and a minute later how many there were, although there are no more
    outage.end()
    now += 60
    outage.end()
    assert told() == ["broker was away 399 times more, each time for less than 1 s"]
    outage.end()
    # one that lasts is told when it does, whatever was before
    outage.begin("gone")
    assert told() == []
    now += 1
    outage.begin("gone")
    now += 5
    outage.begin("gone")
    outage.end()
    assert told() == ["broker is away, waiting for it: gone", "broker is back after 6.0 s"]


async def test_news_of_before_begins_and_ends_none(expected_logs: Callable[[str], None]) -> None:
    """On a busy machine a thread hears late what it was told."""
    expected_logs("broker memory:// is away, waiting for it|broker memory:// is back after")
    broker = MemoryBroker()
    slow, quick = broker.link("slow"), broker.link("quick")
    outage = broker.outage

    async def refused() -> None:
        try:
            await slow.ping()
        except BrokerAway as away:
            quick.note_loss(away)
            broker.start()
            await quick.persist(quick.ping)
            raise

    # given an outage that is over when one hears of it
    broker.kill()
    with pytest.raises(BrokerAway) as met:
        await refused()
    began = outage.began
    # then it is no other one
    slow.note_loss(met.value)
    assert (outage.length, outage.began) == (0.0, began)

    async def answered() -> None:
        await slow.ping()
        if outage.began == began:
            outage.begin("gone")

    # and an answer of before it was gone does not say that it is there
    await slow.persist(answered)
    assert outage.length > 0
    await slow.persist(slow.ping)
    assert outage.length == 0
