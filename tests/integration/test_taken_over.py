"""What somebody can do who has taken over a role: no more than the role does, by whatever command."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pytest

from gorgond.redpill import BrokerAway, Message, Producer, connect, keys, script
from gorgond.redpill.broker import Claim, Failure
from gorgond.roles import ROLES
from gorgond.service.access import OPERATOR, USERS, WATCH, acl_file
from tests.conftest import RedisServer

QUEUE, PRIVATE, MAIL = "gorgon:{store_put}", "gorgon:{auth_store_put}", "gorgon:{web_data:web@1.host:x}:replies"
PARTS = [f"{PRIVATE}:{key}" for key in ("held", "paused", "dead", "counts")]
GROUP = "gorgon:{store_notify}/journal"
PUSHERS = ("web", "app", "provider")
KEYS = ("dead", "delayed", "lanes", "counts", "pushed", "memory", "watched", "epoch", "paused")
AUTHS, SCORED = ("auth_get", "auth_put", "auth_erase", "auth_store_get", "auth_store_put"), ("dead", "delayed")
DURABLE = {"appendonly": "yes", "maxmemory_policy": "noeviction"}
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
    # counts what others count, numbers dead letters, or pauses a queue
    *((role, "HSET", f"{QUEUE}:counts", field, "1") for role in PUSHERS for field in ("paused", "dead", "done")),
    *((role, "HINCRBY", f"{QUEUE}:counts", "dead", "9223372036854775807") for role in PUSHERS),
    *((role, "SET", f"{QUEUE}:paused", "1") for role in (*PUSHERS, "journal")),
    *((role, "GET", f"{QUEUE}:delayed") for role in PUSHERS),
    *((role, "ZREM", f"{QUEUE}:delayed", "x") for role in PUSHERS),
    *((role, "ZRANGE", f"{QUEUE}:delayed", "0", "-1") for role in PUSHERS),
    # makes something else of a group's keys, so that its consumers or who publishes fail
    *((role, "RPUSH", f"{GROUP}:{key}", "x") for role in ("app", "store", "store-write", "stats") for key in KEYS),
    *((role, "SET", f"{GROUP}:{key}", "x") for role in ("store", "journal", "stats") for key in ("dead", "counts")),
    *((role, "ZADD", f"{GROUP}:dead", "1", "x") for role in ("store", "stats", "provider")),
    *((role, "RPUSH", "gorgon:{stats}/group", "x") for role in ("provider", "journal", "web")),
    # becomes somebody else
    *((role, "RPUSH", PRIVATE, "users.patch") for role in ("web", "app", "notify", "provider", "journal", "stats")),
    *((role, "RPUSH", "gorgon:{auth_put}", "{}") for role in ("web", "app", "notify", "provider", "store")),
    # reads what is others', or learns where others live
    *((role, "RPUSH", "gorgon:{notify_store_get}", "{}") for role in ("web", "app", "provider")),
    ("app", "LRANGE", "gorgon:{notify_put}", "0", "-1"),
    ("web", "RPUSH", "gorgon:{notify_put:email}", "{}"),
    ("provider", "RPUSH", "gorgon:{store_get}", "items.find"),
    ("provider", "RPUSH", "gorgon:{store_search}", "items.find"),
    *((role, "RPUSH", "gorgon:{provider_store_get}", "{}") for role in ("web", "app", "journal")),
    ("web", "LRANGE", "gorgon:{auth_get}", "0", "-1"),
    ("web", "LRANGE", PRIVATE, "0", "-1"),
    *(("stats", "LINDEX", f"gorgon:{{{queue}}}{part}", "0") for queue in AUTHS for part in ("", ":held")),
    *(("stats", "ZRANGEBYSCORE", f"gorgon:{{{queue}}}:{key}", "-inf", "+inf") for queue in AUTHS for key in SCORED),
    ("stats", "LINDEX", MAIL, "0"),
    ("stats", "LLEN", MAIL),
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
    *((role, "SET", keys.PROTOCOL, "2.0") for role in ROLES),
    *((role, "DEL", keys.PROTOCOL) for role in (*ROLES, WATCH)),
    ("web", "FLUSHALL"),
    ("stats", "CONFIG", "SET", "maxmemory", "1"),
    ("stats", "SCRIPT", "FLUSH"),
    (WATCH, "EVALSHA", script.PUSH.sha, "0"),
    (WATCH, "GET", "key"),
    # the same by way of the scripts
    ("provider", "EVALSHA", script.CLAIM.sha, "7", *[QUEUE] * 7, "consumer"),
    ("web", "EVALSHA", script.PUSH.sha, "1", PRIVATE),
    ("provider", "EVALSHA", script.PAUSE.sha, "5", *keys.of(script.PAUSE, "store_put"), ""),
    ("stats", "EVALSHA", script.REQUEUE.sha, "5", PRIVATE, *PARTS, "1"),
)  # fmt: skip


@pytest.fixture(scope="module")
def server(redis_binary: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A Redis with the users of a host, and a dead letter in each queue."""
    file = tmp_path_factory.mktemp("acl") / "acl"
    file.write_text(acl_file({user: f"secret-{user}" for user in USERS}))
    made = _Guarded(redis_binary, tmp_path_factory.mktemp("redis"), aclfile=str(file), **DURABLE)
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


