"""The watch over a broker: scripts are there before they are run, and what hangs is started again."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

import pytest

from gorgond.redpill import keys, protocol, script
from gorgond.service import watch
from gorgond.service.watch import Watch
from tests.conftest import RedisServer
from tests.waiting import HANGS, eventually_async

SLOW = {"busy_reply_threshold": "100"}  # ms after which Redis says that a script keeps it busy


@asynccontextmanager
async def watched(server: RedisServer, patience: float) -> AsyncIterator[Watch]:
    watching = Watch(str(server.socket), patience=patience)
    task = asyncio.ensure_future(watching.run())
    yield watching
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


def has_scripts(server: RedisServer) -> bool:
    return server.cli("SCRIPT", "EXISTS", *(each.sha for each in script.ALL)).split() == ["1"] * len(script.ALL)


async def start_script(server: RedisServer, text: str) -> asyncio.subprocess.Process:
    """Somebody has Redis run this script."""
    return await asyncio.create_subprocess_exec(
        "redis-cli", "-s", str(server.socket), "EVAL", text, "1", "key", stdout=asyncio.subprocess.PIPE
    )


async def test_the_scripts_and_their_version_are_there_after_each_start(redis_server: RedisServer) -> None:
    async with watched(redis_server, 60):
        await eventually_async(lambda: has_scripts(redis_server))
        assert redis_server.cli("GET", keys.PROTOCOL) == protocol.VERSION
        # when Redis is started again
        redis_server.kill()
        redis_server.start()
        # then it has them again
        await eventually_async(lambda: has_scripts(redis_server))
        assert redis_server.cli("GET", keys.PROTOCOL) == protocol.VERSION


async def test_a_broker_that_was_killed_has_its_scripts_again_without_waiting_for_the_next_look(
    redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given a watch that looks seldom
    monkeypatch.setattr(watch, "TICK", HANGS)
    async with watched(redis_server, 60):
        await eventually_async(lambda: has_scripts(redis_server))
        # when Redis is killed and started again, then it has them all the same
        redis_server.kill()
        redis_server.start()
        await eventually_async(lambda: has_scripts(redis_server))


async def test_a_broker_of_another_version_is_given_no_scripts(
    redis_server: RedisServer, expected_logs: Callable[[str], None], caplog: pytest.LogCaptureFixture
) -> None:
    expected_logs("is not given our scripts: its keys and scripts are of version 2.7, .*: upgrade this gorgond")
    redis_server.cli("SET", keys.PROTOCOL, "2.7")
    async with watched(redis_server, 60):
        await eventually_async(lambda: caplog.records)
        assert redis_server.cli("GET", keys.PROTOCOL) == "2.7"
        assert not has_scripts(redis_server)
        # until it is one of ours
        redis_server.cli("DEL", keys.PROTOCOL)
        await eventually_async(lambda: has_scripts(redis_server))


async def test_a_broker_without_room_is_given_the_scripts_all_the_same(redis_server: RedisServer) -> None:
    redis_server.cli("CONFIG", "SET", "maxmemory", "1")
    async with watched(redis_server, 60):
        await eventually_async(lambda: has_scripts(redis_server))
        assert redis_server.cli("GET", keys.PROTOCOL) == ""


async def test_a_script_that_does_not_end_is_ended(
    redis_factory: Callable[..., RedisServer], expected_logs: Callable[[str], None]
) -> None:
    expected_logs("kept the broker .* from answering")
    server = redis_factory(**SLOW)
    pid = server.pid
    async with watched(server, 60):
        await eventually_async(lambda: has_scripts(server))
        # when somebody runs a loop
        looping = await start_script(server, "while true do end")
        # then it is ended, and Redis goes on
        said, _ = await looping.communicate()
        assert b"killed by user" in said
        assert (server.cli("PING"), server.pid) == ("PONG", pid)


async def test_what_cannot_be_ended_or_hangs_is_killed(
    redis_factory: Callable[..., RedisServer], expected_logs: Callable[[str], None]
) -> None:
    expected_logs("kept the broker .* from answering")
    expected_logs("did not answer for 2 s: it is killed")
    # given a loop that has written something, or a Redis that is stopped
    for what in ("loop", "stop"):
        server = redis_factory(**SLOW)
        assert server.process is not None
        async with watched(server, 2):
            await eventually_async(lambda: has_scripts(server))  # noqa: B023 - asked here and now
            if what == "loop":
                looping = await start_script(server, "redis.call('SET', KEYS[1], 1) while true do end")
            else:
                os.kill(server.pid, signal.SIGSTOP)
            # then it is killed, and started again as systemd would
            assert await asyncio.to_thread(server.process.wait, 60) == -signal.SIGKILL
            server.kill()
            server.start()
            await eventually_async(lambda: has_scripts(server))  # noqa: B023
        if what == "loop":
            await looping.communicate()
