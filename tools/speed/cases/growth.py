"""growth: what a request costs where there are more instances than it takes, a message whose queue is one of many, and
a fabric that has nothing to do.

The same site grows, so that what is compared is measured within a minute; the ratios are to one instance of that round.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from tools.speed.cases.queue import run_pumps
from tools.speed.measure import Answers, ask
from tools.speed.report import Result, Row
from tools.speed.servers import start_redis
from tools.speed.site import Layout, Site
from tools.speed.stage import Stage, say
from tools.speed.whose import OPEN

CPU, SPEED = "≤ 1.25", "≥ 0.9"  # of the most instances, as a ratio to one
QUEUES, EACH = 200, 20  # queues of one consumer's process, and messages for each
WARM = 1  # seconds
IDLE = (("web", 6), ("store", 6), ("auth", 4), ("app", 4), ("journal", 2))  # with the two brokers 24 processes
SETTLE = 3.0  # seconds until what a start does is over

Start = Callable[[Site, int], object]


def growth(stage: Stage) -> Result:
    """CPU of all processes a request, and requests a second, by numbers of instances, and as ratios to one."""
    sizes, most = stage.scale.grown, stage.scale.grown[-1]
    few = [size for size in sizes if size in (1, 4, most)]
    cases: list[tuple[str, Sequence[int], bool, str, Start]] = [
        ("rpc", sizes, False, "/info/5", lambda site, number: site.echo(number)),
        ("info", few, True, "/info/UID/10", lambda site, number: site.gorgond("store", "--instance", str(number))),
        ("app", few, True, OPEN, lambda site, number: site.gorgond("app", "--instance", str(number))),
    ]
    rows: list[Row] = []
    for name, counts, real, path, start in cases:
        found: dict[int, list[Answers]] = {count: [] for count in counts}
        for number in range(stage.scale.rounds):
            say(f"growth: {name}, round {number + 1} of {stage.scale.rounds}")
            with stage.site(Layout(stores=int(name == "app")), store=real) as site:
                for count in counts:
                    for instance in range(0 if count == counts[0] else counts[counts.index(count) - 1], count):
                        start(site, instance)
                    found[count].append(_ask(stage, site, path, real))
        rows += _rows(name, found)
    rows += [Row("queues_us", [_many_queues(stage) for _ in range(stage.scale.rounds)], "≤ 40")]
    rows += [Row("idle_percent", [_idle(stage) for _ in range(stage.scale.rounds)], "≤ 4")]
    return Result("growth", rows, {"queues": QUEUES, "idle": dict(IDLE)})


def _ask(stage: Stage, site: Site, path: str, real: bool) -> Answers:
    crews = [site.crew, stage.mongod] if real else [site.crew]
    ask(site.url, path, stage.scale.users, WARM, crews)
    return ask(site.url, path, stage.scale.users, stage.scale.seconds, crews)


def _rows(name: str, found: dict[int, list[Answers]]) -> list[Row]:
    sums = {count: [sum(each.cpu_us.values()) for each in answers] for count, answers in found.items()}
    speeds = {count: [each.per_s for each in answers] for count, answers in found.items()}
    rows = []
    for count in found:
        rows += [Row(f"{name}_{count}_cpu_us", sums[count]), Row(f"{name}_{count}_per_s", speeds[count])]
    one, most = min(found), max(found)
    cpu = [many / few for many, few in zip(sums[most], sums[one], strict=True)]
    speed = [many / few for many, few in zip(speeds[most], speeds[one], strict=True)]
    return [*rows, Row(f"{name}_cpu_ratio", cpu, CPU), Row(f"{name}_speed_ratio", speed, SPEED)]


def _many_queues(stage: Stage) -> float:
    """µs of CPU of all three processes for a message that goes over one of many queues."""
    say("growth: many queues")
    with stage.crew() as crew:
        url = start_redis(crew, "redis", "everysec")
        _, used = run_pumps(crew, url, QUEUES * EACH, "pump", [str(QUEUES)], [str(QUEUES), "1", "64"])
    return sum(used.values())


def _idle(stage: Stage) -> float:
    """Percent of a core that a fabric uses which has nothing to do."""
    say("growth: idle")
    with stage.site(Layout(web=0, stores=0)) as site:
        for role, number in IDLE:
            for instance in range(number):
                site.gorgond(role, "--instance", str(instance))
        time.sleep(SETTLE)
        before, began = sum(site.crew.cpu().values()), time.monotonic()
        time.sleep(2 * stage.scale.seconds)
        return (sum(site.crew.cpu().values()) - before) / (time.monotonic() - began) * 100
