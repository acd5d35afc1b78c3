"""info: the newest ten notes of a random user, gorgond against Tornado straight on pymongo, and against Starlette
where that is installed.

Every layout of gorgond and both kinds of baseline are tried in one short round; then the best of either side are up
at the same time and asked in turns, so that what else the machine does meets both.
"""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager

from tools.speed.baseline import SHOWN
from tools.speed.measure import Answers, ask
from tools.speed.others import has_starlette, start_starlette
from tools.speed.processes import BenchError, Crew
from tools.speed.report import Result, Row, rows_of_answers
from tools.speed.site import Layout, free_port
from tools.speed.stage import Stage, say

PATH = "/info/UID/10"
BASELINES = ("inline", "threads")
BASELINE_PROCESSES = 2
COMPARED = 3  # users whose notes both sides must answer alike

Asked = Callable[[int], Answers]  # a round of so many seconds


def info(stage: Stage) -> Result:
    """Requests a second and the slowest hundredth of the answers, as ratios of the rounds of a pair."""
    tried = {layout: _tried(_gorgond(stage, layout), stage) for layout in stage.scale.layouts}
    tried_too = {how: _tried(_baseline(stage, how), stage) for how in BASELINES}
    layout, how = max(tried, key=tried.__getitem__), max(tried_too, key=tried_too.__getitem__)
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
    facts = {"layout": layout, "baseline": how, "tried_per_s": {**tried, **tried_too}}
    return Result("info", rows, facts)


def _per_s(answers: Answers) -> float:
    return answers.per_s


def _cpu(answers: Answers) -> float:
    return sum(answers.cpu_us.values())


def _ratios(rounds: dict[str, list[Answers]], other: str, figure: Callable[[Answers], float]) -> list[float]:
    return [figure(our) / figure(their) for our, their in zip(rounds["gorgond"], rounds[other], strict=True)]


def _tried(side: AbstractContextManager[Asked], stage: Stage) -> int:
    """Requests a second in one short round."""
    with side as asked:
        return round(asked(max(1, stage.scale.seconds // 2)).per_s)


@contextmanager
def _gorgond(stage: Stage, layout: str) -> Iterator[Asked]:
    say(f"info: gorgond {layout}")
    with stage.site(Layout.parse(layout)) as site:
        yield _asked(stage, site.url, site.crew)


@contextmanager
def _baseline(stage: Stage, how: str) -> Iterator[Asked]:
    say(f"info: baseline {how}")
    port, store = free_port(), stage.store
    with stage.crew() as crew:
        for _ in range(BASELINE_PROCESSES):
            crew.python("baseline", "tools.speed.baseline", str(port), how, store)
        yield _asked(stage, f"http://127.0.0.1:{port}", crew)


@contextmanager
def _starlette(stage: Stage) -> Iterator[Asked]:
    say("info: Starlette")
    with stage.crew() as crew:
        yield _asked(stage, start_starlette(crew, BASELINE_PROCESSES, "inline", stage.store), crew)


def _asked(stage: Stage, url: str, crew: Crew) -> Asked:
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
