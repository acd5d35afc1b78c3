"""One host: its power, its cable, its processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from gorgond.chaos.errors import Aborted, Refused
from gorgond.chaos.hosts.clock import Clock
from gorgond.chaos.hosts.files import ROOT, Fitting
from gorgond.chaos.hosts.network import SWITCH, ip
from gorgond.commands.control import ask
from gorgond.errors import GorgonError
from gorgond.service.tied import TIED

ENDS = 90.0  # seconds that shutting down may take: as long as all its processes may, one group after another
# The host has its name and its network before anything runs on it.
_BOOT = """\
hostname "$0" && ip link set lo up && echo ready && read -r _ && ip addr add "$1/24" dev eth0 && ip link set eth0 up \
&& shift && exec "$@" </dev/null >&2"""


class Host:
    """A host that is off. `fitting` is what it is fitted with, `clock` its clock if it can be set."""

    def __init__(self, fitting: Fitting, clock: Clock | None = None) -> None:
        self.fitting, self.name, self.address = fitting, fitting.name, fitting.address
        self._clock = clock
        self._process: subprocess.Popen[bytes] | None = None
        self._bad: subprocess.Popen[bytes] | None = None
        self._output = fitting.path / "output"

    def run_code(self, root: Path) -> None:
        """Have the processes that are started from now on run the code of this checkout."""
        fresh = self.fitting.path / "code.new"
        fresh.symlink_to(root)
        fresh.replace(self.fitting.code)

    # ---- power

    @property
    def is_on(self) -> bool:
        return self._process is not None

    def on(self) -> None:
        """Power on: what ran on it is started, on the disk as it was left."""
        machine = [sys.executable, "-m", "gorgond.chaos.hosts.machine", str(self.fitting.written())]
        apart = [*TIED, "unshare", "--net", "--uts", "sh", "-c", _BOOT]
        kept = {name: text for name, text in os.environ.items() if not name.startswith("GORGOND_")}
        with self._output.open("ab") as output:
            process = subprocess.Popen(  # noqa: S603
                [*apart, self.name, self.address, *machine],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=output,
                env=kept,
                cwd=ROOT,
                start_new_session=True,
            )
        self._process = process
        if process.stdin is None or process.stdout is None or process.stdout.readline() != b"ready\n":
            raise Aborted(f"{self.name} cannot be powered on; {self._wrote()}")
        mac = f"02:00:00:00:00:{self.fitting.number:02}"
        ip(f"link add {self.name} type veth peer name eth0 address {mac} netns {process.pid}")
        ip(f"link set {self.name} up")
        self.plug()
        process.stdin.write(b"\n")
        process.stdin.close()
        process.stdout.close()

    def off(self) -> None:
        """The power fails: everything on it ends at once, and nobody is told."""
        if self._process is None:
            return
        self._unplug()
        network = _network_of(self._process.pid)
        self._process.kill()  # the kernel kills with it what it has started
        self._process.wait(ENDS)
        self._process = None
        if network not in (None, _network_of(threading.get_native_id())):
            self._end_all(network)  # who has just been started, and what others have started

    def shut_down(self) -> None:
        """End everything on it in good order."""
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            self._process.wait(ENDS)
            self._process = None
            self._unplug()

    def _end_all(self, network: Path | None) -> None:
        """Kill what is in this network until there is nothing any more. Raises Aborted when something stays."""
        end = time.monotonic() + ENDS
        while left := [pid for pid in psutil.pids() if _network_of(pid) == network]:
            if time.monotonic() > end:
                raise Aborted(f"{self.name} does not go off: {left}")
            for pid in left:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    def _unplug(self) -> None:
        self._mend()
        with suppress(Aborted):  # the kernel may have done it, as nothing runs in that network any more
            ip(f"link del {self.name}")

    # ---- its cable

    def pull(self) -> None:
        """Nothing comes and goes any more."""
        self._mend()
        ip(f"link set {self.name} nomaster")

    def plug(self) -> None:
        """Everything comes and goes, as it should."""
        self._mend()
        ip(f"link set {self.name} master {SWITCH}")

    def worsen(self, delay: float = 0.0, loss: float = 0.0, direction: str = "") -> None:
        """A bad cable from now on: see cable.py."""
        self._mend()
        near, far, side = f"{self.name}-near", f"{self.name}-far", f"{self.name}-side"
        command = [sys.executable, "-m", "gorgond.chaos.hosts.cable", near, far, str(delay), str(loss), direction]
        self._bad = subprocess.Popen(  # noqa: S603
            [*TIED, *command],
            stdout=subprocess.PIPE,
            cwd=ROOT,
        )
        if self._bad.stdout is None or self._bad.stdout.readline() != b"ready\n":
            raise Aborted("a bad cable needs /dev/net/tun")
        ip(f"link add {side} type bridge")
        for interface, bridge in ((near, side), (far, SWITCH), (self.name, side)):
            ip(f"link set {interface} master {bridge}")
        for interface in (near, far, side):
            ip(f"link set {interface} up")

    def _mend(self) -> None:
        if self._bad is not None:
            self._bad.kill()
            self._bad.communicate()
            self._bad = None
            ip(f"link del {self.name}-side")

    # ---- its clock

    def set_clock(self, seconds: float) -> None:
        """Be so many seconds ahead from now on. Raises Refused."""
        if self._clock is None:
            raise Refused(f"the clock of {self.name} cannot be set")
        self._clock.set(seconds)

    # ---- its processes

    def processes(self) -> list[dict[str, Any]]:
        """As its control socket lists them. Raises GorgonError while nobody can tell."""
        found: list[dict[str, Any]] = ask(self.fitting.control, "list")["processes"] if self.is_on else []
        return found

    def ask(self, do: str, name: str) -> None:
        """Have one of them stopped, started or restarted."""
        ask(self.fitting.control, do, name=name)

    def signal(self, name: str, number: signal.Signals) -> None:
        """Send one of them a signal; nothing happens when it does not run."""
        if pid := self.pid(name):
            os.kill(pid, number)

    def pid(self, name: str) -> int:
        """The process id of one of them, 0 when it does not run."""
        return next((int(each["pid"]) for each in self.processes() if each["name"] == name), 0)

    def is_up(self) -> bool:
        """Whether all that is to run on it is ready."""
        try:
            found = self.processes()
        except GorgonError:
            return False
        return bool(found) and all(each["state"] == "up" for each in found)

    def _wrote(self) -> str:
        return f"it wrote: {self._output.read_text(errors='replace')[-2000:]}"

    def until_up(self, seconds: float) -> None:
        """Wait for that. Raises Aborted when it does not come."""
        end = time.monotonic() + seconds
        while not self.is_up():
            if time.monotonic() > end or (self._process is not None and self._process.poll() is not None):
                raise Aborted(f"{self.name} is not up; {self._wrote()}")
            time.sleep(0.1)


def _network_of(pid: int) -> Path | None:
    """The network in which a process is; None when there is no such process any more."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/ns/net").readlink()
    return None
