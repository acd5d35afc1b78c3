"""gorgon-chaos: its rails, its undo journal, the client's book, how victims are named."""

from __future__ import annotations

import json
import re
import signal
import socket
import threading
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from gorgond.chaos import attempts, cli
from gorgond.chaos.attempts import Attempt, Book
from gorgond.chaos.cli import main
from gorgond.chaos.drill import Result
from gorgond.chaos.drills import DRILLS
from gorgond.chaos.errors import Aborted, Refused
from gorgond.chaos.faults import Fault, Faults
from gorgond.chaos.load import Load, Plan, about
from gorgond.chaos.rails import check_number, permit
from gorgond.chaos.target import Target, Victim, chosen, signal_of
from gorgond.chaos.undo import UndoLog
from gorgond.chaos.verdict import Check, Verdict
from gorgond.config import load
from tests.programs import ROOT

VICTIMS = [
    Victim("broker", "broker", 1, "up"),
    *(Victim(f"store@{n}", "store", n, "up") for n in (2, 3)),
    Victim("web@1", "web", 4, "up"),
]


class Puppet(Target):
    """A target that only notes what is done to it."""

    place = "a puppet"

    def __init__(self) -> None:
        self.acts: list[str] = []

    def victims(self) -> list[Victim]:
        return VICTIMS

    def signal(self, name: str, number: signal.Signals) -> None:
        self.acts.append(f"{number.name} {name}")

    def stop(self, name: str) -> None:
        self.acts.append(f"stop {name}")

    def start(self, name: str) -> None:
        self.acts.append(f"start {name}")

    def hurry(self, name: str) -> None:
        self.acts.append(f"hurry {name}")

    def restart(self, name: str) -> None:
        self.acts.append(f"restart {name}")

    def add(self, name: str) -> None:
        self.acts.append(f"add {name}")

    def remove(self, name: str) -> None:
        self.acts.append(f"remove {name}")


@pytest.fixture
def puppet() -> Puppet:
    return Puppet()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state/undo"


def faults(puppet: Puppet, journal: UndoLog, most: int = 2, dry: bool = False) -> Faults:
    said: list[str] = []
    return Faults(puppet, journal, most, said.append, lambda: 1.0, dry)


# ---- victims


def test_victims_are_chosen_by_name_role_and_pattern() -> None:
    def names(*patterns: str) -> list[str]:
        return [each.name for each in chosen(VICTIMS, patterns)]

    assert names("store@2") == ["store@2"]
    assert names("store") == names("store@*") == ["store@2", "store@3"]
    assert names("web@1", "*@?", "broker") == ["web@1", "store@2", "store@3", "broker"]
    with pytest.raises(Refused, match=r"'store@9' fits nothing; there are broker store@2"):
        chosen(VICTIMS, ["store@9"])


def test_signals_have_names_and_numbers() -> None:
    assert signal_of("KILL") == signal_of("sigkill") == signal_of("9") == signal.SIGKILL
    for wrong in ("NIX", "99", ""):
        with pytest.raises(Refused):
            signal_of(wrong)


# ---- rails


def test_a_host_must_allow_it_and_be_meant() -> None:
    here = socket.gethostname()
    no, yes = load("/dev/null", {}, {}), load("/dev/null", {}, {"chaos.allowed": "yes"})
    with pytest.raises(Refused, match=r"\[chaos\] allowed = yes"):
        permit(no, here)
    with pytest.raises(Refused, match=f"this host is {here}, not elsewhere"):
        permit(yes, "elsewhere")
    with pytest.raises(Refused, match="not typo"):
        permit(yes, None, lambda _: "typo")
    with pytest.raises(Refused, match=f"--host {here}"):
        permit(yes, None)
    permit(yes, here)
    permit(yes, None, lambda _: here)


def test_not_more_victims_at_once_than_allowed(puppet: Puppet, path: Path) -> None:
    check_number(["a", "b"], 2)
    with UndoLog(path) as journal:
        hurting = faults(puppet, journal, most=2)
        hurting.pause("store@2")
        hurting.stop("store@3")
        with pytest.raises(Refused, match=r"3 victims at once \(store@2 store@3 web@1\) are more than --max 2"):
            hurting.kill("web@1")
        # what is hurt already is no further victim, and what is made good is none any more
        hurting.kill("store@2")
        hurting.over("kill", "store@2")
        hurting.resume("store@2")
        hurting.kill("web@1")
        hurting.undo()
    assert "SIGKILL web@1" in puppet.acts


