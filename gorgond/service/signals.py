"""The signals of a server process, from its first moment to its last.

    begun()                 nothing is in hand yet: SIGTERM and SIGINT end it at once with 0, SIGHUP is remembered
    deliver(stop, reload)   from now on they call these, in the event loop that runs
    over()                  it ends by itself: they do nothing any more

The handlers are Python's own, not the event loop's, which would be gone before the process is; and what comes before
all this can be is left to the kernel: it ends the process too. Nothing slow is imported here, so that it is soon.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

from gorgond.roles import COMMANDS

SERVERS = ("up", *COMMANDS)  # the commands that are such processes

_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class _Asked:
    """The functions that the signals call."""

    stop: Callable[[], object] = staticmethod(lambda: os._exit(0))
    reload: Callable[[], object] | None = None
    waiting = False  # a SIGHUP came before anybody could reload


def begin() -> None:
    """Take the signals."""
    for number in _SIGNALS:
        signal.signal(number, _on_signal)


def deliver(stop: Callable[[], object], reload: Callable[[], object]) -> None:
    """Have them call these, from the signal handler."""
    begin()
    _Asked.stop, _Asked.reload = staticmethod(stop), staticmethod(reload)
    if _Asked.waiting:
        _Asked.waiting = False
        reload()


def over() -> None:
    """Hear none of them any more."""
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def _on_signal(number: int, _: object) -> None:
    if number != signal.SIGHUP:
        _Asked.stop()
    elif _Asked.reload is not None:
        _Asked.reload()
    else:
        _Asked.waiting = True
