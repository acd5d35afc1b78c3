"""A consumer's account since it started: figures for whoever runs it, lines for the log."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from gorgond.redpill.broker import Failure
from gorgond.redpill.hooks import Measure
from gorgond.redpill.logline import about, counted, log
from gorgond.redpill.message import PROTOCOL, Message
from gorgond.redpill.outcome import Done, Newer, Outcome, Waits
from gorgond.redpill.received import Received
from gorgond.redpill.seldom import Seldom

SHOWN = 3  # reasons in a line of the log

Handled = Sequence[tuple[int, Message, Outcome]]
"""Messages with their places on the desk, and what their handler made of them."""


@dataclass(slots=True)
class Tally:
    """The figures of a consumer since it started."""

    handled: int = 0
    failed: int = 0
    expired: int = 0
    batches: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    busy: float = 0.0  # seconds spent in the handler
    rejoined: int = 0  # how often its group was deleted past it, and made again


class Account:
    """Of the consumer `name` of `queue`."""

    def __init__(self, name: str, queue: str, measure: Measure) -> None:
        self.tally = Tally()
        self.newer = Seldom()  # messages that wait for a newer consumer
        self._name = name
        self._queue = queue
        self._measure = measure

    def count_rejoin(self) -> None:
        """The group was deleted past us, and is made again."""
        self.tally.rejoined += 1

    def count_received(self, received: Received) -> None:
        """These have come."""
        self.tally.bytes_in += sum(map(len, received.raws))
        for message in received.left:
            self._count_left(message, f"which needs protocol {message.needs}: this one knows {PROTOCOL}")

    def count_settled(self, received: Received, handled: Handled, answers: Sequence[int], seconds: float) -> None:
        """They were handled in so many seconds; `answers` are the bytes of their replies, in the order of `handled`."""
        tally, failures = self.tally, received.failures
        for _, message, outcome in handled:
            if isinstance(outcome, Newer):
                self._count_left(message, str(outcome.reason))
        tally.batches += 1
        tally.expired += received.expired
        tally.handled += len(received.raws) - received.expired - len(failures)
        tally.bytes_out += sum(answers)
        if failures:
            tally.failed += sum(failure.started for failure in failures)
            self._tell_given_up(received.messages, failures)
        if log.isEnabledFor(logging.DEBUG):
            self._tell_each(handled, seconds)
        self._measure_each(received.raws, handled, answers, seconds)

    def _count_left(self, message: Message, why: str) -> None:
        """It is left for a newer consumer."""
        if count := self.newer.add():
            log.warning(
                "%s leaves %s of %s for a newer consumer, as %s, %s",
                self._name, counted(count, "message"), self._queue, message.op, why,
                extra=about(message.id),
            )  # fmt: skip

    def _measure_each(self, raws: Sequence[bytes], handled: Handled, answers: Sequence[int], seconds: float) -> None:
        sums: dict[str, list[int]] = {}  # by operation: messages, failures, bytes
        for (index, message, outcome), answer in zip(handled, answers, strict=True):
            if isinstance(outcome, Newer | Waits):  # nothing was done
                continue
            figures = sums.get(message.op)
            if figures is None:
                figures = sums[message.op] = [0, 0, 0]
            figures[0] += 1
            if not isinstance(outcome, Done) or outcome.error is not None:
                figures[1] += 1
            figures[2] += len(raws[index]) + answer
        for op, (count, errors, bytes) in sums.items():
            self._measure(op, count, errors, bytes, seconds)

    def _tell_given_up(self, messages: Sequence[tuple[int, Message]], failures: Sequence[Failure]) -> None:
        """One line for a batch; the dead letters say the rest."""
        given_up = {failure.index: failure.reason for failure in failures if failure.delay is None}
        if given_up:
            log.warning(
                "%s gives up %s of %s: %s",
                self._name, counted(len(given_up), "message"), self._queue,
                "; ".join(list(dict.fromkeys(given_up.values()))[:SHOWN]),
                extra=about(*(message.id for index, message in messages if index in given_up)),
            )  # fmt: skip

    def _tell_each(self, handled: Handled, seconds: float) -> None:
        """A line for each message; the time is its batch's."""
        for _, message, outcome in handled:
            how = type(outcome).__name__.lower()
            if not isinstance(outcome, Done) or outcome.error:
                how += f", {outcome.error if isinstance(outcome, Done) else getattr(outcome, 'reason', outcome)}"
            log.debug("%s %s: %s in %.1f ms", self._queue, message.op, how, seconds * 1000, extra=about(message.id))
