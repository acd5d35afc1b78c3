"""Whether a MongoDB keeps what it confirms, and how large it is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pymongo.database import Database
from pymongo.errors import OperationFailure

from gorgond.stores.findings import Finding, size
from gorgond.stores.mongo_commands import AWAY_CODES, DENIED_CODES, Document, reachable

OLDEST = (4, 2)  # knows the updates by which a document is replaced (`stores.mongo_writes`)
GRANT = 'the database\'s administrator may grant it: db.grantRolesToUser(NAME, [{role: "clusterMonitor", db: "admin"}])'


def findings_of(db: Database[Document]) -> Iterator[Finding]:
    """What is found of a database. Raises StoreAway."""
    admin = db.client.admin
    with reachable():
        about, hello = admin.command("buildInfo"), admin.command("ismaster")
        statistics = db.command("dbStats")
        yield from judged(about, hello, _told(admin, "serverStatus"), _told(admin, "getCmdLineOpts"))
    yield Finding("write concern", "majority, journaled, as each store has it")
    yield Finding("size", f"{size(statistics['dataSize'])} of documents, {size(statistics['indexSize'])} of indexes")
    if "fsTotalSize" in statistics:
        free = statistics["fsTotalSize"] - statistics["fsUsedSize"]
        tight = free < statistics["fsTotalSize"] / 10
        yield Finding("free on its disk", size(free), "the disk is nearly full: make room" if tight else "")


def judged(about: Document, hello: Document, status: Document | None, options: Document | None) -> Iterator[Finding]:
    """What follows from the server's answers; None for those that we may not ask for."""
    version = tuple(about["versionArray"][:2])
    old = version < OLDEST
    needed = f"MongoDB {OLDEST[0]}.{OLDEST[1]} or newer is needed" if old else ""
    yield Finding("version", f"MongoDB {about['version']}", needed, old)
    members = [*hello.get("hosts", ()), *hello.get("passives", ())]
    if "setName" not in hello:
        yield Finding("replica set", "none", "there is one copy alone; with three hosts, one may be lost")
    elif len(members) < 3:
        found = f"{hello['setName']}, of {len(members)} with data"
        few = "with three members that have data, one may be lost and writes go on"
        yield Finding("replica set", found, few)
    else:
        yield Finding("replica set", f"{hello['setName']}, of {len(members)} with data")
    if status is None or options is None:
        yield Finding("storage", "not told to this user", GRANT)
        return
    engine = status.get("storageEngine", {})
    kept = engine.get("persistent", True)
    yield Finding(
        "storage", str(engine.get("name", "unknown")),
        "" if kept else "it keeps nothing on a disk: say storage.engine: wiredTiger in mongod.conf", not kept,
    )  # fmt: skip
    storage: Any = options.get("parsed", {}).get("storage", {})
    if storage.get("journal", {}).get("enabled") is False:
        advice = "say storage.journal.enabled: true in mongod.conf, or what was stored is lost with the power"
        yield Finding("journal", "off", advice, breaks=True)


def _told(admin: Database[Document], command: str) -> Document | None:
    """The answer to a command that not everybody may ask."""
    try:
        return admin.command(command)
    except OperationFailure as error:
        if error.code in AWAY_CODES - DENIED_CODES:
            raise
        return None  # hosted ones have words of their own for what they do not tell
