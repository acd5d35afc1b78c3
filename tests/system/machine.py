"""A Debian of its own: booted with its systemd in a container, on an overlay, so that each starts clean and at once.

    with Machine("trixie", directory) as machine:
        machine.run("systemctl start gorgon-store@3")      what it prints; fails the test when the command fails
        machine.reboot()

Its network is its own and reaches nothing, so all machines may use the same ports. What is installed on it is in its
apt cache already. The roots they are made from are kept in ${XDG_CACHE_HOME:-~/.cache}/gorgond for a week.

MACHINES=bookworm tests on that Debian alone.
KEEP_MACHINES=1 leaves a machine running after its tests and says how to get a shell in it.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Self

from tests.programs import ROOT
from tests.waiting import HANGS, eventually

SUITES = os.environ.get("MACHINES", "bookworm trixie").split()
WEEK = 7 * 86400  # seconds
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "gorgond")
BASE = "systemd,systemd-sysv,dbus"
SOURCES = """\
Types: deb
URIs: file:/srv/repository
Suites: {suite}
Components: main
Signed-By: /srv/repository/gorgond.gpg
"""


def _downloads() -> str:
    """The commands that fetch what will be installed: for the package, and for its autopkgtest."""
    binary = (ROOT / "debian/control").read_text().split("\nPackage: ")[1]
    fields = re.findall(r"^(?:Depends|Recommends):(.*(?:\n .*)*)", binary, re.MULTILINE)
    needed = re.findall(r"[a-z][a-z0-9+.-]+", re.sub(r"\(.*?\)|\$\{.*?\}", "", " ".join(fields)))
    there = f'chroot "$1" apt-cache pkgnames | grep -xE "{"|".join(sorted(needed))}"'  # Debian 12 has no orjson
    fetch = 'chroot "$1" apt-get install -o APT::Install-Recommends=1 -y -qq --download-only'
    return f"{fetch} $({there}) && {fetch} autopkgtest dpkg-dev"


def root(suite: str) -> Path:
    """The directory with a minimal Debian, made if it is not there."""
    downloads = _downloads()
    key = hashlib.sha256(f"{time.strftime('%G%V')}{downloads}{BASE}".encode()).hexdigest()[:12]
    made = CACHE / f"machine-{suite}-{key}"
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / f"machine-{suite}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.exists():
            for old in CACHE.glob(f"machine-{suite}-*"):  # not those that another checkout may use now
                if time.time() - old.stat().st_mtime > WEEK or old.name.endswith("-new"):
                    shutil.rmtree(old)
            fresh = CACHE / f"machine-{suite}-new"
            options = ["--quiet", "--variant=minbase", f"--include={BASE}", "--skip=cleanup/apt"]
            subprocess.run(
                ["mmdebstrap", *options, f"--customize-hook={downloads}", suite, fresh],
                check=True,
                capture_output=True,
                text=True,
            )
            fresh.rename(made)
    return made


class Machine:
    """One container. `root` is its root directory as we see it, `run` runs commands in it."""

    def __init__(self, suite: str, directory: Path) -> None:
        self.suite = suite
        self.root = directory / "root"
        self.log = directory / "console"
        self._directory = directory
        self._nspawn: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        upper, work = self._directory / "upper", self._directory / "work"
        for each in (upper, work, self.root):
            each.mkdir(parents=True)
        layers = f"lowerdir={root(self.suite)},upperdir={upper},workdir={work}"
        subprocess.run(["mount", "-t", "overlay", "overlay", "-o", layers, self.root], check=True)
        try:
            self._boot()
        except BaseException:
            self._clean()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if os.environ.get("KEEP_MACHINES"):
            end = f"kill -KILL {self.leader}; umount {self.root}"
            print(f"\nkept: nsenter -t {self.leader} -a; to end it: {end}", file=sys.stderr)
            return
        self._clean()

    @property
    def leader(self) -> int:
        """The process that is systemd in there."""
        assert self._nspawn is not None
        children = Path(f"/proc/{self._nspawn.pid}/task/{self._nspawn.pid}/children").read_text().split()
        return int(children[0]) if children else 0

    def _boot(self) -> None:
        options = ["--register=no", "--keep-unit", "--boot", "--private-network", "--link-journal=no", "--console=pipe"]
        with self.log.open("ab") as log:
            self._nspawn = subprocess.Popen(
                ["systemd-nspawn", f"--directory={self.root}", f"--machine=gorgond-{os.getpid()}-{id(self)}", *options],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1"},
                start_new_session=True,
            )
        eventually(lambda: self.leader)
        eventually(lambda: self.try_run("systemctl is-system-running") in ("running", "degraded"))

    def reboot(self) -> None:
        """Shut the machine down in good order, start it again, and return when it is up."""
        assert self._nspawn is not None
        self.try_run("systemctl poweroff")
        self._nspawn.wait(timeout=60)
        self._boot()

    def _clean(self) -> None:
        if self._nspawn is not None:
            with suppress(ProcessLookupError):
                if leader := self.leader:
                    os.kill(leader, signal.SIGKILL)
            try:
                self._nspawn.wait(timeout=60)
            except subprocess.TimeoutExpired:
                self._nspawn.kill()
                self._nspawn.wait()
        subprocess.run(["umount", "--lazy", self.root], check=True)
        shutil.rmtree(self._directory, ignore_errors=True)

    # ---- commands

    def process(self, command: str, timeout: float = HANGS) -> subprocess.CompletedProcess[str]:
        """Run a shell command in the machine."""
        environ = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive"}
        inside = ["nsenter", "-t", str(self.leader), "-m", "-u", "-i", "-n", "-p", "-r", "-w", "bash", "-c", command]
        return subprocess.run(
            inside, env=environ, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout, check=False
        )

    def run(self, command: str, timeout: float = HANGS) -> str:
        """What a command prints; one that fails fails the test."""
        done = self.process(command, timeout)
        assert done.returncode == 0, f"{command}: exit code {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout.strip()

    def try_run(self, command: str) -> str:
        """What a command prints, whether it fails or not."""
        return self.process(command).stdout.strip()

    # ---- what is often asked

    def add_repository(self, repository: Path) -> None:
        """Make apt know the packages of a repository; again to hear of newer ones."""
        shutil.copytree(repository, self.root / "srv/repository", dirs_exist_ok=True)
        (self.root / "etc/apt/sources.list.d/gorgond.sources").write_text(SOURCES.format(suite=self.suite))
        ours = "-o Dir::Etc::sourcelist=sources.list.d/gorgond.sources -o Dir::Etc::sourceparts=-"
        self.run(f"apt-get -qq update {ours} -o APT::Get::List-Cleanup=0")

    def show(self, unit: str, name: str) -> str:
        """A property of a unit."""
        return self.run(f"systemctl show --property={name} --value '{unit}'")

    def units(self, pattern: str = "gorgon-*@*.service") -> list[str]:
        """The units that are active."""
        lines = self.run(f"systemctl list-units --state=active --plain --no-legend '{pattern}'").splitlines()
        return sorted(line.split()[0] for line in lines)

    def journal(self, unit: str = "gorgon*") -> str:
        """What the units have said."""
        return self.run(f"journalctl --no-pager --output=cat --unit='{unit}'")

    def processes(self) -> list[str]:
        """The processes of the roles, whose group is gorgond."""
        return self.run("find /proc -maxdepth 1 -group gorgond").splitlines()

    def redis(self, *arguments: str) -> str:
        """What Redis answers the operator."""
        password = "$(cat /etc/credstore/gorgond.broker.password.operator)"
        command = f"redis-cli -s /run/gorgond/broker.sock --no-auth-warning --user operator --pass {password}"
        return self.run(f"{command} {' '.join(arguments)}")
