"""The configuration: what can be set, where it may be set, and what each process makes of it.

A value is looked for in five places, the later one wins:

    the default                    declared below, shown in etc/gorgond.conf
    the file                       --config, else GORGOND_CONFIG, else /etc/gorgond/gorgond.conf if it exists
    a credential                   $CREDENTIALS_DIRECTORY/broker.url, the way systemd hands out secrets
    the environment                GORGOND_BROKER_URL, GORGOND_PROVIDER_RANDOM_RATE
    a flag of the command line     --port 8080

All of it is checked, also what a later place overrides: a `ConfigError` names the place, the key, the value and what is
allowed. A secret's value is never part of a message.

The file is INI: `[section]`, `key = value`, comments on lines of their own after `#` or `;`. A value is the rest of its
line as it stands, `#` and `%` included. To add a setting, add one line to a section below and show it in
etc/gorgond.conf.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field, fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar

from gorgond.errors import ConfigError
from gorgond.kinds import COUNT, NETWORKS, Kind, Network, duration, matching, one_of, urls, whole

DEFAULT_PATH = "/etc/gorgond/gorgond.conf"
OTHER_VARIABLES = ("GORGOND_CONFIG", "GORGOND_INSTANCE")


# ---- what can be set


@dataclass(frozen=True, slots=True)
class Key:
    """One setting: its default as one would write it, what it may be, and one line on what it does."""

    default: str
    kind: Kind
    doc: str
    secret: bool = False


def _key(default: str, kind: Kind, doc: str, secret: bool = False) -> Any:
    """A dataclass field for this setting; a secret stays out of the repr."""
    return field(default=kind.parse(default), metadata={"key": Key(default, kind, doc, secret)}, repr=not secret)


BROKER_URLS = ("redis://", "rediss://", "unix://", "memory://")
STORE_URLS = ("mongodb://", "mongodb+srv://", "sqlite:///")


@dataclass(frozen=True, slots=True)
class Broker:
    """The Redis that holds the queues."""

    url: str = _key("unix:///run/gorgond/broker.sock", urls(*BROKER_URLS), "the Redis of all queues", secret=True)
    user: str = _key("", matching("a name of a Redis user, or nothing", r"[\w-]*"), "who we are there")
    password: str = _key("", matching("a password without blanks, or nothing", r"\S*"), "of that user", secret=True)
    calls: str = _key("", urls(*BROKER_URLS, empty=True), "a second Redis for calls; empty: the same one", secret=True)
    queue_limit: int = _key("100000", whole(1, 10**9), "messages a queue holds at most")


@dataclass(frozen=True, slots=True)
class Store:
    """The database."""

    url: str = _key("sqlite:////var/lib/gorgond/gorgond.db", urls(*STORE_URLS), "the database", secret=True)
    lanes: int = _key("1", whole(1, 32), "reads that one store process has under way at the same time")
    batch: int = _key("12", whole(1, 1000), "reads that a lane takes at a time")


@dataclass(frozen=True, slots=True)
class Web:
    """The HTTP server."""

    address: str = _key("", matching("an IP address, a host name, or nothing", r"[\w.:-]*"), "empty: all addresses")
    port: int = _key("3000", whole(0, 65535), "the port; 0 takes a free one")
    deadline: float = _key("10s", duration("1h"), "how long a request may take before it is answered 504")
    url: str = _key("", urls("https://", "http://", empty=True), "where people find the site; OAuth2 comes back there")
    trusted_proxies: tuple[Network, ...] = _key("", NETWORKS, "proxies whose X-Forwarded-For tells a client's address")


@dataclass(frozen=True, slots=True)
class Auth:
    """Users: their sessions, and how often a password may be tried."""

    idle: float = _key("14d", duration("3650d", "12h or 14d"), "a session unused for so long ends")
    lifetime: float = _key("90d", duration("3650d", "12h or 90d"), "every session ends after so long")
    attempts: int = _key("5", whole(1, 10**6), "wrong passwords at once for one account from one address")
    address_attempts: int = _key("100", whole(1, 10**6), "the same from one address for all accounts together")


@dataclass(frozen=True, slots=True)
class OAuth2:
    """Another site whose users may log in here, under a name of its own: [oauth2.NAME]."""

    kind: str = _key("oidc", one_of("oidc", "google", "facebook", "github"), "who it is; oidc: any OpenID provider")
    issuer: str = _key("", urls("https://", "http://", empty=True), "of kind oidc: its address, which describes it")
    client_id: str = _key("", matching("a text without blanks, or nothing", r"\S*"), "who we are there")
    client_secret: str = _key("", matching("a secret without blanks, or nothing", r"\S*"), "our password", secret=True)


@dataclass(frozen=True, slots=True)
class App:
    """The applications."""

    module: str = _key(
        "gorgond.app.notes",
        matching("names of modules, or of entry points of gorgond.apps, or nothing", r"[\w.-]*( +[\w.-]+)*"),
        "the applications, with blanks between them",
    )  # fmt: skip
    directory: str = _key(
        "/etc/gorgond/app.d", matching("an absolute path, or nothing", r"(/\S.*)?"), "each *.py there is one too"
    )
    requests: int = _key("100", whole(1, 10_000), "requests that one app server has under way at the same time")


@dataclass(frozen=True, slots=True)
class Journal:
    """The log of every change."""

    file: str = _key(
        "", matching("an absolute path, or nothing", r"(/\S.*)?"),
        "the file it is; empty: journald, or where that is not running /var/log/gorgond/events.log",
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Stats:
    """The stats server."""

    address: str = _key(
        "127.0.0.1", matching("an IP address, a host name, or nothing", r"[\w.:-]*"), "empty: all of them"
    )
    port: int = _key("3001", whole(0, 65535), "the port; 0 takes a free one")
    password: str = _key("", matching("a password without blanks, or nothing", r"\S*"), "the operator's", secret=True)


@dataclass(frozen=True, slots=True)
class Provider:
    """One provider instance, under its own name: [provider.NAME]."""

    kind: str = _key("random", one_of("random"), "where its items come from")
    rate: int = _key("1000", whole(1, 10**6), "items a second")
    count: int = _key("100000", whole(0, 10**12), "items in all; 0: for ever")
    users: int = _key("10000", whole(1, 10**9), "users the items belong to")
    size: int = _key("1800", whole(0, 10**6), "bytes in the body of an item")
    seed: int = _key("0", whole(0, 2**63 - 1), "the same seed makes the same items")


@dataclass(frozen=True, slots=True)
class Instances:
    """How many of each role run on this host; systemd's gorgond-generator reads them too."""

    web: str = _key("1 per core", COUNT, "web servers")
    store: str = _key("2", COUNT, "store servers")
    store_read: str = _key("0", COUNT, "store servers that only read")
    store_write: str = _key("0", COUNT, "store servers that only write")
    auth: str = _key("2", COUNT, "auth servers")
    app: str = _key("2", COUNT, "app servers")
    journal: str = _key("1", COUNT, "journals, which write every change to the system log")
    stats: str = _key("1", COUNT, "stats servers")
    provider: str = _key("", matching("names of providers, or nothing", "[a-z0-9 -]*"), "which providers")


