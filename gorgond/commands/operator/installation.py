"""Which fabric gorgonctl speaks of, and how it is reached.

    --data DIR      the `gorgond up` that runs in that directory
    units           of this host, or whatever the configuration names
    else            the `gorgond up` in the state directory of the user who asks

To the broker of the units it goes as the user `operator`, whose password lies where only root can read it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from gorgond.commands.control import ask
from gorgond.commands.directory import Directory
from gorgond.commands.secrets import password, secret
from gorgond.commands.units import SYSTEMD
from gorgond.config import Config, load
from gorgond.errors import GorgonError
from gorgond.service.access import OPERATOR
from gorgond.service.fabric import Fabric, connect_fabric

UNITS = Path("/lib/systemd/system/gorgon.target")


class Installation:
    """A fabric: that of the configuration, or with `directory` that of a `gorgond up`."""

    def __init__(self, config: Config, directory: Directory | None) -> None:
        self.directory = directory
        self._config = config

    @classmethod
    def of(cls, data: str | None, environ: Mapping[str, str] = os.environ) -> Installation:
        """The fabric of this directory, or that which is here. Raises GorgonError."""
        if data is None:
            config = load(None, environ, {})
            chosen = config.settings["broker"]["url"].origin != "default"
            if chosen or (UNITS.exists() and SYSTEMD.exists()):
                return cls(config, None)
        directory = Directory(data)
        if data is None and not directory.control.exists():
            raise GorgonError(
                f"nothing of gorgond is here: no units, and no gorgond up in {directory.path}; --data DIR names another"
            )
        return cls(load(os.devnull, {}, directory.broker_settings()), directory)

    def connect(self) -> Fabric:
        """Its brokers, with all rights; nothing is connected yet. Raises GorgonError."""
        broker = self._config.broker
        flags = {}
        if self.directory is None and not broker.password:
            flags = {f"broker.{key}": text for key, text in self._credentials() if text}
        settings = self._config.settings["broker"]
        given = {f"broker.{key}": setting.text for key, setting in settings.items() if setting.origin != "default"}
        return connect_fabric(load(os.devnull, {}, given | flags))

    def _credentials(self) -> list[tuple[str, str]]:
        """The credentials that systemd would hand over to a unit of the operator's, if there were one."""
        known = password(OPERATOR)
        return [
            ("url", secret("gorgond.broker.url")),
            ("route", secret("gorgond.broker.route")),
            ("user", OPERATOR if known else ""),
            ("password", known),
        ]

    def events(self) -> Path | None:
        """The file to which every change is written; None when that is the journal."""
        file = self._config.journal.file
        return self.directory.events() if self.directory else Path(file) if file else None

    def stats_url(self) -> str:
        """Where its stats server is; empty when that is not known."""
        if self.directory is not None:
            try:
                return str(ask(self.directory.control, "list")["stats"])
            except GorgonError:
                return ""
        address = self._config.stats.address
        host = f"[{address}]" if ":" in address else address or "127.0.0.1"
        return f"http://{host}:{self._config.stats.port}"

    def stats_password(self) -> str:
        """The operator's password there; empty where we have none, or may not read it."""
        try:
            return self._config.stats.password or ("" if self.directory else secret("gorgond.stats.password"))
        except GorgonError:
            return ""

    def auth_key(self) -> str:
        """The auth servers' first key; empty where we have none, or may not read it: a `gorgond up` keeps its own to
        itself."""
        try:
            keys = self._config.auth.key or ("" if self.directory else secret("gorgond.auth.key"))
        except GorgonError:
            return ""
        return keys.split()[0] if keys else ""
