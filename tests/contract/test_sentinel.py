"""A set of Redis servers under Sentinels: a loop is with the master, and with the next one when it is replaced."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from gorgond.errors import ClockOff
from gorgond.redpill import Broker, Consumer, Message, Producer, connect
from gorgond.service.clock import HostClock
from tests.contract.stage import OUTAGE, Handler, Stage, refused, running
from tests.faketime import for_redis
from tests.programs import started
from tests.sets import NAME, PASSWORD, MakeSet, Set
from tests.waiting import HANGS, LONG, eventually_async
from tools.speed.ports import free_port


async def replaced(made: Set, replace: Callable[[], object], broker: Broker) -> None:
    """Messages are pushed and handled before the master is replaced, while it is, and afterwards: none is lost."""
    handler = Handler()
    async with running(Consumer(broker, "q", "one", handler)), Producer(broker, "p") as producer:
        await producer.push("q", *(Message("op", id=f"before-{number}") for number in range(10)))
        old = made.master()
        replacing = asyncio.get_running_loop().run_in_executor(None, replace)
        for number in range(10):
            await producer.push("q", Message("op", id=f"during-{number}"))
        await replacing
        await asyncio.to_thread(made.switched, old)
        await producer.push("q", Message("op", id="after"))
        await eventually_async(lambda: len(set(handler.ids)) == 21)
    await Stage(broker).settled()


async def test_an_operator_makes_another_one_the_master(
    make_set: MakeSet, expected_logs: Callable[[str], None]
) -> None:
    expected_logs(OUTAGE)
    expected_logs("lost its desk")
    made = make_set()
    await replaced(made, made.fail_over, connect(made.url(), durable=False))


async def test_a_master_that_is_killed_or_stopped_is_left(
    make_set: MakeSet, expected_logs: Callable[[str], None]
) -> None:
    expected_logs(OUTAGE)
    expected_logs("lost its desk|unfinished on its desk")
    made = make_set(down_after=1.0)
    broker = connect(made.url(), durable=False)
    # when it is stopped, and goes on when another one has taken over
    stopped = made.master()
    await replaced(made, stopped.pause, broker)
    stopped.resume()
    await eventually_async(lambda: not stopped.is_master())
    # and when the next one is killed
    await replaced(made, made.master().kill, broker)


async def test_one_sentinel_of_three_may_be_away_and_two_may_not(make_set: MakeSet) -> None:
    made = make_set(replicas=1)
    made.sentinels[0].kill()
    assert await refused(made.url()) == "nothing is wrong"
    made.sentinels[1].pause()
    told = await refused(made.url())
    assert told.startswith(f"BrokerAway: no majority of the Sentinels of {NAME} names a master (")
    assert "no answer in time; " in told
    assert "it names " in told


async def test_sentinels_that_are_slow_are_waited_for_and_one_beside_those_that_differ_is_not(
    make_set: MakeSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gorgond.redpill.sentinels.ANSWER", HANGS)
    monkeypatch.setattr("gorgond.redpill.sentinels.OTHERS", 0.01)
    monkeypatch.setattr("gorgond.redpill.rediswire.ROUND_TIMEOUT", HANGS)
    made = make_set(replicas=1, down_after=600.0)
    _, second, third = made.sentinels
    # given two that hang for a moment when they are asked, then they are heard when they go on
    second.pause()
    third.pause()
    asyncio.get_running_loop().call_later(0.3, second.resume)
    assert await refused(made.url()) == "nothing is wrong"
    # given two that name different masters, and one that hangs
    second.tell("SENTINEL", "REMOVE", NAME)
    second.tell("SENTINEL", "MONITOR", NAME, *map(str, made.members[1].place), "2")
    # then that one is not waited for
    async with asyncio.timeout(LONG):
        told = await refused(made.url())
    assert told.startswith("BrokerAway: no majority of the Sentinels")
    assert "no answer in time" in told
    third.resume()


async def test_sentinels_that_would_die_together_are_told(make_set: MakeSet, caplog: pytest.LogCaptureFixture) -> None:
    assert await refused(make_set(replicas=1).url()) == "nothing is wrong"
    assert "3 of 3 Sentinels are on" in caplog.text
    assert "and when it dies nobody names another master: have each on a host of its own" in caplog.text


async def test_an_old_master_is_not_taken_for_the_master(make_set: MakeSet) -> None:
    # given a master that follows another one, and Sentinels that have not seen it yet
    made = make_set(replicas=1, down_after=60.0)
    for each in made.sentinels:
        each.pause()
    made.members[0].cli("REPLICAOF", *map(str, made.members[1].place))
    waiting = asyncio.create_task(refused(made.url()))
    for each in made.sentinels:
        each.resume()
    # then nobody goes there
    host, port = made.members[0].place
    told = await waiting
    assert told.startswith("BrokerAway: ")
    assert f"{host}:{port}, which the Sentinels name, is no master yet" in told or "no majority" in told


async def test_the_replicas_tell_that_it_is_the_clock_of_the_master_that_is_off(
    make_set: MakeSet,
    c_compiler: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    expected_logs: Callable[[str], None],
) -> None:
    expected_logs(
        "the broker's clock is 3,600.0 s ahead of that of this host, db2, and of most of the broker's servers"
    )
    # given a master that is started again on a host whose clock is an hour ahead
    made = make_set(replicas=2, down_after=600.0)
    master, ahead = made.members[0], tmp_path / "ahead"
    ahead.write_text("3600")
    master.kill()
    with monkeypatch.context() as environment:
        environment.setenv("LD_PRELOAD", for_redis(c_compiler, tmp_path))
        environment.setenv("FAKETIME_TIMESTAMP_FILE", str(ahead))
        master.start()
    await eventually_async(lambda: "connected_slaves:2" in master.cli("INFO", "replication"))
    # when something starts on a host whose clock is right
    broker = connect(made.url(copies=0), durable=False)
    link = broker.link("test")
    clock = HostClock("db2", broker.time, 2.0)
    await clock.compare(link)
    # then it may, where it could not know without them
    assert clock.ahead == pytest.approx(-3600, abs=1)
    with pytest.raises(ClockOff):
        HostClock("db2", broker.time, 2.0).look()
    await link.close()
    # and so does a server
    settings = {"GORGOND_BROKER_URL": made.url(copies=0), "GORGOND_STORE_URL": f"sqlite:///{tmp_path}/a.db"}
    with started("store", output=tmp_path / "log", **settings):
        await eventually_async(lambda: " started" in (tmp_path / "log").read_text())
    assert "the broker's clock is 3,600.0 s ahead of that of this host" in (tmp_path / "log").read_text()


async def test_more_copies_than_replicas_are_refused_with_what_to_do(
    make_set: MakeSet, expected_logs: Callable[[str], None]
) -> None:
    made = make_set(replicas=1)
    assert await refused(made.url(copies=2)) == (
        f"BrokerRefused: its address says copies=2, and {NAME} has 1 replica: "
        "say copies=1, or make another host's Redis a replica"
    )
    # and one that is away now is told, and waited for
    expected_logs("of the 1 replica that must have what counts the broker has 0 now")
    made.members[1].kill()
    await eventually_async(lambda: "connected_slaves:0" in made.members[0].cli("INFO", "replication"))
    assert await refused(made.url()) == "nothing is wrong"


async def test_a_set_of_another_name_is_refused(make_set: MakeSet) -> None:
    made = make_set(replicas=1)
    told = await refused(made.url().replace(f"/{NAME}?", "/other?"))
    assert told == "BrokerRefused: the Sentinels know no set that is called other"


async def test_sentinels_that_let_nobody_ask_are_told_how(make_set: MakeSet) -> None:
    made = make_set(replicas=1)
    for each in made.sentinels:
        each.tell("ACL", "SETUSER", "default", "off")
    told = await refused(made.url())
    assert told.startswith("BrokerRefused: a Sentinel says: NO")
    assert "let anybody ask, in its sentinel.conf: user default on nopass -@all +ping" in told


async def test_a_redis_is_taken_for_no_sentinel(make_set: MakeSet) -> None:
    made = make_set(replicas=2)
    places = ",".join(f"{host}:{port}" for host, port in (each.place for each in made.members))
    assert "Sentinel" in await refused(f"sentinel://:{PASSWORD}@{places}/{NAME}")


async def test_nobody_there_is_waited_for(make_set: MakeSet) -> None:
    host = make_set(replicas=1).members[0].place[0]
    places = ",".join(f"{host}:{free_port()}" for _ in range(3))
    assert (await refused(f"sentinel://{places}/{NAME}")).startswith("BrokerAway: no majority")


NONSENSE = {
    "numbers": b":1\r\n:2\r\n",
    "too little": b"*1\r\n$1\r\nx\r\n*0\r\n",
    "no port": b"*2\r\n$8\r\n10.0.0.1\r\n$1\r\nx\r\n*0\r\n",
    "no text": b"*2\r\n$2\r\n\xff\xfe\r\n$4\r\n6379\r\n*0\r\n",
    "no host": b"*2\r\n$7\r\nx/y@a?b\r\n$4\r\n6379\r\n*0\r\n",
    "no list": b"*2\r\n$8\r\n10.0.0.1\r\n$4\r\n6379\r\n:5\r\n",
}


class Nonsense(asyncio.Protocol):
    """Answers everything so."""

    def __init__(self, answer: bytes, open: list[asyncio.Transport]) -> None:
        self._answer, self._open = answer, open

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._open.append(transport)

    def data_received(self, data: bytes) -> None:
        self._transport.write(self._answer)


@asynccontextmanager
async def nonsensical(host: str, answer: bytes) -> AsyncIterator[str]:
    """The address of one that calls itself a Sentinel."""
    opened: list[asyncio.Transport] = []
    server = await asyncio.get_running_loop().create_server(lambda: Nonsense(answer, opened), host, 0)
    try:
        yield f"{host}:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for each in opened:
            each.abort()


async def test_a_sentinel_that_answers_nonsense_counts_as_one_that_is_away(make_set: MakeSet) -> None:
    made = make_set(replicas=1)
    host, port = made.sentinels[0].place
    for answer in NONSENSE.values():
        async with AsyncExitStack() as opened:
            places = [await opened.enter_async_context(nonsensical(host, answer)) for _ in range(3)]
            # given one of three that answers it, then the others are heard
            assert await refused(made.url().replace(f"{host}:{port}", places[0])) == "nothing is wrong"
            # and three are not believed
            told = await refused(f"sentinel://{','.join(places)}/{NAME}")
            assert told.startswith("BrokerAway: no majority")
            assert told.count("its answer makes no sense") == 3
