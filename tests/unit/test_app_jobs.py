"""Jobs as they are declared and enqueued: what is allowed, and what is told of it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any, Literal

import pytest

from gorgond import App, BadArgument, Context
from gorgond.app.jobs import Job, seconds_of
from gorgond.app.jobstatus import cancel_document, end_message, queued_message, run_message, status_of
from gorgond.app.limits import Gate
from gorgond.errors import ConfigError, GorgonError, NotFound, Refused
from gorgond.redpill import AtOnce, Entry, Message, Reply, Unique, dumps
from gorgond.redpill.memory import MemoryBroker, MemoryLink
from tests.backends import Nobody
from tests.waiting import LONG

app = App("shop")


@dataclass
class Size:
    width: int
    height: int


@app.job(attempts=5, timeout="2m")
async def resize(ctx: Context, photo: str, width: int = 640, how: Literal["fit", "cut"] = "fit") -> None: ...


@app.job()
async def measure(ctx: Context, sizes: list[Size]) -> None: ...


class Queues(Nobody):
    """Keeps what is pushed."""

    def __init__(self) -> None:
        self.pushed: list[tuple[str, Message, int | None]] = []

    async def push(self, queue: str, message: Message, at: int | None = None) -> None:
        self.pushed.append((queue, message, at))

    async def unique(self, queue: str, step: Unique) -> tuple[str, bytes]:
        raise AssertionError


class LateStore(Queues):
    """Finds these documents when it is asked for the third time."""

    def __init__(self, *documents: Message) -> None:
        super().__init__()
        self.asked = 0
        self._stored = [document for each in documents for document in each.args["documents"]]

    async def call(self, queue: str, message: Message) -> Reply:
        self.asked += 1
        found = [{**each, "ts": 1} for each in self._stored] if self.asked > 2 else []
        return Reply(message.id, dumps(found))


async def test_a_status_that_is_not_stored_yet_is_waited_for() -> None:
    store = LateStore(queued_message(resize, Message("shop.resize", {"args": {"photo": "p"}}, id="j1")))
    assert (await context(store).job("j1"))["state"] == "queued"
    assert store.asked == 3


async def test_a_job_that_there_is_not_is_not_waited_for_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gorgond.app.context.LOOKS", (0.0,) * 3)
    store = LateStore()
    with pytest.raises(NotFound, match="there is no job j1"):
        await context(store).job("j1")
    assert store.asked == 4


def context(backend: Queues, **of: Any) -> Context:
    return Context(backend, Message("shop.ask", id="r1", **of))


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ({}, "shop.resize: photo: must be given"),
        ({"photo": 5}, "shop.resize: photo: must be text"),
        ({"photo": "p", "width": "640"}, "shop.resize: width: must be a whole number"),
        ({"photo": "p", "how": "bend"}, "shop.resize: how: must be one of fit, cut"),
        ({"photo": "p", "depth": 3}, "shop.resize: depth: not known here; allowed are photo, width, how"),
        ({"photo": object()}, "shop.resize: an argument is no JSON"),
    ],
)
async def test_arguments_are_checked_where_a_job_is_enqueued(args: dict[str, Any], said: str) -> None:
    backend = Queues()
    with pytest.raises(BadArgument, match=said) as raised:
        await context(backend).enqueue(resize, **args)
    # then it is a TypeError, and ours, and nothing is pushed
    assert isinstance(raised.value, TypeError)
    assert isinstance(raised.value, GorgonError)
    assert not backend.pushed


async def test_a_job_is_enqueued_with_its_status_once_however_often_its_handler_runs() -> None:
    # given a handler that runs twice for one request
    backends = Queues(), Queues()
    for backend, attempts in zip(backends, (0, 2), strict=True):
        ctx = context(backend, user={"id": "7"}, attempts=attempts)
        await ctx.enqueue(resize, photo="p1", delay="10s")
        await ctx.enqueue(resize, photo="p2")
    first, again = ([message for _, message, _ in each.pushed] for each in backends)
    # then the ids are the same, and who runs the second knows that it may be a repeat
    assert [each.id for each in first if each.op == "shop.resize"] == [
        each.id for each in again if each.op == "shop.resize"
    ]
    assert [each.args.get("repeat") for each in again if each.op == "shop.resize"] == [True, True]
    (queue, message, at), (_, stored, _) = backends[0].pushed[:2]
    assert (queue, message.args["args"], message.user) == ("app_job:shop.resize", {"photo": "p1"}, {"id": "7"})
    assert at == message.args["due"]
    assert at is not None
    assert 0 < at - message.sent <= 11_000
    (document,) = stored.args["documents"]
    assert (document["id"], document["userid"], document["due"]) == (message.id, 7, at)


async def test_what_a_dataclass_says_travels_as_json() -> None:
    backend = Queues()
    await context(backend).enqueue(measure, sizes=[Size(1, 2)])
    message = backend.pushed[0][1]
    assert message.args["args"] == {"sizes": [{"width": 1, "height": 2}]}
    assert measure.values(message.args["args"]) == {"sizes": [Size(1, 2)]}


async def test_what_is_too_large_or_no_job_is_refused() -> None:
    with pytest.raises(Refused, match="1000014 bytes"):
        await context(Queues()).enqueue(resize, photo="p" * 1_000_002)
    with pytest.raises(BadArgument, match="is no job"):
        await context(Queues()).enqueue(resize.handler, photo="p")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="a mode is keep, replace or again"):
        await context(Queues()).enqueue(resize, photo="p", mode="drop")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="after a delay or at a time"):
        await context(Queues()).enqueue(resize, photo="p", delay=1, at=5)
    with pytest.raises(ValueError, match="'soon' is not a time"):
        await context(Queues()).enqueue(resize, photo="p", delay="soon")


def test_what_cannot_work_is_refused_where_it_is_declared() -> None:
    async def unique(ctx: Context, unique: str) -> None: ...

    async def untyped(ctx: Context, what) -> None: ...  # type: ignore[no-untyped-def]

    for options, handler, said in (
        ({"attempts": 0}, resize.handler, "1 to 1000000 times"),
        ({"timeout": "0"}, resize.handler, "timeout must be a time above 0"),
        ({"keep": -1}, resize.handler, "keep must be a time, or 0"),
        ({"backoff": "2m", "longest": "1m"}, resize.handler, "first <= longest"),
        ({"timeout": "long"}, resize.handler, "'long' is not a time"),
        ({}, unique, "unique is an argument of ctx.enqueue itself"),
        ({}, untyped, "what needs an annotation"),
    ):
        with pytest.raises(ConfigError, match=said):
            App("shop").job(**options)(handler)
    other = App("shop")
    other.job()(resize.handler)
    with pytest.raises(ConfigError, match=r"two jobs shop\.resize"):
        other.job()(resize.handler)


async def test_a_job_can_be_called_as_the_function_it_is() -> None:
    @App("shop").job()
    async def double(_: Context, number: int) -> int:
        return 2 * number

    assert isinstance(double, Job)
    assert await double(None, number=4) == 8


def test_times_are_seconds_or_texts() -> None:
    assert [seconds_of(each) for each in ("500ms", "2m", "1h", 3, 0.5, "0")] == [0.5, 120.0, 3600.0, 3.0, 0.5, 0.0]
    for never in (float("inf"), float("nan"), 1e300):
        with pytest.raises(ValueError, match="is no number of seconds"):
            seconds_of(never)


# ---- what is told of it


def stored(message: Message, ts: int) -> dict[str, Any]:
    return {**message.args["documents"][0], "ts": ts}


def test_the_status_is_what_all_documents_tell_in_whatever_order_they_come() -> None:
    message = resize_message(due=0)
    queued = stored(queued_message(resize, message), 1)
    run = stored(run_message(resize, message, state="running", progress=0.4, text="half", attempt=2), 2)
    end = stored(end_message(resize, message, state="done", result='{"a":1}', attempt=2), 3)

    assert status_of("j", [], 5) is None
    assert status_of("j", [queued], 5) == {
        "id": "j", "job": "shop.resize", "args": {"photo": "p"}, "enqueued": 1, "state": "queued"
    }  # fmt: skip
    running = status_of("j", [run, queued], 5)
    assert running is not None
    assert (running["state"], running["progress"], running["text"]) == ("running", 0.4, "half")
    for documents in ([end, run, queued], [queued, end], [end]):
        done = status_of("j", documents, 5)
        assert done is not None
        assert (done["state"], done["result"], done["ended"], "progress" in done) == ("done", {"a": 1}, 3, False)


def test_a_job_to_be_cancelled_is_told_so_unless_it_is_over() -> None:
    message = resize_message(due=1000)
    queued = stored(queued_message(resize, message), 1)
    cancelled = {**cancel_document("j"), "ts": 2}
    end = stored(end_message(resize, message, state="done", result="1", attempt=1), 3)
    states = [(status_of("j", some, 5) or {})["state"] for some in ([queued], [queued, cancelled], [cancelled, end])]
    assert states == ["scheduled", "cancelled", "done"]


def test_a_part_of_a_status_is_no_job() -> None:
    message = resize_message(due=0)
    end = stored(end_message(resize, message, state="done", result="1", attempt=1), 3)
    assert status_of("j:end", [end], 5) is None


def test_one_that_was_put_back_is_not_over() -> None:
    message = resize_message(due=0)
    queued = stored(queued_message(resize, message), 1)
    end = stored(end_message(resize, message, state="queued"), 3)
    run = stored(run_message(resize, message, state="running", attempt=1), 4)
    states = [status_of("j", some, 5) or {} for some in ([queued, end], [queued, run, end], [end])]
    assert [(each["state"], "ended" in each) for each in states] == [
        ("queued", False), ("running", False), ("queued", False)
    ]  # fmt: skip


def resize_message(due: int) -> Message:
    return Message("shop.resize", {"args": {"photo": "p"}, "due": due}, "j", user={"id": "7"})


async def test_a_broker_that_is_away_holds_up_no_job_of_another_one(monkeypatch: pytest.MonkeyPatch) -> None:
    # given a job whose limits are asked of a broker that does not answer
    away, there, asked = MemoryBroker(), MemoryBroker(), asyncio.Event()
    answered = MemoryLink.enter

    async def enter(link: MemoryLink, queue: str, asker: str, number: int, entry: Entry) -> int:
        if link.broker is away:
            asked.set()
            await asyncio.Event().wait()
        return await answered(link, queue, asker, number, entry)

    monkeypatch.setattr(MemoryLink, "enter", enter)
    gate = Gate({"away": away, "there": there}.__getitem__, "app@1")

    async def begin(queue: str) -> int:
        async with gate.passing(queue, Entry("1", 0, 60, [AtOnce("all", 1)])) as due:
            return due

    waits = asyncio.create_task(begin("away"))
    await asked.wait()
    # then one of another broker is begun, and is over
    async with asyncio.timeout(LONG):
        assert [await begin("there"), await begin("there")] == [0, 0]
    waits.cancel()
    await asyncio.wait([waits])
    await gate.close()
