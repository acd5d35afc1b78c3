"""gorgon-chaos on systemd's units: what it makes good, what it must be allowed first, what it never touches."""

from __future__ import annotations

import json
import signal
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from gorgond.chaos import cli, units
from gorgond.chaos.errors import Refused
from gorgond.chaos.faults import Faults, perform
from gorgond.chaos.undo import UndoLog
from gorgond.chaos.units import SystemdTarget
from gorgond.config import load
from gorgond.errors import GorgonError

RUNNING = ("broker", "store@1", "store@2", "web@1")
HERE = ("--target", "systemd", "--host", socket.gethostname())


class Systemctl:
    """Stands in for systemctl on a host where RUNNING runs: notes what is asked for, fails for the units `broken`.

    Units that are `pausing` were killed, and wait to be started again; those that are `gone` have no process."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.broken: set[str] = set()
        self.pausing: set[str] = set()
        self.gone: set[str] = set()

    def __call__(self, verb: str, *arguments: str) -> str:
        if verb == "list-units":
            return "\n".join(f"gorgon-{name}.service loaded active running" for name in RUNNING)
        if verb == "show" and "--value" in arguments:
            return "stop-post\n" if arguments[-1] in self.pausing else "running\n"
        if verb == "show":
            return "\n\n".join(map(self._shown, arguments[1:]))
        if self.broken & set(arguments):
            raise GorgonError(f"systemctl {verb} {arguments[-1]}: failed")
        if verb == "kill" and self.gone & set(arguments):
            raise GorgonError(f"systemctl kill {arguments[-1]}: Failed to kill unit: No main process to kill")
        self.asked.append(" ".join((verb, *arguments)))
        return ""

    @staticmethod
    def _shown(unit: str) -> str:
        return f"Id={unit}\nMainPID=7\nActiveState=active\nSubState=running\nStatusText=\nNRestarts=0"


Host = Callable[..., Systemctl]


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    """Makes a host of these settings, on which we are the operator."""

    def host(**settings: str) -> Systemctl:
        given = {name.replace("_", ".", 1): text for name, text in settings.items()}
        systemctl = Systemctl()
        (tmp_path / "operator").write_text("s3cret\n")
        monkeypatch.setattr(units, "OPERATOR", tmp_path / "operator")
        monkeypatch.setattr(units, "load", lambda _, environ, flags: load("/dev/null", environ, given | flags))
        monkeypatch.setattr(units, "_systemctl", systemctl)
        monkeypatch.setattr(cli, "_of_host", lambda: False)
        monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
        return systemctl

    return host


@pytest.fixture
def left(tmp_path: Path) -> Path:
    """The journal of a run that was killed while a store was stopped and a web server hung."""
    journal = tmp_path / "gorgond/chaos/undo"
    journal.parent.mkdir(parents=True)
    steps = (["start", "store@2"], ["resume", "web@1"])
    journal.write_text("".join(json.dumps({"n": n, "undo": step}) + "\n" for n, step in enumerate(steps, 1)))
    return journal


def test_what_was_done_to_units_is_made_good_the_last_first(host: Host, tmp_path: Path) -> None:
    systemctl = host()
    with UndoLog(tmp_path / "undo") as journal:
        faults = Faults(SystemdTarget(), journal, 9, lambda _: None, lambda: 1.0)
        faults.stop("store@2")
        faults.pause("web@1")
        faults.add("store")
        faults.kill("broker")
        done = len(systemctl.asked)
        assert faults.undo() == []
        assert journal.pending == []
    assert systemctl.asked[:done] == [
        "stop gorgon-store@2.service",
        "kill --kill-whom=main --signal=SIGSTOP gorgon-web@1.service",
        "start gorgon-store@3.service",
        "kill --kill-whom=main --signal=SIGKILL gorgon-broker.service",
    ]
    assert systemctl.asked[done:] == [
        "stop gorgon-store@3.service",
        "kill --kill-whom=main --signal=SIGCONT gorgon-web@1.service",
        "start gorgon-store@2.service",
    ]


def test_a_unit_that_waits_to_be_started_again_is_started_at_once(host: Host) -> None:
    # given a unit that was killed so often that its next start has to wait, and one that runs
    systemctl = host()
    systemctl.pausing.add("gorgon-store@1.service")
    target = SystemdTarget()
    # when they are hurried, then the wait of the first is ended, and nothing is asked of the other one
    target.hurry("store@1")
    target.hurry("store@2")
    ended = "kill --kill-whom=control --signal=SIGTERM gorgon-store@1.service"
    assert systemctl.asked == [ended]
    # when the first is started, then that does not wait either
    target.start("store@1")
    assert systemctl.asked == [ended, ended, "start gorgon-store@1.service"]


def test_a_signal_to_a_unit_that_has_no_process_does_nothing(host: Host) -> None:
    systemctl = host()
    systemctl.gone.add("gorgon-store@1.service")
    SystemdTarget().signal("store@1", signal.SIGKILL)
    assert systemctl.asked == []


def test_undo_makes_good_what_a_killed_run_left(host: Host, left: Path) -> None:
    systemctl = host(chaos_allowed="yes")
    assert cli.main(["undo", *HERE]) == 0
    assert systemctl.asked == [
        "kill --kill-whom=main --signal=SIGCONT gorgon-web@1.service",
        "start gorgon-store@2.service",
    ]
    assert left.read_text() == ""


def test_what_could_not_be_undone_stays_and_the_rest_is_done(host: Host, left: Path) -> None:
    systemctl = host(chaos_allowed="yes")
    systemctl.broken.add("gorgon-web@1.service")
    assert cli.main(["undo", *HERE]) == cli.DEVIATED
    assert systemctl.asked == ["start gorgon-store@2.service"]
    with UndoLog(left, leftovers=True) as journal:
        assert journal.pending == [["resume", "web@1"]]


@pytest.mark.parametrize(
    ("allowed", "arguments"),
    [("no", HERE), ("yes", ("--target", "systemd", "--host", "elsewhere")), ("yes", ("--target", "systemd"))],
)
def test_a_host_that_does_not_allow_it_or_is_not_meant_is_left_as_it_is(
    allowed: str, arguments: tuple[str, ...], host: Host, left: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin.isatty", lambda: False)
    systemctl = host(chaos_allowed=allowed)
    before = left.read_text()
    assert cli.main(["undo", *arguments]) == cli.REFUSED
    assert cli.main(["kill", "store@1", *arguments]) == cli.REFUSED
    assert systemctl.asked == []
    assert left.read_text() == before


def test_a_dry_run_says_what_would_be_undone(host: Host, left: Path, capsys: pytest.CaptureFixture[str]) -> None:
    systemctl = host()
    assert cli.main(["undo", *HERE, "--dry-run"]) == 0
    assert capsys.readouterr().err == "would resume web@1\nwould start store@2\n"
    assert systemctl.asked == []
    assert left.read_text() != ""


@pytest.mark.parametrize("name", ["ssh", "store", "store@1/..", "store@1.service ssh", "", "../store@1"])
def test_only_units_of_gorgond_can_be_named(name: str, host: Host) -> None:
    systemctl = host()
    target = SystemdTarget()
    for step in (["start", name], ["resume", name], ["remove", name]):
        with pytest.raises(Refused, match="no unit of gorgond's"):
            perform(step, lambda: target)
    assert systemctl.asked == []


def test_a_broker_of_another_host_is_never_touched(host: Host) -> None:
    systemctl = host(broker_url="redis://elsewhere:6379/0")
    target = SystemdTarget()
    for act in (target.stop, target.start, target.restart):
        with pytest.raises(Refused, match="not this host's own"):
            act("broker")
    assert systemctl.asked == []
