"""What notification servers send to refuses, hangs, and hangs up."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from gorgond.app.notifying import notification_id
from gorgond.chaos import witness
from gorgond.chaos.attempts import ACKNOWLEDGED, read
from gorgond.chaos.drill import Drill, Run
from gorgond.chaos.endpoint import Endpoint
from gorgond.chaos.load import NOTIFY, Plan
from gorgond.chaos.mailserver import MailServer
from gorgond.chaos.outside import Mood, Outside
from gorgond.chaos.stage import Cast

MOODS: tuple[Mood, ...] = ("refuses", "hangs", "hangs up")
LASTS = 6.0  # seconds: what fails at the first attempt comes again after 10 s, and after 20 more
SOON = 5.0  # seconds within which inboxes, and other channels, must have what was accepted, whatever one of them does
SENT = 60.0  # and that one, when it works again


def _failing(kind: type[Outside], name: str) -> Callable[[Run], None]:
    """The body of a drill in which a server of this kind fails in each way."""

    def body(run: Run) -> None:
        with run.outside(kind) as server:
            for mood in MOODS:
                run.faults.begin(mood, name, lambda mood=mood: setattr(server, "mood", mood))  # type: ignore[misc]
                run.sleep(run.seconds(LASTS, 2.0))
                _see_others(run, server, f"while the {name} {mood}")
                run.faults.end(mood, name, lambda: setattr(server, "mood", "works"))
                run.sleep(run.seconds(2.0, 0.5))
            if not run.options.dry:
                run.load.stop()
                _see_sent(run, server, name)

    return body


def _see_others(run: Run, failing: Outside, when: str) -> None:
    """Neither inboxes nor other channels wait for one that fails."""
    marks = _accepted(run)
    ids = {notification_id(mark) for mark in marks}

    def inboxes_have_them() -> bool:
        found = witness.Found()
        witness.look_at_store(run.target.config, (), run.load.told, found)
        return marks <= found.stored.keys()

    run.until(inboxes_have_them, SOON, f"inboxes have what came {when}")
    for other in run.others(failing):
        run.until(lambda other=other: ids <= set(other.ids), SOON, f"{other.kind} has what came {when}")  # type: ignore[misc]


def _see_sent(run: Run, server: Outside, name: str) -> None:
    """Each notification comes, and comes again as the same one as often at most as it was not said that it was
    taken."""
    wanted = {notification_id(mark) for mark in _accepted(run)}
    run.until(lambda: wanted <= set(server.ids), SENT, f"the {name} has all")
    times = Counter(server.ids)
    there = wanted & times.keys()
    run.check("sent", there == wanted, f"{len(there)} of {len(wanted)} are with the {name}")
    again, unsaid = times - Counter(times.keys()), Counter(server.unsaid)
    text = f"{again.total()} came again, {(again - unsaid).total()} of them although it had said that it has them"
    run.check("sent again", again <= unsaid, text)


def _accepted(run: Run) -> set[str]:
    """The marks of the notifications that were accepted by now."""
    if run.options.dry:
        return set()
    return {each.mark for each in read(run.book.path) if each.way == NOTIFY and each.result == ACKNOWLEDGED}


def _drill(name: str, kind: type[Outside], what: str) -> Drill:
    # Some notifications a second, for users with an address.
    plan = Plan(clients=6, queuers=2, rate=2.0, ways=("post", "async", "me"), queued=("push", NOTIFY))
    return Drill(
        name,
        f"{what} of the drill's own refuses, hangs, and hangs up on what it has taken",
        _failing(kind, what.partition(" ")[2]),
        plan=plan,
        cast=Cast(outside=(MailServer, Endpoint)),
        roles=("notify",),
        lacks=kind.lacks(),
    )


DRILLS = (
    _drill("smtp-down", MailServer, "a mail server"),
    _drill("endpoint-hang", Endpoint, "an endpoint"),
)
