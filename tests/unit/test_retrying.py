"""Endpoints that fail for days, on a clock of our own: what is tried when, what the broker holds meanwhile, who is told
when it is turned off; and that nothing is lost whatever is cut off in between. The store is SQLite's."""

from __future__ import annotations

import heapq
import itertools
import random
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gorgond.app.clients import StoreClient
from gorgond.app.notifying import DELIVERIES, QUEUE, SEND, notification_id, send_args
from gorgond.app.webhooks import ENDPOINTS, REPLAY, WELL, Webhook
from gorgond.errors import NotSent, TargetGone
from gorgond.notifiers import delivering
from gorgond.notifiers.delivering import Contact
from gorgond.notifiers.notifier import Notification, Recipient
from gorgond.notifiers.pace import Pace
from gorgond.notifiers.places import Places
from gorgond.notifiers.retrying import Retrying
from gorgond.notifiers.webhook import WebhookNotifier
from gorgond.redpill import DONE, Message, Reply, Retry, connect, dumps, loads
from gorgond.service.metrics import Metrics
from gorgond.stores import open_store
from gorgond.stores.jobs import Job
from gorgond.stores.requests import query_of

MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000
USER, TARGET = "1000000001", "aaaaaaaaaaaa"
KEY = f"{USER}:{TARGET}"
MINE = "notify_put:webhook"
BEGAN = 1_700_000_000_000


class Killed(Exception):
    """The notification server died here."""


class Scripted(WebhookNotifier):
    """Does not send, but asks what becomes of it."""

    def __init__(self, answer: Callable[[Notification], Exception | None]) -> None:
        super().__init__("webhook", Webhook(kind="webhook", rate=10**6))
        self._answer = answer

    async def send(self, notification: Notification, recipient: Recipient) -> None:
        if error := self._answer(notification):
            raise error


