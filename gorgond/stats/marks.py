"""Marks of what happened when: starts, restarts, upgrades and ends of instances, outages, drills. Kept as one
document."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

KINDS = ("start", "stop", "restart", "upgrade", "outage", "drill")
KEPT = 500
SHOWN = 50  # in the picture, the newest
NEAR = 1500  # ms within which the same mark is one, seen by two stats servers; one alone sees it again after 2 s
TEXT_MAX = 200
DOCUMENT = "marks"

Mark = dict[str, Any]


class Marks:
    """The newest marks, the oldest first: {"at": ms since 1970, "kind", "text"}."""

    def __init__(self) -> None:
        self._marks: list[Mark] = []
        self._saved = True

    def add(self, at: int, kind: str, text: str) -> None:
        """Mark a moment. Raises ValueError for what is no kind."""
        if kind not in KINDS:
            raise ValueError(f"{kind!r} is no kind of mark; allowed: {' '.join(KINDS)}")
        text = text[:TEXT_MAX]
        for mark in reversed(self._marks):
            if mark["kind"] == kind and mark["text"] == text and abs(mark["at"] - at) <= NEAR:
                return
        self._marks.append({"at": at, "kind": kind, "text": text})
        self._marks.sort(key=lambda mark: int(mark["at"]))
        del self._marks[:-KEPT]
        self._saved = False

    def newest(self) -> list[Mark]:
        """Those for the picture."""
        return self._marks[-SHOWN:]

    def unsaved(self) -> list[dict[str, Any]]:
        """The document, if anything was added since the last call."""
        if self._saved:
            return []
        self._saved = True
        return [{"id": DOCUMENT, "ts": self._marks[-1]["at"], "marks": self._marks}]

    def restore(self, document: Mapping[str, Any]) -> None:
        """Take in what was saved."""
        for mark in document["marks"]:
            self.add(int(mark["at"]), str(mark["kind"]), str(mark["text"]))
