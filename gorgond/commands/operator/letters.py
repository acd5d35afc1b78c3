"""Dead letters. Where calls have a broker of their own, its letters are numbered apart: c1, c2, …"""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any

from gorgond.commands.operator import text
from gorgond.commands.operator.brokers import Links, known, linked
from gorgond.commands.operator.installation import Installation
from gorgond.errors import GorgonError
from gorgond.redpill import DeadLetter, Message, Undecodable, decode
from gorgond.service.words import counted

PAGE = 100
_PREFIX = {"durable": "", "calls": "c"}


@dataclass(frozen=True, slots=True)
class Letter:
    """A dead letter, and what it is called here."""

    queue: str
    label: str
    letter: DeadLetter

    def row(self) -> dict[str, Any]:
        """For programs."""
        one = self.letter
        message = _decoded(one)
        return {
            "queue": self.queue,
            "letter": self.label,
            "at": one.at,
            "attempts": one.attempts,
            "reason": one.reason,
            "id": message.id if message else "",
            "op": message.op if message else "",
            "message": one.raw.decode(errors="backslashreplace"),
        }


async def letters(installation: Installation, queue: str | None) -> list[Letter]:
    """Those of a queue, or of all. Raises GorgonError."""
    async with linked(installation.connect()) as links:
        return [each async for each in _letters(links, queue)]


async def _letters(links: Links, queue: str | None) -> AsyncIterator[Letter]:
    if queue is not None:
        await known(links, queue)
    for broker, link in links.items():
        for name in [queue] if queue is not None else await link.queues():
            after = 0
            while page := await link.dead(name, after, PAGE):
                after = page[-1].number
                for letter in page:
                    yield Letter(name, f"{_PREFIX[broker]}{letter.number}", letter)


async def settle(
    installation: Installation, queue: str, labels: Sequence[str], every: bool, requeue: bool
) -> list[str]:
    """Put these letters, or `every` one, back into their queue, or drop them; what was done. Raises GorgonError, when
    one is not there, before anything is done."""
    async with linked(installation.connect()) as links:
        there = [each.label async for each in _letters(links, queue)]
        chosen = there if every else list(dict.fromkeys(labels))
        for label in chosen:
            if label not in there:
                raise GorgonError(f"{queue} has no dead letter {label}; there are {' '.join(there[:20]) or 'none'}")
        done = 0
        for label in chosen:
            link = links["calls" if label.startswith("c") else "durable"]
            number = int(re.sub(r"\D", "", label))
            done += await (link.requeue(queue, number) if requeue else link.drop(queue, number))
    what = "put back into the queue" if requeue else "deleted"
    return [f"{counted(done, 'dead letter')} of {queue} {what}"]


def letter_table(found: Sequence[Letter]) -> list[str]:
    """The lines of `gorgonctl dead list`."""
    if not found:
        return ["there are no dead letters"]
    rows = []
    for each in found:
        one, message = each.letter, _decoded(each.letter)
        about = (message.op, message.id) if message else ("no message", "")
        rows.append((each.queue, each.label, text.clock(one.at), str(one.attempts), *about, one.reason))
    return text.table(("queue", ">letter", "given up", ">attempts", "operation", "id", "why"), rows)


def letter_lines(found: Letter) -> list[str]:
    """The lines of `gorgonctl dead show`."""
    one = found.letter
    return [
        f"dead letter {found.label} of {found.queue}",
        f"given up  {text.clock(one.at)}" + (f", after attempt {one.attempts}" if one.attempts else ""),
        f"why       {one.reason}",
        "",
        *_pretty(one.raw),
    ]


def _pretty(raw: bytes) -> list[str]:
    try:
        return json.dumps(json.loads(raw), indent=2, ensure_ascii=False).splitlines()
    except ValueError:
        return [f"no message, but {len(raw)} bytes:", raw.decode(errors="backslashreplace")]


def _decoded(letter: DeadLetter) -> Message | None:
    try:
        return decode(letter.raw)
    except Undecodable:
        return None
