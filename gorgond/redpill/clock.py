"""The time that all processes share: that of their broker, whatever the clocks of their hosts say.

What one process writes and another one judges, as a deadline, is by this time: `now_ms` for what is written,
`judged_ms` for what others wrote. A process knows by how much its own monotonic clock differs from the broker's clock,
and adds that. So neither a host whose clock is wrong does harm, nor one whose clock is set while processes run on it.

Each broker has a `BrokerTime`. It learns with each connection and each `Link.clock`. `follow` says whose time this
process takes; until one was followed that has answered, it is that of its host. As long as the two clocks agree as far
as the asking can tell, it is that of its host too, so that on one host times are in the order in which they were taken.

**The broker's clock may be set**, or another Redis may take its place, whose clock differs. Then processes hear of it
one after another. So that none drops what another one has just written, each goes on writing by the old time for AGREE
seconds, until all have heard; and what others wrote is past its deadline only if it is so by the old time and by the
new one, for LONGEST seconds.
"""

from __future__ import annotations

import time

SET = 250_000_000  # ns by which a clock that runs does not differ from itself: it was set
AGREE = 3_000_000_000  # ns after which all have heard that the broker's clock was set: a service asks once a second
LONGEST = 60_000_000_000  # ns for which what was written by the time before may be under way


class BrokerTime:
    """The clock of one broker as this process knows it, in ns that are to be added to those of the monotonic clock:
    `told` by the broker's last word, None while there was none, which may be wrong by `error`; `base` is by what is
    written now."""

    __slots__ = ("_set", "base", "error", "lenient", "told")

    def __init__(self) -> None:
        self.told: int | None = None
        self.error = 0
        self.base: int | None = None
        self.lenient = 0  # by what others are judged
        self._set = -AGREE - LONGEST  # when it was found that the broker's clock was set

    def heard(self, at: int, asked: int, answered: int) -> None:
        """The broker has said that it is `at` (ns since 1970), some time between these two of the monotonic clock."""
        error = (answered - asked) // 2
        told = at - asked - error
        own = time.time_ns() - time.monotonic_ns()
        if abs(own - told) <= error:
            told, error = own, error + abs(own - told)
        if self.told is None or self.base is None:
            self.told = self.base = self.lenient = told
            self.error = error
        elif error < self.error or abs(told - self.told) > error + self.error:  # else it has said the same
            if abs(told - self.told) >= max(SET, error + self.error):
                self._set = answered
            self.told, self.error = told, error
        since = answered - self._set
        if since >= AGREE:
            self.base = self.told
        if since >= AGREE + LONGEST:
            self.lenient = self.told
        else:
            self.lenient = min(self.lenient, self.base, self.told)


_followed = BrokerTime()


def follow(of: BrokerTime) -> None:
    """Take the time of this broker from now on, all of this process."""
    global _followed
    _followed = of


def host_ms() -> int:
    """Milliseconds since 1970, by this host's clock."""
    return time.time_ns() // 1_000_000


def now_ms() -> int:
    """Milliseconds since 1970, by the broker's clock where it is known."""
    base = _followed.base
    return (time.time_ns() if base is None else time.monotonic_ns() + base) // 1_000_000


def judged_ms() -> int:
    """The same for the deadlines that others wrote: by the earlier time while the broker's clock was just set."""
    known = _followed
    return (time.time_ns() if known.base is None else time.monotonic_ns() + known.lenient) // 1_000_000
