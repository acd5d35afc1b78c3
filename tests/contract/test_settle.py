"""What gorgonctl does with all dead letters of a queue, however many they are: in memory and on Redis."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable
from typing import Any

import pytest

from gorgond.commands.operator import letters
from gorgond.commands.operator.brokers import open_links
from gorgond.redpill import BrokerAway, Consumer, Dead, Message, Room
from gorgond.service.fabric import Fabric
from tests.contract.stage import Handler, Stage, running

MANY = 40
PATIENCE = 2.0  # seconds in which the broker has to answer


class Here:
    """An installation of this broker alone."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage

    def connect(self) -> Fabric:
        return Fabric(self._stage.broker, self._stage.broker, Room(1000, 10**9))


@pytest.fixture(autouse=True)
def _given_up(expected_logs: Callable[[str], None]) -> None:
    expected_logs("test gives up .* of q: no")


async def troubled(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> Any:
    """An installation with many dead letters, for whose broker there is little patience."""
    await stage.push(*(Message("op") for _ in range(MANY)))
    async with running(Consumer(stage.broker, "q", "test", Handler(lambda _: Dead("no")))):
        await stage.settled()
    monkeypatch.setattr(letters, "open_links", functools.partial(open_links, patience=PATIENCE))
    return Here(stage)


def slow_down(stage: Stage, monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """The broker takes so long for each letter."""
    kind = type(stage.broker.link("test"))
    quick = kind.requeue

    async def slow(link: Any, queue: str, number: int) -> bool:
        await asyncio.sleep(seconds)
        return await quick(link, queue, number)

    monkeypatch.setattr(kind, "requeue", slow)


async def test_all_are_put_back_as_long_as_the_broker_answers(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    # given a broker that takes longer for all than there is patience for one
    here = await troubled(stage, monkeypatch)
    slow_down(stage, monkeypatch, 2 * PATIENCE / MANY)
    # when all are put back, then none is left
    said = await letters.settle(here, "q", [], every=True, requeue=True)
    assert said == [f"{MANY} dead letters of q put back into the queue"]
    assert (await stage.counts()).dead == 0


async def test_a_broker_that_answers_no_more_is_not_waited_for(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    here = await troubled(stage, monkeypatch)
    slow_down(stage, monkeypatch, 3600)
    with pytest.raises(BrokerAway, match="no answer within 2 s"):
        await letters.settle(here, "q", [], every=True, requeue=True)
