"""The rights of each role in Redis: a user of its own, as a line of an ACL file.

Redis checks each command of a script by the rights of the user who runs it, and the same command without the script
alike. So each command is allowed on those keys alone on which the role's scripts use it, by selectors: `(+ltrim
~queue)`. Each script says in its head which commands it runs on which key, so that a script that changes takes its
rights along. Nobody but the operator and the watch may load scripts, or note of which version they are;
docs/operations.md says what is left to an intruder who has taken over a role.

On the host of the broker `gorgonctl secrets` makes the passwords and the file; docs/operations.md says how other hosts
get theirs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from gorgond.redpill import keys, script
from gorgond.roles import PRIVATE, ROLES
from gorgond.roles.row import ANY, Access

ALWAYS = ("auth", "client|setname", "info", "ping", "role", "script|exists", "time", "wait")  # without a key
CHANNELED = {"publish", "subscribe"}
OPERATOR = "operator"  # may do everything; for the tools of an administrator
WATCH = "watch"  # looks whether the broker answers, loads the scripts, and ends one that does not end
REPLICA = "replica"  # a broker that follows the one of another host (masteruser)
SENTINEL = "sentinel"  # makes one of several the master (sentinel auth-user)

SERVERS = {
    WATCH: f"+auth +client|setname +ping +script|exists +script|kill +script|load (+get +set ~{keys.PROTOCOL})",
    REPLICA: "+auth +ping +psync +replconf",
    SENTINEL: "+auth +client|kill +client|setname +config|rewrite +exec +info +multi +ping +publish +role +script|kill "
    "+slaveof +subscribe &__sentinel__:hello",
}
"""What those may do that are no role and no operator."""

USERS = (*ROLES, *SERVERS, OPERATOR)

UNREAD = (*PRIVATE, *ROLES["auth"].access.consumes)  # who could read there has passwords and sessions
OPERATED = sorted(
    {name for each in ROLES.values() for name in (*each.access.pushes, *each.access.consumes)} - {*UNREAD}
)
"""The queues that the stats server pauses, and whose dead letters it shows, puts back or deletes, beside those of
topics."""
OPERATED.append(f"{ANY}/{ANY}")
LIVE = ("stats", "auth_notify", "notify_live", "job_live", "job_cancel")  # topics without durable groups
EVERY = (ANY, f"{ANY}/{ANY}")
LONGEST = len(":delayed")  # of what the keys of a queue end with


def acl_file(passwords: Mapping[str, str]) -> str:
    """The text of Redis' aclfile: `passwords` by user, those of USERS."""
    # Nobody can be `default`, but Redis itself is when it reads its append-only file: without rights it would leave out
    # what scripts have written (Redis 7.0: execCommand checks the rights of the file's client too).
    lines = ["user default off ~* &* +@all"]
    rules = {name: " ".join(_rules(name, role.access)) for name, role in ROLES.items()}
    rules |= SERVERS
    for user, allowed in rules.items():
        lines.append(f"user {user} on {hashed(passwords[user])} resetkeys resetchannels -@all {allowed}")
    lines.append(f"user {OPERATOR} on {hashed(passwords[OPERATOR])} ~* &* +@all")
    return "\n".join(lines) + "\n"


