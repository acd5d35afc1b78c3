"""A row of the table of roles. It is data alone and imports nothing of gorgond's: everybody may read it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

ANY = "ANY"  # in place of a topic or group: all of them, as what an application names is its own business


class Access(NamedTuple):
    """The queues and topics that a role uses, by what it does with them: `service.access` makes the rights of its Redis
    user of it."""

    pushes: tuple[str, ...] = ()
    consumes: tuple[str, ...] = ()
    subscribes: tuple[str, ...] = ()  # to topics, as topic/group
    waits_on: tuple[str, ...] = ()  # the beginnings of the lists on which it waits for replies
    replies: bool = False
    publishes: tuple[str, ...] = ("stats",)
    listens: tuple[str, ...] = ()  # to topics, live
    operates: bool = False  # looks at all queues and the broker itself; pauses queues, settles dead letters
    limits: tuple[str, ...] = ()  # families of limits on how often
    leases: tuple[str, ...] = ()  # the beginnings of the names of leases
    jobs: tuple[str, ...] = ()  # queues with jobs, some the only ones under a key, or bound by limits


FIELD = r"(?!(?:id|ts)\Z)[A-Za-z][A-Za-z0-9_]{0,63}"  # what a field is called that has an index; id and ts need none


class Indexes(NamedTuple):
    """The fields by which documents of a collection are found fast: stores keep an index for each."""

    newest: tuple[str, ...] = ()  # by the value of one of these fields, the newest first
    values: tuple[str, ...] = ()  # by the value of one of these, or by any value of a list
    folded: tuple[str, ...] = ()  # of these two: those whose texts are found whatever their case
    by_time: bool = False  # the newest of all
    text: tuple[str, ...] = ()  # by words in these
    # How a user's documents are found, which end with the account: "userid", a field with the user's number; "id", it
    # is the user's; "id:", it begins so, before a colon. Empty: they are nobody's, or the auth server's own.
    owner: str = ""
    # They say where else a user is told: none of them outlives that somebody else takes the account over.
    targets: bool = False


class Unit(NamedTuple):
    """The needs of its systemd unit besides those of all units: `tools/made.py` writes the unit of it."""

    user: str = ""  # whom it runs as, unless it is a user of its own, gorgon-ROLE
    watchdog: int = 15  # seconds
    weight: int = 100  # its share of the CPU
    port: bool = False  # all its servers share one, in a socket unit; the role's section has `address` and `port`
    credentials: tuple[str, ...] = ()  # settings that are keys; `gorgonctl secrets` makes them
    secrets: tuple[str, ...] = ()  # those that it is given where /etc/credstore has them: store.url, oauth2.*
    opens: tuple[str, ...] = ()  # sections that open its network, by how their names begin: oauth2.
    kind: str = ""  # the section whose `kind` opens it, unless that is one of ours which asks nobody
    hides: tuple[str, ...] = ("/var/lib/gorgond", "/etc/gorgond/broker")  # directories that it does not see
    lines: tuple[str, ...] = ()  # of [Service]: its files, and what else there is
    instead: tuple[str, ...] = ()  # the same, in place of what all units have in common


class Role(NamedTuple):
    """One row. A role with a `mode` is another kind of the role it is named after, and has no command of its own:
    store-read is `gorgond store --mode read`. Neither has one that is no class of gorgond's but a `program`: units and
    `gorgond up` run it, and tell it what they tell a command."""

    name: str
    path: str  # its class, imported when it is needed: gorgond.roles.web:WebServer; nothing where it has a program
    title: str  # what an instance is
    many: str  # what several are, and where that is not clear what they do
    access: Access
    help: str = ""  # of its command
    flags: Mapping[str, tuple[str, ...]] = {}  # settings that its command has flags for, by section
    mode: str = ""
    program: str = ""  # with its arguments, of which %i is the name of the instance: /usr/bin/node /usr/share/x/x.js %i
    # How many there are
    number: str = "1"  # on a host, unless [instances] says otherwise
    up: int = 1  # under `gorgond up`, and whether `gorgond simulate` has one
    section: str = ""  # instances are sections of the configuration, [provider.NAME], and have their names
    only_with: tuple[str, ...] = ()  # settings: where all are empty, `gorgond up` and `gorgond simulate` have none
    testing: bool = False  # the tests of applications have one, too: `gorgond.testing`
    # In which order
    ends: int = 1  # who asks before who answers, so that all that was asked is answered
    restarts: int = 3  # at an upgrade: who must understand what others begin to send before they begin
    # Its special properties
    finishes: bool = False  # it may be done some day, and ends well
    sink: bool = False  # what it takes leaves the fabric, so on a real broker a simulated one would lose it
    database: bool = False  # asks the database
    vital: tuple[str, ...] = ()  # as what it is missed when nobody else is that either: then the fabric is down
    collections: Mapping[str, Indexes] = {}  # those that it keeps its documents in
    unit: Unit = Unit()

    @property
    def command(self) -> str:
        """The command of gorgond that runs it."""
        return self.name.removesuffix(f"-{self.mode}")

    @property
    def key(self) -> str:
        """Its name in [instances]."""
        return self.name.replace("-", "_")
