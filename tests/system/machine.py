"""A Debian of its own: booted with its systemd in a container, on an overlay, so that each starts clean and at once.

    with Machine("trixie", directory) as machine:
        machine.run("systemctl start gorgon-store@3")      what it prints; fails the test when the command fails
        machine.reboot()

Its network and its control group are its own, so all machines may run at the same time and use the same ports; what it
can reach is itself. Its apt cache has all packages that tests install, and those that gorgond needs are installed,
unless the machine is to be `bare`. The roots they are made from are kept in ${XDG_CACHE_HOME:-~/.cache}/gorgond for a
week. dpkg fsyncs nothing there.

`python -m tests.system.machine` removes what is left of the machines of a process that was killed.

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
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Self, TextIO

from tests.programs import ROOT
from tests.waiting import HANGS, eventually

SUITES = os.environ.get("MACHINES", "bookworm trixie").split()
WEEK = 7 * 86400  # seconds
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "gorgond")
OPTIONS = "--variant=minbase --include=systemd,systemd-sysv,dbus --skip=cleanup/apt --dpkgopt=force-unsafe-io"
NEEDED = """
set -euo pipefail
mount -t overlay overlay -o "lowerdir=$1,upperdir=$2/upper,workdir=$2/work" "$2/root"
mount -t proc proc "$2/root/proc"
chroot "$2/root" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq $3
"""
PREFIX = "gorgond-"  # of the names of machines, before the process that made one
SOURCES = """\
Types: deb
URIs: file:/srv/repository
Suites: {suite}
Components: main
Signed-By: /srv/repository/gorgond.gpg
"""


def _needed() -> str:
    """What the package needs or recommends, as an extended regular expression."""
    binary = (ROOT / "debian/control").read_text().split("\nPackage: ")[1]
    fields = re.findall(r"^(?:Depends|Recommends):(.*(?:\n .*)*)", binary, re.MULTILINE)
    return "|".join(sorted(re.findall(r"[a-z][a-z0-9+.-]+", re.sub(r"\(.*?\)|\$\{.*?\}", "", " ".join(fields)))))


def _downloads() -> str:
    """The commands that fetch what will be installed: for the package, and for its autopkgtest. They write down what
    there is of what it needs: Debian 12 has no orjson. The version that is upgraded from needs redis-server, too."""
    there = f'chroot "$1" apt-cache pkgnames | grep -xE "{_needed()}" >"$1/needed"'
    fetch = 'chroot "$1" apt-get install -o APT::Install-Recommends=1 -y -qq --download-only'
    return f'{there} && {fetch} $(cat "$1/needed") && {fetch} autopkgtest dpkg-dev redis-server'


def root(suite: str) -> Path:
    """The directory with a minimal Debian, made if it is not there."""
    downloads = _downloads()

    def debootstrap(fresh: Path) -> None:
        _run("mmdebstrap", "--quiet", *OPTIONS.split(), f"--customize-hook={downloads}", suite, fresh)

    return kept(f"machine-{suite}", downloads + OPTIONS, debootstrap)


def layers(suite: str) -> str:
    """The directories of a Debian on which all is installed that the package needs, the upper one first."""
    base = root(suite)

    def install(fresh: Path) -> None:
        for name in ("upper", "work", "root"):
            (fresh / name).mkdir(parents=True)
        needed = (base / "needed").read_text().replace("\n", " ")
        _run("unshare", "--mount", "--propagation", "private", "bash", "-c", NEEDED, "needed", base, fresh, needed)

    return f"{kept(f'needed-{suite}', base.name + NEEDED, install) / 'upper'}:{base}"


def kept(name: str, of: str, make: Callable[[Path], None]) -> Path:
    """A directory of the cache, which `make` makes if there is none of this week and of what it is made `of`."""
    key = hashlib.sha256(f"{time.strftime('%G%V')}{of}".encode()).hexdigest()[:12]
    made = CACHE / f"{name}-{key}"
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / f"{name}.lock").open("w") as lock:
        eventually(lambda: _locked(lock), HANGS)  # who makes it meanwhile may hang
        if not made.exists():
            for old in CACHE.glob(f"{name}-*"):  # not those that another checkout may use now
                if time.time() - old.stat().st_mtime > WEEK or old.name.endswith("-new"):
                    shutil.rmtree(old)
            fresh = CACHE / f"{name}-new"
            make(fresh)
            fresh.rename(made)
    return made


def _locked(file: TextIO) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _unified() -> Path:
    """Where this host has its control groups of version 2."""
    mounts = (line.split() for line in Path("/proc/mounts").read_text().splitlines())
    return next(Path(where) for _, where, kind, *_ in mounts if kind == "cgroup2")


def _run(*command: str | Path) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=HANGS)
    assert done.returncode == 0, f"{command}: {done.stdout[-3000:]}{done.stderr[-3000:]}"


class Machine:
    """One container. `root` is its root directory as we see it, `run` runs commands in it. A `bare` one has nothing
    of what the package needs. `plug` gives its network, which ends when it is off, a cable to others."""

    def __init__(
        self, suite: str, directory: Path, *, bare: bool = False, plug: Callable[[Machine], None] = lambda _: None
    ) -> None:
        self.suite = suite
        self._bare, self._plug = bare, plug
        self.root = directory / "root"
        self.log = directory / "console"
        self._directory = directory
        self._name = f"{PREFIX}{os.getpid()}-{id(self)}"
        self._group = _unified() / self._name
        self._nspawn: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        upper, work = self._directory / "upper", self._directory / "work"
        for each in (upper, work, self.root):
            each.mkdir(parents=True)
        lower = root(self.suite) if self._bare else layers(self.suite)
        stacked = f"lowerdir={lower},upperdir={upper},workdir={work}"
        _run("mount", "-t", "overlay", self._name, "-o", stacked, self.root)
        try:
            self.boot()
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

    def boot(self) -> None:
        """Start the machine that is off, and return when it is up."""
        # In a group of its own: two systemds in one would remove each other's units.
        enter = ["sh", "-c", 'echo $$ >"$0/cgroup.procs" && exec "$@"', str(self._group)]
        self._group.mkdir(exist_ok=True)
        options = ["--register=no", "--keep-unit", "--boot", "--private-network", "--link-journal=no", "--console=pipe"]
        with self.log.open("ab") as log:
            self._nspawn = subprocess.Popen(
                [
                    *enter,
                    "systemd-nspawn",
                    f"--directory={self.root}",
                    f"--machine={self._name}",
                    *options,
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1"},
                start_new_session=True,
            )
        eventually(lambda: self.leader)
        eventually(lambda: self.try_run("cat /proc/1/comm") == "systemd")
        self._plug(self)
        eventually(lambda: self.try_run("systemctl is-system-running") in ("running", "degraded"))

    def reboot(self) -> None:
        """Shut the machine down in good order, start it again, and return when it is up."""
        assert self._nspawn is not None
        self.try_run("systemctl poweroff")
        self._nspawn.wait(timeout=60)
        self.boot()

    def kill(self) -> None:
        """Power off: everything in it ends at once."""
        if self._nspawn is not None:
            with suppress(ProcessLookupError, FileNotFoundError):  # it may be off
                if leader := self.leader:
                    os.kill(leader, signal.SIGKILL)
            try:
                self._nspawn.wait(timeout=60)
            except subprocess.TimeoutExpired:
                self._nspawn.kill()
                self._nspawn.wait(timeout=60)
        _remove_group(self._group)

    def _clean(self) -> None:
        self.kill()
        _remove_root(self.root)

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


# ---- what is left of one


def _remove_group(group: Path) -> None:
    """End what is in a machine's control group, and remove that."""
    if group.exists():
        groups = [group, *(path for path in group.rglob("*") if path.is_dir())]
        (group / "cgroup.kill").write_text("1")
        eventually(lambda: "populated 0" in (group / "cgroup.events").read_text())
        for each in reversed(groups):
            each.rmdir()


def _remove_root(root: Path) -> None:
    """Unmount what a machine had for its root, and remove the layer that it wrote."""
    _run("umount", "--lazy", root)
    shutil.rmtree(root.parent, ignore_errors=True)


def sweep() -> None:
    """Remove what is left of machines whose process is gone."""

    def is_gone(name: str) -> bool:
        return name.startswith(PREFIX) and not Path("/proc", name.removeprefix(PREFIX).partition("-")[0]).exists()

    for group in filter(lambda path: is_gone(path.name), _unified().glob(f"{PREFIX}*")):
        _remove_group(group)
    for name, root, *_ in map(str.split, Path("/proc/mounts").read_text().splitlines()):
        if is_gone(name):
            _remove_root(Path(root))


if __name__ == "__main__":
    sweep()
