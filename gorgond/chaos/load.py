"""The known load of a drill: clients of the public HTTP API, and clients straight on the queues.

Each does one thing at a time and writes it down before and after (attempts.py). A client tries each request that was
not acknowledged again with the same mark, as a careful one would. The things to do:

    post     POST /info/<uid> with an id of ours          async   the same with Prefer: respond-async
    key      POST /info/<uid> with an Idempotency-Key     get     GET /info/<uid>: is the answer about this user?
    me       GET /auth/me: is it the user who asked?      app     GET /chaos/<uid>, an application's (application.py)
    push     items.insert to store_put                    call    items.count, a call to store_get
    notify   notify.send to notify_put, for one of our users
    job      chaos.work of application.py: at once or later, under a key and asked for twice, with a failure, or by way
             of another job
"""

from __future__ import annotations

import asyncio
import json
import random
import re
import threading
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPResponse
from typing import Any
from urllib.parse import urlsplit

from gorgond.app.enqueuing import Outside, Request, enqueue, job_id
from gorgond.app.notifying import QUEUE, SEND, notification_id, send_args
from gorgond.chaos.accounts import Account, confirm_accounts, make_accounts
from gorgond.chaos.application import work
from gorgond.chaos.attempts import ACKNOWLEDGED, ANSWERED, FOREIGN, REFUSED, UNANSWERED, UNKNOWN, Book
from gorgond.config import Config
from gorgond.redpill import Caller, GorgonError, Message, Producer, now_ms
from gorgond.service.fabric import connect_fabric

NOTIFY = "notify"
JOB = "job"
USERS = 20  # users of our own, whom nobody else has
UIDS = (500_000_000, 1_000_000_000)  # of users who are only numbers, as the open API writes for them, above real ones
GRACE = 5.0  # seconds beyond the deadline after which an answer counts as not coming
AGAIN = 0.2  # seconds until what was not acknowledged is tried again
TRIES = 200  # of one effect, so that every client ends
CALL_DEADLINE = 10.0  # seconds that a call straight on the queue may take
_OWNER = re.compile(rb'"userid":([0-9]+)')
Ours = Callable[[bytes], bool]


@dataclass(frozen=True, slots=True)
class Plan:
    """How much load: `clients` of the HTTP API and `queuers` of the queues, each `rate` times a second at most, in
    these `ways` and those that are `queued`. `deadline` is the web servers', in seconds; `body` is the size of a note
    in bytes."""

    clients: int = 12
    queuers: int = 4
    rate: float = 20.0
    deadline: float = 10.0
    body: int = 200
    ways: tuple[str, ...] = ("post", "key", "async", "get")
    queued: tuple[str, ...] = ("push", "call")


