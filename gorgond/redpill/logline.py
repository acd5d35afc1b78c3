"""Which messages a line of the log is about.

    handling.get()                           the ids of those in hand; whoever formats the log adds them to each line
    log.error("…", extra=about(message.id))  a line about others: its record has them as `requests`

A message has the id of the request it comes from.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextvars import ContextVar

log = logging.getLogger("gorgond.redpill")

handling: ContextVar[Sequence[str]] = ContextVar("handling", default=())


def about(*ids: str) -> dict[str, Sequence[str]]:
    """For `extra` of a line that is about these."""
    return {"requests": ids}


def counted(number: int, what: str) -> str:
    """So many of them, as a line says it: "1 message", "1,200 messages"."""
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"