@pytest.mark.parametrize("written", ["a text", "9223372036854775807", "-9223372036854775808"])
@pytest.mark.parametrize("figure", ["pushed accepted", "pushed later", "memory bound", "memory full"])
async def test_what_who_pushes_may_write_stops_no_queue(server: RedisServer, figure: str, written: str) -> None:
    # given somebody who has taken over a provider and writes what it may write
    key, name = figure.split()
    answer(server, OPERATOR, "DEL", QUEUE, f"{QUEUE}:pushed", f"{QUEUE}:memory", f"{QUEUE}:delayed", f"{QUEUE}:counts")
    answer(server, "provider", "HSET", f"{QUEUE}:{key}", name, written)
    answer(server, OPERATOR, "RPUSH", QUEUE, "there already")
    web, store = (connect(f"unix://{user}:secret-{user}@{server.socket}") for user in ("web", "store"))
    # when others push
    async with Producer(web, "web@test") as producer:
        for _ in range(3):
            await producer.push("store_put", Message("items.insert"))
    # then each of them is there once
    link = store.link("test")
    token, length = await link.take("store_put", "store@test")
    claimed = await link.claim("store_put", "store@test", token, Claim(1, length, want=10))
    assert len(claimed.messages) == 1 + 3
    assert (await link.counts(["store_put"]))[0].paused is False
    await link.claim("store_put", "store@test", token, Claim(2, claimed.length, done=4, want=0))
    await link.leave("store_put", "store@test", token)
    await link.close()


@pytest.mark.parametrize("written", ["a text", "9223372036854775807", "0", "-5"])
@pytest.mark.parametrize("figure", ["dead", "done", "retried", "requeued"])
async def test_what_the_stats_server_may_count_stops_no_consumer(
    server: RedisServer, figure: str, written: str
) -> None:
    # given two dead letters, and counts that say something else
    answer(server, OPERATOR, "DEL", QUEUE, f"{QUEUE}:counts", f"{QUEUE}:dead", f"{QUEUE}:delayed", f"{QUEUE}:lanes")
    for number in ("1", "2"):
        answer(
            server, OPERATOR, "ZADD", f"{QUEUE}:dead", number, f'{{"n":{number},"at":1,"attempts":1,"reason":""}}\n{{}}'
        )
    answer(server, "stats", "HSET", f"{QUEUE}:counts", figure, written)
    answer(server, OPERATOR, "RPUSH", QUEUE, *(f'{{"id":"{id}"}}' for id in "abc"))
    link = connect(f"unix://store:secret-store@{server.socket}").link("test")
    token, _ = await link.take("store_put", "store@test")
    # when a consumer handles one, fails with another, and gives up the third
    await link.claim("store_put", "store@test", token, Claim(1, 0, want=3))
    failures = [Failure(1, 60.0, "no"), Failure(2, None, "never")]
    await link.claim("store_put", "store@test", token, Claim(2, 3, done=3, failures=failures, want=0))
    # then it could, and a letter has a number of its own
    (counts,) = await link.counts(["store_put"])
    assert (counts.in_flight, counts.delayed, counts.dead) == (0, 1, 3)
    look = connect(f"unix://stats:secret-stats@{server.socket}").link("test")
    numbers = [letter.number for letter in await look.dead("store_put")]
    await look.close()
    assert len(set(numbers)) == 3, numbers
    await link.leave("store_put", "store@test", token)
    await link.close()


async def test_a_group_without_a_limit_or_of_another_type_keeps_no_other_from_its_events(server: RedisServer) -> None:
    # given groups of store_notify as somebody who has taken over an application may make them
    answer(server, "app", "SADD", "gorgon:{store_notify}:groups", "journal", "nolimit", "other:dead", "wrong", "text")
    answer(server, "app", "HSET", "gorgon:{store_notify}:limits", "text", "many")
    answer(server, OPERATOR, "SET", "gorgon:{store_notify}/wrong", "no list")
    # when a store publishes, again and again
    async with Producer(connect(f"unix://store:secret-store@{server.socket}"), "store@test") as producer:
        for _ in range(3):
            await producer.publish("store_notify", Message("items.added"))
    # then each group has its events once
    for group in ("journal", "nolimit", "text"):
        assert answer(server, OPERATOR, "LLEN", f"gorgon:{{store_notify}}/{group}") == "3\n", group
    link = connect(f"unix://{OPERATOR}:secret-{OPERATOR}@{server.socket}").link("test")
    answer(server, OPERATOR, "DEL", "gorgon:{store_notify}/wrong")
    (counts,) = await link.counts(["store_notify/wrong"])
    # and those that one could not keep are told
    assert (counts.accepted, counts.overflow, counts.difference()) == (3, 3, 0)
    await link.close()
