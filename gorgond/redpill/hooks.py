"""The hooks by which loops tell whoever runs them, as one object that their constructors take.

Consumer(broker, "jobs", "worker@1", handler, hooks=Hooks(beat=watchdog.feed))
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from gorgond.redpill.errors import LoopEnded
from gorgond.redpill.logline import log

Measure = Callable[[str, int, int, int, float], None]
"""Hears what a batch held of one operation: the operation, how many messages, how many of them failed or were answered
by an error, the bytes of messages and replies, and the seconds that handling the batch took."""


def _no_beat() -> None:
    """Nobody asked whether the loop turns."""


def _log_failure(ended: LoopEnded) -> None:
    """Nobody asked to be told."""
    log.error("%s", ended, exc_info=ended.foreign)


def _no_measure(op: str, count: int, errors: int, bytes: int, seconds: float) -> None:
    """Nobody asked to hear it."""


@dataclass(frozen=True, slots=True)
class Hooks:
    """Called by a loop, in the thread and the event loop in which it runs; none may block or raise.

    `beat()` is called at every turn: about once a second, or each three (`IDLE`) by a loop with nothing to do, also
    while the broker is away. Only a handler that a consumer waits for keeps it from that. A loop that does not call it
    for long hangs.
    `failed(ended)` is called by a producer or a caller that has ended although nobody stopped it, and otherwise the log
    says so; all other loops raise what they fail with out of their `run`. `measure` is called by a consumer for each
    operation of a batch.
    """

    beat: Callable[[], None] = _no_beat
    failed: Callable[[LoopEnded], None] = _log_failure
    measure: Measure = _no_measure


UNHEARD = Hooks()
"""Of a loop that nobody listens to."""