class Load:
    """All clients; `with` starts them and ends them when each has finished what it was at."""

    def __init__(self, plan: Plan, url: str, config: Config, book: Book, seed: int) -> None:
        chance = random.Random(seed)
        self._plan, self._url, self._config = plan, url, config
        # Not of the seed: on a fabric where it was run before, notes of that run may still be there.
        unlike = random.SystemRandom()
        self.run_id = f"{unlike.getrandbits(40):010x}"
        self.accounts: list[Account] = []
        first = unlike.randrange(*UIDS, 64)
        self.uids = range(first, first + USERS)
        self.late = 0  # replies on our list that nobody waited for any more
        self.without_retry_after = 0  # answers 503 that do not say when to come again
        self._stop = threading.Event()
        self._numbers = iter(range(1, 10**9))
        self._lock = threading.Lock()
        self._threads = [
            threading.Thread(target=_HttpClient(self, plan, url, book, chance.random()).run, name=f"client {number}")
            for number in range(plan.clients)
        ]
        if plan.queuers:
            queuing = _Queuers(self, plan, config, book, chance.random())
            self._threads.append(threading.Thread(target=queuing.run, name="queuers"))

    def start(self) -> None:
        """Begin. Raises Aborted when no accounts can be made for ways that want them."""
        if {"me", "app", NOTIFY} & {*self._plan.ways, *self._plan.queued}:
            self.accounts = make_accounts(self._url, self.run_id)
            confirm_accounts(self._config, self.accounts)
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Ask all to end, and wait until they have."""
        self._stop.set()
        for thread in self._threads:
            if thread.ident is not None:
                thread.join()

    @property
    def stopping(self) -> bool:
        return self._stop.is_set()

    @property
    def told(self) -> list[str]:
        """The users who are notified, by their ids."""
        return [account.id for account in self.accounts] if NOTIFY in self._plan.queued else []

    def pause(self, seconds: float) -> None:
        """Wait, unless all is to end."""
        self._stop.wait(max(seconds, 0))

    def mark(self) -> str:
        """A mark for one effect, unlike any other."""
        with self._lock:
            return f"{self.run_id}-{next(self._numbers)}"

    def note(self, mark: str, size: int) -> dict[str, Any]:
        """A note with this mark."""
        return {"title": "a drill of gorgon-chaos", "body": "x" * size, "chaos": mark}


class _HttpClient:
    """One client with a connection that it keeps."""

    def __init__(self, load: Load, plan: Plan, url: str, book: Book, seed: float) -> None:
        self._load, self._plan, self._book = load, plan, book
        self._address = urlsplit(url).netloc
        self._chance = random.Random(seed)
        self._connection: HTTPConnection | None = None

    def run(self) -> None:
        due = time.monotonic() + self._chance.random() / self._plan.rate
        while not self._load.stopping:
            self._load.pause(due - time.monotonic())
            due = max(due + 1 / self._plan.rate, time.monotonic())
            way = self._chance.choice(self._plan.ways)
            uid = self._chance.choice(self._load.uids)
            if way in ("me", "app"):
                account = self._chance.choice(self._load.accounts)
                path = "/auth/me" if way == "me" else f"/chaos/{uid}"
                bearer = {"Authorization": f"Bearer {account.token}"}
                self._try(way, "", "GET", path, None, bearer, about(uid, f'"email":"{account.email}"'))
            elif way == "get":
                self._try(way, "", "GET", f"/info/{uid}?lim=5", None, {}, about(uid, f'"uid":{uid}'))
            else:
                self._add(way, uid)
        self._drop()

    def _add(self, way: str, uid: int) -> None:
        """Have a note stored, however often it takes; give up when all is to end."""
        mark = self._load.mark()
        note = self._load.note(mark, self._plan.body)
        headers = {"Content-Type": "application/json"}
        if way == "key":
            headers["Idempotency-Key"] = mark
        else:
            note["id"] = mark
        if way == "async":
            headers["Prefer"] = "respond-async"
        body, ours = json.dumps(note).encode(), about(uid, f'"uid":{uid}')
        for _ in range(TRIES):
            if self._try(way, mark, "POST", f"/info/{uid}", body, headers, ours) or self._load.stopping:
                return
            self._load.pause(AGAIN)

    def _try(
        self, way: str, mark: str, method: str, path: str, body: bytes | None, headers: Mapping[str, str], ours: Ours
    ) -> bool:
        """One request, whose answer is `ours`; whether it was answered well."""
        number = self._book.attempt(way, mark)
        result, kind = self._ask(method, path, body, headers, ours)
        end = self._book.now
        self._book.outcome(number, end, result, kind)
        return result in (ACKNOWLEDGED, ANSWERED)

    def _ask(
        self, method: str, path: str, body: bytes | None, headers: Mapping[str, str], ours: Ours
    ) -> tuple[str, str]:
        """Send it: the result, and in a word what came."""
        try:
            if self._connection is None:
                self._connection = HTTPConnection(self._address, timeout=self._plan.deadline + GRACE)
            self._connection.request(method, path, body, dict(headers))
            answer = self._connection.getresponse()
            text = answer.read()
        except TimeoutError:
            self._drop()
            return UNANSWERED, "no answer"
        except (OSError, HTTPException) as error:
            self._drop()
            return UNKNOWN, "refused connection" if isinstance(error, ConnectionRefusedError) else "broken connection"
        if answer.will_close:
            self._drop()
        return self._meaning(answer, text, ours)

    def _meaning(self, answer: HTTPResponse, text: bytes, ours: Ours) -> tuple[str, str]:
        status = str(answer.status)
        if answer.status >= 300:
            if answer.status == 503 and answer.getheader("Retry-After") is None:
                self._load.without_retry_after += 1
            return REFUSED, status
        if not ours(text):
            return FOREIGN, status
        return (ANSWERED if answer.status == 200 else ACKNOWLEDGED), status

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection = None


def about(uid: int, said: str) -> Ours:
    """Whether an answer says this, and has nobody's notes but this user's."""

    def ours(answer: bytes) -> bool:
        text = answer.replace(b'": ', b'":')
        return said.encode() in text and {int(each) for each in _OWNER.findall(text)} <= {uid}

    return ours


class _Queuers:
    """Clients straight on the queues, tasks of one event loop, with one producer and one caller between them."""

    def __init__(self, load: Load, plan: Plan, config: Config, book: Book, seed: float) -> None:
        self._load, self._plan, self._book = load, plan, book
        self._config = config
        self._chance = random.Random(seed)

    def run(self) -> None:
        asyncio.run(self._run())

    async def _run(self) -> None:
        fabric = connect_fabric(self._config)
        name = f"chaos-{self._load.run_id}"
        asked = fabric.carrier("store_get", fabric.calls)
        jobs = Producer(fabric.carrier("store_put", fabric.durable), name, fabric.room)
        calls = Producer(asked, f"{name}-c", fabric.room)
        caller = Caller(asked, calls, "chaos_data", name)
        jobs.start()
        calls.start()
        caller.start()
        async with Outside(fabric, f"{name}-j") as outside:
            await asyncio.gather(*(self._client(jobs, caller, outside) for _ in range(self._plan.queuers)))
        self._load.late = caller.unasked
        await caller.stop()
        await calls.stop()
        await jobs.stop()

    async def _client(self, jobs: Producer, caller: Caller, outside: Outside) -> None:
        while not self._load.stopping:
            await asyncio.sleep(self._chance.uniform(0.5, 1.5) / self._plan.rate)
            uid = self._chance.choice(self._load.uids)
            way = self._chance.choice(self._plan.queued)
            if way == "push":
                mark = self._load.mark()
                document = {**self._load.note(mark, self._plan.body), "userid": uid}
                message = Message("items.insert", {"documents": [document]})
                await self._keep(way, mark, lambda message=message: jobs.push("store_put", message))  # type: ignore[misc]
            elif way == NOTIFY:
                mark = self._load.mark()
                message = self._notification(mark)
                await self._keep(way, mark, lambda message=message: jobs.push(QUEUE, message))  # type: ignore[misc]
            elif way == JOB:
                mark = self._load.mark()
                await self._keep(way, mark, self._job(outside, mark, uid))
            else:
                await self._call(caller, uid)

    def _notification(self, mark: str) -> Message:
        user, data = self._chance.choice(self._load.told), self._load.note(mark, 0)
        return Message(SEND, send_args(notification_id(mark), user, "chaos", "A drill", data, now_ms()))

    def _job(self, outside: Outside, mark: str, uid: int) -> Callable[[], Awaitable[None]]:
        """What enqueues a job for this effect, the same one however often it is called."""
        note = {**self._load.note(mark, self._plan.body), "userid": uid}
        kind = self._chance.choice(("plain", "fails", "passes"))
        due = now_ms() + self._chance.randrange(2000) if self._chance.random() < 0.3 else 0
        key = mark if self._chance.random() < 0.3 else ""
        args = {"note": note, **({kind: True} if kind != "plain" else {})}

        async def enqueue_it() -> None:
            for copy in range(2 if key else 1):
                asked = Request(args, due=due, unique=key, repeat=True)
                await enqueue(outside, work, job_id("chaos", mark, str(copy)), asked)

        return enqueue_it

    async def _keep(self, way: str, mark: str, push: Callable[[], Awaitable[None]]) -> None:
        """A job, under one message id however often it is tried."""
        for _ in range(TRIES):
            number = await asyncio.to_thread(self._book.attempt, way, mark)
            result, kind = ACKNOWLEDGED, "pushed"
            pushing = asyncio.ensure_future(push())
            # A push waits for its broker for ever; when all is to end, what came of it stays unknown.
            while not pushing.done() and not self._load.stopping:
                await asyncio.wait({pushing}, timeout=0.2)
            if not pushing.done():
                await asyncio.wait({pushing}, timeout=self._plan.deadline)
            if not pushing.done():
                pushing.cancel()
                result, kind = UNKNOWN, "broker away"
            elif (error := pushing.exception()) is not None:
                result, kind = REFUSED, type(error).__name__
            await asyncio.to_thread(self._book.outcome, number, self._book.now, result, kind)
            if result != REFUSED or self._load.stopping:
                return
            await asyncio.sleep(AGAIN)

    async def _call(self, caller: Caller, uid: int) -> None:
        deadline = now_ms() + int(CALL_DEADLINE * 1000)
        question = Message("items.count", {"filter": {"userid": uid}}, deadline=deadline)
        number = await asyncio.to_thread(self._book.attempt, "call")
        result, kind = ANSWERED, "answered"
        try:
            async with asyncio.timeout(CALL_DEADLINE + GRACE):
                reply = await caller.call("store_get", question)
            if reply.error is not None:
                result, kind = REFUSED, f"error {reply.error.code}"
        except TimeoutError:
            result, kind = UNANSWERED, "no answer"
        except GorgonError as error:
            result, kind = REFUSED, type(error).__name__
        await asyncio.to_thread(self._book.outcome, number, self._book.now, result, kind)
