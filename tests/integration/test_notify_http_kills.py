"""What goes by HTTP over kills of the notification server: each is there, and again only as the same one."""

from __future__ import annotations

import asyncio
import os
import random
from collections import Counter
from collections.abc import Callable

from gorgond.app.notifying import QUEUE
from gorgond.notifiers.notifier import Notifier
from gorgond.redpill import Message, Producer
from tests.conftest import RedisServer
from tests.integration.killing import Fabric
from tests.integration.services import Asked, Said, Services
from tests.integration.test_notify_kills import USERS, Teller, settled
from tests.waiting import eventually_async

NOTIFICATIONS = int(os.environ.get("NOTIFICATIONS", "300"))
DEATHS = int(os.environ.get("DEATHS", "5"))


async def test_each_is_handed_over_and_again_only_as_the_same_one(
    fabric_of: Callable[..., Fabric], durable: RedisServer
) -> None:
    chance = random.Random(5)
    fabric = fabric_of(durable.url)
    taken: list[str] = []

    def answer(asked: Asked) -> Said:
        if chance.random() < 0.05:
            return Said(503, "busy")
        taken.append(asked.json["id"])
        return Said(204)

    with Services().running() as services:
        # given a service that is busy now and then
        services.answer = answer
        conf = fabric.directory / "gorgond.conf"
        conf.write_text(f"[notify.pager]\nkind = http\nurl = http://127.0.0.1:{services.port}/\nrate = 1000000\n")
        fabric.environ["GORGOND_CONFIG"] = str(conf)
        fabric.child("store", "--instance", "1")
        users = [{"id": user, "name": "", "email": "", "authtokens": {"since": 0}} for user in USERS]
        async with Producer(fabric.broker, "test") as producer:
            await producer.push("auth_store_put", Message("users.insert", {"documents": users}))
        await fabric.drained("auth_store_put")
        notify = fabric.child("notify", "--instance", "1", TEST_SOON="0.1")
        teller = Teller(fabric)
        telling = asyncio.create_task(teller.run(NOTIFICATIONS))
        # when the notification server is killed again and again
        for number in range(DEATHS):
            due = (number + 1) * NOTIFICATIONS // (2 * DEATHS)
            await eventually_async(lambda due=due: len(taken) >= due, 600)  # type: ignore[misc]
            await asyncio.sleep(chance.uniform(0, 0.02))
            notify.kill()
            notify = fabric.child("notify", "--instance", "1", TEST_SOON="0.1")
        await telling
        await settled(fabric, QUEUE, f"{QUEUE}:pager")
    # then each was handed over, under its id, and those alone again that a server had in hand as it was killed
    times = Counter(taken)
    assert set(times) == set[str]().union(*teller.accepted.values())
    assert times.total() - len(times) <= DEATHS * Notifier.in_hand