class World:
    """A notification server's channel, its store, and what lies in the broker; `now` is what time it is. With `deaths`,
    the chance by which it dies before or after each step that it takes."""

    def __init__(self, store: str, answer: Callable[[Notification], Exception | None], deaths: float = 0.0) -> None:
        self.now = BEGAN
        self.metrics, self.draining = Metrics(), False
        self.tries: list[tuple[int, str]] = []  # when, and the notification's id
        self.told: list[dict[str, Any]] = []  # notifications for people, about endpoints
        self.most = 0  # messages that lay in the broker at the same time
        self.deaths, self.chance = deaths, random.Random(5)
        self._store = open_store(store)
        self._store.prepare()
        self._broker: list[tuple[int, int, Message]] = []
        self._numbers = itertools.count()

        def tried(notification: Notification) -> Exception | None:
            self.tries.append((self.now, notification.id))
            return answer(notification)

        self.pace = Pace(connect("memory://retrying").link("pace"), f"webhook{id(self)}", 10**6)
        self.channel = Retrying(Scripted(tried), StoreClient(self), self, self.pace, "", lambda: self.now)

    # ---- what the channel asks

    def _perhaps_die(self) -> None:
        if self.chance.random() < self.deaths:
            raise Killed

    async def ask(self, queue: str, op: str, args: dict[str, Any], private: bool = False) -> Reply:
        (found,) = self._store.find([query_of(Message(op, args), queue)[1]])
        assert isinstance(found, bytes), found
        return Reply("", found)

    async def change(self, queue: str, op: str, args: dict[str, Any]) -> Reply:
        self._perhaps_die()
        job = Job.of(Message(op, args, reply="here"), queue)
        job.done = self._store.change(list(job.writes))
        done = job.outcome()
        if done.error is not None:
            raise done.error
        self._perhaps_die()
        return Reply("", done.body or b"")

    async def push(self, queue: str, message: Message, at: int | None = None) -> None:
        self._perhaps_die()
        if queue == QUEUE:
            self.told.append(message.args)
        else:
            assert queue == MINE
            heapq.heappush(self._broker, (max(at or 0, self.now), next(self._numbers), message))
            self.most = max(self.most, len(self._broker))
        self._perhaps_die()

    async def push_all(self, messages: Any) -> None:
        for queue, message in messages:
            await self.push(queue, message)

    async def publish(self, event: Message) -> None:
        raise AssertionError

    async def contact(self, user: str) -> Contact | None:
        return Contact("", "", True)

    # ---- what a test does

    async def endpoint(self, **more: Any) -> None:
        made = {
            "id": KEY, "userid": USER, "url": "https://hook.example/", "kinds": [], "secrets": ["whsec_AAAA"],
            "rotated": 0, "created": 0, "state": "on", **more,
        }  # fmt: skip
        await self.quietly(lambda: self.channel._store.insert(ENDPOINTS, made))

    async def quietly(self, work: Callable[[], Any]) -> Any:
        deaths, self.deaths = self.deaths, 0.0
        try:
            return await work()
        finally:
            self.deaths = deaths

    async def tell(self, name: str) -> str:
        id = notification_id(USER, "k", name)
        message = Message(SEND, send_args(id, USER, "k", "K", {"name": name}, self.now), f"m{id}")
        await self.quietly(lambda: self.push(MINE, message))
        return id

    async def until(self, end: int) -> None:
        """Let the time go on to this one, and all be handled that is due."""
        while self._broker and self._broker[0][0] <= end:
            due, _, message = heapq.heappop(self._broker)
            self.now = max(self.now, due)
            try:
                outcome = await self.channel.handle(message)
            except Killed:
                self.channel._places = Places()
                await self.quietly(lambda message=message: self.push(MINE, message, self.now + 100))  # type: ignore[misc]
                continue
            if isinstance(outcome, Retry):
                delay = int(1000 * (10.0 if outcome.delay is None else outcome.delay))
                await self.quietly(lambda m=message, d=delay: self.push(MINE, m, self.now + d))  # type: ignore[misc]
            else:
                assert outcome == DONE, outcome
        self.now = max(self.now, end)

    async def target(self) -> dict[str, Any]:
        return (await self.channel._store.find(ENDPOINTS, {"id": KEY}, limit=1))[0]

    async def change_target(self, **changes: Any) -> None:
        await self.quietly(lambda: self.channel._store.patch(ENDPOINTS, KEY, changes))

    async def states(self) -> Counter[str]:
        found = await self.channel._store.find(DELIVERIES, {}, limit=1000)
        return Counter(each["state"] for each in found)

    def waiting_in_broker(self) -> int:
        return len(self._broker)

    def close(self) -> None:
        self._store.close()


@pytest.fixture
def world(tmp_path: Path) -> Iterator[Callable[..., World]]:
    made: list[World] = []

    def make(answer: Callable[[Notification], Exception | None], deaths: float = 0.0) -> World:
        made.append(World(f"sqlite:///{tmp_path}/retrying{len(made)}.db", answer, deaths))
        return made[-1]

    yield make
    for each in made:
        each.close()


def refuses(_: Notification) -> Exception:
    return NotSent("it says 500", 500)


async def test_one_is_tried_by_the_specifications_table(world: Callable[..., World]) -> None:
    # given an endpoint that takes nothing
    here = world(refuses)
    await here.endpoint()
    await here.tell("one")
    await here.until(BEGAN + 10 * DAY)
    # then it is tried ten times, at the times that the specification has, a fifth sooner or later
    times = [at for at, _ in here.tries]
    waits = [(later - sooner) / 1000 for sooner, later in itertools.pairwise(times)]
    assert len(waits) == len(WebhookNotifier.schedule) == 9
    for wait, wanted in zip(waits, WebhookNotifier.schedule, strict=True):
        assert 0.8 * wanted <= wait <= 1.2 * wanted + 1
    # and given up, and nothing of it is left in the broker, and the endpoint is on: it has not failed for five days
    found = (await here.channel._store.find(DELIVERIES, {}))[0]
    assert (found["state"], found["tries"], found["code"]) == ("dead", 10, 500)
    assert found["reason"] == "it was tried 10 times: it says 500"
    assert here.waiting_in_broker() == 0
    assert (await here.target())["state"] == "on"
    assert here.told == []


