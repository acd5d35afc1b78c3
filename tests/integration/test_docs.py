"""The programs in docs/redpill.md are run as they stand there."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
from pathlib import Path

import pytest

from gorgond import redpill
from tests.conftest import RedisServer
from tests.waiting import eventually_async

DOCS = Path(__file__).parents[2] / "docs" / "redpill.md"
SECTIONS = re.compile(r"^## (?P<title>[^\n]+)\n(?P<text>.*?)(?=^## |\Z)", re.DOTALL | re.MULTILINE)
BLOCK = re.compile(r"```python\n(.*?)```", re.DOTALL)


@pytest.fixture
def redis(redis_server: RedisServer) -> RedisServer:
    redis_server.cli("CONFIG", "SET", "appendonly", "yes", "maxmemory-policy", "noeviction")
    return redis_server


@pytest.fixture
def programs(redis: RedisServer, tmp_path: Path) -> dict[str, Path]:
    """The section's title → its program, talking to the test's Redis."""
    found = {}
    for section in SECTIONS.finditer(DOCS.read_text()):
        for source in BLOCK.findall(section["text"]):
            assert source.count('"redis://localhost"') == 1
            path = tmp_path / f"{section['title'].replace(' ', '_')}.py"
            path.write_text(source.replace("redis://localhost", redis.url))
            found[section["title"]] = path
    return found


def run(program: Path) -> str:
    done = subprocess.run([sys.executable, str(program)], check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


async def test_producer_consumer_caller_and_look(programs: dict[str, Path], redis: RedisServer) -> None:
    # given the consumer runs
    consumer = await asyncio.create_subprocess_exec(
        sys.executable, str(programs["A consumer"]), stdout=asyncio.subprocess.PIPE
    )
    link = redpill.connect(redis.url).link("test")
    try:
        # when the producer has pushed and the caller has asked
        produced = run(programs["A producer"])
        answered = run(programs["A caller"])

        # then everything is handled, but for the order that the consumer gives up
        assert produced == "pushed 93\n"
        assert answered == '{"price": 12}\n'

        async def settled() -> bool:
            (counts,) = await link.counts(["orders"])
            return counts.done == 93 and counts.dead == 1

        await eventually_async(settled)
        assert run(programs["Looking at a queue"]).startswith(
            "0 queued, 0 in flight, 1 dead\n1 nobody orders number 13"
        )
    finally:
        await link.close()
        consumer.terminate()
        output, _ = await asyncio.wait_for(consumer.communicate(), 60)
    assert consumer.returncode == 0
    assert output.count(b"paid") == 92


def test_subscriber(programs: dict[str, Path]) -> None:
    # when the subscriber runs, which publishes by itself
    # then it hears the event
    assert run(programs["A subscriber"]) == "changed 7\n"
