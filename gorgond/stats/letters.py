"""Dead letters as the stats server and gorgonctl tell of them.

Each broker numbers those of a queue by itself. Where calls have a broker of their own, its letters are c1, c2, …; those
of one that queues are routed to are 1@WHERE, 2@WHERE, …
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any

from gorgond.redpill import DeadLetter, Link, Message, Undecodable, decode, dumps

PAGE = 100  # letters that a broker is asked for at once
Links = Mapping[str, Link]  # to each broker by its name, the durable one first


def label(broker: str, number: int) -> str:
    """What a letter of this broker is called: 3, c3, 3@10.0.0.9:6379."""
    if broker == "durable":
        return f"{number}"
    return f"c{number}" if broker == "calls" else f"{number}@{broker}"


def parse_label(text: str) -> tuple[str, int]:
    """The broker and the number of what is called so. Raises ValueError."""
    number, _, broker = text.partition("@")
    if not broker:
        broker, number = ("calls", number[1:]) if number.startswith("c") else ("durable", number)
    if not (number.isascii() and number.isdecimal()):
        raise ValueError(f"{text} is no dead letter's name; they are called 3, c3, or 3@WHERE")
    return broker, int(number)


async def letters_of(links: Links, queue: str, after: str = "0", id: str = "") -> AsyncIterator[tuple[str, DeadLetter]]:
    """The dead letters of a queue behind the one that is called `after`, broker by broker, the oldest first, with the
    broker that each lies on. With an `id` those that speak of it: of this request, or of an item that begins so."""
    first, number = parse_label(after)
    needle = dumps(id)[:-1] if id else b""  # without the last quotation mark: ids are made of others by adding to them
    names = list(links)
    for broker in names[names.index(first) :] if first in names else ():
        last = number if broker == first else 0
        while page := await links[broker].dead(queue, last, PAGE):
            last = page[-1].number
            for letter in page:
                if needle in letter.raw:
                    yield broker, letter


def message_of(letter: DeadLetter) -> Message | None:
    """The message in it; None where it is none."""
    try:
        return decode(letter.raw)
    except Undecodable:
        return None


def description(broker: str, letter: DeadLetter) -> dict[str, Any]:
    """All that is known of a dead letter, except its message as it is."""
    message = message_of(letter)
    return {
        "letter": label(broker, letter.number),
        "at": letter.at,
        "attempts": letter.attempts,
        "reason": letter.reason,
        "id": message.id if message else "",
        "op": message.op if message else "",
    }


def letter_row(queue: str, broker: str, letter: DeadLetter) -> dict[str, Any]:
    """All of one for programs."""
    whole = letter.raw.decode(errors="backslashreplace")
    return {"queue": queue, **description(broker, letter), "message": whole}
