"""Notification servers and stores killed while endpoints are sent to, some of which fail now and then: none is lost."""

from __future__ import annotations

import asyncio
import os
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from gorgond.app.notifying import QUEUE
from gorgond.notifiers.retrying import AT_ONCE
from gorgond.redpill import Message, Producer
from tests.conftest import RedisServer
from tests.integration.killing import Fabric
from tests.integration.receiver import OK, Received, Receiver, status
from tests.integration.test_notify_kills import DEATHS, NOTIFICATIONS, OUTAGE, USERS, Teller, settled
from tests.waiting import eventually_async


async def test_kills_lose_no_webhook(
    fabric_of: Callable[..., Fabric], durable: RedisServer, tmp_path: Path, expected_logs: Callable[[str], None]
) -> None:
    expected_logs(OUTAGE)
    chance = random.Random(3)
    fabric = fabric_of(durable.url)
    with Receiver(tmp_path).running() as receiver:
        # given users with an endpoint each, which now and then is busy, and a receiver that notes what it has taken
        taken: list[str] = []

        def answer(received: Received) -> object:
            if chance.random() < 0.05:
                return status(503)
            taken.append(received.headers["webhook-id"])
            return OK

        receiver.answer = answer  # type: ignore[assignment]
        conf = fabric.directory / "gorgond.conf"
        conf.write_text("[notify.webhook]\nkind = webhook\nrate = 1000000\nallow = 127.0.0.1/32\n")
        fabric.environ |= {"GORGOND_CONFIG": str(conf), "SSL_CERT_FILE": str(receiver.trusted), "TEST_SOON": "0.1"}
        endpoints = [
            {
                "id": f"{user}:aaaaaaaaaaaa", "userid": user, "url": receiver.url(f"/{user}", "127.0.0.1"), "kinds": [],
                "secrets": ["whsec_AAAA"], "rotated": 0, "created": 0, "state": "on",
            }
            for user in USERS
        ]  # fmt: skip
        users = [{"id": user, "name": "", "email": "", "authtokens": {"since": 0}} for user in USERS]
        children = {role: fabric.child(role, "--instance", "1") for role in ("store", "notify")}
        async with Producer(fabric.broker, "test") as producer:
            await producer.push("auth_store_put", Message("users.insert", {"documents": users}))
            await producer.push("store_put", Message("endpoints.insert", {"documents": endpoints}))
        await fabric.drained("auth_store_put")
        await fabric.drained("store_put")
        teller = Teller(fabric)
        telling = asyncio.create_task(teller.run(NOTIFICATIONS))
        # when notification server and store are killed in the middle of it
        for number in range(2 * DEATHS):
            most = len(taken) + NOTIFICATIONS // (4 * DEATHS)
            await eventually_async(lambda most=most: len(taken) >= most)  # type: ignore[misc]
            await asyncio.sleep(chance.uniform(0, 0.02))
            role = ("notify", "store")[number % 2]
            children[role].kill()
            children[role] = fabric.child(role, "--instance", "1")
        await telling
        await settled(fabric, QUEUE, f"{QUEUE}:webhook")
        # then each was taken, and as often again at most as were under way when it was killed
        got, wanted = Counter(taken), {id for some in teller.accepted.values() for id in some}
        assert set(got) == wanted, len(wanted - set(got))
        assert got.total() - len(got) <= 2 * DEATHS * len(USERS) * AT_ONCE, os.environ.get("DEATHS")
        for child in children.values():
            child.kill()
