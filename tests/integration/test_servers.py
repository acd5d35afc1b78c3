"""The servers that the tests start themselves: they serve, die, come back with their data, and leave nothing."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from typing import Any

import psutil
import pymongo
import pytest

from tests.conftest import MongodServer, RedisServer, Server
from tests.waiting import eventually, eventually_async


def test_redis_killed_comes_back_with_what_it_had_kept(redis_factory: Callable[..., RedisServer]) -> None:
    # given a Redis that writes every change to disk
    server = redis_factory(appendonly="yes", appendfsync="always")
    server.cli("SET", "note", "kept")
    # when it is killed and started again
    server.kill()
    server.start()
    # then what it had said OK to is there, at the same address
    assert server.cli("GET", "note") == "kept"


def test_redis_takes_options(redis_factory: Callable[..., RedisServer]) -> None:
    server = redis_factory(maxmemory="8mb", maxmemory_policy="noeviction")
    assert server.cli("CONFIG", "GET", "maxmemory").split() == ["maxmemory", str(8 << 20)]


def test_an_error_reply_of_redis_is_raised(shared_redis: RedisServer) -> None:
    with pytest.raises(AssertionError, match="unknown command"):
        shared_redis.cli("NONSENSE")


def test_a_paused_redis_goes_on_where_it_was(redis_server: RedisServer) -> None:
    # given a paused Redis
    pid = redis_server.pid
    redis_server.pause()
    eventually(lambda: psutil.Process(pid).status() == psutil.STATUS_STOPPED)
    # when it is resumed
    redis_server.resume()
    # then it is the same process and answers
    assert redis_server.ready()
    assert redis_server.pid == pid


def test_a_paused_redis_can_be_killed(redis_server: RedisServer) -> None:
    pid = redis_server.pid
    redis_server.pause()
    redis_server.kill()
    assert not psutil.pid_exists(pid)


def test_a_redis_that_cannot_start_says_why(redis_factory: Callable[..., RedisServer]) -> None:
    running = list(Server.alive)
    with pytest.raises(pytest.fail.Exception, match="no-such-option"):
        redis_factory(no_such_option="1")
    assert Server.alive == running


@pytest.mark.parametrize("turn", [1, 2])
def test_the_shared_redis_is_empty_for_every_test(shared_redis: RedisServer, turn: int) -> None:
    assert shared_redis.cli("DBSIZE") == "0"
    shared_redis.cli("SET", "left over from turn", str(turn))


def test_mongod_killed_comes_back_with_what_it_had_kept(mongod_factory: Callable[[], MongodServer]) -> None:
    # given a mongod with one journaled document
    server = mongod_factory()
    client: pymongo.MongoClient[dict[str, Any]] = pymongo.MongoClient(server.url, w=1, journal=True)
    client.notes.items.insert_one({"_id": "1"})
    # when it is killed and started again
    server.kill()
    server.start()
    # then the document is there
    assert client.notes.items.find_one() == {"_id": "1"}
    client.close()


def test_closing_leaves_no_process_and_no_data(redis_factory: Callable[..., RedisServer]) -> None:
    # given a Redis with a child that writes a dump
    server = redis_factory(rdb_key_save_delay="1000000")
    server.cli("MSET", "a", "1", "b", "2")
    server.cli("BGSAVE")
    family = [psutil.Process(server.pid), *psutil.Process(server.pid).children()]
    assert len(family) == 2
    # when the test ends
    server.kill()
    # then both are gone
    eventually(lambda: not any(process.is_running() and process.status() != "zombie" for process in family))


async def test_async_tests_run_and_wait_without_blocking() -> None:
    async def here() -> str:
        return "here"

    assert await eventually_async(here) == "here"
    assert await eventually_async(os.getpid) == os.getpid()


def test_expected_logs_are_allowed(expected_logs: Callable[[str], None]) -> None:
    expected_logs("broker .* away")
    logging.getLogger("gorgond.redpill").warning("broker %s is away", "unix:///x")