@dataclass(frozen=True, slots=True)
class Log:
    """What the processes write to stderr or the journal."""

    level: str = _key("info", one_of("debug", "info", "warning", "error"), "the least important that is written")
    format: str = _key("text", one_of("text", "json"), "one line of text or one JSON object an event")


@dataclass(frozen=True, slots=True)
class Chaos:
    """What gorgon-chaos may do on this host."""

    allowed: str = _key("no", one_of("yes", "no"), "whether gorgon-chaos may hurt this host's units")


Section = Broker | Store | Web | Auth | App | Stats | Journal | Instances | Provider | OAuth2 | Log | Chaos
S = TypeVar("S", bound=Section)

SECTIONS: dict[str, type[Section]] = {
    "instances": Instances, "broker": Broker, "store": Store, "web": Web, "auth": Auth, "app": App,
    "stats": Stats, "journal": Journal, "log": Log, "chaos": Chaos,
}  # fmt: skip
NAMED: dict[str, type[Section]] = {"provider": Provider, "oauth2": OAuth2}  # as many of these as are named
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


def masked(url: str) -> str:
    """A secret as it may be shown: a URL without its passwords, nothing of what is no URL."""
    if "://" not in url:
        return "***" if url else ""
    url = re.sub(r"^([^:]+://[^:@/?]*:).*@", r"\1***@", url)
    return re.sub(r"(?i)([?&](?:\w*password|authMechanismProperties)=)[^&]*", r"\1***", url)


