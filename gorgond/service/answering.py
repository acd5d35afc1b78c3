"""From a handler that others wrote to the outcome of its message: within which time it is run, and what its end means.

a handler raises        who asked gets
Refused, CallFailed     its code, 400 to 599, and message
BadRequest              400 with the field
DeadlineExceeded        504; so does a handler that is still at it at its deadline, where it is cancelled
QueueFull, BrokerError  503
anything else           500 with the request's id; the stack is in the log
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable

from gorgond.errors import BadRequest
from gorgond.redpill import CallFailed, Done, GorgonError, Message, contained, judged_ms, now_ms, public_error

UNASKED_SECONDS = 60.0  # for what nobody waits for, as an event


def job_deadline() -> int:
    """The deadline of what nobody waits for, ms since 1970."""
    return now_ms() + int(UNASKED_SECONDS * 1000)


async def answer(message: Message, work: Awaitable[Done], log: logging.Logger) -> Done:
    """The outcome of the message for which `work` is done, until its deadline; `log` is told of faults."""
    try:
        async with asyncio.timeout((message.deadline - judged_ms()) / 1000) as limit:
            return await contained(work)
    except TimeoutError:
        if not limit.expired():  # it is the handler's own
            return _failure(message, log)
        return Done(error=CallFailed(504, f"{message.op} took too long"))
    except BadRequest as bad:
        return Done(error=CallFailed(400, str(bad), bad.field))
    except GorgonError as error:
        known = public_error(error)
        return Done(error=known) if known is not None and _has_code(known) else _failure(message, log)
    except Exception:  # noqa: BLE001 - a handler may fail as it likes
        return _failure(message, log)


def _has_code(error: CallFailed) -> bool:
    """Whether its code is one of an error's: what a handler raises may have any."""
    return type(error.code) is int and 400 <= error.code <= 599


def _failure(message: Message, log: logging.Logger) -> Done:
    """The handler failed by a fault of its own."""
    log.exception("%s failed", message.op)  # noqa: LOG004 - it is called in a handler
    return Done(error=CallFailed(500, f"this failed; the log has the reason under {message.id}"))
