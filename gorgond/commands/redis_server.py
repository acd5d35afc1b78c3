"""The Redis server of this host."""

from __future__ import annotations

import shutil
from pathlib import Path

from gorgond.errors import ConfigError

OF_PACKAGE = Path("/usr/lib/gorgond/redis-server")  # the one in Debian's redis-tools, by its name


def redis_server() -> str:
    """The path of the program. Raises ConfigError where there is none."""
    found = shutil.which("redis-server") or (str(OF_PACKAGE) if OF_PACKAGE.exists() else None)
    if found is None:
        raise ConfigError("redis-server is not installed: apt install redis-server")
    return found
