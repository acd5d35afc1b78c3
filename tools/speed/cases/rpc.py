"""rpc: what the way through the queues costs, answers made without a database: one web server, one store.

A bare Tornado is asked in turns with it: machines differ by more than what there is to find, and its cost is a measure
of the machine.
"""

from __future__ import annotations

from tools.speed.measure import Answers, ask
from tools.speed.report import Result, Row, rows_of_answers
from tools.speed.site import Layout, free_port
from tools.speed.stage import Stage, say

PATH = "/info/5"


def rpc(stage: Stage, brokers: str = "two") -> Result:
    """CPU of web server, store and Redis together, for each request; and as a part of what a bare Tornado takes."""
    answers: list[Answers] = []
    bare: list[Answers] = []
    with stage.site(Layout(web=1, stores=1), brokers, store=False) as site, stage.crew() as tornado:
        port = free_port()
        tornado.python("tornado", "tools.speed.baseline", str(port), "bare")
        sides = [(site.url, site.crew, answers), (f"http://127.0.0.1:{port}", tornado, bare)]
        for url, crew, _ in sides:
            ask(url, PATH, 0, 1, [crew])
        for number in range(stage.scale.rounds):
            say(f"rpc, {brokers}: round {number + 1} of {stage.scale.rounds}")
            for url, crew, found in sides:
                found.append(ask(url, PATH, 0, stage.scale.seconds, [crew]))
    sums = [sum(each.cpu_us.values()) for each in answers]
    tornados = [sum(each.cpu_us.values()) for each in bare]
    rows = [
        Row("cpu_us", sums, "≤ 190", "rpc_cpu_us"),
        Row("tornado_cpu_us", tornados),
        Row("cpu_of_tornado", [ours / theirs for ours, theirs in zip(sums, tornados, strict=True)]),
        *rows_of_answers(answers),
    ]
    return Result("rpc", rows, {"brokers": brokers})
