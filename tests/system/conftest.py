"""The package, its repository, and machines on which it is installed; both are made once a run.

suite        "bookworm", "trixie": each test of this folder runs for both
packages     the repository with the package, and with one of a higher version
fabric       a machine of the suite with the package installed and running; shared, so leave it as it was
traffic      clients of its web servers while something happens
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.programs import ROOT
from tests.system.machine import SUITES, Machine, root
from tests.waiting import eventually

TOOLS = ("mmdebstrap", "systemd-nspawn", "apt-ftparchive", "gpg", "lintian", "piuparts")
NEXT = "0.9.0"  # the version of an upgrade

Build = Callable[[str, Path], Path]


@pytest.fixture(scope="session", params=SUITES)
def suite(request: pytest.FixtureRequest) -> str:
    missing = [tool for tool in TOOLS if shutil.which(tool) is None] + ["root"] * (os.geteuid() != 0)
    if missing and os.environ.get("CI") == "true":
        pytest.fail(f"missing: {' '.join(missing)}")
    elif missing:
        pytest.skip(f"missing: {' '.join(missing)}")
    return str(request.param)


@dataclass
class Packages:
    """What was built: repositories with this version alone and with the next one beside it."""

    now: Path
    later: Path
    files: dict[str, Path] = field(default_factory=dict)


def _sources(directory: Path, version: str) -> Path:
    """A copy of the sources as they stand, with this version."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    for name in filter(None, listed.stdout.decode().split("\0")):
        if (ROOT / name).exists():
            (directory / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, directory / name, follow_symlinks=False)
    changelog = directory / "debian/changelog"
    changelog.write_text(changelog.read_text().replace("(0.1.0)", f"({version})", 1))
    init = directory / "gorgond/__init__.py"
    init.write_text(init.read_text().replace("0.1.0", version))
    return directory


@pytest.fixture(scope="session")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Packages:
    base = tmp_path_factory.mktemp("packages")
    environ = {**os.environ, "GNUPGHOME": str(base / "gnupg")}
    (base / "gnupg").mkdir(mode=0o700)
    trees = {"now": ROOT, "later": _sources(base / "sources", NEXT)}

    def build(when: str, suite: str) -> None:
        tool = trees[when] / "tools/build-deb"
        _run([tool, "--output", base / when, "--suite", suite], environ)

    with ThreadPoolExecutor(2) as pool:
        # The roots first, each once; what is built in them is quick.
        list(pool.map(root, SUITES))
        for when in trees:
            list(pool.map(build, [when] * len(SUITES), SUITES))
    found = Packages(base / "repository", base / "repository-later")
    now = sorted((base / "now").glob("*.deb"))
    later = sorted((base / "later").glob("*.deb"))
    _run([ROOT / "tools/build-repo", "--output", found.now, *now], environ)
    _run([ROOT / "tools/build-repo", "--output", found.later, *now, *later], environ)
    found.files = dict(zip(SUITES, now, strict=True))
    subprocess.run(["gpgconf", "--kill", "all"], env=environ, check=False)
    return found


def _run(command: list[Any], environ: dict[str, str]) -> None:
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}: {done.stdout[-3000:]}{done.stderr[-3000:]}"


@pytest.fixture
def machine(suite: str, packages: Packages, tmp_path: Path) -> Iterator[Machine]:
    """A machine on which apt knows the package, and nothing is installed."""
    with Machine(suite, tmp_path / "machine") as machine:
        machine.add_repository(packages.now)
        yield machine


@pytest.fixture(scope="session")
def fabric(suite: str, packages: Packages, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    with Machine(suite, tmp_path_factory.mktemp("fabric")) as machine:
        machine.add_repository(packages.now)
        machine.run("apt-get install -y -qq gorgond")
        machine.run("gorgonctl scale web 2")
        eventually(lambda: get(machine, "/readyz") is not None, timeout=30)
        yield machine


# ---- asking it


def get(machine: Machine, path: str) -> Any:
    """The JSON of an answer, or None when there is none."""
    done = machine.process(f"python3 -c '{_FETCH}' http://127.0.0.1:3000{path}")
    return json.loads(done.stdout) if done.returncode == 0 else None


def post(machine: Machine, path: str, document: dict[str, Any]) -> Any:
    """The same for a POST."""
    done = machine.process(f"python3 -c '{_FETCH}' http://127.0.0.1:3000{path} '{json.dumps(document)}'")
    return json.loads(done.stdout) if done.returncode == 0 else None


_FETCH = (
    "import sys, urllib.request as r; "
    "d = sys.argv[2].encode() if len(sys.argv) > 2 else None; "
    'print(r.urlopen(r.Request(sys.argv[1], d, {"Content-Type": "application/json"}), timeout=20).read().decode())'
)


@dataclass
class Outcome:
    """What became of the traffic; filled in at its end."""

    requests: int = 0
    longest: float = 0.0
    failures: list[str] = field(default_factory=list)
    stored: list[str] = field(default_factory=list)


_uids = iter(range(1000, 100_000))


@contextmanager
def traffic(machine: Machine, kept: int = 6, new: int = 3) -> Iterator[Outcome]:
    """Clients that ask the machine's web servers meanwhile; at the end nothing has failed and no note is lost."""
    outcome, uid = Outcome(), next(_uids)
    inside = ["nsenter", "-t", str(machine.leader), "-n", sys.executable, "-m", "tests.system.traffic"]
    process = subprocess.Popen(
        [*inside, "http://127.0.0.1:3000", str(uid), str(kept), str(new)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        eventually(lambda: len((get(machine, f"/info/{uid}") or {"items": []})["items"]) > 0, timeout=30)
        yield outcome
        found = json.loads(process.communicate("", timeout=60)[0])
    finally:
        process.kill()
        process.communicate()
    for name, value in found.items():
        setattr(outcome, name, value)
    assert outcome.failures == []
    kept_notes: set[str] = set()
    while len(kept_notes) % 1000 == 0:
        page = get(machine, f"/info/{uid}/1000/{len(kept_notes)}")["items"]
        if not page:
            break
        kept_notes |= {note["id"] for note in page}
    assert set(outcome.stored) - kept_notes == set()
