"""The comparison for ingest: the notes of the random provider, put into mongod by pymongo's `insert_many` alone.

    python -m tools.speed.insert URL COUNT USERS SEED

One process, 500 notes at a time, journaled, as a store writes them. Prints as JSON the seconds that inserting took;
making the notes is not counted.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

from pymongo import MongoClient

from gorgond.providers.random import BATCH, RandomItems
from gorgond.service.systemd import Notifier

SIZE = 1800  # bytes of a body, as the provider makes them


def main() -> None:
    """Insert, and tell."""
    url, count, users, seed = sys.argv[1], *map(int, sys.argv[2:])
    made = RandomItems(seed, users, SIZE)
    client: MongoClient[dict[str, Any]] = MongoClient(url, w="majority", journal=True)
    items = client.get_default_database()["items"]
    client.admin.command("ping")
    Notifier().ready()
    seconds = 0.0
    for first in range(0, count, BATCH):
        notes = [made.item(n) for n in range(first, min(first + BATCH, count))]
        for note in notes:
            note["_id"] = note.pop("id")
        began = time.monotonic()
        items.insert_many(notes, ordered=False)
        seconds += time.monotonic() - began
    print(json.dumps({"seconds": seconds}))


if __name__ == "__main__":
    main()
