"""All settings: the sections of the configuration, with each key's default, kind and meaning.

To add a setting, add one line to a section here and show it in etc/gorgond.conf. To add a section, add its class and
its line in `FixedSections`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, fields, make_dataclass
from typing import TYPE_CHECKING, Any, get_type_hints

from gorgond.redpill import DRIVERS as BROKERS
from gorgond.redpill import keys as names
from gorgond.roles import ROLES
from gorgond.stores.drivers import DRIVERS, starts
from gorgond.validators import (
    COUNT,
    KEYS,
    NETWORKS,
    ORIGINS,
    Kind,
    Network,
    duration,
    matching,
    one_of,
    size,
    urls,
    whole,
)


@dataclass(frozen=True, slots=True)
class Key:
    """One setting: its default as one would write it, what it may be, and one line on what it does."""

    default: str
    kind: Kind
    doc: str
    secret: bool = False


def setting(default: str, kind: Kind, doc: str, secret: bool = False) -> Any:
    """A dataclass field for a setting of a section; a secret stays out of the repr. Raises ValueError when the default
    is not of that kind."""
    try:
        value = kind.parse(default)
    except ValueError:
        raise ValueError(f"the default {default!r} is not {kind.allowed}") from None
    return field(default=value, metadata={"key": Key(default, kind, doc, secret)}, repr=not secret)


BROKER_URLS = tuple(f"{scheme}://" for scheme in BROKERS)
BROKER_URL = urls(*BROKER_URLS)
OUR_STORES = urls(*starts(DRIVERS.table))


def _store_url(text: str) -> str:
    """A URL of a driver of ours, or of one that a package brings: these are looked for when it is none of ours."""
    try:
        return str(OUR_STORES.parse(text))
    except ValueError:
        return str(urls(*starts(DRIVERS.names())).parse(text))


STORE_URL = Kind(f"{OUR_STORES.allowed}, or with the scheme of a driver that a package brings", _store_url)


Route = tuple[str, str]  # a queue or topic, and the broker that carries it
MAIN = "main"  # in the place of a broker: those that carry what has no route
UNROUTED = ("stats", "auth_put")  # all processes are heard over it; it goes on over the broker that it came over


def _routes(text: str) -> tuple[Route, ...]:
    routes = []
    for each in text.split():
        name, _, url = each.partition("=")
        if not names.is_name(name) or "/" in name or name in UNROUTED:
            raise ValueError
        routes.append((name, url if url == MAIN else BROKER_URL.parse(url)))
    if len(set(routes)) < len(routes):
        raise ValueError
    return tuple(routes)


ROUTES = Kind(
    f"QUEUE=URL or TOPIC=URL with blanks between them, each once, none of {' or '.join(UNROUTED)}, with a URL as "
    f"[broker] url has it, or {MAIN}; or nothing",
    _routes,
)


@dataclass(frozen=True, slots=True)
class Section:
    """The settings of one section."""


@dataclass(frozen=True, slots=True)
class Broker(Section):
    """The Redis that holds the queues."""

    url: str = setting("unix:///run/gorgond/broker.sock", BROKER_URL, "the Redis of all queues", secret=True)
    user: str = setting("", matching("a name of a Redis user, or nothing", r"[\w-]*"), "who we are there")
    password: str = setting("", matching("a password without blanks, or nothing", r"\S*"), "of that user", secret=True)
    calls: str = setting(
        "", urls(*BROKER_URLS, empty=True), "a second Redis for calls; empty: the same one", secret=True
    )
    route: tuple[Route, ...] = setting("", ROUTES, "queues and topics that have a Redis of their own", secret=True)
    queue_limit: int = setting("100000", whole(1, 10**9), "messages a queue holds at most")
    queue_bytes: int = setting("256MB", size("10MB", "1000GB"), "memory they take at most")
    clock_limit: float = setting("2s", duration("1d"), "by how much a host's clock may differ from the broker's")


@dataclass(frozen=True, slots=True)
class Store(Section):
    """The database."""

    url: str = setting("sqlite:////var/lib/gorgond/gorgond.db", STORE_URL, "the database", secret=True)
    lanes: int = setting("1", whole(1, 32), "reads that one store process has under way at the same time")
    batch: int = setting("12", whole(1, 1000), "reads that a lane takes at a time")
    search: str = setting("yes", one_of("yes", "no"), "whether notes are indexed for searches by their words")


@dataclass(frozen=True, slots=True)
class Web(Section):
    """The HTTP server."""

    address: str = setting("", matching("an IP address, a host name, or nothing", r"[\w.:-]*"), "empty: all addresses")
    port: int = setting("3000", whole(0, 65535), "the port; 0 takes a free one")
    api: str = setting("open", one_of("open", "read", "off"), "/info and /items: all of it, reads alone, or none")
    deadline: float = setting("10s", duration("1h"), "how long a request may take before it is answered 504")
    url: str = setting(
        "", urls("https://", "http://", empty=True), "where people find the site; OAuth2 comes back there"
    )
    trusted_proxies: tuple[Network, ...] = setting(
        "", NETWORKS, "proxies whose X-Forwarded-For tells a client's address"
    )


@dataclass(frozen=True, slots=True)
class Auth(Section):
    """Sessions of users, how often a password may be tried, and how it travels."""

    key: str = setting("", KEYS, "the key of web and auth servers, which seals passwords on their way", secret=True)
    idle: float = setting("14d", duration("3650d", "12h or 14d"), "a session unused for so long ends")
    lifetime: float = setting("90d", duration("3650d", "12h or 90d"), "every session ends after so long")
    attempts: int = setting("5", whole(1, 10**6), "wrong passwords at once for one account from one address")
    address_attempts: int = setting("100", whole(1, 10**6), "the same from one address for all accounts together")


@dataclass(frozen=True, slots=True)
class OAuth2(Section):
    """Another site whose users may log in here, under a name of its own: [oauth2.NAME]."""

    kind: str = setting("oidc", one_of("oidc", "google", "facebook", "github"), "who it is; oidc: any OpenID provider")
    issuer: str = setting("", urls("https://", "http://", empty=True), "of kind oidc: its address, which describes it")
    client_id: str = setting("", matching("a text without blanks, or nothing", r"\S*"), "who we are there")
    client_secret: str = setting(
        "", matching("a secret without blanks, or nothing", r"\S*"), "our password", secret=True
    )


@dataclass(frozen=True, slots=True)
class App(Section):
    """The applications."""

    module: str = setting(
        "gorgond.app.notes",
        matching("names of modules, or of entry points of gorgond.apps, or nothing", r"[\w.-]*( +[\w.-]+)*"),
        "the applications, with blanks between them",
    )  # fmt: skip
    directory: str = setting(
        "/etc/gorgond/app.d", matching("an absolute path, or nothing", r"(/\S.*)?"), "each *.py there is one too"
    )
    requests: int = setting("100", whole(1, 10_000), "requests that one app server has under way at the same time")


@dataclass(frozen=True, slots=True)
class Journal(Section):
    """The log of every change. A kind of sink may add settings of its own: `gorgond.sinks`."""

    kind: str = setting(
        "",
        matching("a kind of sink, or nothing", r"([a-z0-9][a-z0-9-]*)?"),
        "where it goes: journald, file; empty: by itself",
    )
    file: str = setting(
        "", matching("an absolute path, or nothing", r"(/\S.*)?"),
        "the file it is; empty: journald, or where that is not running /var/log/gorgond/events.log",
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Stats(Section):
    """The stats server."""

    address: str = setting(
        "127.0.0.1", matching("an IP address, a host name, or nothing", r"[\w.:-]*"), "empty: all of them"
    )
    port: int = setting("3001", whole(0, 65535), "the port; 0 takes a free one")
    password: str = setting(
        "", matching("a password without blanks, or nothing", r"\S*"), "the operator's", secret=True
    )
    open: str = setting("no", one_of("no", "local"), "local: who is on this host may look without the password")
    trusted_proxies: tuple[Network, ...] = setting("", NETWORKS, "proxies whose X-Forwarded-For and -Proto count")


@dataclass(frozen=True, slots=True)
class Live(Section):
    """The port of the notification servers, over which clients hear live what concerns them."""

    address: str = setting(
        "127.0.0.1", matching("an IP address, a host name, or nothing", r"[\w.:-]*"), "empty: all of them"
    )
    port: int = setting("3002", whole(0, 65535), "the port; 0 takes a free one")
    origins: str = setting("", ORIGINS, "sites whose pages may connect, beside the one at [web] url")


@dataclass(frozen=True, slots=True)
class Provider(Section):
    """One provider, under a name of its own: [provider.NAME]. Each kind adds its own settings: `gorgond.providers`."""

    kind: str = setting("random", matching("a kind of provider", "[a-z0-9][a-z0-9-]*"), "where its items come from")


@dataclass(frozen=True, slots=True)
class Notify(Section):
    """One channel over which notifications are sent, under a name of its own: [notify.NAME]. Each kind adds its own
    settings: `gorgond.notifiers`."""

    kind: str = setting("email", matching("a kind of channel", "[a-z0-9][a-z0-9-]*"), "how it is sent")
    rate: int = setting("60", whole(1, 10**6), "notifications sent a minute, by all servers together")


@dataclass(frozen=True, slots=True)
class Notifications(Section):
    """What is kept of notifications: in inboxes, and what became of those that were sent over channels."""

    keep: float = setting("180d", duration("3650d", "12h or 180d"), "they are deleted when they are older")
    newest: int = setting("1000", whole(1, 10**6), "of a user's inbox so many are kept, and those of the last day")


@dataclass(frozen=True)
class Instances(Section):
    """How many of each role run on this host. Each row of the table of roles is a setting; systemd's gorgond-generator
    reads them too."""

    if TYPE_CHECKING:

        def __getattr__(self, role: str) -> str: ...


def _instances() -> type[Instances]:
    made = []
    for role in ROLES.values():
        if role.section:
            kind = matching(f"names of {role.many}, or nothing", "[a-z0-9 .-]*")
            made.append((role.key, str, setting("", kind, f"which {role.many}")))
        else:
            made.append((role.key, str, setting(role.number, COUNT, role.many)))
    return make_dataclass("Instances", made, bases=(Instances,), namespace={"__doc__": Instances.__doc__}, frozen=True)


@dataclass(frozen=True, slots=True)
class Log(Section):
    """The log that the processes write to stderr or the journal."""

    level: str = setting("info", one_of("debug", "info", "warning", "error"), "the least important that is written")
    format: str = setting("text", one_of("text", "json"), "one line of text or one JSON object an event")


@dataclass(frozen=True, slots=True)
class Chaos(Section):
    """The rights of gorgon-chaos on this host."""

    allowed: str = setting("no", one_of("yes", "no"), "whether gorgon-chaos may hurt this host's units")


@dataclass(frozen=True, slots=True)
class FixedSections:
    """The sections that there are once each, in their order."""

    instances: Instances
    broker: Broker
    store: Store
    web: Web
    auth: Auth
    app: App
    notifications: Notifications
    stats: Stats
    notify: Live
    journal: Journal
    log: Log
    chaos: Chaos


SECTIONS: dict[str, type[Section]] = {**get_type_hints(FixedSections), "instances": _instances()}
NAMED: dict[str, type[Section]] = {  # as many of these as are named
    "provider": Provider, "notify": Notify, "oauth2": OAuth2,
}  # fmt: skip
NAME = r"[a-z0-9][a-z0-9-]*"
DEFAULT_PROVIDER = "provider.random"  # there when the file has no provider of its own


def keys(section: type[Section]) -> dict[str, Key]:
    """The settings of a section, in their order."""
    return {each.name: each.metadata["key"] for each in fields(section)}


def flag(place: str) -> str:
    """The command line flag for `section.key`: named after the key, a URL after its section."""
    section, _, key = place.rpartition(".")
    return "--" + (section if key == "url" else key).replace("_", "-")


def variable(place: str) -> str:
    """The environment variable for `section.key`."""
    return "GORGOND_" + re.sub("[.-]", "_", place).upper()


def masked(text: str) -> str:
    """A secret as it may be shown: URLs without their passwords, nothing of what has none."""
    if "://" not in text:
        return "***" if text else ""
    return " ".join(map(_masked, text.split(" ")))


def _masked(url: str) -> str:
    url = re.sub(r"^([^:]+://[^:@/?]*:).*@", r"\1***@", url)
    return re.sub(r"(?i)([?&](?:\w*password|authMechanismProperties)=)[^&]*", r"\1***", url)