async def test_one_that_is_taken_is_not_sent_again(world: Callable[..., World]) -> None:
    here: World = world(lambda _: refuses(_) if here.now < BEGAN + HOUR else None)
    await here.endpoint()
    await here.tell("one")
    await here.until(BEGAN + 10 * DAY)
    assert len(here.tries) == 5  # at 0 s, 5 s, 5 min, 35 min, 2.6 h
    assert await here.states() == {"sent": 1}
    target = await here.target()
    assert [target.get(name) for name in WELL] == [None] * len(WELL)


async def test_one_that_fails_for_five_days_is_turned_off_and_its_user_is_told(world: Callable[..., World]) -> None:
    # given an endpoint that takes nothing, and a notification every eight hours
    here = world(refuses)
    await here.endpoint()
    for hour in range(0, 5 * 24 + 12, 8):
        await here.tell(str(hour))
        await here.until(BEGAN + hour * HOUR + 8 * HOUR - 1)
        state = (await here.target())["state"]
        if hour <= 5 * 24 - 8:
            assert state == "on", hour
    # then it is off after five days, which its user is told once
    assert (await here.target())["state"] == "off"
    [told] = here.told
    assert (told["user"], told["kind"]) == (USER, "webhook.disabled")
    assert "failed for five days" in told["data"]["text"]
    # and all is given up that waited, and is kept; nothing is left in the broker
    states = await here.states()
    assert (states["dead"], states["sent"], states["waiting"]) == (here_count := states.total(), 0, 0)
    assert here_count >= 15
    assert here.waiting_in_broker() == 0
    # and in all that time there lay next to nothing in the broker, and it was asked every four minutes at most
    assert here.most <= 3
    assert len(here.tries) <= 5 * DAY / (4 * MINUTE) + 10
    # when its user turns it on and asks for it, then all is sent
    here.tries.clear()
    here.channel._notifier._answer = lambda _: None  # type: ignore[attr-defined]
    await here.change_target(state="on", **WELL)
    await here.push(MINE, Message(REPLAY, {"user": USER, "target": TARGET, "since": 0}))
    await here.until(here.now + HOUR)
    assert await here.states() == {"sent": here_count}


