"""Starting programs, reading what they use, ending them."""

from __future__ import annotations

import itertools
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

ROOT = Path(__file__).parents[2]
PATIENCE = 30.0  # seconds for a program to be ready, or to end
MB = 1_000_000


class BenchError(Exception):
    """Nothing can be measured like this; the text says why."""


class Process:
    """A running program. `name` is what it is in the figures: web, store, calls, mongod, …"""

    def __init__(self, name: str, popen: subprocess.Popen[bytes], log: Path, keeps: bool) -> None:
        self.name = name
        self.popen = popen
        self.log = log
        self._keeps = keeps
        self._cpu = 0.0
        self._figures = psutil.Process(popen.pid)

    def cpu(self) -> float:
        """Seconds of CPU used so far, by all its threads."""
        with suppress(psutil.NoSuchProcess):  # then what it had used when we looked last
            times = self._figures.cpu_times()
            self._cpu = times.user + times.system
        return self._cpu

    def rss(self) -> float:
        """Resident memory now, in MB."""
        return self._figures.memory_info().rss / MB

    def peak(self) -> float:
        """The most it ever was, in MB; 0 when the program has ended."""
        with suppress(OSError):
            for line in Path(f"/proc/{self.popen.pid}/status").read_text().splitlines():
                if line.startswith("VmHWM:"):
                    return int(line.split()[1]) * 1024 / MB
        return 0.0

    def failed(self) -> BenchError:
        """The error to raise when it did not do what it should."""
        said = self.log.with_suffix(".out").read_text(errors="replace") + self.log.read_text(errors="replace")
        tail = "\n".join(said.splitlines()[-20:])
        return BenchError(f"{self.name} failed (exit code {self.popen.poll()}):\n{tail}")

    def output(self, timeout: float) -> str:
        """Wait for its good end; what it printed."""
        try:
            code = self.popen.wait(timeout)
        except subprocess.TimeoutExpired:
            raise self.failed() from None
        if code != 0:
            raise self.failed()
        return self.log.with_suffix(".out").read_text()

    def end(self) -> None:
        """End it and its children: at once, or in good order where its files are to be kept."""
        if self._keeps and self.popen.poll() is None:
            self.popen.terminate()
            with suppress(subprocess.TimeoutExpired):
                self.popen.wait(2 * PATIENCE)
        with suppress(ProcessLookupError):
            os.killpg(self.popen.pid, signal.SIGKILL)
        self.popen.wait(PATIENCE)


class Crew:
    """Programs that are started one by one and ended together. `peaks` remembers the most memory by their names."""

    def __init__(self, directory: Path, peaks: dict[str, float]) -> None:
        self.directory = directory
        self.peaks = peaks
        self.processes: list[Process] = []
        self._numbers = itertools.count()
        directory.mkdir()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for process in reversed(self.processes):
            self.peaks[process.name] = max(self.peaks.get(process.name, 0.0), process.peak())
            process.end()

    def start(
        self,
        name: str,
        command: Sequence[str],
        settings: dict[str, str] | None = None,
        ready: Callable[[], bool] | None = None,
        keeps: bool = False,
    ) -> Process:
        """Start a program and wait until `ready`, or until it says so itself in the way of sd_notify(3)."""
        stem = self.directory / f"{next(self._numbers)}-{name}"
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ear, stem.with_suffix(".log").open("wb") as log:
            ear.bind(str(stem.with_suffix(".notify")))
            ear.setblocking(False)
            with stem.with_suffix(".out").open("wb") as out:
                popen = subprocess.Popen(
                    command,
                    cwd=ROOT,
                    env=environ() | {"NOTIFY_SOCKET": ear.getsockname()} | (settings or {}),
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=log,
                    start_new_session=True,
                )
            process = Process(name, popen, stem.with_suffix(".log"), keeps)
            self.processes.append(process)
            end = time.monotonic() + PATIENCE
            while True:
                over = popen.poll() is not None or time.monotonic() > end
                if ready() if ready else _is_announced(ear):
                    break
                if over:
                    raise process.failed()
                time.sleep(0.01)
        return process

    def python(self, name: str, module: str, *arguments: str, settings: dict[str, str] | None = None) -> Process:
        """Start a Python program that says when it is ready; `settings` are added to its environment."""
        return self.start(name, [sys.executable, "-m", module, *arguments], settings)

    def signal(self, name: str, number: signal.Signals) -> None:
        """Send all programs of a name a signal."""
        for process in self.processes:
            if process.name == name:
                os.killpg(process.popen.pid, number)

    def kill(self) -> None:
        """SIGKILL to all of them, at the same time."""
        for process in self.processes:
            os.killpg(process.popen.pid, signal.SIGKILL)

    def cpu(self) -> dict[str, float]:
        """Seconds of CPU used so far by each name."""
        used: dict[str, float] = {}
        for process in self.processes:
            used[process.name] = used.get(process.name, 0.0) + process.cpu()
        return used


def environ() -> dict[str, str]:
    """Our environment without a gorgond's settings, and without those of this host: a measurement has its own."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith("GORGOND_")}
    return ours | {"GORGOND_CONFIG": os.devnull}


def _is_announced(ear: socket.socket) -> bool:
    with suppress(BlockingIOError):
        return b"READY=1" in ear.recv(4096).split(b"\n")
    return False