def test_a_dry_run_does_nothing(puppet: Puppet, path: Path) -> None:
    with UndoLog(path) as journal:
        hurting = faults(puppet, journal, dry=True)
        hurting.pause("store@2")
        hurting.add("store")
        hurting.kill("web@1")
        assert journal.pending == []
    assert puppet.acts == []


# ---- the undo journal


def test_everything_is_undone_the_last_first(puppet: Puppet, path: Path) -> None:
    with UndoLog(path) as journal:
        hurting = faults(puppet, journal, most=9)
        hurting.stop("store@2")
        hurting.pause("web@1")
        hurting.add("store")
        hurting.stop("store@3")
        hurting.start("store@3")
        assert hurting.undo() == []
        assert journal.pending == []
    assert puppet.acts[-3:] == ["remove store@4", "SIGCONT web@1", "start store@2"]
    assert path.read_text() == ""


def test_what_a_killed_run_left_is_refused_until_it_is_undone(puppet: Puppet, path: Path) -> None:
    # given a run that was killed with an instance stopped, in the middle of writing a line
    with UndoLog(path) as journal:
        faults(puppet, journal).stop("store@2")
        left = path.read_text()
    path.write_text(left + '{"n": 2, "un')
    # when another begins, then it is refused
    with pytest.raises(Refused, match="left 1 things to undo: gorgon-chaos undo"), UndoLog(path):
        pass
    # and when it is undone, what fails stays
    with UndoLog(path, leftovers=True) as journal:

        def fail(step: list[str]) -> None:
            raise OSError(f"no {step[1]}")

        assert journal.undo(fail) == ["start store@2: no store@2"]
        assert journal.pending == [["start", "store@2"]]
        assert journal.undo(lambda step: puppet.start(step[1])) == []
    assert puppet.acts == ["stop store@2", "start store@2"]
    with UndoLog(path):
        pass


def test_one_run_at_a_time(path: Path) -> None:
    with UndoLog(path), pytest.raises(Refused, match="another gorgon-chaos is at work"), UndoLog(path):
        pass


def test_a_fault_is_in_the_journal_before_it_happens(path: Path) -> None:
    class Dying(Puppet):
        def stop(self, name: str) -> None:
            raise KeyboardInterrupt

    with UndoLog(path) as journal:
        with pytest.raises(KeyboardInterrupt):
            faults(Dying(), journal).stop("store@2")
        assert [json.loads(line) for line in path.read_text().splitlines()] == [
            {"n": 1, "undo": ["start", "store@2"]}
        ]  # fmt: skip
        journal.settle("start", "store@2")


# ---- the client's book


def test_a_book_is_read_as_it_was_written(tmp_path: Path) -> None:
    with Book(tmp_path / "book") as book:

        def client(name: str) -> None:
            for number in range(50):
                n = book.attempt("post", f"{name}-{number}")
                book.outcome(n, book.now, attempts.ACKNOWLEDGED, "201")

        threads = [threading.Thread(target=client, args=(name,)) for name in "abcd"]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        book.attempt("get")
    with (tmp_path / "book").open("a") as file:
        file.write('{"n": 999, "at":')  # a crash in the middle of a line
    found = attempts.read(tmp_path / "book")
    assert len(found) == 201
    assert {each.mark for each in found[:-1]} == {f"{name}-{number}" for name in "abcd" for number in range(50)}
    assert all(each.result == attempts.ACKNOWLEDGED and each.latency >= 0 for each in found[:-1])
    assert found[-1] == Attempt("get", "", found[-1].at)


# ---- the load


def test_runs_of_the_same_seed_have_users_and_notes_of_their_own(tmp_path: Path) -> None:
    # else a note of the second would be taken for the first's, which is being deleted
    with Book(tmp_path / "book") as book:
        one, other = (Load(Plan(), "http://localhost", load("/dev/null", {}, {}), book, seed=1) for _ in range(2))
    assert one.mark() != other.mark()
    assert not set(one.uids) & set(other.uids)


