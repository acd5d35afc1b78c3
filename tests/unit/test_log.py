"""The log's lines, as people, the journal and programs read them."""

from __future__ import annotations

import json
import logging
import os
import re
from collections.abc import Iterator

import pytest

from gorgond.redpill import handling
from gorgond.redpill.logline import about
from gorgond.service.log import set_up

log = logging.getLogger("elsewhere")  # not watched: its warnings are meant


@pytest.fixture(autouse=True)
def _restored(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv("JOURNAL_STREAM", raising=False)
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    token = handling.set(())
    yield
    handling.reset(token)
    root.handlers[:] = handlers
    root.setLevel(level)


def test_text_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    set_up("info", "text", "web@1")
    log.info("user %d: ü", 5)
    log.debug("not shown")
    assert re.fullmatch(r"\d\d:\d\d:\d\d info    web@1 user 5: ü\n", capsys.readouterr().err)


@pytest.mark.parametrize("format", ["text", "json"])
def test_what_clients_wrote_does_nothing_to_the_terminal(format: str, capsys: pytest.CaptureFixture[str]) -> None:
    set_up("info", format, "web@1")
    bad = "\x1b]0;owned\x07\x9b2J\u202e"
    handling.set((bad,))
    try:
        raise ValueError(f"{bad}\nsecond line")
    except ValueError:
        log.exception("refused: %s", bad)
    written = capsys.readouterr().err
    assert written.count("\n") == 1
    assert written.rstrip().isprintable()
    assert written.count("]0;owned") >= 3
    if format == "json":
        assert json.loads(written)["request"] == bad


def test_who_inherits_the_name_of_the_journal_does_not_write_to_it(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("JOURNAL_STREAM", "8:1")
    set_up("info", "text", "web@1")
    log.info("x")
    assert capfd.readouterr().err.endswith(" web@1 x\n")


def _let_the_journal_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Say that the journal reads stderr; not from a fixture, since pytest opens another file for the test."""
    about = os.fstat(2)
    monkeypatch.setenv("JOURNAL_STREAM", f"{about.st_dev}:{about.st_ino}")


def test_json_in_the_journal_has_priorities_too(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    _let_the_journal_read(monkeypatch)
    set_up("info", "json", "web@1")
    log.warning("x")
    assert capfd.readouterr().err.startswith('<4>{"at"')


def test_the_journal_has_a_clock_of_its_own_and_takes_priorities(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    _let_the_journal_read(monkeypatch)
    set_up("debug", "text", "web@1")
    for level in (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR, logging.CRITICAL):
        log.log(level, "x")
    assert capfd.readouterr().err == "<7>x\n<6>x\n<4>x\n<3>x\n<2>x\n"


def test_json_for_programs(capsys: pytest.CaptureFixture[str]) -> None:
    set_up("warning", "json", "web@1")
    log.info("not shown")
    log.warning('two\nlines "ü"')
    event = json.loads(capsys.readouterr().err)
    assert isinstance(event.pop("at"), float)
    assert event == {"level": "warning", "instance": "web@1", "logger": "elsewhere", "message": 'two\nlines "ü"'}


@pytest.mark.parametrize("format", ["text", "json"])
def test_each_line_of_a_request_has_its_id(format: str, capsys: pytest.CaptureFixture[str]) -> None:
    set_up("info", format, "web@1")
    handling.set(("abc",))
    log.info("x")
    line = capsys.readouterr().err
    assert json.loads(line)["request"] == "abc" if format == "json" else line.endswith(" x [abc]\n")
    # and that of several has theirs, the ones it names before those in hand
    log.info("x", extra=about(*"abcde"))
    line = capsys.readouterr().err
    if format == "json":
        assert json.loads(line)["requests"] == ["a", "b", "c", "d", "e"]
    else:
        assert line.endswith(" x [a b c and 2 others]\n")


@pytest.mark.parametrize("format", ["text", "json"])
def test_an_event_is_one_line_also_with_a_traceback(format: str, capsys: pytest.CaptureFixture[str]) -> None:
    set_up("info", format, "web@1")
    try:
        raise ValueError("first\nsecond")
    except ValueError:
        log.exception("failed")
    line = capsys.readouterr().err
    assert line.count("\n") == 1
    assert "failed" in line
    assert "ValueError: first" in line


def test_set_up_again_it_writes_once(capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(2):
        set_up("info", "text", "web@1")
    log.info("x")
    assert capsys.readouterr().err.count("\n") == 1
