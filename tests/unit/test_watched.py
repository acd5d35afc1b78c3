"""A service ends with anything that runs in it, however that ends, and says which it was."""

from __future__ import annotations

import asyncio
import functools
import os
import re
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from gorgond.config import Config, load
from gorgond.errors import ConfigError
from gorgond.redpill import (
    DONE,
    AnyConsumer,
    Caller,
    Listener,
    LoopEnded,
    Message,
    Outcome,
    OutcomeUnknown,
    Producer,
    Room,
    call,
    concurrent,
    producer,
    session,
    topic,
)
from gorgond.redpill.memory import MemoryBroker, MemoryLink
from gorgond.roles.app import AppServer
from gorgond.roles.auth import AuthServer
from gorgond.roles.stats import StatsMonitor
from gorgond.roles.web import WebServer
from gorgond.service import figures, heart, life
from gorgond.service.fabric import Fabric
from gorgond.service.life import Service
from gorgond.service.systemd import Notifier
from gorgond.service.watched import Beat
from tests.waiting import eventually_async

OPERATIONS = ("push", "fetch", "listen", "take_if", "claim", "wait", "join", "counts", "ping", "lease_if")

LINKS = {
    "producer": "push",
    "caller": "toy_data",
    "listener": "listener",
    "consumer": "batches",
    "concurrent consumer": "singles",
    "subscription": "topic/batches",
    "concurrent subscription": "topic/singles",
    "figures": "look",
}
"""How the connection of each kind of loop is called, after the name of who has it."""

TASKS = {
    "producer": r"toy@1\.\S+:\w+ push",
    "caller": r"toy_data:toy@1\.\S+ replies",
    "listener": r"toy@1\.\S+ listens to topic",
    "consumer": r"toy@1\.\S+ batches at broker",
    "concurrent consumer": r"toy@1\.\S+ singles at broker",
    "subscription": r"toy@1\.\S+ topic/batches at broker",
    "concurrent subscription": r"toy@1\.\S+ topic/singles at broker",
    "figures": "figures",
    "loop": "the loop",
    "heart": "heart",
}
"""What the error calls it."""

HEARTBEATS = {"producer": r"toy@1\.\S+ push to broker", "caller": r"toy@1\.\S+ toy_data"}
"""And those that run by themselves, when they hang."""

Expect = Callable[[str], None]


class Ill(MemoryBroker):
    """A broker in memory, one of whose connections may raise what none does, or never answer."""

    def __init__(self) -> None:
        super().__init__()
        self.ill: str | tuple[str, ...] = ""  # how that connection's name ends, or may end
        self.fault: Exception | None = None  # None: no answer
        self.met = False  # whether it was asked for anything since

    def link(self, name: str) -> MemoryLink:
        return IllLink(self, name)

    async def meet(self, name: str) -> None:
        if self.ill and name.endswith(self.ill):
            self.met = True
            if self.fault is not None:
                raise self.fault
            await asyncio.Event().wait()


class IllLink(MemoryLink):
    broker: Ill


def _met(operation: str) -> Callable[..., Awaitable[Any]]:
    async def met(link: IllLink, *args: Any, **more: Any) -> Any:
        await link.broker.meet(link.name)
        return await getattr(MemoryLink, operation)(link, *args, **more)

    return met


for each in OPERATIONS:
    setattr(IllLink, each, _met(each))