async def test_one_that_takes_something_now_and_then_stays_on(world: Callable[..., World]) -> None:
    here: World = world(lambda _: None if here.now // HOUR % 48 < 12 else NotSent("it says 503", 503))
    await here.endpoint()
    for hour in range(0, 9 * 24, 24):
        await here.tell(str(hour))
        await here.until(BEGAN + hour * HOUR + 24 * HOUR - 1)
    assert (await here.target())["state"] == "on"
    assert here.told == []


async def test_that_we_stood_still_for_days_is_no_failure_of_its(world: Callable[..., World]) -> None:
    # given an endpoint that failed once, whereupon no notification server ran for six days
    here = world(refuses)
    await here.endpoint()
    await here.tell("one")
    await here.until(BEGAN)
    here.now += 6 * DAY
    await here.until(here.now)
    assert (await here.target())["state"] == "on"
    # when it goes on failing, then it is turned off
    await here.until(here.now + DAY)
    assert (await here.target())["state"] == "off"


async def test_one_that_says_410_is_turned_off_at_once(world: Callable[..., World]) -> None:
    here = world(lambda _: TargetGone("it says 410: nothing is to be sent there any more", 410))
    await here.endpoint()
    await here.tell("one")
    await here.until(BEGAN + 1000)
    await here.tell("two")
    await here.until(BEGAN + DAY)
    assert len(here.tries) == 1
    target = await here.target()
    assert (target["state"], target["reason"]) == ("off", "it says 410: nothing is to be sent there any more")
    assert len(here.told) == 1
    assert await here.states() == {"dead": 1}  # the other was for nobody


async def test_what_one_cannot_digest_does_not_hold_up_the_others(world: Callable[..., World]) -> None:
    # given an endpoint that fails at one notification
    bad = notification_id(USER, "k", "bad")
    here = world(lambda notification: refuses(notification) if notification.id == bad else None)
    await here.endpoint()
    await here.tell("bad")
    sent: dict[str, int] = {}
    for minute in range(300):
        id = await here.tell(str(minute))
        sent[id] = BEGAN + minute * MINUTE
        await here.until(BEGAN + (minute + 1) * MINUTE - 1)
    # then each other one is there in five minutes
    got = {id: at for at, id in here.tries if id != bad}
    assert max(got[id] - at for id, at in sent.items()) <= 5 * MINUTE
    assert len(got) == 300
    assert len([id for _, id in here.tries if id == bad]) in (4, 5)  # by its own table


async def test_one_that_is_deleted_leaves_nothing_waiting(world: Callable[..., World]) -> None:
    here = world(refuses)
    await here.endpoint()
    for number in range(150):
        await here.tell(str(number))
    await here.until(BEGAN + 1000)
    assert (await here.states())["waiting"] == 150
    await here.quietly(lambda: here.channel._store.delete(ENDPOINTS, KEY))
    await here.until(BEGAN + HOUR)
    assert await here.states() == {"dead": 150}
    assert here.waiting_in_broker() == 0


async def test_when_it_is_back_all_that_waited_is_sent(world: Callable[..., World]) -> None:
    here: World = world(lambda _: refuses(_) if here.now < BEGAN + 2 * HOUR else None)
    await here.endpoint()
    for number in range(100):
        await here.tell(str(number))
    await here.until(BEGAN + 2 * HOUR)
    assert (await here.states())["waiting"] == 100
    assert here.most <= 102  # they came all at once; then there is one
    assert here.waiting_in_broker() == 1
    # when it takes them, then they are all there within five minutes, each once
    await here.until(BEGAN + 2 * HOUR + 7 * MINUTE)
    states = await here.states()
    assert states["sent"] >= 90  # those that were tried often have their own times
    await here.until(BEGAN + DAY)
    assert await here.states() == {"sent": 100}
    assert here.waiting_in_broker() == 0


@pytest.mark.parametrize("seed", range(6))
async def test_whatever_is_cut_off_nothing_is_lost(
    world: Callable[..., World], seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given a server that dies at any of its steps, and an endpoint that fails now and then
    monkeypatch.setattr(delivering, "SOON", 0.0)
    chance = random.Random(seed)
    here = world(lambda _: refuses(_) if chance.random() < 0.3 else None, deaths=0.05)
    here.chance.seed(seed)
    await here.endpoint()
    ids = []
    for number in range(40):
        ids.append(await here.tell(str(number)))
        await here.until(BEGAN + number * MINUTE)
    # then all is sent in the end, and nothing is left in the broker
    await here.until(BEGAN + 5 * DAY)
    states = await here.states()
    assert states["waiting"] == states["sending"] == 0
    assert states == {"sent": 40}
    assert {id for _, id in here.tries} == {*ids}
    assert here.waiting_in_broker() == 0
    assert (await here.target())["tick"]["at"] is None


def test_a_body_is_the_same_whenever_it_is_sent() -> None:
    from gorgond.notifiers.webhook import body_of, signed

    notification = Notification("5f2b", "7", "comment.new", "A comment", {"b": 1, "a": "é"}, 1_700_000_000_000)
    body = body_of(notification)
    assert loads(body) == {"type": "comment.new", "timestamp": "2023-11-14T22:13:20.000Z", "data": {"b": 1, "a": "é"}}
    assert body == body_of(notification)
    headers = signed("5f2b", 1_700_000_000, dumps({}), [b"k" * 32, b"l" * 32])
    assert len(headers["webhook-signature"].split()) == 2
