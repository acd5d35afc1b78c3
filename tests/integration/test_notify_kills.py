"""Notification servers, stores and Redis killed under load: all that was accepted is in the inboxes, once, and e-mails
are sent as often as was promised. `tools/prove notifications` has more of each."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import random
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from email.message import EmailMessage
from typing import Any

import pytest

from gorgond.app.notifying import QUEUE, SEND, document_id, notification_id, number_of, send_args
from gorgond.notifiers.email import EmailNotifier
from gorgond.redpill import DeadLetter, Message, Producer, decode, now_ms
from gorgond.stores import open_store
from gorgond.stores.contract import Query
from tests.conftest import RedisServer
from tests.integration.inboxwatch import Watcher
from tests.integration.killing import Child, Fabric
from tests.integration.mail import HANG, HANG_UP, TAKEN, MailServer, ids
from tests.waiting import eventually_async
from tools.speed.ports import free_port

NOTIFICATIONS = int(os.environ.get("NOTIFICATIONS", "400"))
DEATHS = int(os.environ.get("DEATHS", "6"))  # of each: a notification server, a store, Redis
MAILS = int(os.environ.get("MAILS", "400"))
MAIL_DEATHS = int(os.environ.get("MAIL_DEATHS", "6"))  # of the notification server
USERS = [str(1_000_000_000 + number) for number in range(10)]
OUTAGE = r"is away, waiting for it|is back after|was away [0-9]+ times more"


class Teller:
    """Notifies users, and notes what was accepted; of each tenth notification there are two with the same key."""

    def __init__(self, fabric: Fabric, users: Sequence[str] = USERS) -> None:
        self.fabric = fabric
        self.accepted: dict[str, set[str]] = defaultdict(set)  # ids, by user
        self._users = users
        self.count = 0

    async def run(self, most: int) -> None:
        async with Producer(self.fabric.broker, "test") as producer:
            while self.count < most:
                some = [self._one() for _ in range(min(10, most - self.count))]
                await producer.push(QUEUE, *some, *[self._twin(some[0])])
                for each in some:
                    self.accepted[each.args["user"]].add(each.args["id"])
                await asyncio.sleep(0.01)

    def _one(self) -> Message:
        self.count += 1
        user = self._users[self.count % len(self._users)]
        id = notification_id(user, "test", str(self.count))
        return Message(SEND, send_args(id, user, "test", "A test", {"title": f"number {self.count}"}, now_ms()))

    @staticmethod
    def _twin(message: Message) -> Message:
        return Message(SEND, {**message.args, "data": {"title": "the same key, other data"}})


def inbox(store: str, user: str, since: int = 0) -> list[dict[str, Any]]:
    """What is in a user's inbox behind this number, in its order."""
    database, found = open_store(store), list[dict[str, Any]]()
    try:
        while True:
            after = found[-1]["id"] if found else document_id(user, since)
            filter = {"id": {"$gt": after, "$lt": f"{user};"}}
            (answer,) = database.find([Query("notifications", filter, (("id", 1),), 1000)])
            assert isinstance(answer, bytes)
            some = json.loads(answer)
            if not some:
                return found
            found += some
    finally:
        database.close()


async def settled(fabric: Fabric, *queues: str) -> None:
    """All is done, nothing is dead, and the books balance."""
    for queue in queues:
        counts = await fabric.drained(queue, timeout=3600)
        assert (counts.dead, counts.difference()) == (0, 0), (queue, counts)


