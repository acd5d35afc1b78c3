"""flow: the whole way, web server → auth server → application → store, against the direct one, web server → store.

Both find the one note of a user in the same database, on the same site, asked in turns. On the whole way the user is
who the token says, and the application asks for the note.
"""

from __future__ import annotations

from pathlib import Path

from tools.speed.measure import Answers, ask
from tools.speed.people import register
from tools.speed.report import Result, Row, rows_of_answers
from tools.speed.site import Layout
from tools.speed.stage import Stage, say
from tools.speed.whose import PATH

USERS = 16
PATHS = {"direct": "/info/UID/1", "flow": PATH}


def flow(stage: Stage) -> Result:
    """Requests a second of the whole way, as ratios of the direct one."""
    rounds: dict[str, list[Answers]] = {name: [] for name in PATHS}
    with stage.site(Layout()) as site:
        for role in ("auth", "app"):
            site.gorgond(role, "--instance", "0")
        people = register(site.url, USERS)
        lines = site.crew.directory / "people"
        lines.write_text("".join(f"{person.id} {person.token}\n" for person in people))

        def ask_for(name: str, seconds: int, lines: Path = lines) -> Answers:
            return ask(site.url, PATHS[name], 0, seconds, [site.crew, stage.mongod], lines)

        names = list(PATHS)
        for name in names:
            ask_for(name, 1)
        for number in range(stage.scale.rounds):
            say(f"flow: round {number + 1} of {stage.scale.rounds}")
            for name in names:
                rounds[name].append(ask_for(name, stage.scale.seconds))
            names.reverse()  # what changes with time favours neither
        stage.forget([int(person.id) for person in people])
    ratios = [whole.per_s / direct.per_s for whole, direct in zip(rounds["flow"], rounds["direct"], strict=True)]
    sums = {name: [sum(each.cpu_us.values()) for each in answers] for name, answers in rounds.items()}
    cpu = [whole / direct for whole, direct in zip(sums["flow"], sums["direct"], strict=True)]
    rows = [Row("ratio", ratios, "≥ 0.5", "flow_ratio"), Row("cpu_ratio", cpu, "≤ 1.6")]
    for name, answers in rounds.items():
        rows += rows_of_answers(answers, f"{name}_")
    return Result("flow", rows, {"users": USERS})
