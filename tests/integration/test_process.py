"""The end of a process, and what systemd and the operator tell it and hear of it."""

from __future__ import annotations

import asyncio
import contextlib
import re
import signal
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import RedisServer
from tests.integration.killing import Fabric, Pusher
from tests.waiting import eventually, eventually_async


async def test_a_second_store_of_a_name_ends_the_first(fabric_of: Callable[..., Fabric], durable: RedisServer) -> None:
    fabric = fabric_of(durable.url)
    pusher = Pusher(fabric, 1, 0)
    first = fabric.start_store()
    second = fabric.start_store()
    # a loop in a thread failed: the process says why and ends, having drained the others
    assert first.process.wait(timeout=60) == 1
    assert re.search(r"error   store@1 \S+ \S+ at broker .* has failed: another process has taken over", first.text)
    assert "Traceback" not in first.text
    await pusher.push(10)
    await fabric.kept(pusher.accepted)
    assert second.stop() == 0


async def test_sigterm_drains(fabric_of: Callable[..., Fabric], durable: RedisServer) -> None:
    fabric = fabric_of(durable.url)
    pusher = Pusher(fabric, 1, 0)
    store = fabric.start_store(TEST_SLOW="2")
    # given a batch in hand, and more in the queue
    await pusher.push(1)
    await eventually_async(fabric.in_hand)
    await pusher.push(39)
    # when
    assert store.stop() == 0
    # then the batch in hand was settled, and no other is begun
    counts = await fabric.counts()
    assert (counts.done, counts.in_flight, counts.queued) == (1, 0, 39)
    assert fabric.stored() == {"item0"}
    assert "unfinished" not in fabric.start_store().text
    await fabric.kept(pusher.accepted)


def test_signals_of_the_operator_and_the_watchdog(
    fabric_of: Callable[..., Fabric], shared_redis: RedisServer, tmp_path: Path
) -> None:
    fabric = fabric_of(shared_redis.url)
    shared_redis.cli("CONFIG", "SET", "appendonly", "yes")
    file = tmp_path / "gorgond.conf"
    file.write_text("[log]\nlevel = info\n")
    systemd = Systemd(tmp_path)
    store = fabric.child("store", "--config", str(file), NOTIFY_SOCKET=str(systemd.path))
    systemd.hears("READY=1")
    # SIGHUP: a valid configuration is applied, an invalid one refused
    file.write_text("[log]\nlevel = warning\n")
    store.signal(signal.SIGHUP)
    systemd.hears("READY=1", 2)
    file.write_text("[log]\nlevel = loud\n")
    store.signal(signal.SIGHUP)
    store.logged("the new configuration is refused, the old one stays: .*gorgond.conf:2: .*level cannot be 'loud'")
    assert "has read its configuration again" not in store.text  # that is an info
    file.write_text("[log]\nlevel = info\n")
    store.signal(signal.SIGHUP)
    store.logged("has read its configuration again")
    # SIGABRT: every thread's stack
    store.signal(signal.SIGABRT)
    assert store.process.wait(timeout=60) == -signal.SIGABRT
    assert store.text.count('File "') > 10
    assert "Fatal Python error: Aborted" in store.text
    assert len(re.findall(r"(Current t|T)hread 0x", store.text)) >= 3  # main, and the consumers of two queues
    systemd.socket.close()
    shared_redis.cli("CONFIG", "SET", "appendonly", "no")


def test_a_wrong_configuration_is_exit_code_78(fabric_of: Callable[..., Fabric], shared_redis: RedisServer) -> None:
    fabric = fabric_of(shared_redis.url)
    for name, value in (("GORGOND_STORE_LANES", "many"), ("GORGOND_STORE_URL", "sqlite:///:memory:")):
        child = fabric.child("store", **{name: value})
        assert child.process.wait(timeout=60) == 78
        assert child.text.splitlines()[-1].startswith("gorgond: ")
        assert "Traceback" not in child.text


class Systemd:
    """The socket on which systemd hears its services."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "notify"
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(self.path))
        self.socket.setblocking(False)
        self.heard: list[str] = []

    def hears(self, word: str, times: int = 1) -> None:
        """Wait until it has heard that so often."""
        eventually(lambda: self.times(word) >= times)

    def times(self, word: str) -> int:
        with contextlib.suppress(BlockingIOError):
            while True:
                self.heard += self.socket.recv(4096).decode().splitlines()
        return sum(line.startswith(word) for line in self.heard)


def test_systemd_is_told_everything_and_the_watchdog_only_while_consumers_turn(
    fabric_of: Callable[..., Fabric], durable: RedisServer, tmp_path: Path
) -> None:
    fabric = fabric_of(durable.url)
    systemd = Systemd(tmp_path)
    environ = {"NOTIFY_SOCKET": str(systemd.path), "WATCHDOG_USEC": "4000000", "TEST_HANG": "item0"}
    # given a store that lives well
    store = fabric.start_store(**environ)
    systemd.hears("READY=1")
    systemd.hears(
        "STATUS=consuming auth_store_get, auth_store_put, notify_store_get, provider_store_get, "
        "store_get, store_put, store_search: "
    )
    systemd.hears("WATCHDOG=1")
    store.signal(signal.SIGHUP)
    systemd.hears("RELOADING=1")
    systemd.hears("READY=1", 2)
    # when it waits for its broker, that is said and no reason to restart it
    durable.kill()
    systemd.hears("STATUS=waiting for broker")
    fed = systemd.times("WATCHDOG=1")
    systemd.hears("WATCHDOG=1", fed + 3)
    durable.start()
    store.logged("is back")
    # when one handler hangs, the watchdog is not fed any more, though the other loops turn
    asyncio.run(Pusher(fabric, 1, 0).push(1))
    store.logged(r"store_put\S* .*has not turned for \d+ s")
    fed = systemd.times("WATCHDOG=1")
    store.logged(r"store_put\S* .*has not turned for \d+ s", 3)
    assert systemd.times("WATCHDOG=1") == fed
    store.kill()

    store = fabric.start_store("2", **environ)
    systemd.hears("READY=1", 3)
    assert store.stop() == 0
    assert systemd.times("STOPPING=1") == 1
    systemd.socket.close()


@pytest.mark.parametrize("role", ["web", "store"])
def test_one_that_the_broker_does_not_let_in_is_never_ready(
    fabric_of: Callable[..., Fabric], shared_redis: RedisServer, tmp_path: Path, role: str
) -> None:
    # given a server with a wrong password for the broker, as after a change of it
    systemd = Systemd(tmp_path)
    fabric = fabric_of(shared_redis.url)
    environ = {"NOTIFY_SOCKET": str(systemd.path), "GORGOND_WEB_PORT": "0"}
    child = fabric.child(role, GORGOND_BROKER_USER="nobody", GORGOND_BROKER_PASSWORD="wrong", **environ)
    # then it ends and says why, and systemd, which heard of no READY, stops a rolling restart there
    assert child.process.wait(timeout=60) == 1
    systemd.hears("STATUS=failed: ")
    systemd.socket.close()
    assert "READY=1" not in systemd.heard
    assert "invalid username-password pair" in child.text
