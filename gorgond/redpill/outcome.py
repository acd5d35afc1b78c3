"""The outcomes that a handler makes of a message, and what each means for the message.

    Done     handled; its caller gets the body, or the error. An error that nobody waits for is no end of a job: what is
             refused (4xx) is a dead letter with the reason, what failed (5xx) is tried again
    Retry    tried again, as often as the consumer's `Attempts` allow, then a dead letter
    Dead     a dead letter
    Newer    left for a consumer that is newer than this one

A caller whose message becomes a dead letter is answered 500.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field

from gorgond.redpill.broker import ATTEMPTS, Failure
from gorgond.redpill.errors import CallFailed, GorgonError
from gorgond.redpill.logline import about, log
from gorgond.redpill.message import Message, Reply

DELAY_MAX = 10 * 365 * 86400.0  # seconds that a handler may put a message off
ATTEMPTS_MAX = 1_000_000  # beyond it nobody counts starts
NEWER = 2.0  # seconds until a message that needs a newer consumer is offered again
REPLY_BYTES = 16 * 1024 * 1024  # of a reply's body; what is larger could not be passed on in time


class Unavailable(GorgonError):
    """Something that a handler needs is away; the batch is tried again, without counting as an attempt."""


@dataclass(frozen=True, slots=True)
class Attempts:
    """How often the handling of a message is started, `most` times in all, and how many seconds after a failure it
    comes again: `first`, then twice as long each time, `longest` at most, each time up to a half less or more by
    chance. Raises ValueError for what makes no sense."""

    most: int = ATTEMPTS
    first: float = 0.5
    longest: float = 60.0

    def __post_init__(self) -> None:
        if not (1 <= self.most <= ATTEMPTS_MAX and 0 <= self.first <= self.longest <= DELAY_MAX):
            raise ValueError(
                f"a message is started 1 to {ATTEMPTS_MAX} times, and comes again after 0 <= first <= longest seconds, "
                f"10 years at most; not {self}"
            )

    def delay(self, started: int) -> float:
        """Seconds until a message comes again whose handling has failed, having been started so often."""
        return min(self.first * 2.0 ** min(max(started - 1, 0), 1000), self.longest) * random.uniform(0.5, 1.5)


THREE = Attempts()


@dataclass(frozen=True, slots=True)
class Done:
    """Handled. `body` is the answer to the caller, if the message asks for one, with `status` and `headers` where it is
    passed on over HTTP; or `error` is.

    Without either it was passed on to the queue in its `next`, whose consumer will answer.
    """

    body: bytes | None = b"null"
    error: CallFailed | None = None
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Retry:
    """Not handled: to be tried again after `delay` seconds (None: by the number of attempts)."""

    reason: str
    delay: float | None = None


@dataclass(frozen=True, slots=True)
class Dead:
    """Can never be handled: to the dead letters."""

    reason: str


@dataclass(frozen=True, slots=True)
class Newer:
    """Left for a newer consumer, since this one does not know what it is to do: it is offered again soon, as if its
    handling had not been started."""

    reason: str


@dataclass(frozen=True, slots=True)
class Waits:
    """Not begun, by the limits of its queue: it comes again `at` that time, ms since 1970, or when it is called."""

    at: int


Outcome = Done | Retry | Dead | Newer | Waits

DONE = Done()


def settle(index: int, message: Message, outcome: Outcome, attempts: Attempts) -> tuple[Failure | None, bytes]:
    """The fate of the message at this place of the desk: its failure, if it has failed, and the reply to its
    caller, empty if there is none."""
    try:
        if isinstance(outcome, Done):
            error = outcome.error
            if not message.reply:
                return (None if error is None else _failure(index, message, _untold(error), attempts)), b""
            if outcome.body is None and error is None:
                return None, b""
            return None, _encode(Reply(message.id, outcome.body or b"", error, outcome.status, outcome.headers))
        if isinstance(outcome, Newer):
            return left_for_newer(index, str(outcome.reason)), b""
        if isinstance(outcome, Waits):
            return Failure(index, 0.0, "it waits", False, message.id, outcome.at), b""
        failure = _failure(index, message, outcome, attempts)
    except Exception as problem:  # noqa: BLE001 - a handler may give back anything
        return settle(index, message, Retry(f"its outcome cannot be used: {problem!r}"), attempts)
    if failure.delay is not None or not message.reply:
        return failure, b""
    return failure, Reply(message.id, error=CallFailed(500, "the request could not be handled")).encode()


def _untold(error: CallFailed) -> Retry | Dead:
    """The outcome by an error for a message without a caller, who would have to know of it."""
    return Retry(f"failed: {error}") if error.code >= 500 else Dead(f"refused: {error}")


def _failure(index: int, message: Message, outcome: Retry | Dead, attempts: Attempts) -> Failure:
    """The failure of the message at this place of the desk; without a delay it is given up."""
    if not isinstance(outcome, Retry | Dead):  # a handler may give back anything
        outcome = Retry(f"its handler gave a {type(outcome).__name__}, which is no outcome")
    started = max(message.attempts, 1)  # the first start is not in the message
    if isinstance(outcome, Dead) or started >= attempts.most:
        return Failure(index, None, str(outcome.reason))
    delay = attempts.delay(started) if outcome.delay is None else outcome.delay
    return Failure(index, min(delay, DELAY_MAX) if delay > 0 else 0.0, str(outcome.reason))


def left_for_newer(index: int, reason: str) -> Failure:
    """The message at this place is offered again later, as if it had not been started here."""
    return Failure(index, NEWER * random.uniform(0.5, 1.5), reason, started=False)


def _encode(reply: Reply) -> bytes:
    """The reply, or another one if the handler made what cannot be sent: that is no reason to end the consumer."""
    if len(reply.body) > REPLY_BYTES:
        return Reply(reply.id, error=CallFailed(422, f"the answer has more than {REPLY_BYTES >> 20} MB")).encode()
    try:
        return reply.encode()
    except (TypeError, ValueError) as error:
        log.error("the answer cannot be sent: %s", error, extra=about(reply.id))
        return Reply(reply.id, error=CallFailed(500, "the answer could not be written")).encode()