class Toy(Service):
    """Has one of each."""

    role = "toy"

    def __init__(self, broker: Ill) -> None:
        super().__init__(load(os.devnull, {}, {}), Fabric(broker, broker, Room()), "1")
        self.calls = self.caller("toy_data")
        self.hangs = asyncio.Event()

    async def start(self) -> None:
        self.listener("topic", lambda topic, event: None)
        self.consumer("batches", self.handle)
        self.concurrent_consumer("singles", self.work)
        self.subscription("topic", "batches", self.handle)
        self.concurrent_subscription("topic", "singles", self.work)
        self.loop(self.turn, "the loop")

    async def handle(self, batch: Sequence[Message]) -> Sequence[Outcome]:
        return [DONE] * len(batch)

    async def work(self, message: Message) -> Outcome:
        return DONE

    async def turn(self, beat: Beat) -> None:
        while not self.hangs.is_set():
            beat()
            await asyncio.sleep(0.01)
        await asyncio.Event().wait()

    def doing(self) -> str:
        return "playing"


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Loops turn often, and hang soon."""
    for module in (call, producer, session, concurrent):
        monkeypatch.setattr(module, "BLOCK", 0.05)
    for module in (call, session, topic):
        monkeypatch.setattr(module, "IDLE", 0.05)
    for module in (heart, figures):
        monkeypatch.setattr(module, "TICK", 0.05)
    monkeypatch.setattr(heart, "HANGS", 3.0)
    monkeypatch.setattr(life, "DRAIN_MAX", 0.1)


def connections(toy: Toy, kind: str) -> tuple[str, ...]:
    """How the connection of that kind of loop may be called: a consumer's bears the machine too."""
    return f"{toy.name} {LINKS[kind]}", f"{toy.consumes_as} {LINKS[kind]}"


async def fate(service: Service, harm: Callable[[], object]) -> LoopEnded:
    """What ends the service when it runs, pushes, and is then harmed."""
    running = asyncio.create_task(service.run(Notifier()))
    await service.ready.wait()
    pushing = asyncio.create_task(push(service))
    await eventually_async(lambda: service._heart.lag > 0)  # it has looked, and slept
    harm()
    with pytest.raises(LoopEnded) as ended:
        await asyncio.wait_for(running, 60)
    pushing.cancel()
    await asyncio.wait({pushing})
    return ended.value


async def push(service: Service) -> None:
    """Something again and again: a producer has nothing in hand else."""
    while True:
        service.producer("q", service.fabric.calls).submit("q", (b'{"id":"x","op":"op"}',), lambda error: None)
        await asyncio.sleep(0.01)


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("kind", TASKS)
async def test_a_loop_that_is_cancelled_ends_the_service_which_says_so(kind: str, expected_logs: Expect) -> None:
    expected_logs("could not finish within")

    def cancel() -> None:
        [task] = [task for task in asyncio.all_tasks() if re.match(TASKS[kind], task.get_name())]
        task.cancel()

    ended = await fate(Toy(Ill()), cancel)
    assert re.match(f"{TASKS[kind]}.* was cancelled, and nobody had asked it to end", str(ended))


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("kind", LINKS)
async def test_a_loop_that_fails_ends_the_service_which_says_so(kind: str, expected_logs: Expect) -> None:
    expected_logs("could not finish within|could not give up its desk")
    toy = Toy(broker := Ill())
    broker.fault = ZeroDivisionError("odd")
    ended = await fate(toy, functools.partial(setattr, broker, "ill", connections(toy, kind)))
    assert re.match(f"{TASKS[kind]}.* has failed: ZeroDivisionError: odd", str(ended))
    assert ended.foreign is broker.fault


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("kind", LINKS)
async def test_a_loop_that_hangs_ends_the_service_which_says_so(kind: str, expected_logs: Expect) -> None:
    expected_logs("could not finish within")
    toy = Toy(broker := Ill())
    ended = await fate(toy, functools.partial(setattr, broker, "ill", connections(toy, kind)))
    assert re.match(rf"{HEARTBEATS.get(kind, TASKS[kind])}.* hangs: it has not turned for \d+ s", str(ended))


