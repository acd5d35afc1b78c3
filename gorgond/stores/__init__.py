"""Databases: `open_store` gives the driver for a URL; what a driver does is in `stores.contract`."""

from __future__ import annotations

from gorgond.errors import ConfigError
from gorgond.stores.contract import Store


def open_store(url: str) -> Store:
    """The store at `url`: `mongodb://host/database`, `mongodb+srv://host/database` or `sqlite:///path/to/file`
    (three slashes and a relative path, or four and an absolute one).

    Nothing is connected yet: a database that is down shows as `StoreAway` on first use. Raises ConfigError.
    """
    scheme = url.partition("://")[0]
    if scheme in ("mongodb", "mongodb+srv"):
        try:
            from gorgond.stores.mongo import MongoStore
        except ImportError as error:
            raise ConfigError(f"{scheme}:// needs pymongo (apt install python3-pymongo): {error}") from error
        return MongoStore(url)
    if scheme == "sqlite":
        from gorgond.stores.sqlite import SqliteStore

        return SqliteStore(url)
    raise ConfigError(f"{scheme!r} is unknown; allowed are mongodb://, mongodb+srv:// and sqlite:///path")
