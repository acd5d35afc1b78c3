"""The users of Redis at work: who may do what does not get between Redis and its own file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from gorgond.redpill import Message, Producer, connect
from gorgond.service.access import OPERATOR, ROLES, acl_file
from tests.conftest import RedisServer


class Guarded(RedisServer):
    """A Redis that lets in those of the ACL file only; `cli` is the operator."""

    def cli(self, *args: str) -> str:
        return super().cli("--user", OPERATOR, "--pass", f"secret-{OPERATOR}", "--no-auth-warning", *args)

    def ready(self) -> bool:
        return "NOAUTH" in self._redis_cli("PING").stdout

    def address(self, user: str) -> str:
        return f"unix://{user}:secret-{user}@{self.socket}"


@pytest.fixture
def guarded(redis_binary: str, tmp_path_factory: pytest.TempPathFactory, tmp_path: Path) -> Callable[[], Guarded]:
    file = tmp_path / "acl"
    file.write_text(acl_file({user: f"secret-{user}" for user in (*ROLES, OPERATOR)}))
    options = {"appendonly": "yes", "appendfsync": "always", "maxmemory_policy": "noeviction", "aclfile": str(file)}
    return lambda: Guarded(redis_binary, tmp_path_factory.mktemp("redis"), **options)


async def test_what_was_accepted_is_there_after_a_restart(guarded: Callable[[], Guarded]) -> None:
    server = guarded()
    server.start()
    try:
        # given messages that a role has pushed, as that role's user
        async with Producer(connect(server.address("provider")), "test") as producer:
            await producer.push("store_put", *[Message("items.insert", {"documents": [{}]}) for _ in range(7)])
        # when Redis is killed and reads its file again
        server.kill()
        server.start()
        # then they are there, and counted
        link = connect(server.address("stats")).link("test")
        (counts,) = await link.counts(["store_put"])
        assert (counts.queued, counts.accepted, counts.difference()) == (7, 7, 0)
        assert (await link.about())["appendfsync"] == "always"
        assert await link.queues() == ["store_put"]
        await link.close()
        # and nobody was refused anything
        assert server.cli("ACL", "LOG") == ""
        # but who has no name
        assert "WRONGPASS" in server._redis_cli("AUTH", "default", "").stdout
    finally:
        server.close()
