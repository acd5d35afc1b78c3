"""What the answer of a service means that is handed notifications by HTTP.

    2xx                       it has it
    408, 425, 429, 5xx        later: when it says, in Retry-After
    all others                never

A service that says when is left alone until then, whatever there is for it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

from gorgond.errors import NotSent, Undeliverable
from gorgond.outside.http import Answer
from gorgond.service.plain import plain

LATER = frozenset({408, 425, 429})
LONGEST = 86400.0  # seconds for which a service is left alone at most
WORDS_MAX = 200  # characters of an answer that are told


class Service:
    """A service, called `name`, and until when it wants to be left alone. `clock` counts seconds."""

    def __init__(self, name: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._name = name
        self._clock = clock
        self._until = 0.0

    def check_open(self) -> None:
        """Raises NotSent when it wants to be left alone."""
        if (left := self._until - self._clock()) > 0:
            raise NotSent(f"{self._name} wants to be left alone for {left:.0f} s", after=left)

    def check(self, answer: Answer) -> None:
        """Back when this says that the service has it. Raises NotSent and Undeliverable."""
        if 200 <= answer.status <= 299:
            return
        words = f"{answer.status} {_host(answer.headers)} {answer.body.decode(errors='replace')}"
        said = f"{self._name} says {plain(' '.join(words.split())[:WORDS_MAX])}"
        if answer.status not in LATER and answer.status < 500:
            raise Undeliverable(said, answer.status)
        after = _seconds(answer.headers)
        if after is not None:
            self._until = self._clock() + after
        raise NotSent(said, answer.status, after)


def _host(headers: Mapping[str, str]) -> str:
    """Where it would send us, without the path: what is secret in an address is often there."""
    try:
        parts = urlsplit(headers.get("Location", ""))
    except ValueError:
        return ""
    return f"{parts.scheme}://{parts.hostname}" if parts.hostname else ""


def _seconds(headers: Mapping[str, str]) -> float | None:
    """Those in Retry-After, which has them or a date: that is taken with the date of the answer, since clocks
    differ."""
    text = headers.get("Retry-After", "")
    try:
        after = float(text)
    except ValueError:
        try:
            after = (parsedate_to_datetime(text) - parsedate_to_datetime(headers.get("Date", ""))).total_seconds()
        except (TypeError, ValueError):
            return None
    return min(after, LONGEST) if after > 0 else None  # also of what is no number
