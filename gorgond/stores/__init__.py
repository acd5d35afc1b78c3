"""Databases: `open_store` gives the driver for a URL; what a driver does is in `stores.contract`.

docs/development.md says how to add one.

    contract           what every driver does; `drivers` has them by scheme
    requests           messages made into queries and writes; `jobs` is such a message and what becomes of it
    filters            what may be asked, as data; `paging` is what comes after a place in a list
    findings           how a database is set up, and what lets no store start
    kept               what goes over when a store is moved to another database; `moving` notes where it stands
    schema             what is indexed; `declared` is what applications have indexed beside that
    ownership          whose an item is
    folding            texts that are found whatever their case
    repeats            how a write that comes again is told from another one
    words              the words of texts, as they are searched for
    mongo              MongoDB: `mongo_writes`, `mongo_deletes`, `mongo_commands`, `mongo_requests`, `mongo_folding`,
                       `mongo_pool`, `mongo_address`, `mongo_check`, `mongo_copying`; searches: `mongo_words`,
                       the index, `mongo_indexing`, `mongo_sweep`, `mongo_search`
    sqlite             SQLite: `sqlite_writes`, `sqlite_filters`, `sqlite_tables`, `sqlite_indexes`, `sqlite_folding`,
                       `sqlite_files`, `sqlite_check`, `sqlite_copying`
    sql                what databases of SQL have in common, and PostgreSQL
"""

from __future__ import annotations

from collections.abc import Callable

from gorgond.errors import ConfigError
from gorgond.stores.contract import Store
from gorgond.stores.drivers import DRIVERS, starts


def open_store(url: str) -> Store:
    """The store at `url`: `mongodb://host/database`, `mongodb+srv://host/database`, `postgresql://host/database`,
    `sqlite:///path/to/file` (three slashes and a relative path, or four and an absolute one), or what an installed
    package has a driver for.

    Nothing is connected yet: a database that is down shows as `StoreAway` on first use. Raises ConfigError.
    """
    scheme = url.partition("://")[0]
    try:
        driver: Callable[[str], Store] = DRIVERS.load(scheme)
    except KeyError:
        allowed = ", ".join(starts(DRIVERS.names()))
        raise ConfigError(f"{scheme!r} is the scheme of no store; allowed are {allowed}") from None
    return driver(url)
