"""rpc: what the way through the queues costs, answers made without a database: one web server, one store."""

from __future__ import annotations

from tools.speed.measure import ask
from tools.speed.report import Result, Row, rows_of_answers
from tools.speed.site import Layout
from tools.speed.stage import Stage, say

PATH = "/info/5"


def rpc(stage: Stage, brokers: str = "two") -> Result:
    """CPU of web server, store and Redis together, for each request."""
    answers = []
    with stage.site(Layout(web=1, stores=1), brokers, store=False) as site:
        ask(site.url, PATH, 0, 1, [site.crew])
        for number in range(stage.scale.rounds):
            say(f"rpc, {brokers}: round {number + 1} of {stage.scale.rounds}")
            answers.append(ask(site.url, PATH, 0, stage.scale.seconds, [site.crew]))
    sums = [sum(each.cpu_us.values()) for each in answers]
    return Result("rpc", [Row("cpu_us", sums, "≤ 190", "rpc_cpu_us"), *rows_of_answers(answers)], {"brokers": brokers})
