"""gorgonctl: figures for people, the picture as screens, which fabric is meant."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from gorgond.commands import secrets, units
from gorgond.commands.operator import installation as installation_module
from gorgond.commands.operator import text, tracing
from gorgond.commands.operator.installation import Installation
from gorgond.commands.operator.listing import instance_table, queue_table
from gorgond.commands.operator.live import _cut
from gorgond.commands.operator.missing import missing
from gorgond.commands.operator.overview import EXIT_CODES, overview
from gorgond.errors import GorgonError
from gorgond.gorgonctl import main
from gorgond.redpill import Message
from gorgond.redpill.broker import Found

# ---- figures


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0, "0 s"), (0.004, "0 s"), (0.31, "0.3 s"), (38, "38 s"), (119, "119 s"), (300, "5 min"),
        (12_000, "3 h 20 min"), (7200, "2 h"), (1_100_000, "12 d"),
    ],
)  # fmt: skip
def test_durations(seconds: float, shown: str) -> None:
    assert text.duration(seconds) == shown


@pytest.mark.parametrize(
    ("number", "shown"), [(0, "0 B"), (999, "999 B"), (1800, "1.8 kB"), (64e6, "64 MB"), (5e15, "5000 TB")]
)  # fmt: skip
def test_sizes(number: float, shown: str) -> None:
    assert text.size(number) == shown


@pytest.mark.parametrize(
    ("microseconds", "shown"), [(0, "0 µs"), (850, "850 µs"), (3400, "3.4 ms"), (142_000, "142 ms"), (1.2e6, "1.2 s")]
)
def test_latencies(microseconds: float, shown: str) -> None:
    assert text.latency(microseconds) == shown


@pytest.mark.parametrize(("number", "shown"), [(0, "0"), (0.03, "<0.1"), (0.2, "0.2"), (9.96, "10"), (1234, "1,234")])
def test_rates(number: float, shown: str) -> None:
    assert text.rate(number) == shown


def test_a_table_has_columns_as_wide_as_they_must_be_and_figures_at_the_right() -> None:
    assert text.table(("name", ">n", "does"), [("a", "1", "nothing"), ("longer", "4,210", "")]) == [
        "name        n  does",
        "a           1  nothing",
        "longer  4,210",
    ]
    assert text.table(("name",), []) == []


def test_a_line_is_cut_where_the_terminal_ends_and_colours_take_no_room() -> None:
    assert _cut("abcdef", 3) == "abc"
    assert _cut("\x1b[1m\x1b[31mabcdef\x1b[0m", 3) == "\x1b[1m\x1b[31mabc\x1b[0m\x1b[0m"


# ---- screens

SPAN = {"at": 0, "seconds": 60, "count": 0, "errors": 0, "bytes": 0, "p50": 0, "p95": 0, "p99": 0, "max": 0}
QUEUE = {
    "name": "store_put", "queued": 4210, "in_flight": 12, "delayed": 1, "dead": 2, "oldest": 38.2, "accepted": 9000,
    "done": 4775, "in": 400.4, "out": 9.0, "retried": 3, "recovered": 0, "requeued": 0, "expired": 0, "dropped": 0,
    "overflow": 0, "difference": 0, "paused": True,
}  # fmt: skip
INSTANCE = {
    "name": "store@1.db1", "role": "store", "instance": "1", "host": "db1", "machine": "4d1f08aa", "pid": 7,
    "state": "up", "since": 0,
    "uptime": 5, "in": 5.5, "out": 5.5, "errors": 0.0, "lag": 0.0042, "clock": 11.24, "rss": 48e6, "cpu": 0.31,
    "silent": 0.1, "stuck": 0.1, "restarts": 2, "version": "1", "status": "consuming store_put: 5/s, depth 3",
    "queues": ["store_put"],
}  # fmt: skip


def picture(state: str = "well", **changes: Any) -> dict[str, Any]:
    return {
        "at": 1_700_000_000_000, "version": "0.1.0", "uptime": 12_000.0,
        "verdict": {"state": state, "text": "All is well", "reasons": []},
        "durability": "always",
        "spans": {"second": [], "minute": {**SPAN, "count": 600, "p50": 3400}, "hour": SPAN, "day": SPAN},
        "roles": [{"role": "store", "up": 2, "draining": 0, "silent": 0, "gone": 1, "in": 5.5, "out": 5.5}],
        "instances": [INSTANCE, {**INSTANCE, "name": "store@2.db1", "state": "gone"}],
        "queues": [QUEUE],
        "ledger": {
            "accepted": 9000, "stored": 4775, "queued": 4210, "in_flight": 12, "delayed": 1, "dead": 2, "expired": 0,
            "dropped": 0, "overflow": 0, "difference": 0, "text": "Every message is accounted for",
        },
        "redis": [{
            "name": "durable", "where": "/run/broker.sock", "version": "7.0.15", "memory": 2e6, "maxmemory": 1e9,
            "clients": 12, "aof": True, "fsync": "always", "away": 0.0, "reason": "",
        }],
        "database": {"name": "sqlite", "version": "3.40", "latency_ms": 0.8, "away": 0.0, "reason": ""},
        "marks": [{"at": 1_700_000_000_000, "kind": "restart", "text": f"store@{n}.db1 restarted"} for n in range(5)],
        **changes,
    }  # fmt: skip


@pytest.mark.parametrize("colours", [False, True])
def test_what_instances_and_queues_say_does_nothing_to_the_terminal(colours: bool) -> None:
    bad = "\x1b]0;owned\x07\x9b2J\u202e"
    verdict = {"state": "down", "text": bad, "reasons": [bad] * 9}
    marks = [{"at": 0, "kind": "restart", "text": bad}]
    lines = overview(picture("down", verdict=verdict, marks=marks), colours=colours)
    lines += instance_table([{**INSTANCE, "status": bad, "name": bad}]) + queue_table([{**QUEUE, "name": bad}])
    first = lines[0].removeprefix("\x1b[1m\x1b[31m").removesuffix("\x1b[0m")
    assert "\\u001b]0;owned" in first
    assert all(line.isprintable() for line in [first, *lines[1:]])


def test_status_is_one_screen_with_the_verdict_first() -> None:
    lines = overview(picture(), colours=False)
    assert lines[0] == "● All is well"
    assert re.fullmatch(
        r"  gorgond 0.1.0, watched for 3 h 20 min, 2023-11-1. [0-9:]+; what is accepted survives a power failure",
        lines[1],
    )
    whole = "\n".join(lines)
    assert "\nlast minute    600     10       0    0 B  3.4 ms" in whole
    assert "last hour" not in whole  # nothing happened in it that is not in the minute
    assert "\nstore_put    4,210    38 s         12        1     2   400    9.0  paused\n" in whole
    assert (
        "\nEvery message is accounted for: "
        "9,000 accepted = 4,775 stored + 4,210 queued + 12 in flight + 1 delayed + 2 dead\n"
        "broker /run/broker.sock: Redis 7.0.15, on disk always, 2.0 MB of 1.0 GB, 12 clients\n"
        "database sqlite 3.40: answers in 800 µs\n"
    ) in whole
    assert [line[-23:] for line in lines[-3:]] == [f"  store@{n}.db1 restarted" for n in (2, 3, 4)]
    assert len(lines) <= 24


def test_status_tells_every_reason_and_what_is_away() -> None:
    reasons = ["one", "two", "three", "four"]
    verdict = {"state": "down", "text": "Down: one; two; three; and 1 more", "reasons": reasons}
    redis = {**picture()["redis"][0], "away": 4.2, "reason": "Connection refused"}
    database = {**picture()["database"], "away": 3.0, "reason": "no answer"}
    lines = overview(picture("down", verdict=verdict, redis=[redis], database=database), colours=True)
    assert lines[:2] == ["\x1b[1m\x1b[31m✖ Down: one; two; three; and 1 more\x1b[0m", "  four"]
    assert "broker /run/broker.sock has been away for 4.2 s: Connection refused" in lines
    assert "database sqlite has not answered for 3.0 s: no answer" in lines


def test_what_is_missed_is_instances_and_what_brokers_have_lost() -> None:
    silent, failed = ({**INSTANCE, "name": state, "state": state} for state in ("silent", "failed"))
    well = {**picture()["redis"][0], "name": "calls", "lost": {}, "deaf": []}
    for ill in ({"lost": {"store_put": 7}}, {"deaf": ["store_notify/journal"]}):
        found = picture(instances=[INSTANCE, silent, failed], redis=[{**well, **ill, "name": "durable"}, well])
        assert missing(found) == ["silent", "failed", "durable"]


def test_of_a_broker_that_has_lost_something_nobody_says_what_it_survives() -> None:
    lost = {**picture()["redis"][0], "lost": {"store_put": 7}}
    assert "survives" not in "".join(overview(picture("degraded", redis=[lost]), colours=False))


def test_a_fabric_of_which_nothing_is_known_yet_is_shown_too() -> None:
    nothing = picture(
        queues=[], roles=[], instances=[], marks=[], durability="unknown",
        spans=dict.fromkeys(("minute", "hour", "day"), SPAN),
        ledger={"accepted": 0}, database={"name": "", "away": 0.0},
    )  # fmt: skip
    assert len(overview(nothing, colours=False)) == 4
    assert EXIT_CODES == {"well": 0, "degraded": 1, "down": 2, "unknown": 3}


def test_tables_of_queues_and_instances() -> None:
    [_, queue] = queue_table([QUEUE])
    assert queue.split() == [
        "store_put", "4,210", "38", "s", "12", "1", "2", "400", "9.0", "9,000", "4,775", "3", "0", "0", "paused",
    ]  # fmt: skip
    _, up, gone = instance_table(picture()["instances"])
    assert re.search(
        r"store@1.db1 +up +\d+ d +5.5 +5.5 +0 +4.2 ms +\+11.2 s +48 MB +31 % +2 +consuming store_put: 5/s", up
    )
    assert re.fullmatch(r"store@2.db1 +gone +\d+ d +5.5 +5.5 +0 +2", gone)


# ---- which fabric


def test_the_configuration_names_the_fabric(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(secrets, "CREDENTIALS", tmp_path)
    found = Installation.of(None, {"GORGOND_CONFIG": "/dev/null", "GORGOND_BROKER_URL": "redis://elsewhere:1/0"})
    assert found.directory is None
    assert found.connect().durable.url == "redis://elsewhere:1/0"
    assert found.stats_url() == "http://127.0.0.1:3001"


def test_the_operator_has_a_password_where_only_root_reads_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(secrets, "CREDENTIALS", tmp_path)
    environ = {"GORGOND_CONFIG": "/dev/null", "GORGOND_BROKER_URL": "unix:///broker.sock"}
    (tmp_path / "gorgond.broker.password.operator").write_text("se/cret\n")
    assert Installation.of(None, environ).connect().durable.url == "unix://operator:se%2Fcret@/broker.sock"
    # and the broker's address may lie there too
    (tmp_path / "gorgond.broker.url").write_text("redis://db1:6379\n")
    assert Installation.of(None, environ).connect().durable.url == "redis://operator:se%2Fcret@db1:6379"


def test_what_cannot_be_read_wants_root(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(secrets, "CREDENTIALS", tmp_path)
    (tmp_path / "gorgond.broker.password.operator").mkdir()  # root may read any file
    with pytest.raises(GorgonError, match="are you root"):
        Installation.of(None, {"GORGOND_CONFIG": "/dev/null", "GORGOND_BROKER_URL": "unix:///broker.sock"}).connect()


def test_a_directory_is_that_of_a_gorgond_up(tmp_path: Path) -> None:
    found = Installation.of(str(tmp_path))
    assert found.stats_url() == ""
    fabric = found.connect()
    assert (fabric.durable.url, fabric.calls.url) == (f"unix://{tmp_path}/broker.sock", f"unix://{tmp_path}/calls.sock")


def test_where_nothing_is_it_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(installation_module, "UNITS", tmp_path / "none")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    with pytest.raises(GorgonError, match="nothing of gorgond is here: no units, and no gorgond up in"):
        Installation.of(None, {"GORGOND_CONFIG": "/dev/null"})


# ---- traces


def test_a_trace_knows_items_and_events_of_a_request_from_others() -> None:
    def found(message: Message, place: str = "queued") -> bool:
        return bool(tracing._row(Found("q", place, "0", message.encode()), "1a"))

    assert found(Message("items.insert", id="1a"))
    assert found(Message("items.added", id="1a:0"))
    assert found(Message("items.patch", {"id": "1a-2"}, id="other"))
    assert found(Message("items.insert", {"documents": [{"id": "x"}, {"id": "1a"}]}, id="other"))
    assert not found(Message("items.insert", {"documents": [{"id": "1ab"}], "title": "1a"}, id="1a-x"))
    assert not tracing._row(Found("q", "queued", "0", b'"1a" is no message'), "1a")
    assert tracing._row(Found("list", "reply", "", b'{"id":"1a"}\n[]'), "1a")
    assert not tracing._row(Found("list", "reply", "", b'{"id":"2b"}\n"1a"'), "1a")


# ---- the command line


def test_dead_letters_are_named_or_all_are_meant(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["store_put"], ["store_put", "3", "--all"]):
        assert main(["dead", "drop", *arguments]) == 1
        assert capsys.readouterr().err == "gorgonctl: which dead letters? name them, or say --all\n"


def test_an_instance_of_another_host_is_not_ours(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["drain", "store@2.elsewhere"]) == 1
    assert capsys.readouterr().err == "gorgonctl: store@2.elsewhere is not on this host; ask for it on elsewhere\n"


def test_without_systemd_there_are_no_units_to_apply(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(units, "SYSTEMD", tmp_path / "none")
    assert main(["apply"]) == 1
    assert capsys.readouterr().err == (
        "gorgonctl: this host was not started by systemd, so there are no units on it; "
        "gorgond up runs everything without\n"
    )


@pytest.mark.parametrize("word", ["", " "])
@pytest.mark.parametrize(
    "command",
    ["trace", "pause", "resume", "forget", "restart", "dead list", "dead requeue", "groups drop"],
)
def test_nothing_names_nothing(command: str, word: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([*command.split(), word])
    assert ended.value.code == 2
    assert "must not be empty" in capsys.readouterr().err
