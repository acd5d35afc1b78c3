"""The configuration: what can be set, where it may be set, and what each process makes of it.

A value is looked for in five places, the later one wins:

    the default                    declared in settings.py, shown in etc/gorgond.conf
    the file                       --config, else GORGOND_CONFIG, else /etc/gorgond/gorgond.conf if it exists
    a credential                   $CREDENTIALS_DIRECTORY/broker.url, the way systemd hands out secrets
    the environment                GORGOND_BROKER_URL, GORGOND_PROVIDER_RANDOM_RATE
    a flag of the command line     --port 8080

All of it is checked, also what a later place overrides: a `ConfigError` names the place, the key, the value and what is
allowed, of each mistake that there is. A secret's value is never part of a message.

The file is INI: `[section]`, `key = value`, comments on lines of their own after `#` or `;`. A value is the rest of its
line as it stands, `#` and `%` included.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from gorgond.errors import ConfigError, Mistakes
from gorgond.notifiers import NOTIFIERS
from gorgond.plugins import Kinds
from gorgond.providers import SOURCES
from gorgond.settings import (
    DEFAULT_PROVIDER,
    NAME,
    NAMED,
    SECTIONS,
    FixedSections,
    Notify,
    OAuth2,
    Provider,
    Section,
    flag,
    keys,
    masked,
    variable,
)
from gorgond.sinks import SINKS

DEFAULT_PATH = "/etc/gorgond/gorgond.conf"
KINDS: Mapping[str, Kinds] = {
    "provider": SOURCES,
    "notify": NOTIFIERS,
    "journal": SINKS,
}  # sections whose settings depend on their `kind`
OTHER_VARIABLES = ("GORGOND_BOOT", "GORGOND_CONFIG", "GORGOND_INSTANCE")


# ---- what is set


@dataclass(frozen=True, slots=True)
class Setting:
    """A value as it was written, and where."""

    text: str = field(repr=False)
    origin: str = "default"


Settings = Mapping[str, Mapping[str, Setting]]
Sections = Mapping[str, type[Section]]  # what each section may have: of a provider, what its kind has


@dataclass(frozen=True, slots=True)
class Config(FixedSections):
    """The whole configuration of a process, checked. `settings` has each section's values as they were written,
    `sections` what it may have."""

    providers: Mapping[str, Provider]
    channels: Mapping[str, Notify]
    oauth2: Mapping[str, OAuth2]
    settings: Settings = field(repr=False)
    sections: Sections = field(repr=False)

    def provider(self, name: str) -> Provider:
        """The settings in [provider.NAME], for its instances NAME, NAME.2 … Raises ConfigError when there are none."""
        self.check_named("provider", name)
        return self.providers[name.partition(".")[0]]

    def names_of(self, kind: str) -> list[str]:
        """The names of the sections of a kind: NAME of [provider.NAME]."""
        return [section.partition(".")[2] for section in filter(_is(kind), self.settings)]

    def check_named(self, kind: str, name: str) -> None:
        """Raises ConfigError when there is no section [kind.name]. Of one that has several instances on this host the
        others are called name.2, name.3."""
        name, dot, number = name.partition(".")
        if name not in self.names_of(kind) or (dot and not number.isdecimal()):
            raise ConfigError(f"there is no section [{kind}.{name}]; the {kind}s are: {' '.join(self.names_of(kind))}")

    @contextmanager
    def blaming(self, section: str, key: str) -> Iterator[None]:
        """Turn an error of a setting that shows only when it is used into a ConfigError with its place."""
        try:
            yield
        except (ConfigError, ValueError) as error:
            raise ConfigError(f"{self.origin(section, key)}: [{section}] {key}: {error}") from error

    def origin(self, section: str, key: str) -> str:
        """Where a setting has its value from; of one that is not set, where the first of its section is that is."""
        given = self.settings[section]
        others = (each.origin for each in given.values() if each.origin != given[key].origin)
        return given[key].origin if given[key].origin != "default" else next(others, "default")

    def show(self, mask: bool = True) -> str:
        """The file that would give this configuration, with where each value came from."""
        return "\n".join(line for section in self.settings for line in self._lines(section, mask))

    def _lines(self, section: str, mask: bool) -> Iterator[str]:
        yield f"[{section}]"
        for name, key in keys(self.sections[section]).items():
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
    """The configuration from the file at `path` and all the other places; `flags` maps `section.key` to text. Raises
    ConfigError with all that is wrong."""
    mistakes = Mistakes()
    config = draft(path, environ, flags, mistakes)
    mistakes.tell()
    return config


def draft(path: str | None, environ: Mapping[str, str], flags: Mapping[str, str], mistakes: Mistakes) -> Config:
    """The same, with the default in the place of each value that is not allowed; `mistakes` has all that is wrong.
    Raises ConfigError when the file cannot be read."""
    written = _read(path or environ.get("GORGOND_CONFIG"), mistakes)
    names = [*SECTIONS, *(name for name in written if name not in SECTIONS)]
    if not any(map(_is("provider"), names)):
        names.append(DEFAULT_PROVIDER)
    sections = {name: SECTIONS.get(name) or NAMED[name.partition(".")[0]] for name in names}
    for name in names:
        with mistakes.collect():
            sections[name] = _section(name, sections[name], written.get(name, {}), environ, flags)
            _check(sections[name], name, written.get(name, {}), mistakes)
    settings = {
        name: {key: written.get(name, {}).get(key, Setting(each.default)) for key, each in keys(sections[name]).items()}
        for name in names
    }
    places = [f"{section}.{key}" for section in settings for key in settings[section]]
    given = (
        *_credentials(places, environ, mistakes),
        *_variables(places, environ, mistakes),
        *_flags(places, flags, mistakes),
    )
    for place, setting in given:
        section, _, key = place.rpartition(".")
        with mistakes.collect():
            _value(sections[section], section, key, setting)
        settings[section][key] = setting
    made = {name: _make(sections[name], name, settings[name], mistakes) for name in names}
    single: dict[str, Any] = {name: made[name] for name in SECTIONS}
    named: dict[str, dict[str, Any]] = {
        kind: {name.partition(".")[2]: made[name] for name in filter(_is(kind), names)} for kind in NAMED
    }
    channels, sites = named["notify"], named["oauth2"]
    return Config(
        **single, providers=named["provider"], channels=channels, oauth2=sites, settings=settings, sections=sections
    )


def _section(
    name: str,
    declared: type[Section],
    written: Mapping[str, Setting],
    environ: Mapping[str, str],
    flags: Mapping[str, str],
) -> type[Section]:
    """The class of the section's settings, `declared` unless it depends on a kind. The kind is looked for in the places
    of all settings."""
    family = name.partition(".")[0]
    if "kind" not in keys(declared) or family not in KINDS:
        return declared
    place = f"{name}.kind"
    kind = written.get("kind", Setting(keys(declared)["kind"].default))
    if (text := environ.get(variable(place))) is not None:
        kind = Setting(text, variable(place))
    if (text := flags.get(place)) is not None:
        kind = Setting(text, flag(place))
    if not kind.text:
        return declared
    try:
        found: type[Section] = KINDS[family].load(kind.text).settings
    except KeyError:
        raise ConfigError(
            f"{kind.origin}: [{name}] kind cannot be {kind.text!r}; allowed: {' '.join(KINDS[family].names())}"
        ) from None
    except ConfigError as error:
        raise ConfigError(f"{kind.origin}: [{name}] kind: {error}") from error
    return found


def _is(kind: str) -> Callable[[str], bool]:
    return lambda section: section.startswith(f"{kind}.")


def _make(kind: type[Section], section: str, settings: Mapping[str, Setting], mistakes: Mistakes) -> Section:
    values: dict[str, Any] = {}
    for key, setting in settings.items():
        with mistakes.collect(f"{section}.{key}"):
            values[key] = _value(kind, section, key, setting)
    return kind(**values)


def _check(kind: type[Section], section: str, written: Mapping[str, Setting], mistakes: Mistakes) -> None:
    """Check that the settings of a section in the file are known, and allowed."""
    for key, setting in written.items():
        with mistakes.collect():
            if key not in keys(kind):
                raise _unknown(setting.origin, f"key in [{section}]", key, keys(kind))
            _value(kind, section, key, setting)


def _value(kind: type[Section], section: str, key: str, setting: Setting) -> Any:
    declared = keys(kind)[key]
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


def _read(path: str | None, mistakes: Mistakes) -> dict[str, dict[str, Setting]]:
    """The settings in the file; without a path those in the default one, which may be missing."""
    file = Path(path or DEFAULT_PATH)
    if not path and not file.exists():
        return {}
    return _parse(_text(file), str(file), mistakes)


def _text(file: Path) -> str:
    try:
        return file.read_bytes().decode()
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise ConfigError(f"{file}:{line}: not UTF-8 text") from None


def _parse(text: str, path: str, mistakes: Mistakes) -> dict[str, dict[str, Setting]]:
    """The sections of an INI text, all of them known, and their settings, each given once."""
    sections: dict[str, dict[str, Setting]] = {}
    opened: dict[str, str] = {}
    section: str | None = ""  # the one we are in; None for one that is not understood, of which nothing is read
    for number, line in enumerate(map(str.strip, text.split("\n")), 1):
        origin = f"{path}:{number}"
        if not line or line[0] in "#;":
            continue
        with mistakes.collect():
            if line[0] == "[":
                section = None
                section = _open(line, origin, opened)
                sections[section] = {}
            elif section is not None:
                _assign(line, origin, section, sections)
    return sections


def _open(line: str, origin: str, opened: dict[str, str]) -> str:
    """The name of a section that begins with this line; `opened` says where others began."""
    if line[-1] != "]":
        raise _neither(origin)
    section = line[1:-1]
    if section not in SECTIONS and not re.fullmatch(rf"({'|'.join(NAMED)})\.{NAME}", section):
        named = " ".join(f"{each}.NAME" for each in NAMED)
        raise _unknown(origin, "section", section, [*SECTIONS, f"{named} (a-z 0-9 -)"])
    if section in opened:
        raise ConfigError(f"{origin}: [{section}] is already at {opened[section]}")
    opened[section] = origin
    return section


def _neither(origin: str) -> ConfigError:
    return ConfigError(f"{origin}: this is neither a [section] nor a key = value")


def _assign(line: str, origin: str, section: str, sections: dict[str, dict[str, Setting]]) -> None:
    """Take in a line of a section."""
    key, equals, value = (part.strip() for part in line.partition("="))
    if not equals or not re.fullmatch(r"[\w-]+", key):
        raise _neither(origin)
    if not section:
        raise ConfigError(f"{origin}: {key} stands before the first [section]")
    if key in sections[section]:
        raise ConfigError(f"{origin}: [{section}] {key} is already at {sections[section][key].origin}")
    sections[section][key] = Setting(value, origin)


def _credentials(places: list[str], environ: Mapping[str, str], mistakes: Mistakes) -> Iterator[tuple[str, Setting]]:
    directory = environ.get("CREDENTIALS_DIRECTORY")
    for file in sorted(Path(directory).glob("*")) if directory else ():
        with mistakes.collect():
            if file.name not in places:
                raise _unknown(str(file), "setting", file.name, places)
            text = _text(file).strip()
            if not text:  # an empty password or key would let everybody in, or let passwords out
                raise ConfigError(
                    f"{file}: it is empty; `gorgonctl secrets` makes broker.password and auth.key anew, "
                    "all others are yours to write into /etc/credstore; then start the unit again"
                )
            yield file.name, Setting(text, str(file))


def _variables(places: list[str], environ: Mapping[str, str], mistakes: Mistakes) -> Iterator[tuple[str, Setting]]:
    named = {variable(place): place for place in places}
    for name, text in environ.items():
        if name in named:
            yield named[name], Setting(text, name)
        elif name.startswith("GORGOND_") and name not in OTHER_VARIABLES:
            with mistakes.collect():
                raise _unknown("environment", "variable", name, [*named, *OTHER_VARIABLES])


def _flags(places: list[str], flags: Mapping[str, str], mistakes: Mistakes) -> Iterator[tuple[str, Setting]]:
    for place, text in flags.items():
        if place in places:
            yield place, Setting(text, flag(place))
        else:
            with mistakes.collect():
                raise _unknown(flag(place), "setting", place, places)
