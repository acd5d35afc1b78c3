"""Dead letters. Each broker numbers them apart: where calls have one of their own c1, c2, …"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any

from gorgond.app.jobretry import begin_anew
from gorgond.commands.jobs.asking import Desk
from gorgond.commands.operator import text
from gorgond.commands.operator.brokers import Links, check_known, open_links
from gorgond.commands.operator.installation import Installation
from gorgond.errors import GorgonError
from gorgond.redpill import DeadLetter
from gorgond.service.words import counted
from gorgond.stats.jobs import job_of
from gorgond.stats.letters import label, letter_row, letters_of, message_of, parse_label


@dataclass(frozen=True, slots=True)
class Letter:
    """A dead letter, and where it lies."""

    queue: str
    broker: str
    letter: DeadLetter

    @property
    def label(self) -> str:
        """What it is called here."""
        return label(self.broker, self.letter.number)

    def row(self) -> dict[str, Any]:
        """For programs."""
        return letter_row(self.queue, self.broker, self.letter)


async def letters(installation: Installation, queue: str | None, id: str = "") -> list[Letter]:
    """Those of a queue, or of all; with an `id` those that speak of it. Raises GorgonError."""
    async with open_links(installation.connect()) as links:
        return [each async for each in _letters(links, queue, id)]


async def _letters(links: Links, queue: str | None, id: str = "") -> AsyncIterator[Letter]:
    if queue is not None:
        await check_known(links, queue)
    names = [queue] if queue is not None else {name: None for link in links.values() for name in await link.queues()}
    for name in names:
        async for broker, letter in letters_of(links, name, id=id):
            links.extend()
            yield Letter(name, broker, letter)


async def settle(
    installation: Installation, queue: str, labels: Sequence[str], every: bool, requeue: bool
) -> list[str]:
    """Put these letters, or `every` one, back into their queue, or drop them; what was done. Raises GorgonError, when
    one is not there, before anything is done."""
    async with open_links(installation.connect()) as links:
        known = {each.label: message_of(each.letter) async for each in _letters(links, queue)}
        chosen = list(known) if every else list(dict.fromkeys(labels))
        for name in chosen:
            if name not in known:
                there = " ".join([*known][:20])
                raise GorgonError(f"{queue} has no dead letter {name}; there are {there or 'none'}")
        if requeue and job_of(queue):
            desk, messages = Desk(installation), [known[name] for name in chosen]
            await begin_anew(desk.find, desk.replace, [each.id for each in messages if each is not None])
        done = 0
        for name in chosen:
            broker, number = parse_label(name)
            link = links[broker]
            done += await (link.requeue(queue, number) if requeue else link.drop(queue, number))
            links.extend()
    what = "put back into the queue" if requeue else "deleted"
    return [f"{counted(done, 'dead letter')} of {queue} {what}"]


def letter_table(found: Sequence[Letter]) -> list[str]:
    """The lines of `gorgonctl dead list`."""
    if not found:
        return ["there are no dead letters"]
    rows = []
    for each in found:
        one, message = each.letter, message_of(each.letter)
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