# ---- what is set


@dataclass(frozen=True, slots=True)
class Setting:
    """A value as it was written, and where."""

    text: str = field(repr=False)
    origin: str = "default"


Settings = Mapping[str, Mapping[str, Setting]]


@dataclass(frozen=True, slots=True)
class Config:
    """The whole configuration of a process, checked. `settings` has each section's values as they were written."""

    instances: Instances
    broker: Broker
    store: Store
    web: Web
    auth: Auth
    app: App
    journal: Journal
    stats: Stats
    log: Log
    chaos: Chaos
    providers: Mapping[str, Provider]
    oauth2: Mapping[str, OAuth2]
    settings: Settings = field(repr=False)

    def show(self, mask: bool = True) -> str:
        """The file that would give this configuration, with where each value came from."""
        return "\n".join(line for section in self.settings for line in self._lines(section, mask))

    def _lines(self, section: str, mask: bool) -> Iterator[str]:
        yield f"[{section}]"
        for name, key in keys(_kind_of(section)).items():
            setting = self.settings[section][name]
            text = masked(setting.text) if key.secret and mask else setting.text
            yield f"# {key.doc} ({setting.origin})"
            yield f"{name} = {text}".rstrip()
        yield ""


def rewritten(text: str, section: str, key: str, value: str) -> str:
    """The text of a configuration file in which this setting has this value, all else as it stands."""
    lines = text.splitlines()
    here, last = "", -1  # the section we are in, and the last line that belongs to `section`
    for number, line in enumerate(map(str.strip, lines)):
        if line[:1] == "[" and line[-1:] == "]":
            here = line[1:-1]
        if here != section or not line or line[0] in "#;":
            continue
        last = number
        if line.partition("=")[0].strip() == key:
            lines[number] = f"{key} = {value}".rstrip()
            break
    else:
        added = [f"{key} = {value}".rstrip()]
        if last < 0:
            last, added = len(lines) - 1, ["", f"[{section}]", *added]
        lines[last + 1 : last + 1] = added
    return "\n".join(lines) + "\n"


def load(path: str | None, environ: Mapping[str, str], flags: Mapping[str, str]) -> Config:
    """The configuration from the file at `path` and all the other places; `flags` maps `section.key` to text."""
    written = _read(path or environ.get("GORGOND_CONFIG"))
    names = [*SECTIONS, *(name for name in written if name not in SECTIONS)]
    if not any(map(_is("provider"), names)):
        names.append(DEFAULT_PROVIDER)
    settings = {
        name: {key: Setting(each.default) for key, each in keys(_kind_of(name)).items()} | written.get(name, {})
        for name in names
    }
    places = [f"{section}.{key}" for section in settings for key in settings[section]]
    for place, setting in (*_credentials(places, environ), *_variables(places, environ), *_flags(places, flags)):
        section, _, key = place.rpartition(".")
        _value(section, key, setting)
        settings[section][key] = setting
    return Config(
        instances=_made(Instances, "instances", settings),
        broker=_made(Broker, "broker", settings),
        store=_made(Store, "store", settings),
        web=_made(Web, "web", settings),
        auth=_made(Auth, "auth", settings),
        app=_made(App, "app", settings),
        journal=_made(Journal, "journal", settings),
        stats=_made(Stats, "stats", settings),
        log=_made(Log, "log", settings),
        chaos=_made(Chaos, "chaos", settings),
        providers=_all(Provider, "provider", settings),
        oauth2=_all(OAuth2, "oauth2", settings),
        settings=settings,
    )


def _is(kind: str) -> Callable[[str], bool]:
    return lambda section: section.startswith(f"{kind}.")


def _kind_of(section: str) -> type[Section]:
    return SECTIONS.get(section) or NAMED[section.partition(".")[0]]


