"""`gorgonctl jobs`: as it is understood and told."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

from gorgond.commands.operator.answering import ask, tell, tell_done
from gorgond.commands.operator.installation import Installation

Add = Callable[..., argparse.ArgumentParser]
Wider = Callable[[argparse.ArgumentParser], argparse.ArgumentParser]


def add_jobs(commands: Any, command: Add, anywhere: Wider, text: Callable[[str], str]) -> None:
    """Add it to a parser: `command` adds a command, `anywhere` what those have that speak of any fabric, `text` reads
    a word."""
    jobs = commands.add_parser("jobs", help="jobs: list, show, find, cancel, retry or drop them", allow_abbrev=False)
    deeds = jobs.add_subparsers(title="commands", metavar="COMMAND", required=True)
    anywhere(command("list", _list, "every job by name: what waits, runs, failed; when it comes next", within=deeds))
    made = anywhere(command("show", _show, "what became of a job, and where it is", "jobs show ID", within=deeds))
    made.add_argument("id", metavar="ID", type=text, help="as it was told when the job was enqueued")
    made = anywhere(
        command(
            "find", _find, "jobs by id, or by what their arguments or reasons say", "jobs find p1.jpg", within=deeds
        )
    )
    made.add_argument("text", metavar="TEXT", type=text, nargs="?", help="an id, or part of what is said (all)")
    made.add_argument("--job", metavar="APP.JOB", default="", help="of this name (any)")
    made.add_argument("--state", metavar="STATE", default="", help="in this state, as failed (any)")
    for name, run, help in (
        ("cancel", _cancel, "cancel jobs, whether they wait or run"),
        ("retry", _retry, "put jobs that were given up back into their queue, as new"),
        ("drop", _drop, "delete jobs that were given up"),
    ):
        made = anywhere(command(name, run, help, f"jobs {name} ID", within=deeds))
        made.add_argument("ids", metavar="ID", type=text, nargs="+")


def _list(arguments: argparse.Namespace) -> int:
    from gorgond.commands.jobs.asking import job_rows, job_table
    from gorgond.commands.operator.watch import look_at_living

    seen = look_at_living(arguments.data).get("jobs", ())  # an earlier stats server has none
    rows = ask(job_rows(Installation.of(arguments.data), seen))
    tell(arguments, rows, job_table(rows))
    return 0


def _show(arguments: argparse.Namespace) -> int:
    from gorgond.commands.jobs.asking import job_lines, show

    found = ask(show(Installation.of(arguments.data), arguments.id))
    tell(arguments, found, job_lines(found))
    return 0


def _cancel(arguments: argparse.Namespace) -> int:
    from gorgond.commands.jobs.asking import cancel

    return _done(arguments, cancel)


def _retry(arguments: argparse.Namespace) -> int:
    from gorgond.commands.jobs.asking import retry

    return _done(arguments, retry)


def _drop(arguments: argparse.Namespace) -> int:
    from gorgond.commands.jobs.asking import drop

    return _done(arguments, drop)


def _find(arguments: argparse.Namespace) -> int:
    from gorgond.commands.jobs.asking import find, found_table

    found = ask(find(Installation.of(arguments.data), arguments.text or "", arguments.job, arguments.state))
    tell(arguments, found["jobs"], found_table(found))
    return 0


def _done(arguments: argparse.Namespace, do: Callable[..., Any]) -> int:
    installation = Installation.of(arguments.data)
    said: list[str] = ask(do(installation, arguments.ids))
    tell_done(arguments, installation, said)
    return 0
