"""The log: one line an event, to stderr; with journald's priorities under systemd, as JSON where asked for."""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from collections.abc import Sequence
from typing import Any, TextIO

from gorgond.redpill import handling
from gorgond.service.plain import plain

SHOWN, LISTED = 3, 100  # ids of requests in a line of text and of JSON: the journal takes 48 kB a line

_PRIORITY = {"CRITICAL": "<2>", "ERROR": "<3>", "WARNING": "<4>", "INFO": "<6>", "DEBUG": "<7>"}


class _Line(logging.Formatter):
    """`text` as people read it; the journal has its own clock and gets a priority instead."""

    def __init__(self, instance: str, journal: bool) -> None:
        super().__init__()
        self._instance = instance
        self._journal = journal

    def format(self, record: logging.LogRecord) -> str:
        text = " | ".join(map(plain, self._message(record).splitlines()))
        if ids := _requests(record):
            more = f" and {len(ids) - SHOWN} others" if len(ids) > SHOWN else ""
            text += f" [{plain(' '.join(ids[:SHOWN]))}{more}]"
        if self._journal:
            return _PRIORITY[record.levelname] + text
        clock = time.strftime("%H:%M:%S", time.localtime(record.created))
        return f"{clock} {record.levelname.lower():7} {self._instance} {text}"

    def _message(self, record: logging.LogRecord) -> str:
        text = record.getMessage()
        if record.exc_info:
            text += "\n" + self.formatException(record.exc_info)
        return text


class _Json(_Line):
    """One object a line."""

    def format(self, record: logging.LogRecord) -> str:
        event: dict[str, Any] = {
            "at": round(record.created, 3),
            "level": record.levelname.lower(),
            "instance": self._instance,
            "logger": record.name,
            "message": self._message(record),
        }
        ids = _requests(record)
        if len(ids) == 1:
            event["request"] = ids[0]
        elif ids:
            event["requests"] = list(ids[:LISTED])
        line = plain(json.dumps(event, ensure_ascii=False))
        return _PRIORITY[record.levelname] + line if self._journal else line


def _requests(record: logging.LogRecord) -> Sequence[str]:
    """The ids of the requests that a line is about: named by it, or in hand when it was written."""
    named: Sequence[str] = getattr(record, "requests", ())
    return named or handling.get()


def _is_journal(stream: TextIO) -> bool:
    """Whether the stream goes to the journal (systemd.exec(5)); JOURNAL_STREAM alone may be true of a parent only."""
    try:
        about = os.fstat(stream.fileno())
    except OSError:
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{about.st_dev}:{about.st_ino}"


def set_up(level: str, format: str, instance: str) -> None:
    """Send every log record of this process to stderr; `format` is text or json."""
    journal = _is_journal(sys.stderr)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Json(instance, journal) if format == "json" else _Line(instance, journal))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())


def silence() -> None:
    """Send no log record of this process anywhere: it is a command, which answers by itself."""
    logging.getLogger().addHandler(logging.NullHandler())
