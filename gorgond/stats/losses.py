"""What a broker that lasts had accepted, and has no record of any more; and the groups that missed events.

Its counts only ever grow: when one is less than it was, the broker was emptied (FLUSHALL), or has come back with an
older or a shorter file. Then its books balance again, with less in them; so what they said is remembered here, and in
the database for the next stats server, until the operator has taken note (`forget`).

A group that somebody has deleted past gorgond is made again by its consumer, which tells so. How many events were
published meanwhile nobody knows, since they were accepted for no group.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gorgond.redpill import Counts, now_ms

DOCUMENT = "losses"


class Losses:
    """Those of the broker called `name` at `where`; `lost` has by queues how many messages more were accepted than it
    knows, `deaf` the queues of groups that were deleted."""

    def __init__(self, name: str, where: str) -> None:
        self.lost: dict[str, int] = {}
        self.deaf: set[str] = set()
        self.document = DOCUMENT if name == "durable" else f"{DOCUMENT}:{where}"  # its id
        self._name, self._where = name, where
        self._most: dict[str, int] = {}  # accepted, by queues
        self._saved = True

    @property
    def queues(self) -> list[str]:
        """Those that are to be looked at, also when the broker does not know them any more."""
        return list(self._most)

    def look(self, figures: Mapping[str, Counts]) -> bool:
        """Take in its figures; whether something is lost that was not lost before."""
        found = False
        for queue, counts in figures.items():
            before = self._most.get(queue, 0)
            dropped = "/" in queue and not counts.accepted  # a group that nobody needs any more
            if counts.accepted < before and not dropped:
                self.lost[queue] = self.lost.get(queue, 0) + before - counts.accepted
                found = True
            if counts.accepted != before:
                self._most[queue] = counts.accepted
                self._saved = False
        return found

    def note_rejoin(self, queue: str) -> None:
        """The group with this queue was deleted, and is made again."""
        self._saved = self._saved and queue in self.deaf
        self.deaf.add(queue)

    def forget(self, name: str) -> None:
        """The operator has taken note."""
        if name == self._name:
            self._saved = self._saved and not (self.lost or self.deaf)
            self.lost, self.deaf = {}, set()

    def unsaved(self) -> list[dict[str, Any]]:
        """The document, if anything has changed since the last call."""
        if self._saved:
            return []
        self._saved = True
        said = {"broker": self._where, "accepted": self._most, "lost": self.lost, "deaf": sorted(self.deaf)}
        return [{"id": self.document, "ts": now_ms(), **said}]

    def restore(self, document: Mapping[str, Any]) -> None:
        """Take in what was saved, if it is of this broker. The next look compares."""
        if document["broker"] != self._where:
            return
        self._most = {str(queue): int(count) for queue, count in document["accepted"].items()}
        self.lost = {str(queue): int(count) for queue, count in document["lost"].items()} | self.lost
        self.deaf |= set(map(str, document.get("deaf", ())))  # an earlier gorgond wrote none
