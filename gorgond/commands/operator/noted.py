"""A line in the log for each thing that an operator does to queues and users: who did what."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable
from contextlib import suppress
from logging.handlers import SysLogHandler
from pathlib import Path

from gorgond.commands.control import ask
from gorgond.commands.operator.installation import Installation
from gorgond.errors import GorgonError
from gorgond.service.plain import plain

SYSTEM_LOG = Path("/dev/log")  # journald's, or syslogd's


def note(installation: Installation, done: Iterable[str]) -> None:
    """Write a line for each thing that was done: to the system's log, or that of the `gorgond up` it was done to. Where
    there is no log, or no `gorgond up` any more, nobody is told."""
    who = os.environ.get("SUDO_USER") or f"uid {os.getuid()}"
    lines = [plain(f"the operator ({who}): {each}") for each in done]
    if installation.directory is not None:
        with suppress(GorgonError):
            for line in lines:
                ask(installation.directory.control, "note", text=line)
        return
    with suppress(OSError):
        handler = SysLogHandler(str(SYSTEM_LOG), SysLogHandler.LOG_DAEMON)
        handler.ident = f"gorgonctl[{os.getpid()}]: "
        for line in lines:
            handler.emit(logging.LogRecord("gorgonctl", logging.INFO, "", 0, line, None, None))
        handler.close()
