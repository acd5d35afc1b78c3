"""Logs of events: journald's protocol as a real socket hears it, and a file that is rotated, cut off and full."""

from __future__ import annotations

import json
import os
import resource
import signal
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from gorgond.config import load
from gorgond.errors import ConfigError, SinkAway
from gorgond.redpill import Message
from gorgond.settings import Journal
from gorgond.sinks import journald as journald_module
from gorgond.sinks.file import FileSink
from gorgond.sinks.journald import JournaldSink, encoded
from gorgond.sinks.opening import open_sink


def event(id: str = "1a", **args: object) -> Message:
    return Message("items.added", {"id": id, **args}, f"m-{id}:0", sent=1_700_000_000_123)


# ---- journald


class Journald:
    """The receiving end of journald's socket."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(path))
        self.socket.settimeout(60)

    def entry(self) -> dict[str, str]:
        """The next entry's fields, read as the protocol says."""
        raw, files, _, _ = socket.recv_fds(self.socket, 1 << 20, 1)
        if files:
            assert raw == b""
            with os.fdopen(files[0], "rb") as file:
                file.seek(0)
                raw = file.read()
        fields = {}
        while raw:
            line, _, raw = raw.partition(b"\n")
            key, equals, value = line.partition(b"=")
            if not equals:
                (length,) = struct.unpack_from("<Q", raw)
                value, raw = raw[8 : 8 + length], raw[9 + length :]
            fields[key.decode()] = value.decode()
        return fields


@pytest.fixture
def journald(tmp_path: Path) -> Iterator[Journald]:
    server = Journald(tmp_path / "socket")
    yield server
    server.socket.close()


@pytest.fixture
def log(journald: Journald) -> Iterator[JournaldSink]:
    log = JournaldSink(journald.path)
    yield log
    log.close()


def test_an_event_is_an_entry_with_a_field_for_each_thing(journald: Journald, log: JournaldSink) -> None:
    # given an event with a line break and a secret in what it tells
    told = event(document={"title": "two\nlines", "body": "a secret", "passhash": "x"}, ts=5)
    told.user, told.trace = {"id": "u7"}, "00-abc"
    # when it is written
    log.write([told])
    # then journald hears who did what to which item, and no secret
    assert journald.entry() == {
        "MESSAGE": "items.added 1a by user u7",
        "MESSAGE_ID": "8d8f6b6ce1de4b5c9d0d5f2a9a6f3c41",
        "PRIORITY": "6",
        "SYSLOG_IDENTIFIER": "gorgon-journal",
        "GORGON_EVENT": "items.added",
        "GORGON_ID": "1a",
        "GORGON_USER": "u7",
        "GORGON_MESSAGE": "m-1a:0",
        "GORGON_TRACE": "00-abc",
        "GORGON_ARGS": r'{"id":"1a","ts":5,"fields":["title","body","passhash"]}',
    }


def test_a_value_with_line_breaks_has_its_length_before_it(journald: Journald, log: JournaldSink) -> None:
    assert encoded({"A": "x", "B": "1\n2\n"}) == b"A=x\nB\n\x04\0\0\0\0\0\0\x001\n2\n\n"
    log.write([event("two\nlines")])
    assert journald.entry()["GORGON_ID"] == "two\nlines"


def test_an_event_too_large_for_a_datagram_travels_as_a_file(journald: Journald, log: JournaldSink) -> None:
    names = [f"é{number}" for number in range(1 << 17)]
    log.write([event(document=dict.fromkeys(names, 1))])
    assert json.loads(journald.entry()["GORGON_ARGS"])["fields"] == names


@pytest.mark.parametrize("kind", ["document", "changes"])
@pytest.mark.parametrize("collection", ["items", "users", "sessions", "emails", "orders"])
def test_of_a_document_the_names_are_logged_and_of_a_note_whose_it_is(
    tmp_path: Path, journald: Journald, log: JournaldSink, collection: str, kind: str
) -> None:
    # given an event with all that is nobody's business
    secret = "5ecret-" * 20
    texts = ("id", "email", "passhash", "agent", "address", "body", "name", "title")
    document: dict[str, object] = {**dict.fromkeys(texts, secret), "userid": 5, "authtokens": {"era": secret}}
    document |= {"user": {"email": secret}, "keywords": [secret]}
    told = Message(f"{collection}.edited", {"id": "1a", "ts": 5, kind: document}, "m", sent=1)
    # when it is written to either log
    log.write([told])
    FileSink(tmp_path / "events.log").write([told])
    # then they have the names, and of the values that of a note which says whose it is
    for args in (
        json.loads(journald.entry()["GORGON_ARGS"]),
        json.loads((tmp_path / "events.log").read_text())["args"],
    ):
        assert args.pop("fields") == list(document)
        note = {"userid": 5} if collection == "items" else {}
        assert args == {"id": "1a", "ts": 5, **note}


