"""info: the newest ten notes of a random user, gorgond against Tornado straight on pymongo, and against Starlette
where that is installed.

Every layout of gorgond and both kinds of baseline are tried in short rounds, one after the other and that three times;
the best by their medians are then up at the same time and asked in turns, so that what else the machine does meets
both. It tells each that was tried, with its CPU: the second best may be nearly as fast for less.
"""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from statistics import median
from typing import Any

from tools.speed.baseline import SHOWN
from tools.speed.measure import Answers, ask
from tools.speed.others import has_starlette, start_starlette, start_tornado
from tools.speed.processes import BenchError, Crew
from tools.speed.report import Result, Row, rows_of_answers
from tools.speed.site import Layout
from tools.speed.stage import Stage, say

PATH = "/info/UID/10"
BASELINES = ("inline", "threads")
BASELINE_PROCESSES = 2
TRIALS = 3  # rounds in which each is tried
COMPARED = 3  # users whose notes both sides must answer alike

Asked = Callable[[int], Answers]  # a round of so many seconds


def info(stage: Stage) -> Result:
    """Requests a second and the slowest hundredth of the answers, as ratios of the rounds of a pair."""
    tried = _try_each(stage, stage.scale.layouts, _gorgond)
    tried_too = _try_each(stage, BASELINES, _baseline)
    layout, how = _best(tried), _best(tried_too)
    rounds: dict[str, list[Answers]] = {"gorgond": [], "baseline": []}
    with _gorgond(stage, layout) as ours, _baseline(stage, how) as theirs, ExitStack() as stack:
        sides = [("gorgond", ours), ("baseline", theirs)]
        if has_starlette():
            rounds["starlette"] = []
            sides.append(("starlette", stack.enter_context(_starlette(stage))))
        for number in range(stage.scale.rounds):
            say(f"info: {layout} against {how}, round {number + 1} of {stage.scale.rounds}")
            for name, asked in sides:
                rounds[name].append(asked(stage.scale.seconds))
            sides.reverse()  # what changes with time favours neither
    rows = [
        Row("ratio", _ratios(rounds, "baseline", _per_s), "≥ 1.25", "info_ratio"),
        Row("cpu_ratio", _ratios(rounds, "baseline", _cpu), "≤ 0.7"),
        Row("p99_ratio", _ratios(rounds, "baseline", lambda answers: answers.p99_ms), "≤ 1.2"),
    ]
    if "starlette" in rounds:
        rows += [
            Row("ratio_starlette", _ratios(rounds, "starlette", _per_s), "≥ 1.2"),
            Row("cpu_ratio_starlette", _ratios(rounds, "starlette", _cpu), "≤ 0.7"),
        ]
    for name, answers in rounds.items():
        rows += rows_of_answers(answers, f"{name}_")
    facts: dict[str, Any] = {"layout": layout, "baseline": how}
    trials = {**tried, **tried_too}
    facts["tried_per_s"] = {name: [round(each.per_s) for each in found] for name, found in trials.items()}
    facts["tried_cpu_us"] = {name: [round(_cpu(each)) for each in found] for name, found in trials.items()}
    return Result("info", rows, facts)


def _per_s(answers: Answers) -> float:
    return answers.per_s


def _cpu(answers: Answers) -> float:
    return sum(answers.cpu_us.values())


def _ratios(rounds: dict[str, list[Answers]], other: str, figure: Callable[[Answers], float]) -> list[float]:
    return [figure(our) / figure(their) for our, their in zip(rounds["gorgond"], rounds[other], strict=True)]


def _try_each(
    stage: Stage, names: Sequence[str], side: Callable[[Stage, str], AbstractContextManager[Asked]]
) -> dict[str, list[Answers]]:
    """Short rounds of each, in turns; none where there is nothing to choose from."""
    found: dict[str, list[Answers]] = {name: [] for name in names}
    for _ in range(TRIALS if len(names) > 1 else 0):
        for name in names:
            with side(stage, name) as asked:
                found[name].append(asked(max(1, stage.scale.seconds // 2)))
    return found


def _best(tried: dict[str, list[Answers]]) -> str:
    """The fastest, by the median of its rounds."""
    return max(tried, key=lambda name: median(each.per_s for each in tried[name]) if tried[name] else 0.0)


@contextmanager
def _gorgond(stage: Stage, layout: str) -> Iterator[Asked]:
    say(f"info: gorgond {layout}")
    with stage.site(Layout.parse(layout)) as site:
        yield _ask(stage, site.url, site.crew)


@contextmanager
def _baseline(stage: Stage, how: str) -> Iterator[Asked]:
    say(f"info: baseline {how}")
    with stage.crew() as crew:
        yield _ask(stage, start_tornado(crew, BASELINE_PROCESSES, how, stage.store), crew)


@contextmanager
def _starlette(stage: Stage) -> Iterator[Asked]:
    say("info: Starlette")
    with stage.crew() as crew:
        yield _ask(stage, start_starlette(crew, BASELINE_PROCESSES, "inline", stage.store), crew)


def _ask(stage: Stage, url: str, crew: Crew) -> Asked:
    """A round of asking one side, which has proved that it answers what it should and is warm."""
    for uid in range(COMPARED):
        with urllib.request.urlopen(url + PATH.replace("UID", str(uid))) as answer:  # noqa: S310 - our own server
            _check(stage, uid, json.load(answer))
    ask(url, PATH, stage.scale.users, 1, [crew, stage.mongod])
    return lambda seconds: ask(url, PATH, stage.scale.users, seconds, [crew, stage.mongod])


def _check(stage: Stage, uid: int, answer: object) -> None:
    """Both sides must give the answer that the database has."""
    with stage.items() as items:
        notes = list(items.find({"userid": uid}, sort=[("ts", -1)], limit=10, projection=SHOWN))
    for note in notes:
        note["id"] = note.pop("_id")
    if answer != {"items": notes, "uid": uid, "lim": 10, "off": 0}:
        raise BenchError(f"the answer for user {uid} is wrong: {answer}")
