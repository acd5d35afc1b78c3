"""The drivers there are, by the scheme of their URL. It is data alone: everybody may read it."""

from __future__ import annotations

from collections.abc import Iterable

from gorgond.plugins import Kinds

DRIVERS = Kinds(
    "gorgond.stores",
    {
        "mongodb": "gorgond.stores.mongo:MongoStore",
        "mongodb+srv": "gorgond.stores.mongo:MongoStore",
        "postgresql": "gorgond.stores.sql.postgres:PostgresStore",
        "sqlite": "gorgond.stores.sqlite:SqliteStore",
    },
)
"""By scheme, a class of `Store` that is made with the URL. Others' schemes are entry points."""

_WITHOUT_HOST = ("sqlite",)  # schemes after which three slashes come, and a path


def starts(schemes: Iterable[str]) -> list[str]:
    """How the URLs of these schemes start."""
    return [f"{scheme}:///" if scheme in _WITHOUT_HOST else f"{scheme}://" for scheme in schemes]
