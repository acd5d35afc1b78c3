"""The watch over a broker that hangs, which it cannot always end."""

from __future__ import annotations

import signal
import subprocess

from gorgond.service.watch import kill


def test_a_process_that_hangs_is_killed() -> None:
    process = subprocess.Popen(["sleep", "600"])
    assert kill(process.pid) == f"it is killed, process {process.pid}"
    assert process.wait() == -signal.SIGKILL
    assert kill(process.pid) == f"it cannot be killed: process {process.pid}: No such process"


def test_a_process_of_another_container_is_not_taken_for_ourselves() -> None:
    assert kill(0) == "it runs in another container, and can be ended only there"
