"""The configuration of a command that stands apart from the services of this host.

The host's own file does not count for it, only one that is asked for: somebody who tries something out shall not write
into the database of the services by accident. And it is for this host alone unless somebody chose another address,
since everybody may use the web servers; everybody on this host may look at the stats page.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from gorgond.config import Config, load
from gorgond.settings import variable

ALONE = "localhost"


def standalone(path: str | None, flags: Mapping[str, str], instead: Mapping[str, str]) -> tuple[Config, dict[str, str]]:
    """The configuration from `flags`, the environment and the file at `path`, with the values of `instead` where
    nobody has chosen one; and the environment in which a child process has the same. Raises ConfigError."""
    environ = dict(os.environ)
    environ["GORGOND_CONFIG"] = path or environ.get("GORGOND_CONFIG") or os.devnull
    settings = load(None, environ, flags).settings
    for place, text in {"web.address": ALONE, "stats.open": "local", **instead}.items():
        section, _, key = place.rpartition(".")
        if settings[section][key].origin == "default":
            environ[variable(place)] = text
    environ |= {variable(place): text for place, text in flags.items()}
    return load(None, environ, {}), environ
