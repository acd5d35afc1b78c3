"""How many are under way at the same time, of those that have something in common."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager


class Places:
    """Those that are taken, by what those who take them have in common."""

    def __init__(self) -> None:
        self._taken: Counter[str] = Counter()

    def taken(self, common: str) -> int:
        """How many are."""
        return self._taken[common]

    @contextmanager
    def place(self, common: str) -> Iterator[None]:
        """Take one, for as long as this lasts."""
        self._taken[common] += 1
        try:
            yield
        finally:
            self._taken[common] -= 1
            if not self._taken[common]:
                del self._taken[common]
