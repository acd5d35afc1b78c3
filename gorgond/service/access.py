"""What each role may do in Redis: a user of its own, as a line of an ACL file.

What a script does is checked by the rights of who runs it, and so is the same command without the script. So each
command is allowed on those keys alone on which the role's scripts use it, by selectors: `(+ltrim ~queue)`. The commands
are read off the scripts, and a key has one type, so a command goes with the keys of its type: a script that changes
takes its rights along. Nobody but the operator and the watch may load scripts; docs/operations.md says what is left to
who has taken over a role.

On the host of the broker `gorgonctl secrets` makes the passwords and the file; docs/operations.md says how other hosts
get theirs.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from gorgond.redpill import keys, script
from gorgond.roles import PRIVATE, ROLES
from gorgond.roles.row import ANY, Access

ALWAYS = ("auth", "client|setname", "info", "ping", "script|exists", "time")  # without a key
TYPES: Mapping[str, str] = {
    "string": "get incr set",
    "list": "blmove blmpop lindex llen lmove lpop lpush lrange lrem lset ltrim memory|usage rpush",
    "hash": "hdel hget hgetall hincrby hkeys hmget hset",
    "zset": "zadd zcard zrange zrangebyscore zrem zremrangebyscore",
    "set": "sadd sismember smembers",
}
"""The commands of each type of key."""
CHANNELED = {"publish", "subscribe"}
TYPELESS = "del exists pexpire rename renamenx"  # used on a script's lists, or where it has none on its strings
OPERATOR = "operator"  # may do everything; for the tools of an administrator
WATCH = "watch"  # looks whether the broker answers, loads the scripts, and ends one that does not end


USERS = (*ROLES, WATCH, OPERATOR)

OPERATED = sorted(
    {name for each in ROLES.values() for name in (*each.access.pushes, *each.access.consumes)} - {*PRIVATE}
)
"""The queues whose dead letters the stats server puts back or deletes, beside those of topics."""
OPERATED.append(f"{ANY}/{ANY}")


def acl_file(passwords: Mapping[str, str]) -> str:
    """The text of Redis' aclfile: `passwords` by user, those of USERS."""
    # Nobody can be `default`, but Redis itself is when it reads its append-only file: without rights it would leave out
    # what scripts have written (Redis 7.0: execCommand checks the rights of the file's client too).
    lines = ["user default off ~* &* +@all"]
    rules = {name: " ".join(_rules(name, role.access)) for name, role in ROLES.items()}
    rules[WATCH] = "+auth +client|setname +ping +script|exists +script|kill +script|load"
    for user, allowed in rules.items():
        lines.append(f"user {user} on {_hashed(passwords[user])} resetkeys resetchannels -@all {allowed}")
    lines.append(f"user {OPERATOR} on {_hashed(passwords[OPERATOR])} ~* &* +@all")
    return "\n".join(lines) + "\n"