def test_what_is_not_seen_does_nothing_to_the_terminal_of_who_reads(
    tmp_path: Path, journald: Journald, log: JournaldSink
) -> None:
    bad = "\x1b]0;owned\x07\x9b2J\u202e"
    log.write([event(bad, document={bad: 1})])
    FileSink(tmp_path / "events.log").write([event(bad, document={bad: 1})])
    entry = journald.entry()
    line = (tmp_path / "events.log").read_text()
    for text in (entry["MESSAGE"], entry["GORGON_ARGS"], line.rstrip()):
        assert text.isprintable()
    # and it is still all there
    assert json.loads(entry["GORGON_ARGS"])["fields"] == [json.loads(line)["id"]] == [bad]


def test_without_journald_nothing_is_written(journald: Journald, log: JournaldSink) -> None:
    journald.path.unlink()
    with pytest.raises(SinkAway, match="No such file") as away:
        log.write([event()])
    assert away.value.written == 0


def test_journald_that_hangs_is_left_in_time_and_what_it_took_is_told(journald: Journald, log: JournaldSink) -> None:
    # when more is written than its queue holds, and it receives nothing
    events = [event(str(number)) for number in range(10_000)]
    with pytest.raises(SinkAway, match="it receives nothing") as away:
        log.write(events)
    # then those it took are the first, and the rest may be written later
    written = away.value.written
    assert 0 < written < len(events)
    assert [journald.entry()["GORGON_ID"] for _ in range(written)] == [str(number) for number in range(written)]
    log.write(events[written : written + 1])
    assert journald.entry()["GORGON_ID"] == str(written)


# ---- a file


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "events.log"


@pytest.fixture
def file(path: Path) -> Iterator[FileSink]:
    file = FileSink(path)
    yield file
    file.close()


def ids(path: Path) -> str:
    return "".join(json.loads(line)["id"] for line in path.read_text().splitlines())


def test_an_event_is_a_line(path: Path, file: FileSink) -> None:
    file.write([event(document={"title": "two\nlines"}), event("2b")])
    first, second = path.read_text().splitlines()
    assert json.loads(first) == {
        "at": "2023-11-14T22:13:20.123+00:00",
        "event": "items.added",
        "id": "1a",
        "user": "",
        "message": "m-1a:0",
        "args": {"id": "1a", "fields": ["title"]},
    }
    assert json.loads(second)["id"] == "2b"


def test_a_rotated_file_is_left_to_itself(path: Path, file: FileSink) -> None:
    file.write([event("a")])
    path.rename(path.with_suffix(".1"))
    file.write([event("b")])
    path.unlink()
    file.write([event("c")])
    os.truncate(path, 0)
    file.write([event("d")])
    assert (ids(path.with_suffix(".1")), ids(path)) == ("a", "d")


def test_half_a_line_of_somebody_killed_stays_alone(path: Path, file: FileSink) -> None:
    path.write_text('{"at":"2023')
    file.write([event("a")])
    file.write([event("b")])
    assert path.read_text().startswith('{"at":"2023\n{"at"')
    assert path.read_text().count("\n") == 3


def test_a_full_disk_takes_all_or_nothing(path: Path, file: FileSink) -> None:
    file.write([event("a")])
    size = path.stat().st_size
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        # given room for one and a half of two lines
        resource.setrlimit(resource.RLIMIT_FSIZE, (size * 5 // 2, before[1]))
        with pytest.raises(SinkAway, match="File too large") as away:
            file.write([event("b"), event("c")])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)
    assert (away.value.written, ids(path)) == (0, "a")
    file.write([event("b"), event("c")])
    assert ids(path) == "abc"


def test_a_directory_that_is_missing_is_told(tmp_path: Path) -> None:
    file = FileSink(tmp_path / "none" / "events.log")
    with pytest.raises(SinkAway, match=r"events\.log: No such file or directory"):
        file.write([event()])
    file.close()


# ---- which


def test_journald_is_chosen_where_it_runs_and_no_file_is_asked_for(
    journald: Journald, monkeypatch: pytest.MonkeyPatch, path: Path
) -> None:
    monkeypatch.setattr(journald_module, "SOCKET", path.with_name("none"))
    assert open_sink(Journal()).name == "event log /var/log/gorgond/events.log"
    monkeypatch.setattr(journald_module, "SOCKET", journald.path)
    assert open_sink(Journal(file=str(path))).name == f"event log {path}"
    chosen = open_sink(Journal())
    assert chosen.name == f"journald {journald.path}"
    chosen.close()


def test_the_kind_that_is_named_is_taken(journald: Journald, monkeypatch: pytest.MonkeyPatch, path: Path) -> None:
    monkeypatch.setattr(journald_module, "SOCKET", journald.path)
    assert open_sink(Journal(kind="file")).name == "event log /var/log/gorgond/events.log"
    chosen = open_sink(Journal(kind="journald", file=str(path)))
    assert chosen.name == f"journald {journald.path}"
    chosen.close()


def test_a_kind_that_is_none_is_refused_with_those_that_are() -> None:
    with pytest.raises(ConfigError, match=r"--kind: \[journal\] kind cannot be 'syslog'; allowed: journald file"):
        load(os.devnull, {}, {"journal.kind": "syslog"})
