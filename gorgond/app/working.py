"""Doing a job: from its message to its function, and what its end means.

its function            becomes of it
returns a value         it is done; its status has the value
raises TryAgain(delay)  it is begun again after that, if it has attempts left
raises anything else    it is begun again later; at its last attempt it is given up, a dead letter with the reason
takes too long          the same; it is cancelled

A job whose name or arguments are not known here is left for an app server that knows them: no attempt is counted.
"""

from __future__ import annotations

import asyncio
import inspect
import traceback
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from gorgond import __version__
from gorgond.app.backend import AppBackend
from gorgond.app.cancels import Cancels
from gorgond.app.context import Context, log
from gorgond.app.enqueuing import push_standing, unique_key
from gorgond.app.jobs import Job, seconds_of
from gorgond.app.jobstatus import END, OVER, RESULT_MAX, TOPIC, end_message, live_message, run_message
from gorgond.app.limits import Gate, entry_of
from gorgond.app.response import plain_value
from gorgond.errors import BadRequest, Refused, TryAgain
from gorgond.redpill import (
    DONE,
    Dead,
    GorgonError,
    Message,
    Newer,
    Outcome,
    QueueFull,
    Retry,
    Unique,
    Waits,
    contained,
    decode,
    dumps,
    new_id,
    now_ms,
)

QUESTION_MS = 60_000  # that a question of a job waits for its answer at most
TOLD = 0.5  # seconds after which it is told that a job runs, and between two times that its progress is
ROOM = 1.0  # seconds between two looks whether the store's queue has room for a status
REASON = 200  # characters of what failed; there is room for the stack in a dead letter then
STACK = 8_000  # characters of the stack in a status
FRAMES = 5  # of the stack in a dead letter
DIED = "its app server died each time"
OURS = {__file__, inspect.getfile(contained)}


Tell = Callable[[Message, dict[str, Any]], Awaitable[None]]


class JobContext(Context):
    """One attempt of a job."""

    __slots__ = ("_fenced", "_reporting", "attempt")

    def __init__(self, backend: AppBackend, message: Message, reporting: Reporting) -> None:
        super().__init__(backend, message)
        self.attempt = max(message.attempts, 1)
        """Which attempt this is, from 1 on."""
        self.sent = now_ms()
        self._fenced = False
        self._reporting = reporting

    def progress(self, share: float, text: str = "") -> None:
        """Tell who watches the job how much of it is done, from 0 to 1, and in words what it does."""
        if not 0 <= share <= 1:
            raise ValueError(f"progress is a share from 0 to 1, not {share}")
        self._reporting.report(float(share), str(text)[:1000])

    def fence(self) -> None:
        """Refuse all that it asks for from now on: it is cancelled, or over."""
        self._fenced = True

    def _next_id(self) -> str:
        self._check()
        return super()._next_id()

    def _check(self) -> None:
        if self._fenced or now_ms() >= self.deadline:
            raise Refused(409, "this job was cancelled, or took too long: nothing more is done for it")

    def _until(self) -> int:
        self._check()
        return min(self.deadline, now_ms() + QUESTION_MS)


class Asked(NamedTuple):
    """The job that a message asks for."""

    values: dict[str, Any]
    unique: str
    repeat: bool


