"""Three hosts are upgraded one after another, and one of them goes back: two versions' code shares the queues for a
while, and each takes what the other has written."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from gorgond.chaos import report
from gorgond.chaos.drill import Drill, Run
from gorgond.chaos.hosts.files import ROOT
from gorgond.chaos.hosts.host import Host
from gorgond.chaos.hosts.lab import Hosts
from gorgond.chaos.load import Plan
from gorgond.roles import restarting
from tests.hosts.test_failovers import Drilled, drilled
from tests.system.earlier import EARLIER
from tests.waiting import HANGS, LONG

__all__ = ["drilled"]

BEFORE = "17004d271f29bbf2a5a860eb0cdde8deca231302"
"""The commit before there were several hosts. A release takes its place when there is one."""

OPEN = Plan(clients=8, queuers=6, rate=10.0)
ALL = replace(OPEN, ways=(*OPEN.ways, "me", "app"))


def code_of(commit: str, directory: Path) -> Path:
    """The code of an earlier version."""
    packed = subprocess.run(["git", "archive", commit], cwd=ROOT, capture_output=True, check=False, timeout=HANGS)
    if packed.returncode != 0:
        pytest.fail(f"it needs the history, with commit {commit}: git fetch --unshallow; {packed.stderr.decode()}")
    sources = directory / "earlier"
    sources.mkdir()
    subprocess.run(["tar", "-x", "-C", sources], input=packed.stdout, check=True, timeout=HANGS)
    return sources


def install(run: Run, host: Host, code: Path) -> None:
    """As the package does it: each instance is restarted with the other code when the one before is ready."""
    run.faults.begin("upgrade", host.name, lambda: host.run_code(code))
    instances = [each["name"] for each in host.processes() if "@" in each["name"]]
    for name in sorted(instances, key=restarting):
        host.ask("restart", name)
    run.faults.end("upgrade", host.name, lambda: None)


def more(run: Run) -> None:
    """Wait until some more of everything was asked and answered."""
    before = run.book.kinds.copy()
    kinds = ("201", "202", "200", "pushed", "answered")
    run.until(lambda: all(run.book.kinds[each] > before[each] + 10 for each in kinds), LONG, "all goes on")


@pytest.mark.parametrize(
    ("commit", "plan"),
    [
        pytest.param(BEFORE, ALL, id="the one before"),
        # whose auth servers ask for accounts where stores refuse that now: docs/operations.md, «Upgrade»
        pytest.param(EARLIER, OPEN, id="the first packages"),
    ],
)
def test_hosts_of_two_versions_work_together_and_fail_no_request(
    drilled: Drilled, tmp_path: Path, commit: str, plan: Plan
) -> None:
    versions: list[int] = []
    earlier = code_of(commit, tmp_path)

    def upgrade(run: Run) -> None:
        for host in run.lab.hosts:
            more(run)
            install(run, host, ROOT)
            versions.append(sum(each.fitting.code.resolve() == earlier for each in run.lab.hosts))
        more(run)
        # when one goes back, and forth again
        for code in (earlier, ROOT):
            install(run, run.lab.hosts[2], code)
            more(run)

    # given three hosts of the earlier version, whose broker is one of them's, since it knows no other
    hosts = Hosts(code=earlier, one=True)
    result = drilled(replace(Drill("upgrade", "an upgrade host by host", upgrade, plan=plan, most=HANGS), cast=hosts))
    # then they were mixed, no request failed, nothing is lost or done twice
    assert versions == [2, 1, 0]
    assert result.verdict.passed, report.text(result)
    assert result.verdict.figures["failed"] == {}