@pytest.mark.parametrize("database", ["sqlite", "mongodb"])
async def test_kills_lose_no_notification_and_double_none(
    fabric_of: Callable[..., Fabric],
    redis_factory: Callable[..., RedisServer],
    expected_logs: Callable[[str], None],
    request: pytest.FixtureRequest,
    database: str,
) -> None:
    expected_logs(OUTAGE)
    chance = random.Random(7)
    server = redis_factory(appendonly="yes", appendfsync="always")
    fabric = fabric_of(server.url)
    if database == "mongodb":
        fabric = Fabric(fabric.directory, server.url, request.getfixturevalue("mongod_url") + f"kills{os.getpid()}")
    children: dict[tuple[str, str], Child] = {}

    def start(role: str, instance: str) -> None:
        children[role, instance] = fabric.child(role, "--instance", instance)

    for role, instance in itertools.product(("store", "notify"), "12"):
        start(role, instance)
    port = free_port()
    for role in ("auth", "web"):
        many = {"GORGOND_WEB_PORT": str(port), "GORGOND_AUTH_ADDRESS_ATTEMPTS": "1000"}
        children[role, "1"] = fabric.child(role, "--instance", "1", **many)
        children[role, "1"].logged("started")

    def titles(user: str, since: int = 0) -> list[str]:
        return [str(json.loads(each["data"])["title"]) for each in inbox(fabric.store, user, since)]

    watchers = [Watcher(f"http://127.0.0.1:{port}", f"user{number}", titles) for number in range(len(USERS))]
    watching = [asyncio.create_task(each.run()) for each in watchers]
    teller = Teller(fabric, [each.user for each in watchers])
    try:
        # given users who are notified all the time, and watch
        telling = asyncio.create_task(teller.run(NOTIFICATIONS))
        # when notification servers, stores and Redis are killed again and again
        for number in range(3 * DEATHS):
            # all the while: each when so many more were shown
            due = number * NOTIFICATIONS // (3 * DEATHS)
            await eventually_async(lambda: sum(len(each.shown) for each in watchers) >= due, 600)  # noqa: B023
            await asyncio.sleep(chance.uniform(0, 0.3))
            if number % 3 == 2:
                server.kill()
                await asyncio.to_thread(server.start)
                continue
            role, instance = ("notify", "store")[number % 3], chance.choice("12")
            children[role, instance].kill()
            start(role, instance)
        await telling
        await settled(fabric, QUEUE, f"{QUEUE}:inbox")
        # then each user has all that was accepted, once, numbered without a gap
        for watcher in watchers:
            found = inbox(fabric.store, watcher.user)
            assert [number_of(each["id"]) for each in found] == list(range(1, len(found) + 1))
            assert Counter(each["nid"] for each in found) == Counter(teller.accepted[watcher.user])
            # and was shown each of them once, in their order
            shown, all = watcher.shown, len(found)
            await eventually_async(lambda: len(shown) >= all or any(task.done() for task in watching))  # noqa: B023
            assert shown == titles(watcher.user)
    finally:
        for task in watching:
            task.cancel()
        for outcome in await asyncio.gather(*watching, return_exceptions=True):
            assert isinstance(outcome, asyncio.CancelledError), outcome
        for child in children.values():
            child.kill()


async def test_each_email_is_sent_or_given_up_with_its_code_and_sent_again_only_as_the_same_one(
    fabric_of: Callable[..., Fabric], durable: RedisServer
) -> None:
    chance = random.Random(3)
    fabric = fabric_of(durable.url)
    unsaid = 0  # e-mails that the mail server has taken and not said so

    def answer(_: EmailMessage) -> str:
        nonlocal unsaid
        said = chance.choices([TAKEN, "451 busy", "554 spam", HANG_UP, HANG], [93, 5, 1, 0.8, 0.2])[0]
        unsaid += said in (HANG_UP, HANG)
        return said

    with MailServer().running() as mail:
        # given a mail server that is busy, refuses, hangs up or hangs now and then
        mail.answer = answer
        conf = fabric.directory / "gorgond.conf"
        conf.write_text(f"[notify.email]\nurl = {mail.url}\nrate = 1000000\n")
        fabric.environ["GORGOND_CONFIG"] = str(conf)
        for role in ("store", "auth"):
            fabric.child(role, "--instance", "1")
        users = [
            {"id": user, "name": f"User {user}", "email": f"u{user}@notes.example", "authtokens": {"since": 0}}
            for user in USERS
        ]
        async with Producer(fabric.broker, "test") as producer:
            await producer.push("auth_store_put", Message("users.insert", {"documents": users}))
        await fabric.drained("auth_store_put")
        soon = {"TEST_SOON": "0.1", "TEST_MAIL": "2"}
        notify = fabric.child("notify", "--instance", "1", **soon)
        teller = Teller(fabric)
        telling = asyncio.create_task(teller.run(MAILS))
        # when the notification server is killed again and again meanwhile
        for number in range(MAIL_DEATHS):
            due = (number + 1) * MAILS // (2 * MAIL_DEATHS)
            await eventually_async(lambda due=due: len(mail.mails) >= due, 600)  # type: ignore[misc]
            await asyncio.sleep(chance.uniform(0, 0.02))
            notify.kill()
            notify = fabric.child("notify", "--instance", "1", **soon)
        await telling
        await settled(fabric, QUEUE)
        counts = await fabric.drained(f"{QUEUE}:email", timeout=1800)
        assert counts.difference() == 0
        # then each was sent, or is a dead letter that says with which code
        link = fabric.broker.link("test")
        dead: list[DeadLetter] = []
        while more := await link.dead(f"{QUEUE}:email", dead[-1].number if dead else 0, 100):
            dead += more
        await link.close()
        assert {each.reason for each in dead} <= {"the mail server says 554 spam"}
        given_up = {f"<{decode(each.raw).args['id']}@localhost>" for each in dead}
        sent = Counter(ids(mail.mails))
        wanted = {f"<{id}@localhost>" for some in teller.accepted.values() for id in some}
        assert set(sent) | given_up == wanted
        # and as often again at most as were under way at a kill, or the mail server had not said that it has them
        assert sent.total() - len(sent) <= MAIL_DEATHS * EmailNotifier.in_hand + unsaid
        print(f"{len(sent)} sent, {len(given_up)} given up, {sent.total() - len(sent)} again, {unsaid} unsaid")
        assert notify.stop() == 0