class Worker:
    """Does the jobs of one declaration, those that pass the `gate`. `on` is what this app server is called, `draining`
    whether it ends."""

    def __init__(
        self, job: Job, backend: AppBackend, cancels: Cancels, gate: Gate, on: str, draining: Callable[[], bool]
    ) -> None:
        self._job = job
        self._backend = backend
        self._cancels = cancels
        self._gate = gate
        self._on = on
        self._draining = draining

    async def handle(self, message: Message) -> Outcome:
        """The outcome of a message of the job's queue."""
        job = self._job
        task = asyncio.current_task()
        if task is not None:
            task.set_name(job.name)
        try:
            asked = self._read(message)
        except BadRequest as bad:
            return _unfitting(bad)
        if not job.bounds:
            return await self._begin(message, asked)
        async with self._gate.passing(job.queue, entry_of(job.bounds, message, job.timeout)) as due:
            return Waits(due) if due else await self._begin(message, asked)

    async def _begin(self, message: Message, asked: Asked) -> Outcome:
        """The outcome of one that may be begun."""
        job, started = self._job, max(message.attempts, 1)
        try:
            key = unique_key(asked.unique) if asked.unique else ""
            if started > job.attempts.most:
                await self._end(message, key, started - 1, "failed", reason=DIED)
                return Dead(f"{DIED}; on {self._on}, gorgond {__version__}")
            if asked.repeat and await self._is_over(message):
                return DONE
            if key:
                step = Unique(key, "begin", message.id, new_id().encode(), message.attempts)
                stands, raw = await self._backend.unique(job.queue, step)
                if not stands:
                    return DONE
                if raw:  # it is what another one asked for, who may be another user
                    other = decode(raw)
                    message = replace(message, user=other.user, trace=other.trace)
                    asked = self._read(other)
        except BadRequest as bad:
            return _unfitting(bad)
        if await self._cancels.is_cancelled(message):
            return await self._end(message, key, started, "cancelled")
        if self._backend.spans is None:
            return await self._run(message, asked, key)
        with self._backend.spans.attempt(job.queue, message) as attempt:
            outcome = await self._run(replace(message, trace=attempt.trace), asked, key)
            attempt.end(outcome)
            return outcome

    def _read(self, message: Message) -> Asked:
        """What it asks for. Raises BadRequest for what is not known here."""
        if message.op != self._job.name:
            raise BadRequest("op", f"must be {self._job.name}")
        told = dict(message.args)
        args, unique, repeat = told.pop("args", {}), told.pop("unique", ""), told.pop("repeat", False)
        told.pop("due", 0)
        if told or type(args) is not dict or type(unique) is not str:
            raise BadRequest("args", "must be an object, beside due, unique and repeat")
        return Asked(self._job.values(args), unique, bool(repeat))

    async def _is_over(self, message: Message) -> bool:
        """Whether another copy of it has ended."""
        found = await self._cancels.find(message.id + END, "state")
        return any(each["state"] in OVER for each in found)

    async def _run(self, message: Message, asked: Asked, key: str) -> Outcome:
        job, started = self._job, max(message.attempts, 1)
        if started == 1:
            waited = now_ms() - max(message.sent, message.args.get("due") or 0)
            self._backend.note_wait(job.queue, max(waited, 0) / 1000)
        reporting = Reporting(self._tell_running, message, started)
        begun = replace(message, deadline=now_ms() + int(job.timeout * 1000))
        context = JobContext(self._backend, begun, reporting)
        try:
            with self._cancels.running(message.id, context.fence) as running:
                async with asyncio.timeout(job.timeout) as limit:
                    with fenced_at(limit.when(), context.fence):
                        result = await contained(job.handler(context, **asked.values))
                    said = dumps(result, plain_value)
                    if len(said) > RESULT_MAX:
                        raise ValueError(f"the result has {len(said)} bytes, and must have at most {RESULT_MAX}")
        except asyncio.CancelledError:
            if not running.cancelled or running.is_cancelled_by_others():
                raise
            return await self._end(message, key, started, "cancelled")
        except TryAgain as again:
            return await self._fail(message, key, started, again, again.delay)
        except Exception as error:  # noqa: BLE001 - a job may fail as it likes
            if limit.expired():
                late = TimeoutError(f"it took longer than {job.timeout:g} s")
                return await self._fail(message, key, started, late, None)
            log.exception("%s failed", job.name)
            return await self._fail(message, key, started, error, None)
        finally:
            context.fence()
            reporting.stop()
        return await self._end(message, key, started, "done", result=said.decode())

    async def _fail(
        self, message: Message, key: str, started: int, error: Exception, delay: float | str | None
    ) -> Outcome:
        """The outcome of an attempt that failed."""
        job = self._job
        reason = f"{type(error).__name__}: {error}"[:REASON]
        if started >= job.attempts.most:
            stack = "".join(traceback.format_exception(error))
            await self._end(message, key, started, "failed", reason=reason, stack=stack[-STACK:])
            return Dead(f"{reason}{_stack_line(error)}; on {self._on}, gorgond {__version__}")
        try:
            wait = job.attempts.delay(started) if delay is None else seconds_of(delay)
        except (ValueError, TypeError) as wrong:
            return await self._fail(message, key, started, wrong, None)
        if job.keep:
            due = now_ms() + int(wait * 1000)
            said = {"state": "scheduled", "due": due, "reason": reason, "attempt": started, "on": self._on}
            await self._tell(message, run_message(job, message, **said), said)
        return Retry(reason, wait)

    async def _end(self, message: Message, key: str, started: int, state: str, **said: Any) -> Outcome:
        """It is over: its status is kept, and the job that follows it under its key is in the queue."""
        if self._job.keep:
            told = {"state": state, "attempt": started, "on": self._on, **said}
            await self._tell(message, end_message(self._job, message, **told), told)
        if key:
            step = Unique(key, "fail" if state == "failed" else "end", message.id)
            _, raw = await self._backend.unique(self._job.queue, step)
            await push_standing(self._backend, self._job.queue, key, raw)
        return DONE

    async def _tell_running(self, message: Message, said: dict[str, Any]) -> None:
        told = {"state": "running", **said, "on": self._on}
        await self._tell(message, run_message(self._job, message, **told), told)

    async def _tell(self, message: Message, store: Message, said: dict[str, Any]) -> None:
        """Keep a status, and tell who watches; wait while the store's queue has no room for it."""
        event = live_message(message.id, **{name: each for name, each in said.items() if name != "stack"})
        while True:
            pushes = self._backend.push("store_put", store), self._backend.publish(TOPIC, event)
            kept, _ = await asyncio.gather(*pushes, return_exceptions=True)
            if kept is None:
                return
            if not isinstance(kept, QueueFull) or self._draining():
                log.warning("%s: its status is not kept: %s", self._job.name, kept)
                return
            await asyncio.sleep(ROOM)


