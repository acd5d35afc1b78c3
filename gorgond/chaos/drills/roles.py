"""Instances of the roles die, or are restarted."""

from __future__ import annotations

from collections.abc import Callable

from gorgond.chaos.drill import HURRY, Drill, Run
from gorgond.chaos.drills.store import STUCK
from gorgond.chaos.load import Plan
from gorgond.chaos.stage import Cast
from gorgond.chaos.target import Victim
from gorgond.chaos.verdict import Limits
from gorgond.roles import ROLES, restarting

BROKEN = frozenset({"broken connection"})  # what a client sees whose web server dies with its request
BACK = 20.0  # seconds within which a victim must work again
ENDED = 40.0  # seconds within which one that hangs must: its watchdog's 15 s are in them, and 5 to say where it hangs


def killing(times: int, *roles: str) -> Callable[[Run], None]:
    """SIGKILL of instances of roles at random moments, as many at once as the rails allow; in the end all are back. One
    that has just come back lives on for a random moment: else no successor would ever do anything."""

    def body(run: Run) -> None:
        left, dead = run.times(times), dict[str, tuple[Victim, float]]()
        while left or dead:
            back = set[str]()
            for name, (victim, since) in list(dead.items()):
                if run.options.dry or run.back(victim):
                    run.faults.over("kill", name)
                    del dead[name]
                    back.add(name)
                elif run.book.now - since > HURRY:
                    run.hurry(name)
            alive = [each for each in run.victims(*roles) if each.up and each.name not in back | dead.keys()]
            if left and alive and len(dead) < run.options.most:
                victim = run.chance.choice(alive)
                run.faults.kill(victim.name)
                dead[victim.name], left = (victim, run.book.now), left - 1
            run.sleep(run.chance.uniform(0.02, 0.3))

    return body


def _rolling(run: Run) -> None:
    services = sorted(run.victims(), key=lambda victim: restarting(victim.name))
    for victim in [*services, *run.victims(*run.brokers)]:
        run.faults.restart(victim.name)
        run.until(lambda victim=victim: run.back(victim), BACK, f"{victim.name} is back")  # type: ignore[misc]


def _hang(run: Run) -> None:
    """Of roles that nobody's request waits for: a stopped web server keeps those that it has taken."""
    victim = run.chance.choice(run.victims("journal", "stats"))
    run.faults.pause(victim.name)
    run.until(lambda: run.back(victim), ENDED, f"{victim.name} was ended and started again")
    run.faults.over("pause", victim.name)


def _drill(
    role: str, times: int, cast: Cast, limits: Limits, *ways: str, queued: tuple[str, ...] = Plan().queued
) -> Drill:
    """The drill that kills a role, `ways` and `queued` being what leads through it besides the usual load."""
    what = f"SIGKILL of {role} instances {times} times at random moments"
    plan = Plan(rate=10.0, ways=(*Plan().ways, *ways), queued=queued)  # the processes that start need the CPU
    return Drill(f"{role}-kill", what, killing(times, role), limits, plan, cast, "app" in ways, (role,))


APPLICATION = Cast(flags=("--no-provider", "--module", "gorgond.app.notes gorgond.chaos.application"))
PROVIDING = Cast(flags=("--rate", "50", "--count", "1000000"))

OWN = {
    "web": _drill("web", 60, Cast(web=3), Limits(expected=BROKEN)),
    "store": _drill("store", 60, Cast(stores=3), Limits(overdue=STUCK)),
    "auth": _drill("auth", 20, Cast(), Limits(overdue=STUCK), "me", "me"),
    "app": _drill("app", 20, APPLICATION, Limits(overdue=STUCK), "app", "app"),
    "provider": _drill("provider", 20, PROVIDING, Limits()),
    "notify": _drill("notify", 20, Cast(), Limits(), queued=(*Plan().queued, "notify")),
}
"""The drills of roles whose killing is special; all others are killed ten times under the usual load."""

DRILLS = (
    *(OWN.get(name) or _drill(name, 10, Cast(), Limits()) for name, role in ROLES.items() if not role.mode),
    Drill(
        "hang",
        "SIGSTOP of a journal or a stats server, until its watchdog ends it",
        _hang,
        roles=("journal", "stats"),
    ),
    Drill(
        "rolling",
        "every instance and broker restarted, one after another",
        _rolling,
        plan=Plan(ways=(*Plan().ways, "me")),
        cast=PROVIDING,
        roles=("auth",),
    ),
)