def _hashed(password: str) -> str:
    return "#" + hashlib.sha256(password.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class _Use:
    """Scripts that a role runs, the other commands it sends, and on which keys, by their types; on which channels."""

    scripts: Sequence[script.Script] = ()
    commands: Sequence[str] = ()
    keys: Mapping[str, Sequence[str]] = field(default_factory=dict)
    channels: Sequence[str] = ()

    def everything(self) -> Iterator[str]:
        """What must be allowed to who names it to a script; channels are named as keys too."""
        for patterns in (*self.keys.values(), self.channels):
            yield from (f"~{pattern}" for pattern in patterns)


CONSUMING = (
    script.CLAIM, script.TAKE, script.LEAVE, script.RECOVER, script.COUNTS, script.PAUSE, script.RESUME,
)  # fmt: skip


def _uses(role: str, access: Access) -> Iterator[_Use]:
    """What a role does. Its producers are called after it, so that it cannot number the batches of others."""
    own = f"{role}@*"
    for name in access.pushes:
        lists, hashes = [keys.queue(name), keys.held(name)], [keys.counts(name), keys.memory(name)]
        yield _Use(
            [script.PUSH, script.REFUSE], [], {"list": lists, "string": [keys.producer(name, own)], "hash": hashes}
        )
    for name in access.subscribes:
        topic = name.partition("/")[0]
        kept = {"set": [keys.groups(topic)], "hash": [keys.limits(topic)], "string": [keys.epoch(name)]}
        yield _Use([script.JOIN], [], kept)
    for name in (*access.consumes, *access.subscribes):
        lists = [keys.queue(name), keys.held(name), keys.desk(name, "*")]
        zsets, hashes = [keys.delayed(name), keys.dead(name)], [keys.consumers(name), keys.counts(name)]
        strings = [keys.watched(name), keys.epoch(name)]
        yield _Use(CONSUMING, ["blmove"], {"list": lists, "zset": zsets, "hash": hashes, "string": strings})
    for name in access.waits_on:
        yield _Use([], ["blmpop"], {"list": [_beginning(keys.replies, name)]})
    if access.replies:
        yield _Use([script.REPLY], ["rpush", "pexpire"], {"list": [_beginning(keys.replies, "")]})
    for topic in access.publishes:
        groups = f"{keys.queue(topic)}/*"
        hashes = [keys.limits(topic), f"{groups}:counts"]
        kept = {"string": [keys.publisher(topic, own)], "set": [keys.groups(topic)], "hash": hashes, "list": [groups]}
        yield _Use([script.PUBLISH], [], kept, [keys.live(topic)])
    for topic in access.listens:
        yield _Use([], ["subscribe"], {}, [keys.live(topic)])
    if access.operates:
        every = [keys.queue("NAME").replace("NAME}", "*")]  # groups of topics too
        all_keys = {"list": every, "zset": every, "hash": every}
        yield _Use([script.COUNTS], ["zrangebyscore"], all_keys)
        for name in OPERATED:
            lists = [keys.queue(name), keys.held(name)]
            yield _Use(
                [script.REQUEUE, script.DROP],
                [],
                {"list": lists, "zset": [keys.dead(name)], "hash": [keys.counts(name)]},
            )
    for name in access.leases:
        yield _Use([script.LEASE], [], {"hash": [_beginning(keys.lease, name)]})
    for family in access.limits:
        yield _Use([script.ADMIT], [], {"string": [keys.rate(family, "*"), keys.asker(family, "*")]})


def _beginning(key: Callable[[str], str], name: str) -> str:
    """The pattern of a key of all names that begin so."""
    return key("NAME").replace("NAME", f"{name}*")


def _rules(role: str, access: Access) -> Iterator[str]:
    """Redis' rules for a role: what needs no key, then a selector for each kind of thing it does."""
    uses = list(_uses(role, access))
    yield from (f"+{command}" for command in ALWAYS)
    if access.operates:
        yield "+scan +config|get"
    # A script is run with all its keys, or not at all.
    allowed: dict[tuple[str, ...], list[str]] = {
        ("evalsha",): [key for use in uses if use.scripts for key in use.everything()]
    }
    for use in uses:
        commands = commands_of(*use.scripts) | set(use.commands)
        for type, patterns in use.keys.items():
            typeless = type == ("list" if "list" in use.keys else "string")
            fitting = {*TYPES[type].split(), *(TYPELESS.split() if typeless else ())}
            allowed.setdefault(tuple(sorted(commands & fitting)), []).extend(f"~{each}" for each in patterns)
        allowed.setdefault(tuple(sorted(commands & CHANNELED)), []).extend(f"&{each}" for each in use.channels)
    for some, patterns in allowed.items():
        if some and patterns:
            words = [*(f"+{command}" for command in some), *dict.fromkeys(patterns)]
            yield f"({' '.join(words)})".replace(ANY, "*")


def commands_of(*scripts: script.Script) -> set[str]:
    """The commands that these scripts call."""
    called = (re.findall(r"redis\.p?call\('(\w+)'(?:, '([A-Z]+)')?", each.text) for each in scripts)
    return {"|".join(filter(None, words)).lower() for found in called for words in found}
