"""A fabric of the drill's own: `gorgond up` in a temporary directory, with free ports, gone when the drill is over.

The kernel kills it when this process dies, however that happens; the directory is in the undo journal.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from gorgond.chaos.errors import Aborted, Refused
from gorgond.chaos.local import LocalTarget
from gorgond.chaos.mongod import Mongod
from gorgond.chaos.outside import Outside
from gorgond.chaos.routed import RoutedRedis
from gorgond.chaos.undo import UndoLog
from gorgond.errors import GorgonError
from gorgond.service.tied import TIED

ROOT = Path(__file__).parents[2]  # so that what is drilled is the code that drills
START = 60.0  # seconds all may take to be up
STOP = 60.0  # seconds it may take to end


@dataclass(frozen=True, slots=True)
class Cast:
    """The cast of a drill: instances of each role, and flags for `gorgond up`. `tmpfs` puts the durable broker's files
    on a disk of so many megabytes; `mongod` makes one the database; the queues `routed` have a Redis of their own; to
    each server of these kinds that are `outside` a channel sends notifications."""

    web: int = 2
    stores: int = 2
    flags: tuple[str, ...] = ("--no-provider",)
    tmpfs: int = 0
    mongod: bool = False
    outside: tuple[type[Outside], ...] = ()
    routed: tuple[str, ...] = ()


class Stage:
    """`target` is there inside the `with`; `output` is what the processes wrote."""

    target: LocalTarget

    def __init__(self, journal: UndoLog, cast: Cast) -> None:
        self._journal, self._cast = journal, cast
        self._process: subprocess.Popen[bytes] | None = None
        self._cleared = 0
        self.mongod: Mongod | None = None
        self.outside: list[Outside] = []
        self.routed: RoutedRedis | None = None

    def __enter__(self) -> Self:
        # A short path: it has the brokers' sockets in it.
        self.directory = Path(tempfile.mkdtemp(prefix="chaos-", dir="/tmp"))
        self._cleared = self._journal.before("clear", str(self.directory))
        self.output = self.directory / "output"
        try:
            self._start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def _start(self) -> None:
        cast, data = self._cast, self.directory / "data"
        command = [
            sys.executable,
            "-m",
            "gorgond",
            "up",
            "--data",
            str(data),
            "--port",
            "0",
            "--stats-port",
            "0",
            "--notify-port",
            "0",
        ]
        command += ["--web", str(cast.web), "--stores", str(cast.stores), *cast.flags]
        if cast.mongod:
            self.mongod = Mongod(self.directory)
            self.mongod.start()
            command += ["--store", self.mongod.url]
        if cast.outside:
            self.outside += [kind().start() for kind in cast.outside]
            sections = (f"[notify.{e.kind}]\nkind = {e.kind}\nurl = {e.url}\nrate = 6000\n" for e in self.outside)
            conf = self.directory / "gorgond.conf"
            conf.write_text("".join(sections))
            command += ["--config", str(conf)]
        kept = {name: text for name, text in os.environ.items() if not name.startswith("GORGOND_")}
        if cast.routed:
            self.routed = RoutedRedis(self.directory)
            self.routed.start()
            kept["GORGOND_BROKER_ROUTE"] = " ".join(f"{queue}={self.routed.url}" for queue in cast.routed)
        with self.output.open("wb") as output:
            self._process = subprocess.Popen(  # noqa: S603
                [*TIED, *_on_tmpfs(data / "broker", cast.tmpfs), *command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=kept,
                cwd=ROOT,
                start_new_session=True,
            )
        end = time.monotonic() + START
        while not self._up(data):
            if self._process.poll() is not None or time.monotonic() > end:
                raise Aborted(f"gorgond up did not come up; it wrote: {self.output.read_text()[-2000:]}")
            time.sleep(0.1)

    def _up(self, data: Path) -> bool:
        try:
            self.target = LocalTarget(str(data))
            return all(victim.up or victim.state == "done" for victim in self.target.victims())
        except GorgonError:
            return False

    @property
    def pid(self) -> int:
        """The process of `gorgond up`."""
        return self._process.pid if self._process is not None else 0

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            for number in (signal.SIGTERM, signal.SIGINT):  # the second ends it at once: what it has is thrown away
                self._process.send_signal(number)
            try:
                self._process.wait(STOP)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        for server in (self.mongod, self.routed):
            if server is not None:
                server.kill()
        for each in self.outside:
            each.stop()
        subprocess.run(["rm", "-rf", "--", str(self.directory)], check=False)  # noqa: S603, S607
        self._journal.mark_done(self._cleared)


def _on_tmpfs(directory: Path, megabytes: int) -> Sequence[str]:
    """The words before a command by which it sees a small disk there, and nobody else does; the disk ends with the
    command.

    Raises Refused where that is not allowed.
    """
    if not megabytes:
        return ()
    directory.mkdir(parents=True, mode=0o700)
    apart = ["unshare", "--mount", *(() if os.geteuid() == 0 else ("--map-root-user",))]
    mount = f'mount -t tmpfs -o size={megabytes}m tmpfs "$0" && exec "$@"'
    if subprocess.run([*apart, "sh", "-c", "mount -t tmpfs tmpfs /mnt"], capture_output=True, check=False).returncode:  # noqa: S603
        raise Refused("it needs a small disk of its own, and mounting one is not allowed here")
    return [*apart, "sh", "-c", mount, str(directory)]
