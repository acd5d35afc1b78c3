"""Notification servers killed while they gather, and send what was gathered: each notification is in one digest."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable

from gorgond.app.notifying import QUEUE
from gorgond.redpill import Message, Producer
from tests.conftest import RedisServer
from tests.integration.killing import Fabric
from tests.integration.mail import MailServer
from tests.integration.test_notify_kills import DEATHS, NOTIFICATIONS, USERS, Teller, settled


async def test_kills_put_each_notification_into_one_digest(
    fabric_of: Callable[..., Fabric], durable: RedisServer
) -> None:
    chance = random.Random(5)
    fabric = fabric_of(durable.url)
    with MailServer().running() as mail:
        # given users who want all in a digest, of which there is one every second
        conf = fabric.directory / "gorgond.conf"
        conf.write_text(f"[notify.email]\nurl = {mail.url}\nrate = 1000000\n")
        fabric.environ |= {"GORGOND_CONFIG": str(conf), "TEST_WINDOW": "1", "TEST_SOON": "0.1"}
        for role in ("store", "auth"):
            fabric.child(role, "--instance", "1")
        users = [
            {"id": user, "name": f"User {user}", "email": f"u{user}@notes.example", "authtokens": {"since": 0}}
            for user in USERS
        ]
        wishes = [{"id": user, "off": [], "digest": ["test email"], "token": "x"} for user in USERS]
        async with Producer(fabric.broker, "test") as producer:
            await producer.push("auth_store_put", Message("users.insert", {"documents": users}))
            await producer.push("store_put", Message("preferences.insert", {"documents": wishes}))
        for queue in ("auth_store_put", "store_put"):
            await fabric.drained(queue)
        notify = fabric.child("notify", "--instance", "1")
        teller = Teller(fabric, USERS)
        telling = asyncio.create_task(teller.run(NOTIFICATIONS))
        # when the notification server is killed in the middle of it
        for _ in range(DEATHS):
            await asyncio.sleep(chance.uniform(0.2, 1.5))
            notify.kill()
            notify = fabric.child("notify", "--instance", "1")
        await telling
        await settled(fabric, QUEUE, f"{QUEUE}:email")
        # then each notification is in one digest, though that may have been sent twice
        digests = {str(each["Message-ID"]): each for each in mail.mails}
        found = Counter(
            line
            for each in digests.values()
            for line in each.get_body(("plain",)).get_content().splitlines()  # type: ignore[union-attr]
            if line.startswith("number ")
        )
        accepted = sum(map(len, teller.accepted.values()))
        assert (len(found), set(found.values())) == (accepted, {1})
        assert notify.stop() == 0