@pytest.mark.usefixtures("quick")
async def test_a_loop_of_a_role_that_hangs_ends_the_service_which_says_so(expected_logs: Expect) -> None:
    expected_logs("could not finish within")
    toy = Toy(Ill())
    assert re.match(r"the loop hangs: it has not turned for \d+ s", str(await fate(toy, toy.hangs.set)))


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("kind", ["listener", "consumer", "concurrent consumer", "subscription", "caller", "producer"])
async def test_a_loop_that_returns_ends_the_service_which_says_so(
    kind: str, expected_logs: Expect, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected_logs("could not finish within")
    toy = Toy(broker := Ill())
    broker.fault = _Returns()
    for ending in (Producer, Caller):
        monkeypatch.setattr(ending, "_run", returning(ending._run))
    monkeypatch.setattr(AnyConsumer, "run", returning(AnyConsumer.run))
    monkeypatch.setattr(Listener, "run", returning(Listener.run))
    ended = await fate(toy, functools.partial(setattr, broker, "ill", connections(toy, kind)))
    assert re.match(f"{TASKS[kind]}.* has ended, and nobody had asked it to", str(ended))


class _Returns(Exception):
    """Makes a loop return."""


def returning(run: Callable[[Any], Awaitable[None]]) -> Callable[[Any], Awaitable[None]]:
    async def ran(self: Any) -> None:
        with suppress(_Returns):
            await run(self)

    return ran


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("why", ["nobody pushes", "the process was stopped"])
async def test_a_service_that_has_nothing_to_do_or_could_not_run_does_not_hang(why: str, expected_logs: Expect) -> None:
    expected_logs("could not finish within")
    toy = Toy(Ill())
    running = asyncio.create_task(toy.run(Notifier()))
    await eventually_async(lambda: toy._heart.lag > 0)
    if why == "the process was stopped":
        time.sleep(heart.HANGS + 1)  # noqa: ASYNC251 - nothing turns meanwhile
    end = time.monotonic() + heart.HANGS + 1
    await eventually_async(lambda: running.done() or time.monotonic() > end)
    assert not running.done()
    toy.stop()
    await running


async def test_a_loop_that_was_stopped_ends_nothing() -> None:
    toy = Toy(Ill())
    running = asyncio.create_task(toy.run(Notifier()))
    await toy.ready.wait()
    over: list[str] = []
    group = toy.concurrent_subscription("topic", "others", toy.work, then=lambda: over.append("group"))
    listener = toy.listener("other", lambda topic, event: None)
    group.stop()
    listener.stop()
    await eventually_async(lambda: over == ["group"] and not toy._listeners[1:])
    assert not running.done()
    toy.stop()
    await running


async def test_a_loop_that_finds_the_configuration_wrong_ends_the_service_with_that() -> None:
    async def look(_: Beat) -> None:
        raise ConfigError("write a cursor")

    toy = Toy(Ill())
    running = asyncio.create_task(toy.run(Notifier()))
    await toy.ready.wait()
    toy.loop(look, "look")
    with pytest.raises(ConfigError, match="write a cursor"):
        await running


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("end", ["push", "replies"])
@pytest.mark.parametrize("role", [WebServer, AuthServer, AppServer, StatsMonitor])
async def test_what_a_role_pushes_and_asks_with_is_watched(
    role: Callable[[Config, Fabric, str], Service],
    end: str,
    expected_logs: Expect,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path))
    expected_logs("could not finish within|key is empty|nobody may look")
    flags = {
        "web.port": "0",
        "stats.port": "0",
        "notify.port": "0",
        "web.address": "127.0.0.1",
        "stats.address": "127.0.0.1",
    }
    broker = Ill()
    service = role(load(os.devnull, {}, flags), Fabric(broker, broker, Room()), "1")
    link = {"push": "push", "replies": {"app": "provider_data"}.get(service.role, f"{service.role}_data")}[end]
    ended = await fate(service, functools.partial(setattr, broker, "ill", f"{service.name} {link}"))
    assert re.match(rf"{service.name} {link}.* hangs: it has not turned for \d+ s", str(ended))


async def test_a_producer_whose_stop_is_cut_short_has_ended_all_the_same() -> None:
    # given a producer whose push is under way, and never answered
    broker = Ill()
    pusher = Producer(broker, "toy@1")
    pusher.start()
    broker.ill = "push"
    pushing = asyncio.create_task(pusher.push("jobs", Message("job")))
    await eventually_async(lambda: broker.met)
    # when whoever stops it loses patience
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await pusher.stop(60)
    # then nothing of it runs on, and who pushed is told
    assert not [task for task in asyncio.all_tasks() if task.get_name().startswith("toy@1")]
    with pytest.raises(OutcomeUnknown):
        await pushing
