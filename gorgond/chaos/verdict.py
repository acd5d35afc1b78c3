"""The verdict on a drill, from the client's book, what is stored, where messages lie and the queues' figures.

lost         effects acknowledged that are neither stored nor dead letters
duplicated   effects stored more than once
unexpected   what is stored for our users and was never attempted
unanswered   attempts that ended with nothing, or with another request's answer
misplaced    messages in two places at once, or still under way when all had been done
unbalanced   messages by which accepted = done + queued + in flight + delayed + dead + expired + dropped + overflow
             is out, at the worst look
failed       attempts that were refused or broken, of kinds that the drill does not expect
recovery     seconds from a fault's end to the next effect that was acknowledged as stored, the longest
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

from gorgond.chaos.attempts import ACKNOWLEDGED, FOREIGN, GOOD, REFUSED, UNANSWERED, UNKNOWN, Attempt
from gorgond.chaos.faults import HURTING, Fault
from gorgond.chaos.gauges import Sample
from gorgond.chaos.target import BROKERS
from gorgond.chaos.witness import Found

STORED_WAYS = ("post", "key")  # what is acknowledged when it is in the database
MOST = 0.8  # of the time that an attempt waited: a victim away for so long is why


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of a drill: `expected` are the kinds of failed attempts (503, broken connection) that its faults
    bring; `overdue` those that they bring only to who waited for a victim that was away too long; `unseen` are the
    kinds of faults while which nobody sees all messages; `recovery` and `slow` are seconds."""

    expected: frozenset[str] = frozenset()
    overdue: frozenset[str] = frozenset()
    unseen: frozenset[str] = frozenset()
    recovery: float = 5.0
    slow: float = 1.0


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that had to hold, and what was found."""

    name: str
    passed: bool
    text: str


@dataclass(slots=True)
class Verdict:
    """`figures` are for people and programs; it passed when every check did."""

    checks: list[Check] = field(default_factory=list)
    figures: dict[str, Any] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        return all(check.passed for check in self.checks)

    def check(self, name: str, passed: bool, text: str) -> None:
        self.checks.append(Check(name, passed, text))

    def nothing(self, name: str, found: Collection[str], what: str) -> None:
        """There must be none; the first few are named."""
        some = f": {', '.join(sorted(found)[:3])}{' …' if len(found) > 3 else ''}" if found else ""
        self.figures[name] = len(found)
        self.check(name, not found, f"{len(found)} {what}{some}")


def judge(
    attempts: Sequence[Attempt],
    found: Found,
    samples: Sequence[Sample],
    faults: Sequence[Fault],
    limits: Limits,
    given_up: Collection[str] = (),
) -> Verdict:
    """The verdict on a run. `given_up` are the effects that the drill itself took away: just these must be missing."""
    verdict = Verdict()
    acknowledged = {each.mark for each in attempts if each.result == ACKNOWLEDGED}
    tried = {each.mark for each in attempts if each.mark}
    lost = acknowledged - found.stored.keys() - found.dead
    verdict.figures |= {
        "attempts": len(attempts),
        "effects": len(tried),
        "acknowledged": len(acknowledged),
        "stored": len(found.stored),
        "dead letters": len(found.dead),
    }
    verdict.check("load", bool(acknowledged), f"{len(acknowledged):,} of {len(tried):,} effects acknowledged")
    verdict.nothing("lost", lost ^ set(given_up), "acknowledged and not there")
    if given_up:
        verdict.check("reported", lost == set(given_up), f"{len(lost)} reported lost of {len(given_up)} taken away")
    doubled = {mark for mark, ids in found.stored.items() if len(ids) > 1}
    verdict.nothing("duplicated", doubled, "stored more than once")
    verdict.nothing("unexpected", {*(found.stored.keys() - tried), *found.strangers}, "stored and never attempted")
    silent = [f"{each.way} at {each.at:.1f} s" for each in attempts if each.result in ("", UNANSWERED, FOREIGN)]
    verdict.nothing("unanswered", silent, "attempts without their one answer")
    both = found.dead & found.stored.keys()
    verdict.nothing("misplaced", found.twice | found.left | both, "in two places, or still under way")
    _ledger(verdict, samples, [each for each in faults if each.kind in limits.unseen])
    _failures(verdict, attempts, faults, limits)
    _recovery(verdict, attempts, faults, limits)
    return verdict


def _ledger(verdict: Verdict, samples: Sequence[Sample], unseen: Sequence[Fault]) -> None:
    """Whether the books balance at every look, but for those during the faults `unseen`."""
    looks = [
        sample
        for sample in samples
        if sample.counts is not None and not any(each.begin <= sample.at <= each.end for each in unseen)
    ]
    worst = max(
        ((abs(number), name, sample) for sample in looks for name, number in sample.unbalanced.items()),
        key=lambda each: each[0],
        default=None,
    )
    verdict.figures["unbalanced"] = worst[0] if worst else 0
    where = f": {worst[1]} at {worst[2].at:.1f} s" if worst else ""
    verdict.check(
        "ledger", worst is None and bool(looks), f"out by {worst[0] if worst else 0} in {len(looks)} looks{where}"
    )


def _failures(verdict: Verdict, attempts: Sequence[Attempt], faults: Sequence[Fault], limits: Limits) -> None:
    """Failed and slow attempts, by kind."""
    failures = [each for each in attempts if each.result in (REFUSED, UNKNOWN)]
    failed = Counter(each.kind for each in failures)
    slow = Counter(each.way for each in attempts if each.result in GOOD and each.latency > limits.slow)
    verdict.figures |= {"failed": dict(failed), "slow": dict(slow)}
    bad = [
        each
        for each in failures
        if each.kind not in limits.expected and not (each.kind in limits.overdue and _waited_for_one(each, faults))
    ]
    told = ", ".join(f"{kind}: {number}" for kind, number in failed.most_common()) or "none"
    verdict.check("failed", not bad, f"{len(bad)} not expected; by kind: {told}")
    for percent in (50, 99):
        verdict.figures[f"p{percent} ms"] = round(
            1000 * percentile([a.latency for a in attempts if a.result in GOOD], percent), 1
        )


def _waited_for_one(attempt: Attempt, faults: Sequence[Fault]) -> bool:
    """Whether one victim was away for most of the time: what it had in hand when it died its successor answers."""
    away = defaultdict[str, float](float)
    for fault in faults:
        away[fault.name] += max(min(fault.end, attempt.end) - max(fault.begin, attempt.at), 0)
    return max(away.values(), default=0) >= MOST * attempt.latency


def _recovery(verdict: Verdict, attempts: Sequence[Attempt], faults: Sequence[Fault], limits: Limits) -> None:
    """How long after the end of each fault something was stored again, and how long each fault lasted. Nobody can store
    while a broker is away: where one was killed again before that, its absence is not counted."""
    good = [each for each in attempts if each.result == ACKNOWLEDGED]
    stored = sorted(each.end for each in [each for each in good if each.way in STORED_WAYS] or good)
    away = [(each.begin, each.end) for each in faults if each.name in BROKERS and each.kind in HURTING and each.end]
    times = []
    for fault in faults:
        at = bisect_right(stored, fault.end)
        # When load ended with the fault there is nothing to measure.
        if fault.end and at < len(stored):
            times.append(stored[at] - fault.end - _coverage(away, fault.end, stored[at]))
    lasted = [fault.end - fault.begin for fault in faults if fault.end]
    verdict.figures["faults"] = dict(Counter(fault.kind for fault in faults))
    verdict.figures["away s"] = spread(lasted)
    verdict.figures["recovery s"] = spread(times)
    longest = max(times, default=0.0)
    verdict.check(
        "recovery",
        longest <= limits.recovery,
        f"stored again {longest:.2f} s after a fault at the longest (≤ {limits.recovery:g} s)",
    )


def _coverage(spans: Sequence[tuple[float, float]], begin: float, end: float) -> float:
    """The seconds from `begin` to `end` that lie in any of these spans."""
    covered, last = 0.0, begin
    for one, other in sorted(spans):
        covered += max(min(other, end) - max(one, last), 0.0)
        last = max(last, other)
    return covered


def spread(values: Sequence[float]) -> dict[str, float]:
    """Count, median, 90th percentile and the largest."""
    if not values:
        return {}
    told = {"p50": percentile(values, 50), "p90": percentile(values, 90), "max": max(values)}
    return {"count": len(values), **{name: round(value, 3) for name, value in told.items()}}


def percentile(values: Sequence[float], percent: float) -> float:
    """The value that `percent` of them do not exceed; 0.0 of none."""
    ordered = sorted(values)
    rank = bisect_left(range(len(ordered)), len(ordered) * percent / 100)
    return ordered[min(max(rank - 1, 0), len(ordered) - 1)] if ordered else 0.0
