"""HAProxy before the web servers of all hosts, as examples/haproxy has it."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
import time
from pathlib import Path

from gorgond.chaos.errors import Aborted, Refused
from gorgond.chaos.hosts.files import ROOT
from gorgond.chaos.hosts.network import OURS
from gorgond.service.tied import TIED

EXAMPLE = ROOT / "examples/haproxy/haproxy.cfg"
URL = f"http://{OURS}"
START = 20.0  # seconds until it listens


class Balancer:
    """Where clients go; its files are in `directory`. `check` is another question to web servers than the example's,
    for versions that do not know that one. Raises Refused without haproxy."""

    def __init__(self, directory: Path, check: str = "") -> None:
        found = shutil.which("haproxy")
        if found is None or not EXAMPLE.exists():
            raise Refused("haproxy is not installed, or this is no checkout")
        self._haproxy, self._log = found, directory / "haproxy.log"
        self._configuration = directory / "haproxy.cfg"
        text = EXAMPLE.read_text()
        self._configuration.write_text(re.sub("(?m)^ *http-check .*", "", text) + check if check else text)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Return when it takes connections. Raises Aborted when it does not."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603
                [*TIED, self._haproxy, "-db", "-f", str(self._configuration)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        end = time.monotonic() + START
        while not self._listens():
            if self._process.poll() is not None or time.monotonic() > end:
                raise Aborted(f"haproxy does not listen; it wrote: {self._log.read_text()[-2000:]}")
            time.sleep(0.05)

    def _listens(self) -> bool:
        try:
            socket.create_connection((OURS, 80), 1).close()
        except OSError:
            return False
        return True

    def stop(self) -> None:
        """End it."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