@pytest.mark.parametrize(
    ("answer", "ours"),
    [
        (b'{"items":[],"uid":7,"lim":5,"off":0}', True),
        (b'{"items": [{"userid": 7}, {"userid":7}], "uid": 7}', True),
        (b'{"items":[],"uid":8}', False),
        (b'{"items":[{"userid":7},{"userid":8}],"uid":7}', False),  # another user's note among ours
        (b"", False),
    ],
)
def test_an_answer_must_be_about_who_was_asked_for(answer: bytes, ours: bool) -> None:
    assert about(7, '"uid":7')(answer) == ours


# ---- the command line


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["drill", "redis-kil"], "there is no drill redis-kil; there are redis-kill"),
        (["drill"], "name a drill, or --all"),
        (["list", "--data", "{tmp}"], "no gorgond up answers at {tmp}/control.sock"),
        (["kill", "store", "--data", "{tmp}", "--signal", "NIX"], "'NIX' is no signal"),
    ],
)
def test_what_cannot_be_done_is_refused(
    arguments: list[str], why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    given = [each.replace("{tmp}", str(tmp_path)) for each in arguments]
    code = main([*given, "--target", "local"])
    assert (code, capsys.readouterr().err.partition(why.replace("{tmp}", str(tmp_path)))[1]) == (
        3,
        why.replace("{tmp}", str(tmp_path)),
    )


FINE, WRONG = Verdict(), Verdict([Check("lost", False, "1 acknowledged and not there")])


@pytest.mark.parametrize(
    ("second", "code", "told"),
    [
        ({"verdict": FINE}, 0, "redis-down: passed in"),
        ({"skipped": "there is no store"}, 0, "redis-down: skipped, there is no store"),
        ({"verdict": WRONG}, 1, "redis-down: DEVIATED in"),
        ({"error": Aborted("it takes longer than it may")}, 2, "redis-down: ABORTED, it takes longer than it may"),
        ({"error": Refused("store@1 is dead")}, 3, "redis-down: REFUSED, store@1 is dead"),
    ],
)
def test_however_a_drill_ends_the_next_one_runs(
    second: dict[str, Any], code: int, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    ends = {"redis-kill": {"verdict": FINE}, "redis-down": second, "redis-hang": {"verdict": FINE}}
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setattr(cli, "run_drill", lambda drill, *_: Result(drill, 1, **ends[drill.name]))
    files = [f"--junit={tmp_path / 'junit'}", f"--json={tmp_path / 'json'}"]
    assert main(["drill", *ends, "--target", "local", *files]) == code
    said = capsys.readouterr().out
    assert [told in said, said.count("redis-hang: passed in")] == [True, 1]
    # and programs are told the same
    passed = [each["passed"] for each in json.loads((tmp_path / "json").read_text())]
    assert passed == [True, second.get("verdict") is FINE, True]
    suites = ElementTree.parse(tmp_path / "junit").getroot()
    assert [suite.get("errors") for suite in suites] == ["0", str(int("error" in second)), "0"]


def test_a_short_drill_says_what_it_did_and_a_whole_one_what_it_does() -> None:
    faults = [Fault("kill", "broker", 1.0, 1.2), Fault("kill", "calls", 2.0, 2.2), Fault("stop", "broker", 3.0, 3.1)]
    drill = DRILLS["redis-kill"]
    assert Result(drill, 1, faults=faults, short=True).what == "a short one (kill: 2, stop: 1)"
    assert Result(drill, 1, faults=faults).what == "SIGKILL of the brokers 50 times at random moments"


def test_the_manual_names_the_drills_that_no_host_can_run() -> None:
    manual = " ".join((ROOT / "docs/chaos.md").read_text().split())
    named = re.search(r"Those that need [^(]* \((.*?)\) run with", manual)
    assert named is not None
    assert set(re.findall("`(.*?)`", named[1])) == {drill.name for drill in DRILLS.values() if drill.alone}
