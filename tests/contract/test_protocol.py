"""docs/protocol.md is enough to write a role: here is one that knows nothing of gorgond's code but its scripts.

It speaks to Redis through the plain client, as a program in another language would, and works with ours both ways.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import redis
from redis import exceptions

from gorgond.redpill import (
    BrokerAway,
    BrokerRefused,
    Caller,
    Consumer,
    Done,
    Message,
    Producer,
    QueueFull,
    connect,
    keys,
    now_ms,
)
from gorgond.redpill.meaning import ROUND_TIMEOUT, meaning
from gorgond.redpill.message import decode
from gorgond.redpill.persist import BACKOFF
from tests.conftest import RedisServer
from tests.waiting import HANGS

ROOT = Path(__file__).parents[2]
SCRIPTS = ROOT / "gorgond" / "redpill" / "scripts"
DOCS = (ROOT / "docs" / "protocol.md").read_text()


class Stranger:
    """A role in another language."""

    def __init__(self, server: RedisServer) -> None:
        self.client = redis.Redis(unix_socket_path=str(server.socket))
        self._shas = {name: self._load(name) for name in ("push", "take", "claim", "leave")}

    def _load(self, script: str) -> bytes:
        found: bytes = self.ask("SCRIPT", "LOAD", self._text(script))
        return found

    def _text(self, script: str) -> str:
        lines = []
        for line in (SCRIPTS / f"{script}.lua").read_text().splitlines():
            mark, _, names = line.strip().partition("--! ")
            lines += [self._text(name) for name in names.split(" ")] if names and not mark else [line]
        return "\n".join(lines)

    def ask(self, *command: Any) -> Any:
        return self.client.execute_command(*command)  # type: ignore[no-untyped-call]

    def run(self, script: str, names: Sequence[str], *args: Any) -> Any:
        return self.ask("EVALSHA", self._shas[script], len(names), *names, *args)

    def push(self, queue: str, number: int, *messages: bytes, limit: int = 1000) -> Any:
        q = f"gorgon:{{{queue}}}"
        waiting = [q, f"{q}:held", f"{q}:paused", f"{q}:delayed"]
        names = [*waiting, f"{q}:producer:stranger", f"{q}:pushed", f"{q}:memory", f"{q}:turn", f"{q}:bell"]
        return self.run("push", names, number, limit, 1_000_000, 1000, 0, *messages)

    def consume(self, queue: str, consumer: str, last: str) -> Iterator[bytes]:
        """Answer each message with its arguments, but give up what asks for it, until the one with the id `last` is
        done; yields what was handled."""
        q = f"gorgon:{{{queue}}}"
        desk, consumers = f"{q}:desk:{consumer}", f"{q}:lanes"
        status, *rest = self.run("take", [desk, consumers], consumer, "")
        if status == b"stale":
            status, *rest = self.run("take", [desk, consumers], consumer, rest[0])
        assert status == b"ok"
        token, length = rest
        claim, done, failures, want = 0, 0, list[Any](), 10
        while True:
            claim += 1
            names = [q, desk, f"{q}:paused", f"{q}:delayed", f"{q}:dead", consumers, f"{q}:counts"]
            names += [f"{q}:turn", f"{q}:bell", f"{q}:called"]
            bounds = (4_000_000, 100, 0)
            answer = self.run(
                "claim", names, consumer, token, claim, length, done, want, 3, 0, 0, *bounds, 0, *failures
            )
            assert answer[0] == b"ok"
            length, messages = answer[1], answer[4:]
            done, failures = 0, []
            if want == 0:
                names = [q, f"{q}:held", f"{q}:paused", desk, consumers, f"{q}:turn", f"{q}:bell"]
                self.run("leave", names, consumer, token, 0)
                return
            if not messages:
                raw = self.ask("BLMOVE", q, desk, "LEFT", "RIGHT", 1)
                length = 0 if raw is None else 1
                messages = [] if raw is None or raw.startswith(b'{"attempts":') else [raw]
            for index, raw in enumerate(messages):
                message = json.loads(raw)
                if message["op"] == "hopeless":
                    failures += [index, -1, "nobody can do that", 1, ""]
                elif reply := message.get("reply"):
                    body = json.dumps({"id": message["id"]}) + "\n" + json.dumps(message["args"])
                    self.ask("RPUSH", f"gorgon:{{{reply}}}:replies", body)
                    self.ask("PEXPIRE", f"gorgon:{{{reply}}}:replies", 60_000)
                if message["id"] == last:
                    want = 0
                yield raw
            done = len(messages)


@pytest.fixture
def stranger(shared_redis: RedisServer) -> Iterator[Stranger]:
    found = Stranger(shared_redis)
    yield found
    found.client.close()


async def test_a_stranger_answers_our_calls(stranger: Stranger, shared_redis: RedisServer) -> None:
    broker = connect(shared_redis.url, durable=False)
    link = broker.link("test")
    async with Producer(broker, "p") as producer, Caller(broker, producer, "data", "p") as caller:
        # given a stranger that waits, and others of ours
        handled = asyncio.create_task(asyncio.to_thread(lambda: list(stranger.consume("q", "stranger@1.0", "last"))))
        # when we ask one by one and many at once
        deadline = now_ms() + 30_000
        for number in range(3):
            reply = await caller.call("q", Message("echo", {"n": number}, deadline=deadline))
            assert json.loads(reply.body) == {"n": number}
        calls = [caller.call("q", Message("echo", {"n": number}, deadline=deadline)) for number in range(50)]
        assert [json.loads((await call).body) for call in calls] == [{"n": number} for number in range(50)]
        await producer.push("q", Message("hopeless"), Message("job", id="last"))
        # then each is handled once, and the books are even
        assert len({decode(raw).id for raw in await handled}) == 55
        (counts,) = await link.counts(["q"])
        assert (counts.done, counts.dead, counts.in_flight, counts.difference()) == (54, 1, 0, 0)
        assert [letter.reason for letter in await link.dead("q")] == ["nobody can do that"]
        await link.close()


async def test_we_answer_a_strangers_calls(stranger: Stranger, shared_redis: RedisServer) -> None:
    broker = connect(shared_redis.url, durable=False)

    async def handle(messages: Sequence[Message]) -> Sequence[Done]:
        return [Done(json.dumps(message.args).encode()) for message in messages]

    consumer = Consumer(broker, "q", "ours", handle)
    running = asyncio.create_task(consumer.run())

    def ask() -> list[bytes]:
        question = b'{"id":"x","op":"echo","args":{"n":7},"reply":"stranger_data:1"}'
        assert stranger.push("q", 1, question) == 1
        assert stranger.push("q", 1, question) == 1  # a repeat, of which nobody hears
        assert stranger.push("full", 2, question, limit=0) == 0
        _, replies = stranger.ask("BLMPOP", 10, 1, "gorgon:{stranger_data:1}:replies", "LEFT", "COUNT", 1000)
        assert stranger.ask("BLMPOP", 0.05, 1, "gorgon:{stranger_data:1}:replies", "LEFT", "COUNT", 1000) is None
        return list(replies)

    assert await asyncio.to_thread(ask) == [b'{"id":"x"}\n{"n": 7}']
    consumer.stop()
    await running


def test_a_push_by_hand(shared_redis: RedisServer, tmp_path: Path) -> None:
    # given a redis-cli that finds the test's Redis
    shim = tmp_path / "redis-cli"
    shim.write_text(f'#!/bin/sh\nexec {shutil.which("redis-cli")} -s {shared_redis.socket} "$@"\n')
    shim.chmod(0o755)
    # when the commands of the page are run as they stand there
    (block,) = re.findall(r"## A push by hand\n.*?```sh\n(.*?)```", DOCS, re.DOTALL)
    environ = {**os.environ, "PATH": f"{tmp_path}:{Path(sys.executable).parent}:{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", "-euc", block], cwd=ROOT, env=environ, capture_output=True, text=True, check=False, timeout=HANGS
    )
    # then a message is queued
    assert (done.returncode, done.stdout) == (0, "1\n"), done.stderr
    assert decode(shared_redis.cli("LINDEX", "gorgon:{store_put}", "0").encode()).op == "items.insert"


def test_the_page_has_every_key_script_and_field() -> None:
    rows = [line.split("|")[1:-1] for line in DOCS.splitlines() if line.startswith("| ")]
    firsts = {row[0].strip().strip("`") for row in rows}
    declared = set(re.findall(r"^    (gorgon:\S+)", keys.__doc__ or "", re.MULTILINE))
    assert declared
    assert declared == {first for first in firsts if first.startswith("gorgon:")}
    assert {each.name for each in fields(Message)} <= firsts
    named = set(re.findall(r"`(\w+)\.lua`", DOCS))
    assert named == {path.stem for path in SCRIPTS.glob("*.lua")}


def test_the_page_says_what_each_error_means() -> None:
    kinds = {"wait": BrokerAway, "refuse": QueueFull, "end": BrokerRefused}
    for means, kind in kinds.items():
        row = re.findall(rf"^\| {means} \|(.*?)\|", DOCS.partition("**What an error means.**")[2], re.MULTILINE)[0]
        for code in re.findall("`([A-Z]+)`", row):
            assert type(meaning(exceptions.ResponseError(f"{code} of old"))) is kind, code
    # and at the login, where it is the driver that reads what Redis says
    assert type(meaning(exceptions.AuthenticationError("of old"))) is BrokerRefused
    assert type(meaning(exceptions.BusyLoadingError("of old"))) is BrokerAway
    assert f"A round trip may take {ROUND_TIMEOUT:g} s" in DOCS
    assert f"after {BACKOFF[0]} s, then twice as long each time, {BACKOFF[1]} s at most" in DOCS.replace("\n", " ")
