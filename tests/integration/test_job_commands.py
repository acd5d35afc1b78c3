"""Jobs from a shell: enqueued by `gorgond enqueue`, looked at and settled by `gorgonctl jobs`."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gorgond import cli, gorgonctl
from gorgond.testing import RunningFabric, serving
from tests.conftest import RedisServer
from tests.integration import jobbing
from tests.waiting import eventually

MODULE = "tests.integration.jobbing"


@pytest.fixture
def site(
    durable: RedisServer,
    monkeypatch: pytest.MonkeyPatch,
    expected_logs: Callable[[str], None],
) -> Iterator[RunningFabric]:
    expected_logs("failed|gives up")
    monkeypatch.setenv("GORGOND_BROKER_URL", durable.url)
    monkeypatch.setenv("GORGOND_CONFIG", "/dev/null")
    with serving(MODULE, broker__url=durable.url) as site:
        yield site


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """What a command prints; it must do as it is told, unless another exit code is given."""

    def run(main: Callable[[list[str]], int], *arguments: str, code: int = 0) -> str:
        assert main([*arguments]) == code
        printed = capsys.readouterr()
        return printed.out if code == 0 else printed.err

    return run


def test_a_job_is_enqueued_from_a_shell(site: RunningFabric, said: Callable[..., str]) -> None:
    module = ["--module", MODULE, "--directory", ""]
    id = said(cli.main, "enqueue", "jobbing.note", "what=from a shell", "width=7", *module).strip()
    assert site.job(id)["result"] == {"what": "from a shell", "width": 7}
    # and later, once
    later = ["enqueue", "jobbing.note", "what=later", "--delay", "300ms", "--unique", "k", *module]
    ids = {said(cli.main, *later).strip() for _ in range(3)}
    assert len(ids) == 1
    assert site.job(ids.pop())["state"] == "done"
    # but what does not fit is refused, with what would
    for arguments, reason in (
        (["jobbing.none"], "there is no job jobbing.none; there are jobbing.b"),
        (["jobbing.note", "what=x", "width=wide"], "jobbing.note: width: must be a whole number"),
        (["jobbing.note"], "jobbing.note: what: must be given"),
        (["jobbing.note", "what"], "what: an argument is KEY=VALUE"),
        (["jobbing.note", "what=x", "--delay", "soon"], "--delay: 'soon' is not a time"),
    ):
        assert reason in said(cli.main, "enqueue", *arguments, *module, code=1)


def test_an_operator_sees_what_becomes_of_jobs_and_settles_them(site: RunningFabric, said: Callable[..., str]) -> None:
    done, broken = site.enqueue(jobbing.note, what="hello"), site.enqueue(jobbing.fail, until=4)
    assert (site.job(done)["state"], site.job(broken)["state"]) == ("done", "failed")

    # then they are listed
    def listed() -> bool:
        rows = {row["name"]: row for row in json.loads(said(gorgonctl.main, "jobs", "list", "--json"))}
        return (rows["jobbing.note"]["done"], rows["jobbing.fail"]["failed"]) == (1, 1)

    eventually(listed)
    assert "jobbing.fail" in said(gorgonctl.main, "jobs", "list")
    # and shown, with the stack
    shown = said(gorgonctl.main, "jobs", "show", broken)
    assert "ValueError: it is broken" in shown
    assert "was given up: dead letter 1" in shown
    assert "Traceback" in shown
    assert "there is no trace of a job none" in said(gorgonctl.main, "jobs", "show", "none", code=1)
    # when the failed one is begun anew, which is its first attempt again
    assert "is put back" in said(gorgonctl.main, "jobs", "retry", broken)
    twice = [["fail", 4, n] for n in (1, 2, 3)] * 2
    eventually(lambda: [each for each in site.get("/ran").json if each[0] == "fail"] == twice)
    assert "was not given up" in said(gorgonctl.main, "jobs", "retry", done, code=1)
    # and as a dead letter it is put back as a job that waits, not as one that has failed
    eventually(lambda: "jobbing.fail" in said(gorgonctl.main, "dead", "list", "app_job:jobbing.fail"))
    said(gorgonctl.main, "pause", "app_job:jobbing.fail")
    said(gorgonctl.main, "dead", "requeue", "app_job:jobbing.fail", "--all")
    assert json.loads(said(gorgonctl.main, "jobs", "show", broken, "--json"))["state"] == "queued"
    said(gorgonctl.main, "resume", "app_job:jobbing.fail")


def test_an_operator_finds_jobs_and_drops_them(site: RunningFabric, said: Callable[..., str]) -> None:
    # given some that are done, and one that has failed
    ids = {what: site.enqueue(jobbing.note, what=what) for what in ("a cat", "a dog", "a cat and a dog")}
    broken = site.enqueue(jobbing.fail, until=77)
    assert {site.job(id)["state"] for id in ids.values()} == {"done"}
    assert site.job(broken)["state"] == "failed"

    def found(*arguments: str) -> set[str]:
        return {each["id"] for each in json.loads(said(gorgonctl.main, "jobs", "find", *arguments, "--json"))}

    # then they are found by their arguments, reasons, names, states, and ids
    assert found("DOG") == {ids["a dog"], ids["a cat and a dog"]}
    assert found("it is broken") == found("--state", "failed") == found("77") == {broken}
    assert found("--job", "jobbing.note") == set(ids.values())
    assert found(ids["a cat"]) == {ids["a cat"]}
    assert "there is none" in said(gorgonctl.main, "jobs", "find", "a bird")
    assert "a cat and a dog" in said(gorgonctl.main, "jobs", "find", "dog")
    assert "state: must be one of queued" in said(gorgonctl.main, "jobs", "find", "--state", "lost", code=1)
    # when what failed is dropped
    assert f"job {broken} is dropped" in said(gorgonctl.main, "jobs", "drop", broken)
    # then there is nothing to put back
    assert "was not given up" in said(gorgonctl.main, "jobs", "retry", broken, code=1)


def test_an_operator_cancels_jobs(site: RunningFabric, said: Callable[..., str]) -> None:
    running, over = site.enqueue(jobbing.long), site.enqueue(jobbing.note, what="over")
    site.job(over)
    eventually(lambda: ["long", 6000, 1] in site.get("/ran").json)
    told = said(gorgonctl.main, "jobs", "cancel", running, over)
    assert f"job {running} is cancelled" in told
    assert f"job {over} is done already" in told
    eventually(lambda: ["cancelled", 6000, 1] in site.get("/ran").json)
    assert site.job(running)["state"] == "cancelled"
    assert "no trace of a job none" in said(gorgonctl.main, "jobs", "cancel", "none", code=1)


def test_a_cron_is_listed_with_its_times(
    durable: RedisServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    said: Callable[..., str],
) -> None:
    monkeypatch.setenv("GORGOND_BROKER_URL", durable.url)
    monkeypatch.setenv("GORGOND_CONFIG", "/dev/null")
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "clocked.py").write_text(
        "from gorgond import App\napp = App('clocked')\n"
        "@app.cron('30 7 * * mon-fri', tz='Europe/Vienna')\nasync def digest(ctx): ...\n"
    )
    with serving("clocked", broker__url=durable.url):

        def listed() -> bool:
            (row,) = json.loads(said(gorgonctl.main, "jobs", "list", "--json")) or [{}]
            return bool(row.get("next")) and (row["name"], row["cron"]) == ("clocked.digest", "30 7 * * mon-fri")

        eventually(listed)
        assert "30 7 * * mon-fri Europe/Vienna" in said(gorgonctl.main, "jobs", "list")
