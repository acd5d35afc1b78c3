"""A drill's verdict, broken in each way it can be."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from gorgond.chaos.attempts import ACKNOWLEDGED, ANSWERED, FOREIGN, REFUSED, UNANSWERED, UNKNOWN, Attempt
from gorgond.chaos.faults import Fault
from gorgond.chaos.gauges import Sample
from gorgond.chaos.verdict import Limits, Verdict, judge, percentile, spread
from gorgond.chaos.witness import Found
from gorgond.redpill import Counts

GOOD = [
    Attempt("post", "a-1", 0.0, 0.1, ACKNOWLEDGED, "201"),
    Attempt("async", "a-2", 0.1, 0.2, ACKNOWLEDGED, "202"),
    Attempt("get", "", 0.2, 0.3, ANSWERED, "200"),
    Attempt("post", "a-3", 0.3, 1.9, ACKNOWLEDGED, "201"),
]
BALANCED = Sample(0.5, "broker", {"store_put": Counts(accepted=3, done=3)})
FAULT = Fault("kill", "store@1", 0.5, 1.5)


def stored(*marks: str) -> dict[str, set[str]]:
    return {mark: {f"id of {mark}"} for mark in marks}


def verdict(attempts: list[Attempt] | None = None, limits: Limits | None = None, **found: Any) -> Verdict:
    kept = Found(stored=stored("a-1", "a-2", "a-3"))
    for name, value in found.items():
        setattr(kept, name, value)
    return judge(attempts or GOOD, kept, [BALANCED], [FAULT], limits or Limits())


def failed(verdict: Verdict) -> list[str]:
    return [check.name for check in verdict.checks if not check.passed]


def test_a_run_in_which_all_was_kept_passes() -> None:
    found = verdict()
    assert found.passed
    assert found.figures["recovery s"] == {"count": 1, "p50": 0.4, "p90": 0.4, "max": 0.4}
    assert found.figures["away s"]["max"] == 1.0
    assert found.figures["slow"] == {"post": 1}


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("lost", {"stored": stored("a-1", "a-3")}),
        ("duplicated", {"stored": {**stored("a-1", "a-2"), "a-3": {"x", "y"}}}),
        ("unexpected", {"stored": stored("a-1", "a-2", "a-3", "b-9")}),
        ("unexpected", {"strangers": ["x"]}),
        ("misplaced", {"left": {"a-2"}}),
        ("misplaced", {"twice": {"m1"}}),
        ("misplaced", {"dead": {"a-2"}}),
    ],
)
def test_what_is_not_as_it_must_be_deviates(name: str, found: dict[str, Any]) -> None:
    assert failed(verdict(**found)) == [name]


def test_a_dead_letter_is_not_lost() -> None:
    assert verdict(stored=stored("a-1", "a-3"), dead={"a-2"}).passed


def test_what_was_never_acknowledged_may_be_stored_or_not() -> None:
    for result in (REFUSED, UNKNOWN):
        attempt = Attempt("post", "a-4", 0.5, 0.6, result, "503")
        limits = Limits(expected=frozenset({"503"}))
        assert verdict([*GOOD, attempt], limits).passed
        assert verdict([*GOOD, attempt], limits, stored=stored("a-1", "a-2", "a-3", "a-4")).passed


@pytest.mark.parametrize("result", [UNANSWERED, FOREIGN, ""])
def test_each_attempt_has_its_one_answer(result: str) -> None:
    assert failed(verdict([*GOOD, Attempt("get", "", 0.5, 0.6, result, "200")])) == ["unanswered"]


def test_failures_of_kinds_that_are_not_expected_deviate() -> None:
    attempts = [*GOOD, Attempt("get", "", 0.5, 0.6, REFUSED, "504"), Attempt("get", "", 0.6, 0.7, REFUSED, "503")]
    found = verdict(attempts, Limits(expected=frozenset({"503"})))
    assert failed(found) == ["failed"]
    assert found.figures["failed"] == {"504": 1, "503": 1}


@pytest.mark.parametrize(
    ("away", "deviates"),
    [
        # its store was away for as long as it waited, or died again and again
        ([Fault("kill", "store@1", 1.0, 12.0)], []),
        ([Fault("kill", "store@1", 0.6, 5.0), Fault("kill", "store@1", 5.5, 10.4)], []),
        # it was back in time, or each of several was away for a while: somebody should have answered
        ([Fault("kill", "store@1", 1.0, 5.0)], ["failed"]),
        ([Fault("kill", "store@1", 0.5, 5.0), Fault("kill", "store@2", 5.0, 10.5)], ["failed"]),
        ([Fault("kill", "store@1", 11.0, 30.0)], ["failed"]),
        ([], ["failed"]),
    ],
)
def test_who_waited_for_a_dead_one_may_be_told_so_and_nobody_else(away: list[Fault], deviates: list[str]) -> None:
    attempts = [*GOOD, Attempt("get", "", 0.5, 10.5, REFUSED, "504")]
    kept = Found(stored=stored("a-1", "a-2", "a-3"))
    assert failed(judge(attempts, kept, [BALANCED], away, Limits(overdue=frozenset({"504"})))) == deviates
    assert failed(judge(attempts, kept, [BALANCED], away, Limits())) == ["failed"]


def test_a_slow_recovery_deviates() -> None:
    assert failed(verdict(limits=Limits(recovery=0.3))) == ["recovery"]


def test_while_a_broker_is_away_again_nothing_can_recover() -> None:
    # given a broker that is killed a second time before anything was stored, which takes 0.1 s and then 0.3 s
    broker = [Fault("kill", "broker", 0.4, 1.0), Fault("kill", "broker", 1.1, 1.6)]
    kept = Found(stored=stored("a-1", "a-2", "a-3"))
    found = judge(GOOD, kept, [BALANCED], broker, Limits(recovery=0.45))
    # then its absence is not counted as its recovery
    assert found.figures["recovery s"] == {"count": 2, "p50": 0.3, "p90": 0.4, "max": 0.4}
    assert found.passed
    # but while another victim is away somebody else could have stored something
    store = [Fault("kill", "store@1", 0.4, 1.0), Fault("kill", "store@2", 1.1, 1.6)]
    assert failed(judge(GOOD, kept, [BALANCED], store, Limits(recovery=0.45))) == ["recovery"]


def test_books_that_are_out_at_one_look_deviate() -> None:
    out = replace(BALANCED, counts={"store_put": Counts(accepted=3, done=2)})
    away = replace(BALANCED, counts=None)
    kept = Found(stored=stored("a-1", "a-2", "a-3"))
    assert failed(judge(GOOD, kept, [BALANCED, out, BALANCED, away], [], Limits())) == ["ledger"]
    # and so does a run in which nobody looked
    assert failed(judge(GOOD, kept, [away], [], Limits())) == ["ledger"]


def test_books_are_not_judged_while_nobody_sees_all_messages() -> None:
    kept = Found(stored=stored("a-1", "a-2", "a-3"))
    out = [replace(BALANCED, at=at, counts={"store_put": Counts(accepted=3, done=2)}) for at in (0.6, 1.4, 1.6)]
    emptied, limits = [Fault("emptied", "broker", 0.55, 1.5)], Limits(unseen=frozenset({"emptied"}))
    assert failed(judge(GOOD, kept, [BALANCED, *out[:2]], emptied, limits)) == []
    # but before and after that they are, and so they are while other faults last
    assert failed(judge(GOOD, kept, [BALANCED, *out], emptied, limits)) == ["ledger"]
    assert failed(judge(GOOD, kept, [BALANCED, *out[:2]], [FAULT], limits)) == ["ledger"]


def test_a_run_in_which_nothing_was_acknowledged_shows_nothing() -> None:
    attempts = [Attempt("get", "", 0.2, 0.3, ANSWERED, "200")]
    assert failed(verdict(attempts, stored={})) == ["load"]


def test_percentiles() -> None:
    assert [percentile([3, 1, 2, 4], percent) for percent in (0, 25, 50, 99, 100)] == [1, 1, 2, 4, 4]
    assert percentile([], 50) == 0
    assert spread([]) == {}
