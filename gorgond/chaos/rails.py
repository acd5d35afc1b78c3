"""The rails that keep a tool that kills from hurting what it must not.

Under systemd the host must allow it ([chaos] allowed = yes) and be named, typed at the prompt or with --host. Only
gorgond's own units and processes can be named at all (target.py). Not more victims at once than `most`.
"""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable, Collection

from gorgond.chaos.errors import Refused
from gorgond.config import Config

MOST = 2  # victims at once, unless --max says otherwise


def permit(config: Config, host: str | None, ask: Callable[[str], str] | None = None) -> None:
    """Raise Refused unless the host allows it and is meant."""
    if config.chaos.allowed != "yes":
        raise Refused("this host does not allow it; /etc/gorgond/gorgond.conf must say: [chaos] allowed = yes")
    name = socket.gethostname()
    if host is None and ask is None and sys.stdin.isatty():
        ask = input
    if host is None and ask is not None:
        host = ask(f"Type the name of this host ({name}) to go on: ").strip()
    if host is None:
        raise Refused(f"say that you mean this host: --host {name}")
    if host != name:
        raise Refused(f"this host is {name}, not {host}")


def check_number(victims: Collection[str], most: int) -> None:
    """Raise Refused when these are too many at once."""
    if len(victims) > most:
        raise Refused(f"{len(victims)} victims at once ({' '.join(victims)}) are more than --max {most}")