def hashed(password: str) -> str:
    """As an ACL file has it."""
    return "#" + hashlib.sha256(password.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class _Use:
    """Scripts that a role runs on queue, topic, list or family `name`, and the other commands that it sends, by the
    keys that they are sent for."""

    name: str
    scripts: Sequence[script.Script] = ()
    commands: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def rights(self) -> Iterator[tuple[str, str]]:
        """Each command with a kind of key on which it is used."""
        for rights in (*(each.rights for each in self.scripts), self.commands):
            for kind, commands in rights.items():
                yield from ((command, kind) for command in commands)


CONSUMING = (
    script.CLAIM, script.TAKE, script.LEAVE, script.RECOVER, script.COUNTS, script.PAUSE, script.RESUME,
)  # fmt: skip


def _uses(access: Access) -> Iterator[_Use]:
    """The scripts and commands that a role uses, and on which keys."""
    for name in access.pushes:
        yield _Use(name, [script.PUSH, script.REFUSE])
    for name in access.subscribes:
        yield _Use(name, [script.JOIN])
    for name in (*access.consumes, *access.subscribes):
        yield _Use(name, CONSUMING, {"queue": ["blmove"], "desk": ["blmove"], "bell": ["blpop"]})
    for name in access.waits_on:
        yield _Use(name, [], {"replies": ["blmpop"]})
    if access.replies:
        yield _Use("", [script.REPLY])
    for topic in access.publishes:
        yield _Use(topic, [script.PUBLISH])
    for topic in access.listens:
        yield _Use(topic, [], {"live": ["subscribe"]})
    if access.operates:
        for name in EVERY:
            yield _Use(name, [script.COUNTS])
        for name in OPERATED:
            yield _Use(name, [script.REQUEUE, script.DROP, script.PAUSE, script.RESUME], {"head": ["lindex"]})
    for name in access.leases:
        yield _Use(name, [script.LEASE])
    for name in access.jobs:
        yield _Use(name, [script.UNIQUE, script.ENTER, script.EXIT])
    for family in access.limits:
        yield _Use(family, [script.ADMIT])


def _patterns(kind: str, name: str, own: str) -> list[str]:
    """The keys of a kind that queue, topic, list or family `name` has; of those that somebody has alone, `own`."""
    if kind.startswith("group_"):
        return [] if name in LIVE else _patterns(kind.removeprefix("group_"), f"{name}/{ANY}", own)
    if kind == "queue":
        return _lists(name)
    if kind == "head":  # what waits may be read by name only
        return [] if name == ANY else [*_lists(name), keys.held(name)]
    if kind in ("producer", "publisher"):
        return [keys.NAMED[kind](name, own)]
    if kind in ("desk", "unique", "rate", "asker", "slots", "line", "starts"):
        return [keys.NAMED[kind](name, "*")]
    if kind in ("replies", "lease"):  # of all names that begin so
        return [keys.NAMED[kind]("NAME").replace("NAME", f"{name}*")]
    return [keys.NAMED[kind](name.partition("/")[0] if kind in keys.OF_TOPICS else name)]


def _lists(name: str) -> list[str]:
    """The list of a queue. Of any group of a topic: what ends as other keys of a queue do is not its list, so a group's
    name has no colon among the last characters."""
    beginning = keys.queue(name)
    if not name.endswith(f"/{ANY}"):
        return [beginning]
    beginning, letter = beginning.removesuffix(ANY), "[^:]"
    return [*(beginning + letter * length for length in range(1, LONGEST)), f"{beginning}*{letter * LONGEST}"]


def _rules(role: str, access: Access) -> Iterator[str]:
    """Redis' rules for a role: what needs no key, then a selector for commands that have the same keys. Its producers
    are called after it, so that it cannot number the batches of others."""
    own = f"{role}@*"
    yield from (f"+{command}" for command in ALWAYS)
    if access.operates:
        yield "+scan +config|get"
    # What each command is allowed on.
    allowed: dict[str, dict[str, None]] = {"evalsha": {}, "get": {f"~{keys.PROTOCOL}": None, f"~{keys.ROUTE}": None}}
    allowed["publish"] = {f"&{keys.KEPT}": None}
    for use in _uses(access):
        for kind in (kind for each in use.scripts for kind in each.keys):
            # A script is run with all its keys, or not at all; channels are named as keys too.
            allowed["evalsha"] |= {f"~{pattern}": None for pattern in _patterns(kind, use.name, own)}
        for command, kind in use.rights():
            sign = "&" if command in CHANNELED else "~"
            patterns = allowed.setdefault(command, {})
            patterns |= {sign + pattern: None for pattern in _patterns(kind, use.name, own)}
    together: dict[tuple[str, ...], list[str]] = {}
    for command, patterns in allowed.items():
        together.setdefault(tuple(patterns), []).append(f"+{command}")
    for some, commands in together.items():
        if some:
            yield f"({' '.join((*commands, *some))})".replace(ANY, "*")
