"""The client's book: every attempt before it is made and every outcome before the client goes on, each on the disk.

It lies outside the fabric, so it is what the fabric's own figures are compared with. JSON, one object a line, times in
seconds since the run began:

    {"n": 7, "at": 1.204, "way": "post", "mark": "c1f-7"}
    {"n": 7, "end": 1.209, "result": "acknowledged", "kind": "201"}

An *effect* is what an attempt wants stored; it has a mark that is in the stored note. A client that was not answered
tries the same effect again, so one mark may have several attempts. Results:

    acknowledged   answered with 201 or 202, or taken by the queue: must be stored
    answered       a read was answered
    refused        told no: may be stored or not (the no may have overtaken it)
    unknown        the connection broke: may be stored or not
    unanswered     nothing came for longer than any deadline allows: must not happen
    foreign        the answer is another request's: must not happen
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

ACKNOWLEDGED, ANSWERED = "acknowledged", "answered"
REFUSED, UNKNOWN, UNANSWERED, FOREIGN = "refused", "unknown", "unanswered", "foreign"
GOOD = (ACKNOWLEDGED, ANSWERED)


@dataclass(slots=True)
class Attempt:
    """One attempt and its outcome; `result` is empty while there is none. Times in seconds since the run began."""

    way: str
    mark: str
    at: float
    end: float = 0.0
    result: str = ""
    kind: str = ""

    @property
    def latency(self) -> float:
        return self.end - self.at


class Book:
    """The book being written, by many threads."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._begun = time.monotonic()
        self._file = path.open("ab", buffering=0)
        self._writing = threading.Lock()
        self._syncing = threading.Lock()
        self.kinds: Counter[str] = Counter()  # of outcomes by now: how many 503 there were
        self._count = 0
        self._written = 0
        self._synced = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    @property
    def now(self) -> float:
        """Seconds since the run began."""
        return time.monotonic() - self._begun

    def attempt(self, way: str, mark: str = "") -> int:
        """Write down what is about to be tried; its number."""
        with self._writing:
            self._count += 1
            number = self._count
        self._write({"n": number, "at": round(self.now, 4), "way": way, "mark": mark})
        return number

    def outcome(self, number: int, end: float, result: str, kind: str) -> None:
        """Write down what came of it, at `end`."""
        with self._writing:
            self.kinds[kind] += 1
        self._write({"n": number, "end": round(end, 4), "result": result, "kind": kind})

    def _write(self, entry: dict[str, Any]) -> None:
        """Back when the line is on the disk; one fsync serves all that wait for one."""
        line = json.dumps(entry).encode() + b"\n"
        with self._writing:
            self._file.write(line)
            self._written += 1
            mine = self._written
        with self._syncing:
            if self._synced < mine:
                upto = self._written
                os.fsync(self._file.fileno())
                self._synced = upto


def read(path: Path) -> list[Attempt]:
    """All attempts of a book, in their order. A last line that was cut off is left out."""
    found: dict[int, Attempt] = {}
    for entry in _entries(path):
        if "at" in entry:
            found[entry["n"]] = Attempt(entry["way"], entry["mark"], entry["at"])
        else:
            attempt = found[entry["n"]]
            attempt.end, attempt.result, attempt.kind = entry["end"], entry["result"], entry["kind"]
    return [found[number] for number in sorted(found)]


def _entries(path: Path) -> Iterator[dict[str, Any]]:
    with path.open("rb") as file:
        for line in file:
            if line.endswith(b"\n"):
                yield json.loads(line)
