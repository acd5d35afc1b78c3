"""What each role may do in Redis: a user of its own with the commands and keys it needs, as lines of an ACL file.

The commands are read off the scripts that a role runs, so a script that changes takes its rights along. On the host of
the broker `gorgonctl secrets` makes the passwords and the file; docs/operations.md says how other hosts get theirs.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from gorgond.redpill import keys
from gorgond.redpill.script import Script

ALWAYS = ("auth", "client|setname", "evalsha", "info", "ping", "script|load", "time")  # what a connection begins with
ANY = "ANY"  # in place of a topic or group: all of them, as what an application names is its own business
OPERATOR = "operator"  # may do everything; for the tools of an administrator


@dataclass(frozen=True, slots=True)
class Needs:
    """The queues and topics that a role uses, by what it does with them."""

    pushes: tuple[str, ...] = ()
    consumes: tuple[str, ...] = ()
    subscribes: tuple[str, ...] = ()  # to topics, as topic/group
    waits_on: tuple[str, ...] = ()  # the beginnings of the lists on which it waits for replies
    replies: bool = False
    publishes: tuple[str, ...] = ()
    listens: tuple[str, ...] = ()  # to topics, live
    operates: bool = False  # looks at all queues, and at the broker itself; puts dead letters back or deletes them
    limits: tuple[str, ...] = ()  # families of limits on how often
    leases: tuple[str, ...] = ()  # the beginnings of the names of leases


# The store's queues.
READ, WRITTEN = ("store_get", "store_search", "auth_store_get"), ("store_put", "auth_store_put")

ROLES: Mapping[str, Needs] = {
    "web": Needs(
        pushes=("auth_get", "web_get", "store_get", "store_search", "store_put"),
        waits_on=("web_data",),
        publishes=("stats",),
        listens=("store_notify",),
    ),
    "store": Needs(consumes=(*READ, *WRITTEN), replies=True, publishes=("store_notify", "stats")),
    "store-read": Needs(consumes=READ, replies=True, publishes=("stats",)),
    "store-write": Needs(consumes=WRITTEN, replies=True, publishes=("store_notify", "stats")),
    "auth": Needs(
        pushes=("auth_put", "web_get", "auth_store_get", "auth_store_put"),
        consumes=("auth_get", "auth_put"),
        waits_on=("auth_data",),
        replies=True,
        publishes=("auth_notify", "stats"),
        listens=("auth_notify",),
        limits=("auth",),
    ),
    "app": Needs(
        pushes=("store_get", "store_search", "store_put", "provider_get", "provider_put"),
        consumes=("web_get",),
        subscribes=(f"{ANY}/{ANY}",),
        waits_on=("store_data", "provider_data"),
        replies=True,
        publishes=("stats", ANY),
        leases=("every:",),
    ),
    "journal": Needs(subscribes=("store_notify/journal",), publishes=("stats",)),
    "stats": Needs(
        pushes=("store_get", "store_put"),
        waits_on=("stats_data",),
        publishes=("stats",),
        listens=("stats",),
        operates=True,
    ),
    "provider": Needs(pushes=("store_put",), publishes=("stats",)),
}


def acl_file(passwords: Mapping[str, str]) -> str:
    """The text of Redis' aclfile: `passwords` by user, those of ROLES and the operator."""
    # Nobody can be `default`, but Redis itself is when it reads its append-only file: without rights it would leave out
    # what scripts have written (Redis 7.0: execCommand checks the rights of the file's client too).
    lines = ["user default off ~* &* +@all"]
    for role, needs in ROLES.items():
        lines.append(
            f"user {role} on {_hashed(passwords[role])} resetkeys resetchannels -@all {' '.join(_rules(needs))}"
        )
    lines.append(f"user {OPERATOR} on {_hashed(passwords[OPERATOR])} ~* &* +@all")
    return "\n".join(lines) + "\n"


def _hashed(password: str) -> str:
    return "#" + hashlib.sha256(password.encode()).hexdigest()


def _rules(needs: Needs) -> Iterable[str]:
    """Redis' rules for these needs: commands, keys, channels."""
    commands = set(ALWAYS)
    patterns: list[str] = []
    if needs.pushes:
        commands |= _commands("push", "refuse")
        for name in needs.pushes:
            patterns += [keys.queue(name), keys.producer(name, "*"), keys.counts(name), keys.held(name)]
            patterns.append(keys.memory(name))
    if needs.subscribes:
        commands |= _commands("join")
        for topic in (name.partition("/")[0] for name in needs.subscribes):
            patterns += [keys.groups(topic), keys.limits(topic)]
    if needs.consumes or needs.subscribes:
        commands |= _commands("claim", "take", "leave", "recover", "counts", "pause", "resume") | {"blmove"}
        for name in (*needs.consumes, *needs.subscribes):
            patterns += [keys.queue(name), f"{keys.queue(name)}:*"]
    if needs.waits_on:
        commands |= {"blmpop"}
        patterns += [keys.replies("NAME").replace("NAME", f"{name}*") for name in needs.waits_on]
    if needs.replies:
        commands |= _commands("reply") | {"rpush", "pexpire"}
        patterns.append(keys.replies("NAME").replace("NAME", "*"))
    for topic in needs.publishes:
        commands |= _commands("publish")
        # The channel too, since a script must name it among its keys.
        patterns += [keys.publisher(topic, "*"), keys.groups(topic), keys.limits(topic), keys.live(topic)]
        patterns.append(f"{keys.queue(topic)}/*")
    if needs.listens:
        commands |= {"subscribe"}
    if needs.operates:
        commands |= _commands("counts", "requeue", "drop") | {"zrangebyscore", "scan", "config|get"}
        patterns.append(keys.queue("NAME").replace("{NAME}", "*"))
    for name in needs.leases:
        commands |= _commands("lease")
        patterns.append(keys.lease("NAME").replace("NAME", f"{name}*"))
    for family in needs.limits:
        commands |= _commands("admit")
        patterns += [keys.rate(family, "*"), keys.asker(family, "*")]
    channels = [keys.live(topic) for topic in {**dict.fromkeys(needs.publishes), **dict.fromkeys(needs.listens)}]
    return [
        *(f"+{command}" for command in sorted(commands)),
        *(f"~{pattern}".replace(ANY, "*") for pattern in patterns),
        *(f"&{channel}".replace(ANY, "*") for channel in channels),
    ]


def _commands(*scripts: str) -> set[str]:
    """The commands that these scripts call."""
    called = (re.findall(r"redis\.call\('(\w+)'(?:, '([A-Z]+)')?", Script(name).text) for name in scripts)
    return {"|".join(filter(None, words)).lower() for found in called for words in found}
