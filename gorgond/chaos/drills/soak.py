"""Everything at random, for as long as wished; and instances that come and go."""

from __future__ import annotations

import time
from collections.abc import Callable

from gorgond.chaos.drill import Drill, Run
from gorgond.chaos.drills.broker import AWAY
from gorgond.chaos.drills.roles import BACK, BROKEN, PROVIDING
from gorgond.chaos.load import Plan
from gorgond.chaos.stage import Cast
from gorgond.chaos.target import Victim
from gorgond.chaos.verdict import Limits

ADDED = 3  # instances of a role beyond those that were there
COMING_AND_GOING = ("store", "web")


def _up_down(run: Run) -> None:
    end = time.monotonic() + run.seconds(120, 8)
    while time.monotonic() < end:
        _come_or_go(run)
        run.sleep(run.chance.uniform(0.2, 2))
        if run.options.dry:
            return


def _come_or_go(run: Run) -> None:
    """Add an instance, or end one: in turn an added one, or one that was there, which is started again."""
    role = run.chance.choice(COMING_AND_GOING)
    mine = run.faults.added_instances(role)
    if run.chance.random() < 0.5 and len(mine) < ADDED:
        run.faults.add(role)
    elif mine and run.chance.random() < 0.7:
        run.faults.remove(mine[-1])
    else:
        up = [each for each in run.victims(role) if each.up and each.name not in mine]
        if len(up) > 1:
            victim = run.chance.choice(up)
            run.faults.stop(victim.name)
            run.sleep(run.chance.uniform(0, 1))
            run.faults.start(victim.name)


def _soak(run: Run) -> None:
    acts: tuple[tuple[int, Callable[[Run], None]], ...] = (
        (6, _kill_one), (2, _kill_broker), (2, _pause_one), (1, _pause_broker), (3, _come_or_go), (1, _restart_one),
    )  # fmt: skip
    end = time.monotonic() + run.options.soak
    while time.monotonic() < end:
        (act,) = run.chance.choices([act for _, act in acts], [weight for weight, _ in acts])
        act(run)
        run.sleep(run.chance.uniform(0.1, 2))
        if run.options.dry:
            return


def _one(run: Run) -> Victim | None:
    alive = [each for each in run.victims() if each.up]
    return run.chance.choice(alive) if alive else None


def _kill_one(run: Run) -> None:
    if victim := _one(run):
        run.kill(victim.name)


def _restart_one(run: Run) -> None:
    if victim := _one(run):
        run.faults.restart(victim.name)
        run.until(lambda: run.back(victim), BACK, f"{victim.name} is back")


def _pause_one(run: Run) -> None:
    if victim := _one(run):
        run.faults.pause(victim.name)
        run.sleep(run.chance.uniform(0.5, 4))
        run.faults.resume(victim.name)


def _kill_broker(run: Run) -> None:
    run.kill(run.chance.choice(run.brokers))


def _pause_broker(run: Run) -> None:
    name = run.chance.choice(run.brokers)
    run.faults.pause(name)
    run.sleep(run.chance.uniform(0.5, 3))
    run.faults.resume(name)


DRILLS = (
    Drill(
        "up-down",
        "instances added, removed, stopped and started at random for 2 minutes",
        _up_down,
        cast=Cast(flags=PROVIDING.flags),
        roles=COMING_AND_GOING,
    ),
    Drill(
        "soak",
        "all of it at random, for as long as --for says",
        _soak,
        Limits(expected=AWAY | BROKEN, recovery=10.0),
        Plan(clients=8, rate=10.0),
        Cast(web=3, stores=3, flags=PROVIDING.flags),
        roles=COMING_AND_GOING,
        most=float("inf"),
    ),
)
