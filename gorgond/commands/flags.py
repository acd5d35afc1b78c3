"""Flags of gorgond's commands: settings of the configuration, with their names, defaults and texts; and numbers."""

from __future__ import annotations

import argparse
import re

from gorgond.config import DEFAULT_PATH
from gorgond.providers import SOURCES
from gorgond.roles import COMMANDS
from gorgond.roles.row import Role
from gorgond.settings import DEFAULT_PROVIDER, SECTIONS, Provider, flag, keys


def add_config(parser: argparse.ArgumentParser) -> None:
    """A flag for the file."""
    parser.add_argument("--config", metavar="FILE", help=f"the configuration ({DEFAULT_PATH})")


def add_settings(parser: argparse.ArgumentParser, section: str, *names: str) -> None:
    """Flags for these settings of a section; those of a provider are of the default kind, and get its name later."""
    declared = keys(SECTIONS.get(section) or SOURCES.load(keys(Provider)["kind"].default).settings)
    for name in names:
        key, place = declared[name], f"{section}.{name}"
        default = f" ({key.default})" if key.default else ""
        parser.add_argument(
            flag(place), dest=place, metavar=name.upper(), default=argparse.SUPPRESS, help=key.doc + default
        )


def add_ports(parser: argparse.ArgumentParser) -> None:
    """Flags for where the servers listen: the web servers' without their name, the others' ports with it."""
    add_settings(parser, "web", "address", "port")
    for role in COMMANDS.values():
        if role.unit.port and role.name != "web":
            place = f"{role.name}.port"
            help = f"the {role.title}'s ({keys(SECTIONS[role.name])['port'].default})"
            parser.add_argument(port_flag(role), dest=place, metavar="PORT", default=argparse.SUPPRESS, help=help)


def port_flag(role: Role) -> str:
    """The flag for the port of a role, where several are."""
    return "--port" if role.name == "web" else f"--{role.name}-port"


def settings_of(arguments: argparse.Namespace, provider: str = DEFAULT_PROVIDER) -> dict[str, str]:
    """The settings among the arguments, as `config.load` takes them."""
    given = {place: text for place, text in vars(arguments).items() if "." in place}
    return {
        f"{provider}.{place.partition('.')[2]}" if place.startswith("provider.") else place: text
        for place, text in given.items()
    }


def natural(text: str) -> int:
    """A whole number. Raises ArgumentTypeError, as the others do."""
    if not re.fullmatch("[0-9]{1,18}", text):
        raise argparse.ArgumentTypeError("must be a whole number")
    return int(text)


def whole(text: str) -> int:
    """A whole number above 0."""
    if natural(text) == 0:
        raise argparse.ArgumentTypeError("must be at least 1")
    return int(text)


def number(text: str) -> float:
    """A number above 0."""
    if not re.fullmatch(r"[0-9]{1,9}(\.[0-9]+)?", text) or float(text) == 0:
        raise argparse.ArgumentTypeError("must be a number above 0")
    return float(text)
