"""Consumers say how often a message is started; in memory and on Redis."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from gorgond.redpill import AnyConsumer, Attempts, ConcurrentConsumer, Consumer, Message, Outcome, Retry
from tests.contract.puppet import Puppet
from tests.contract.stage import Expect, Stage, calling, request, running
from tests.waiting import eventually_async

KINDS = ["consumer", "concurrent"]


class Failing:
    """A handler that fails, and counts how often."""

    def __init__(self) -> None:
        self.attempts: list[int] = []

    async def one(self, message: Message) -> Outcome:
        self.attempts.append(message.attempts)
        return Retry("no")

    async def batch(self, messages: Sequence[Message]) -> Sequence[Outcome]:
        return [await self.one(message) for message in messages]

    def consumer(self, kind: str, stage: Stage, attempts: Attempts) -> AnyConsumer:
        """A consumer of it."""
        if kind == "consumer":
            return Consumer(stage.broker, "q", "consumer", self.batch, attempts=attempts)
        return ConcurrentConsumer(stage.broker, "q", "consumer", self.one, attempts=attempts)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("most", [1, 2, 5])
async def test_a_message_is_started_as_often_as_its_consumer_says(
    stage: Stage, kind: str, most: int, expected_logs: Expect
) -> None:
    expected_logs("gives up 1 message of q: no")
    # given a consumer that fails
    failing = Failing()
    async with running(failing.consumer(kind, stage, Attempts(most))), calling(stage, None) as caller:
        # when somebody asks it
        reply = await caller.call("q", request())
        # then it is told so after as many starts as the consumer allows, and the message is a dead letter
        assert reply.error is not None
        assert reply.error.code == 500
    (letter,) = await stage.dead()
    assert (letter.reason, letter.attempts) == ("no", most)
    assert failing.attempts == [0, *range(2, most + 1)]
    assert (await stage.counts()).retried == most - 1


@pytest.mark.parametrize("kind", KINDS)
async def test_what_has_killed_its_consumer_as_often_is_not_started_again(
    stage: Stage, kind: str, expected_logs: Expect
) -> None:
    expected_logs("consumer found 1 unfinished on its desk of q")
    # given a message whose consumer died
    await stage.push(Message("op"))
    async with stage.link() as link:
        victim = Puppet(link, name="consumer")
        await victim.take()
        assert len(await victim.claim()) == 1
    # when its successor allows one start
    failing = Failing()
    async with running(failing.consumer(kind, stage, Attempts(1))):
        await eventually_async(stage.dead)
    # then it is a dead letter
    (letter,) = await stage.dead()
    assert letter.reason == "its consumer died each time"
    assert failing.attempts == []
