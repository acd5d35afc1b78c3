"""What somebody can do who has taken over a role: no more than the role does, by whatever command."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pytest

from gorgond.redpill import BrokerAway, Message, Producer, connect, keys, script
from gorgond.roles import ROLES
from gorgond.service.access import OPERATOR, USERS, WATCH, acl_file
from tests.conftest import RedisServer

QUEUE, PRIVATE, MAIL = "gorgon:{store_put}", "gorgon:{auth_store_put}", "gorgon:{web_data:web@1.host:x}:replies"
PARTS = [f"{PRIVATE}:{key}" for key in ("dead", "counts", "held")]
LASTING = {"appendonly": "yes", "maxmemory_policy": "noeviction"}
LOOP = "while true do end"

REFUSED = (
    # takes accepted jobs away, or has them forgotten
    ("provider", "LTRIM", QUEUE, "1", "0"),
    ("provider", "LPOP", QUEUE),
    ("provider", "DEL", QUEUE),
    ("provider", "RENAME", QUEUE, "gorgon:{store_put}:held"),
    ("web", "SET", QUEUE, "no list"),
    ("web", "DEL", "gorgon:{store_put}:counts"),
    ("provider", "SET", "gorgon:{store_put}:producer:web@1.host:a1b2", "999999"),
    ("journal", "LTRIM", QUEUE, "1", "0"),
    # becomes somebody else
    *((role, "RPUSH", PRIVATE, "users.patch") for role in ("web", "app", "provider", "journal", "stats")),
    *((role, "RPUSH", "gorgon:{auth_put}", "{}") for role in ("web", "app", "provider", "store")),
    # reads what is others'
    ("web", "LRANGE", "gorgon:{auth_get}", "0", "-1"),
    ("web", "LRANGE", PRIVATE, "0", "-1"),
    ("app", "LRANGE", "gorgon:{auth_store_get}", "0", "-1"),
    ("app", "BLMPOP", "1", "1", MAIL, "LEFT"),
    ("store", "BLMPOP", "1", "1", MAIL, "LEFT"),
    ("provider", "SUBSCRIBE", "gorgon:{store_notify}:live"),
    ("provider", "BLMPOP", "1", "1", MAIL, "LEFT"),
    ("provider", "BLMOVE", "gorgon:{web_get}", "gorgon:{web_get}:desk:x", "LEFT", "RIGHT", "1"),
    ("web", "SUBSCRIBE", "gorgon:{auth_notify}:live"),
    ("web", "PUBLISH", "gorgon:{auth_notify}:live", "{}"),
    ("web", "SCAN", "0"),
    ("web", "KEYS", "*"),
    # keeps all from being served
    *((role, "SCRIPT", "LOAD", LOOP) for role in ROLES),
    *((role, "EVAL", LOOP, "0") for role in ROLES),
    *((role, "FUNCTION", "LOAD", "#!lua name=x\n") for role in ROLES),
    ("web", "FLUSHALL"),
    ("stats", "CONFIG", "SET", "maxmemory", "1"),
    ("stats", "SCRIPT", "FLUSH"),
    (WATCH, "EVALSHA", script.PUSH.sha, "0"),
    (WATCH, "GET", "key"),
    # the same by way of the scripts
    ("provider", "EVALSHA", script.CLAIM.sha, "6", *[QUEUE] * 6, "consumer"),
    ("web", "EVALSHA", script.PUSH.sha, "1", PRIVATE),
    ("provider", "EVALSHA", script.PAUSE.sha, "4", *(QUEUE + part for part in ("", ":held", ":counts", ":epoch")), ""),
    ("stats", "EVALSHA", script.REQUEUE.sha, "4", PRIVATE, *PARTS, "1"),
)  # fmt: skip


@pytest.fixture(scope="module")
def server(redis_binary: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A Redis with the users of a host, and a dead letter in each queue."""
    file = tmp_path_factory.mktemp("acl") / "acl"
    file.write_text(acl_file({user: f"secret-{user}" for user in USERS}))
    made = _Guarded(redis_binary, tmp_path_factory.mktemp("redis"), aclfile=str(file), **LASTING)
    made.start()
    for each in script.ALL:
        answer(made, WATCH, "SCRIPT", "LOAD", each.text)
    for queue in ("auth_store_put", "store_put"):
        answer(made, OPERATOR, "ZADD", keys.dead(queue), "1", "{}\n{}")
    yield made
    made.close()


class _Guarded(RedisServer):
    def ready(self) -> bool:
        return "NOAUTH" in self._redis_cli("PING").stdout


def answer(server: RedisServer, user: str, *command: str) -> str:
    login = ["--user", user, "--pass", f"secret-{user}", "--no-auth-warning"]
    asked = ["redis-cli", "-s", str(server.socket), *login, *command]
    return subprocess.run(asked, check=False, capture_output=True, text=True, timeout=60).stdout


@pytest.mark.parametrize(("user", "command"), [(user, command) for user, *command in REFUSED])
def test_refused(server: RedisServer, user: str, command: list[str]) -> None:
    said = answer(server, user, *command)
    assert "NOPERM" in said or "The user executing the script can't" in said, said


async def test_a_role_without_scripts_waits_until_somebody_who_may_has_loaded_them(server: RedisServer) -> None:
    # given a Redis that has forgotten the scripts
    answer(server, OPERATOR, "SCRIPT", "FLUSH")
    link = connect(f"unix://provider:secret-provider@{server.socket}").link("test")
    with pytest.raises(BrokerAway, match=r"only its operator may load them: .* `gorgonctl secrets` as root"):
        await link.ping()
    # when somebody who may connects
    other = connect(f"unix://{OPERATOR}:secret-{OPERATOR}@{server.socket}").link("test")
    await other.ping()
    # then the role goes on
    async with Producer(connect(f"unix://provider:secret-provider@{server.socket}"), "provider@test") as producer:
        await producer.push("store_put", Message("items.insert"))
    await link.close()
    await other.close()
