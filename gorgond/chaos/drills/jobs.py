"""App servers, stores and brokers die under jobs of every kind."""

from __future__ import annotations

from collections import Counter

from gorgond.app.enqueuing import job_id
from gorgond.chaos import witness
from gorgond.chaos.application import EVERY, clocked
from gorgond.chaos.drill import Drill, Run
from gorgond.chaos.drills.broker import AWAY
from gorgond.chaos.drills.roles import APPLICATION, killing
from gorgond.chaos.drills.store import STUCK
from gorgond.chaos.load import JOB, Plan
from gorgond.chaos.verdict import Limits
from gorgond.redpill import now_ms

TIMES = 100
DONE = 90.0  # seconds until the last time of the clock has left its trace: one that died begins after 20 s
LONGEST = 3_600_000  # ms that a drill takes


def _kill(run: Run) -> None:
    killing(TIMES, "app", "store", *run.brokers)(run)
    if not run.options.dry:
        run.until(lambda: not _missed(run), DONE, "each time of the clock was a job")
        doubled = [each for each, number in Counter(witness.traces(run.target.config)).items() if number > 1]
        run.check("clock", not doubled, f"{len(doubled)} times of the clock had their effect twice")


def _missed(run: Run) -> list[int]:
    """The times between the first and the last trace, or a moment ago, that have left none."""
    found, now = set(witness.traces(run.target.config)), now_ms()
    times = range((now - LONGEST) // EVERY * EVERY, now - 2 * EVERY, EVERY)
    came = [at for at in times if job_id("cron", clocked.name, str(at)) in found]
    return [at for at in times if came and at > came[0] and at not in set(came)] if came else [0]


DRILLS = (
    Drill(
        "job-kill",
        f"SIGKILL of app servers, stores and brokers {TIMES} times under jobs: at once, later, once under a key, with "
        "failures, one after another, by the clock",
        _kill,
        Limits(expected=AWAY | STUCK),
        Plan(clients=4, queuers=8, rate=10.0, queued=("push", JOB, JOB, JOB)),
        APPLICATION,
        alone=True,
        roles=("app",),
        most=900.0,
    ),
)
