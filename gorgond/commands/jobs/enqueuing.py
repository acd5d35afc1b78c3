"""`gorgond enqueue`: have a job done, from another process or a shell."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gorgond.app.enqueuing import Mode, Outside, Request, enqueue, job_id
from gorgond.app.jobs import Job, seconds_of
from gorgond.app.loading import load_apps
from gorgond.commands.operator.installation import Installation
from gorgond.config import Config
from gorgond.errors import BadRequest, GorgonError
from gorgond.redpill import loads, new_id, now_ms


async def enqueue_one(
    installation: Installation, config: Config, name: str, given: Sequence[str], delay: str, unique: str, mode: Mode
) -> str:
    """Enqueue the job APP.JOB with arguments as they are typed, KEY=VALUE: its id, when it is kept.

    Raises GorgonError."""
    jobs = {name: job for app in load_apps(config) for name, job in app.jobs.items()}
    job = jobs.get(name)
    if job is None:
        raise GorgonError(f"there is no job {name}; there are {' '.join(sorted(jobs)) or 'none'}")
    args = job.written(dict(_argument(job, each) for each in given))
    try:
        due = now_ms() + int(seconds_of(delay) * 1000) if delay else 0
    except ValueError as error:
        raise GorgonError(f"--delay: {error}") from None
    async with Outside(installation.connect(), "gorgond enqueue") as outside:
        asked = Request(args, due=due, unique=unique, mode=mode)
        return (await enqueue(outside, job, job_id(new_id()), asked)).id


def _argument(job: Job, given: str) -> tuple[str, Any]:
    """An argument as it is typed: text that is read as a parameter in a query is, or JSON. Raises GorgonError."""
    name, equals, typed = given.partition("=")
    if not equals:
        raise GorgonError(f"{given}: an argument is KEY=VALUE")
    kind = next((each.kind for each in job.arguments if each.name == name), None)
    try:
        if kind is not None and kind.text is not None:
            return name, kind.text(typed, name)
        return name, loads(typed)
    except BadRequest as bad:
        raise GorgonError(f"{job.name}: {bad}") from None
    except ValueError:
        raise GorgonError(f"{job.name}: {name} must be JSON, as [1, 2]") from None
