"""Every key that redpill uses in Redis. Python code builds keys here and nowhere else. Scripts build only the keys of a
topic's groups and of desks, whose names they read from Redis: they make these of a key that they are given.

A queue is named by words of letters, digits, dots, dashes, underscores, colons and @. A durable group of a topic is a
queue too, named topic/group. All keys of one queue (and of a topic with its groups) share the hash tag in braces, so
that a Redis Cluster keeps them on one node.

    key                                 type    meaning
    gorgon:{q}                          list    messages waiting, oldest first
    gorgon:{q}:held                     list    the same, while the queue is paused
    gorgon:{q}:desk:<consumer>          list    what that consumer has taken and not yet settled
    gorgon:{q}:delayed                  zset    "<n> <delay in ms>:<message>", n of 16 digits, by when it is due, ms
                                                since 1970; the delay is - where that was said
    gorgon:{q}:dead                     zset    "<header JSON>\\n<message>" by its number n
    gorgon:{q}:lanes                    hash    consumer -> "<fencing token> <last claim> <its ms since 1970>
                                                <messages it gave>", or "<token> - <ms>" when its desk
                                                was given to others
    gorgon:{q}:memory                   hash    bound: bytes measured last and pushed since; full: when too many
    gorgon:{q}:watched                  string  "<since> <last>": when somebody looked for silent consumers, ms
                                                since 1970, without a gap; expires
    gorgon:{q}:turn                     string  "<consumer> <ms since 1970> <waits, ms, or -> <consumer> <ms>":
                                                whose turn it is, and who is behind it; scripts/turn.lua
    gorgon:{q}:bell                     list    rings for a consumer that stands by
    gorgon:{q}:epoch                    string  how often the queue was paused, resumed, joined or parted from
    gorgon:{q}:paused                   string  1 while the queue is paused
    gorgon:{q}:pushed                   hash    what is counted by who pushes: accepted overflow, and later: how many
                                                messages were ever pushed for later
    gorgon:{q}:counts                   hash    what is counted by who consumes: done expired dead retried recovered
                                                requeued dropped. Processes of before the two keys above counted
                                                accepted and overflow here, and look here for paused
    gorgon:{q}:producer:<producer>      string  "<number> <1 accepted, 0 refused>" of the last batch of that producer;
                                                expires
    gorgon:{list}:replies               list    replies for one waiting caller; expires
    gorgon:{t}:publisher:<producer>     string  number of the last batch of events from that producer; expires
    gorgon:{t}:groups                   set     names of the topic's durable groups
    gorgon:{t}:limits                   hash    group -> the most messages it keeps
    gorgon:{t}:live                     channel events for whoever listens now
    gorgon:{q}:unique:<key>             hash    id, state, message: the one job that waits or runs under a key; expires
    gorgon:{f}:rate:<name>              string  until when what it counted counts, ms since 1970; expires
    gorgon:{f}:asker:<asker>            string  "<number> <answer>" of the last question about limits from that asker;
                                                expires
    gorgon:{q}:slots:<bound>            hash    message's id -> "<until> <who>": which are under way, of those that are
                                                bound so; expires
    gorgon:{q}:line:<bound>             zset    ids of those that wait for a slot, by when they come again; expires
    gorgon:{q}:starts:<bound>           zset    "<id> <attempts>" of those begun or to be begun, by when; expires
    gorgon:{q}:called                   set     ids of those that got a slot before they were delayed; expires
    gorgon:{l}:lease                    hash    owner, token, ends, length, done: who may do what one alone may, and
                                                until when
    gorgon:protocol                     string  "<major>.<minor>", the version of keys and scripts
    gorgon:route                        string  which queues go over other brokers, as all hosts have agreed
    gorgon:kept                         channel nothing, for nobody: what is sent there goes to the replicas, too

For the group g of topic t, `gorgon:{q}` is `gorgon:{t}/g` in every line above.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from hashlib import sha256

from gorgond.redpill.script import Script

_NAME = re.compile(r"[A-Za-z0-9_.:@-]{1,200}(/[A-Za-z0-9_.:@-]{1,200})?")

PROTOCOL = "gorgon:protocol"
"""A key of no queue: the version of all keys and scripts."""

ROUTE = "gorgon:route"
"""The other one: which queues go over other brokers, as all hosts have agreed."""

KEPT = "gorgon:kept"
"""The one channel of no topic: `rediswire` sends to it so that there is something for replicas to wait for."""

WORD_MAX = 100  # characters of a part of a name that somebody else has chosen

_KEY = re.compile(r"gorgon:\{([^}]+)\}(/[^:]+)?:.*", re.DOTALL)


@lru_cache(maxsize=10_000)
def queue(name: str) -> str:
    """The list of messages waiting in queue `name`; every other key of the queue starts with it.

    Raises ValueError for a name that is none.
    """
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} is no queue name: letters, digits and . _ - : @, with at most one / before a group")
    tag, slash, group = name.partition("/")
    return f"gorgon:{{{tag}}}{slash}{group}"


def is_name(text: str) -> bool:
    """Whether a queue may be called so."""
    return _NAME.fullmatch(text) is not None


def word(text: str) -> str:
    """The text as a part of a name: characters that none may have become their code in hex, and what is too long a
    hash, so that two texts are never one name."""
    made = re.sub(r"[^A-Za-z0-9_.:@-]", lambda found: f"_x{ord(found[0]):x}_", text)
    if len(made) > WORD_MAX:
        made = f"{made[: WORD_MAX - 9]}.{sha256(made.encode()).hexdigest()[:8]}"
    return made


def name_of(key: str) -> str:
    """The name of the queue, topic or list that a key of one belongs to; empty for what is none of ours."""
    found = _KEY.fullmatch(key)
    return found[1] + (found[2] or "") if found else ""


def held(name: str) -> str:
    """The messages that wait in queue `name` while it is paused."""
    return f"{queue(name)}:held"


def desk(name: str, consumer: str) -> str:
    """What `consumer` has taken from queue `name` and not yet settled."""
    return f"{queue(name)}:desk:{consumer}"


def desks(name: str) -> str:
    """The beginning of the desk of every consumer on queue `name`."""
    return f"{queue(name)}:desk:"


def delayed(name: str) -> str:
    """Messages of queue `name` that wait for their next attempt."""
    return f"{queue(name)}:delayed"


def dead(name: str) -> str:
    """Messages of queue `name` given up."""
    return f"{queue(name)}:dead"


def consumers(name: str) -> str:
    """The consumers of queue `name`: who owns which desk, and when it was last heard of."""
    return f"{queue(name)}:lanes"


def memory(name: str) -> str:
    """A bound of the memory that what waits in queue `name` takes."""
    return f"{queue(name)}:memory"


def watched(name: str) -> str:
    """Since when somebody looks for silent consumers of queue `name`."""
    return f"{queue(name)}:watched"


def turn(name: str) -> str:
    """Whose turn it is to take what comes to queue `name`."""
    return f"{queue(name)}:turn"


def bell(name: str) -> str:
    """The list that rings for the consumers of queue `name` that stand by."""
    return f"{queue(name)}:bell"


def epoch(name: str) -> str:
    """How often queue `name` was switched: paused, resumed, joined, parted from."""
    return f"{queue(name)}:epoch"


def paused(name: str) -> str:
    """Whether queue `name` is paused."""
    return f"{queue(name)}:paused"


def pushed(name: str) -> str:
    """The counts that producers of queue `name` have made since the queue was made."""
    return f"{queue(name)}:pushed"


def counts(name: str) -> str:
    """The counts that consumers of queue `name` have made since the queue was made."""
    return f"{queue(name)}:counts"


def producer(name: str, who: str) -> str:
    """The last batch of messages from producer `who` on queue `name`."""
    return f"{queue(name)}:producer:{who}"


def publisher(topic: str, who: str) -> str:
    """The last batch of events from producer `who` on `topic`."""
    return f"{queue(topic)}:publisher:{who}"


def replies(name: str) -> str:
    """The list on which a caller waits for its replies."""
    return f"{queue(name)}:replies"


def groups(topic: str) -> str:
    """The durable groups of `topic`."""
    return f"{queue(topic)}:groups"


def limits(topic: str) -> str:
    """How much each durable group of `topic` keeps."""
    return f"{queue(topic)}:limits"


def live(topic: str) -> str:
    """The channel of `topic`."""
    return f"{queue(topic)}:live"


def lease(name: str) -> str:
    """The holder of a lease."""
    return f"{queue(name)}:lease"


def unique(name: str, key: str) -> str:
    """The one job of queue `name` that waits or runs under a key."""
    return f"{queue(name)}:unique:{key}"


def rate(family: str, name: str) -> str:
    """How much of a limit on how often is used up; the limits of one family are asked together."""
    return f"{queue(family)}:rate:{name}"


def slots(name: str, bound: str) -> str:
    """Which messages of queue `name` are under way, of those that a bound is for."""
    return f"{queue(name)}:slots:{bound}"


def line(name: str, bound: str) -> str:
    """Which of them wait for a slot."""
    return f"{queue(name)}:line:{bound}"


def starts(name: str, bound: str) -> str:
    """When messages of queue `name` were begun, or are to be, of those that a bound is for."""
    return f"{queue(name)}:starts:{bound}"


def called(name: str) -> str:
    """Which messages of queue `name` got a slot before they were delayed."""
    return f"{queue(name)}:called"


def asker(family: str, who: str) -> str:
    """The last question of `who` about the limits of a family."""
    return f"{queue(family)}:asker:{who}"


NAMED: Mapping[str, Callable[..., str]] = {
    each.__name__: each
    for each in (
        queue, held, paused, desk, delayed, dead, consumers, memory, watched, turn, bell, epoch, pushed, counts,
        producer, publisher, replies, groups, limits, live, lease, unique, rate, asker,
        slots, line, starts, called,
    )
}  # fmt: skip
"""The keys by what the scripts call them."""

_OWN = ("desk", "producer", "publisher", "unique", "asker", "slots", "line", "starts")  # keys that somebody has alone
OF_TOPICS = ("groups", "limits")  # keys that a group's are beside


@lru_cache(maxsize=10_000)
def of(script: Script, name: str, who: str = "") -> Sequence[str]:
    """The keys of queue, topic, list or family `name` that a script is given by `who` runs it."""
    return [_key_of(key, name, who) for key in script.keys]


def _key_of(key: str, name: str, who: str) -> str:
    if key in _OWN:
        return NAMED[key](name, who)
    return NAMED[key](name.partition("/")[0] if key in OF_TOPICS else name)