def _unfitting(bad: BadRequest) -> Newer:
    return Newer(f"which does not fit: {bad}")


@contextmanager
def fenced_at(time: float | None, fence: Callable[[], None]) -> Iterator[None]:
    """Within it `fence` is called at this time of the event loop: before a task hears of a timeout at that time. The
    deadlines of what it asks for are judged by another clock, which may be late."""
    timer = None if time is None else asyncio.get_running_loop().call_at(time, fence)
    try:
        yield
    finally:
        if timer is not None:
            timer.cancel()


def _stack_line(error: Exception) -> str:
    """The stack of an error in a line, the innermost frame first; without ours, which are always there."""
    frames = [each for each in traceback.extract_tb(error.__traceback__) if each.filename not in OURS][-FRAMES:]
    stack = " < ".join(f"{Path(each.filename).name}:{each.lineno} {each.name}" for each in reversed(frames))
    return f" at {stack}" if stack else ""


class Reporting:
    """Tells that a job runs, once it has run for a while, and then its progress, not too often."""

    def __init__(self, tell: Tell, message: Message, attempt: int) -> None:
        self._tell = tell
        self._message = message
        self._said: dict[str, Any] = {"attempt": attempt}
        self._changed = True
        self._task: asyncio.Task[None] | None = None
        self._timer = asyncio.get_running_loop().call_later(TOLD, self._begin)

    def report(self, share: float, text: str) -> None:
        """It is so far."""
        self._said |= {"progress": share, "text": text}
        self._changed = True

    def _begin(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def _run(self) -> None:
        while True:
            if self._changed:
                self._changed = False
                try:
                    await self._tell(self._message, dict(self._said))
                except GorgonError as error:
                    log.debug("the progress of %s is not told: %s", self._message.op, error)
            await asyncio.sleep(TOLD)

    def stop(self) -> None:
        """It does not run any more."""
        self._timer.cancel()
        if self._task is not None:
            self._task.cancel()
