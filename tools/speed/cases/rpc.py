"""rpc: what the way through the queues costs, answers made without a database: one web server, one store.

Others are asked in turns with it, since machines differ by more than what there is to find: a bare Tornado, whose cost
is a measure of the machine, and where they are installed Starlette, whose whole request the web server's part is
compared with, and Moleculer, which goes over Redis too.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack

from tools.speed.measure import Answers, ask
from tools.speed.others import has_moleculer, has_starlette, start_moleculer, start_starlette, start_tornado
from tools.speed.processes import Crew
from tools.speed.report import Result, Row, rows_of_answers
from tools.speed.site import Layout
from tools.speed.stage import Stage, say

PATH = "/info/5"


def rpc(stage: Stage, brokers: str = "two") -> Result:
    """CPU of web server, store and Redis together, for each request; and as a part of what others take."""
    with stage.site(Layout(web=1, stores=1), brokers, store=False) as site, ExitStack() as stack:
        sides = {"gorgond": (site.url, [site.crew])}
        others: dict[str, Callable[[Crew], str]] = {"tornado": lambda crew: start_tornado(crew, 1, "bare")}
        if has_starlette():
            others["starlette"] = lambda crew: start_starlette(crew, 1, "bare")
        if has_moleculer():
            others["moleculer"] = lambda crew: start_moleculer(crew, site.calls)
        for name, start in others.items():
            crew = stack.enter_context(stage.crew())
            sides[name] = (start(crew), [crew])
        found: dict[str, list[Answers]] = {name: [] for name in sides}
        for url, crews in sides.values():
            ask(url, PATH, 0, 1, crews)
        for number in range(stage.scale.rounds):
            say(f"rpc, {brokers}: round {number + 1} of {stage.scale.rounds}")
            for name, (url, crews) in sides.items():
                found[name].append(ask(url, PATH, 0, stage.scale.seconds, crews))
    return Result("rpc", _rows(found), {"brokers": brokers})


def _rows(found: dict[str, list[Answers]]) -> list[Row]:
    cpu = {name: [sum(each.cpu_us.values()) for each in answers] for name, answers in found.items()}
    per_s = {name: [each.per_s for each in answers] for name, answers in found.items()}
    rows = [
        Row("cpu_us", cpu["gorgond"], "≤ 190", "rpc_cpu_us"),
        *(Row(f"{name}_cpu_us", used) for name, used in cpu.items() if name != "gorgond"),
        Row("cpu_of_tornado", _ratios(cpu["gorgond"], cpu["tornado"])),
    ]
    if "starlette" in found:
        web = [each.cpu_us["web"] for each in found["gorgond"]]
        rows.append(Row("web_cpu_of_starlette", _ratios(web, cpu["starlette"]), "≤ 1.1"))
    if "moleculer" in found:
        # Its CPU is that of its two processes: it shares a Redis with gorgond, whose part is left out for both.
        redis = [each.cpu_us["calls"] for each in found["gorgond"]]
        without_redis = [used - there for used, there in zip(cpu["gorgond"], redis, strict=True)]
        rows += [
            Row("moleculer_per_s", per_s["moleculer"]),
            Row("per_s_of_moleculer", _ratios(per_s["gorgond"], per_s["moleculer"]), "≥ 1.25"),
            Row("cpu_of_moleculer", _ratios(without_redis, cpu["moleculer"]), "≤ 0.75"),
        ]
    return rows + rows_of_answers(found["gorgond"])


def _ratios(ours: list[float], theirs: list[float]) -> list[float]:
    return [our / their for our, their in zip(ours, theirs, strict=True)]
