"""What a handler makes of a message, and what that means for the message.

    Done     handled; its caller gets the body, or the error. An error that nobody waits for is no end of a job: what is
             refused (4xx) is a dead letter with the reason, what failed (5xx) is tried again
    Retry    tried again, ATTEMPTS times in all, then a dead letter
    Dead     a dead letter

Whoever waits for what becomes a dead letter is answered 500.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field

from gorgond.redpill.broker import ATTEMPTS, Failure
from gorgond.redpill.errors import CallFailed, GorgonError
from gorgond.redpill.logline import about, log
from gorgond.redpill.message import Message, Reply

RETRY_FIRST, RETRY_MAX = 0.5, 60.0  # seconds until a failed message comes again; doubled with each attempt
NEWER = 2.0  # seconds until a message that needs a newer consumer is offered again
REPLY_BYTES = 16 * 1024 * 1024  # of a reply's body; what is larger could not be passed on in time


class Unavailable(GorgonError):
    """What a handler needs is away; the batch is tried again, without counting as an attempt."""


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


Outcome = Done | Retry | Dead

DONE = Done()


def told_nobody(error: CallFailed) -> Retry | Dead:
    """What an error means for a message without a caller, who would have to know of it."""
    return Retry(f"failed: {error}") if error.code >= 500 else Dead(f"refused: {error}")


def failure_of(index: int, message: Message, outcome: Retry | Dead) -> Failure:
    """The failure of the message at this place of the desk; without a delay it is given up."""
    if not isinstance(outcome, Retry | Dead):  # a handler may give back anything
        outcome = Retry(f"its handler gave a {type(outcome).__name__}, which is no outcome")
    if isinstance(outcome, Dead) or message.attempts >= ATTEMPTS:
        return Failure(index, None, outcome.reason)
    delay = outcome.delay
    if delay is None:
        delay = min(RETRY_FIRST * 2 ** min(max(message.attempts - 1, 0), 10), RETRY_MAX) * random.uniform(0.5, 1.5)
    return Failure(index, max(delay, 0.0), outcome.reason)


def left_for_newer(index: int, message: Message) -> Failure:
    """The message at this place is offered again later, as if it had not been started here."""
    reason = f"it needs a consumer that knows protocol {message.needs}"
    return Failure(index, NEWER * random.uniform(0.5, 1.5), reason, started=False)


def encoded(reply: Reply) -> bytes:
    """The reply, or another one if the handler made what cannot be sent: that is no reason to end the consumer."""
    if len(reply.body) > REPLY_BYTES:
        return Reply(reply.id, error=CallFailed(422, f"the answer has more than {REPLY_BYTES >> 20} MB")).encode()
    try:
        return reply.encode()
    except (TypeError, ValueError) as error:
        log.error("the answer cannot be sent: %s", error, extra=about(reply.id))
        return Reply(reply.id, error=CallFailed(500, "the answer could not be written")).encode()