def _all(kind: type[S], name: str, settings: Settings) -> dict[str, S]:
    """The sections of this kind by their names."""
    return {each.partition(".")[2]: _made(kind, each, settings) for each in filter(_is(name), settings)}


def _made(kind: type[S], section: str, settings: Settings) -> S:
    return kind(**{key: _value(section, key, setting) for key, setting in settings[section].items()})


def _value(section: str, key: str, setting: Setting) -> Any:
    declared = keys(_kind_of(section))[key]
    try:
        return declared.kind.parse(setting.text)
    except ValueError:
        given = "this value (not shown here)" if declared.secret else repr(setting.text)
        raise ConfigError(
            f"{setting.origin}: [{section}] {key} cannot be {given}; allowed: {declared.kind.allowed}"
        ) from None


def _unknown(origin: str, what: str, name: str, known: Collection[str]) -> ConfigError:
    close = get_close_matches(name, known, 1)
    hint = f'did you mean "{close[0]}"? ' if close else ""
    return ConfigError(f'{origin}: there is no {what} "{name}"; {hint}allowed: {" ".join(known)}')


# ---- the places


def _read(path: str | None) -> dict[str, dict[str, Setting]]:
    """What the file sets; without a path the default one, which may be missing."""
    file = Path(path or DEFAULT_PATH)
    if not path and not file.exists():
        return {}
    return _parsed(_text(file), str(file))


def _text(file: Path) -> str:
    try:
        return file.read_bytes().decode()
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise ConfigError(f"{file}:{line}: not UTF-8 text") from None


def _parsed(text: str, path: str) -> dict[str, dict[str, Setting]]:
    """The sections of an INI text and their settings, all of them known, allowed and given once."""
    sections: dict[str, dict[str, Setting]] = {}
    opened: dict[str, str] = {}
    section = ""
    for number, line in enumerate(map(str.strip, text.split("\n")), 1):
        origin = f"{path}:{number}"
        if not line or line[0] in "#;":
            continue
        if line[0] == "[" and line[-1] == "]":
            section = line[1:-1]
            if section not in SECTIONS and not re.fullmatch(rf"({'|'.join(NAMED)})\.{NAME}", section):
                raise _unknown(origin, "section", section, [*SECTIONS, "provider.NAME oauth2.NAME (a-z 0-9 -)"])
            if section in opened:
                raise ConfigError(f"{origin}: [{section}] is already at {opened[section]}")
            opened[section] = origin
            sections[section] = {}
            continue
        key, equals, value = (part.strip() for part in line.partition("="))
        if not equals or not re.fullmatch(r"[\w-]+", key):
            raise ConfigError(f"{origin}: this is neither a [section] nor a key = value")
        if not section:
            raise ConfigError(f"{origin}: {key} stands before the first [section]")
        if key not in keys(_kind_of(section)):
            raise _unknown(origin, f"key in [{section}]", key, keys(_kind_of(section)))
        if key in sections[section]:
            raise ConfigError(f"{origin}: [{section}] {key} is already at {sections[section][key].origin}")
        sections[section][key] = Setting(value, origin)
        _value(section, key, sections[section][key])
    return sections


def _credentials(places: list[str], environ: Mapping[str, str]) -> Iterator[tuple[str, Setting]]:
    directory = environ.get("CREDENTIALS_DIRECTORY")
    for file in sorted(Path(directory).glob("*")) if directory else ():
        if file.name not in places:
            raise _unknown(str(file), "setting", file.name, places)
        yield file.name, Setting(_text(file).strip(), str(file))


def _variables(places: list[str], environ: Mapping[str, str]) -> Iterator[tuple[str, Setting]]:
    named = {variable(place): place for place in places}
    for name, text in environ.items():
        if name in named:
            yield named[name], Setting(text, name)
        elif name.startswith("GORGOND_") and name not in OTHER_VARIABLES:
            raise _unknown("environment", "variable", name, [*named, *OTHER_VARIABLES])


def _flags(places: list[str], flags: Mapping[str, str]) -> Iterator[tuple[str, Setting]]:
    for place, text in flags.items():
        if place not in places:
            raise _unknown(flag(place), "setting", place, places)
        yield place, Setting(text, flag(place))
