"""Masters die under load: nothing is lost that was acknowledged with a copy, and each effect happens once.

FAILOVERS=20 pytest tests/contract/test_failover.py     more of them than a run of all tests has
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Sequence

import pytest

from gorgond.redpill import DONE, Broker, Consumer, Message, Outcome, Producer, connect
from tests.contract.stage import Stage, running
from tests.sets import MakeSet, Member, Set
from tests.waiting import eventually, eventually_async

MORE = 100  # jobs that the next master takes before the old one comes back
MANY = int(os.environ.get("FAILOVERS", "2"))
NOISE = r"is away, waiting|is back after|was away|lost its desk|unfinished on its desk|is silent: back"


class Load:
    """Jobs that are pushed, and handled, without a pause; `longest` of them took so long to be acknowledged since it
    was asked last."""

    def __init__(self, broker: Broker) -> None:
        self.broker = broker
        self.acknowledged: list[str] = []
        self.effects: set[str] = set()  # what a database would have: the same id twice is one effect
        self.longest = 0.0
        self._ended = False

    async def handle(self, batch: Sequence[Message]) -> Sequence[Outcome]:
        self.effects.update(message.id for message in batch)
        return [DONE] * len(batch)

    async def push(self) -> None:
        async with Producer(self.broker, "p") as producer:
            while not self._ended:
                message, began = Message("op", id=f"job-{len(self.acknowledged)}"), time.monotonic()
                await producer.push("q", message)
                self.longest = max(self.longest, time.monotonic() - began)
                self.acknowledged.append(message.id)
                await asyncio.sleep(0.002)

    async def lease(self) -> None:
        """One that renews a lease, which nobody else gets meanwhile."""
        link, stands = self.broker.link("leaseholder"), ""
        try:
            while not self._ended:
                lease = await link.persist(lambda: link.lease("l", "me", 60, None, stands))  # noqa: B023
                assert lease.token
                stands = lease.stands
                await asyncio.sleep(0.05)
        finally:
            await link.close()

    def end(self) -> None:
        self._ended = True


def killed(master: Member) -> Callable[[], None]:
    """It is killed; and started again."""
    master.kill()
    return master.start


def stopped(master: Member) -> Callable[[], None]:
    """It hangs; and goes on."""
    master.pause()
    return master.resume


def follows(made: Set, member: Member) -> bool:
    """Whether it is a replica by now that has all that the master has. One that has just been started may break off
    its connections as it becomes one, and redis-cli with them."""
    try:
        said = member.cli("INFO", "replication")
    except AssertionError:
        return False
    return "master_link_status:up" in said and made.master() is not member


async def fail_over(load: Load, made: Set, hurt: Callable[[Member], Callable[[], None]]) -> None:
    old = await asyncio.to_thread(made.master)
    heal = hurt(old)
    await asyncio.to_thread(made.switched, old)
    count = len(load.acknowledged)
    await eventually_async(lambda: len(load.acknowledged) > count + MORE)
    await asyncio.to_thread(heal)
    await asyncio.to_thread(eventually, lambda: follows(made, old), 120.0)


@pytest.mark.parametrize("make_set", ["redis", "valkey"], indirect=True)
async def test_nothing_acknowledged_is_lost_and_each_effect_is_there(
    make_set: MakeSet, expected_logs: Callable[[str], None]
) -> None:
    expected_logs(NOISE)
    made = make_set(appendonly="yes", appendfsync="always", min_replicas_to_write="1", min_replicas_max_lag="3")
    load = Load(connect(made.url(copies=1)))
    consumers = [Consumer(load.broker, "q", f"consumer-{number}", load.handle) for number in range(2)]
    pauses = []
    async with running(*consumers):
        tasks = [asyncio.create_task(load.push()), asyncio.create_task(load.lease())]
        for number in range(MANY):
            await eventually_async(lambda: load.acknowledged)
            load.longest = 0.0
            await fail_over(load, made, (killed, stopped)[number % 2])
            pauses.append(load.longest)
        load.end()
        await asyncio.gather(*tasks)
        # then every job that was acknowledged has its effect
        await eventually_async(lambda: load.effects.issuperset(load.acknowledged), 120.0)
    # and the books balance
    await Stage(load.broker).settled()
    counts = await Stage(load.broker).counts()
    assert counts.accepted >= len(load.acknowledged)
    print(f"{len(load.acknowledged)} jobs, {MANY} failovers, pauses of {sorted(round(each, 1) for each in pauses)} s")


@pytest.mark.parametrize("copies", [0, 1])
async def test_without_copies_what_came_last_is_lost(
    copies: int, make_set: MakeSet, expected_logs: Callable[[str], None]
) -> None:
    expected_logs(NOISE)
    made = make_set(down_after=1.0)
    broker = connect(made.url(copies), durable=False)
    async with Producer(broker, "p") as producer:
        await producer.push("q", Message("op", id="before"))
        # given replicas that get nothing any more
        master, *replicas = made.members
        for each in replicas:
            each.pause()
        master.cli("CLIENT", "KILL", "TYPE", "replica")
        # when a job is pushed, and the master dies
        pushing = asyncio.create_task(producer.push("q", Message("op", id="last")))
        if copies:
            await eventually_async(lambda: broker.outage.length)
            assert not pushing.done()
        else:
            await pushing
        master.kill()
        for each in replicas:
            each.resume()
        await asyncio.to_thread(made.switched, master)
        # then it is lost, though it was acknowledged; with copies it was not, and is pushed once to the next master
        await pushing
        assert (await Stage(broker).counts()).queued == 1 + copies
