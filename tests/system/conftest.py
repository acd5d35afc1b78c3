"""The package, its repository, and machines on which it is installed; made once a run for each suite.

suite        "bookworm", "trixie": each test of this folder runs for both; `-k trixie` for one
dear(N)      a mark: what takes long and hardly depends on the Debian runs on one of them, on the other one the next day
             (those with 0 and 1 on different ones), and where one is asked for alone, on that
packages     the package, a repository with it, and one with a higher version besides
fabric       a machine of the suite with the package installed and running; shared, so leave it as it was
traffic      clients of its web servers while something happens
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from gorgond import __version__
from tests.programs import ROOT
from tests.system import earlier
from tests.system.machine import SUITES, Machine
from tests.waiting import HANGS, eventually

TOOLS = ("mmdebstrap", "systemd-nspawn", "apt-ftparchive", "gpg", "lintian", "piuparts")
NEXT = "0.9.0"  # the version of an upgrade
DAY = int(os.environ.setdefault("DAY_OF_TESTS", str(int(time.time() // 86400))))  # that of who starts the processes


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "dear(turn): it runs on one Debian a day")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    left = [item for item in items if isinstance(item, pytest.Function) and not _has_its_turn(item)]
    config.hook.pytest_deselected(items=left)
    items[:] = [item for item in items if item not in left]


def _has_its_turn(test: pytest.Function) -> bool:
    mark = test.get_closest_marker("dear")
    return mark is None or test.callspec.params["suite"] == SUITES[(DAY + mark.args[0]) % len(SUITES)]


@pytest.fixture(scope="session", params=[pytest.param(name, marks=pytest.mark.xdist_group(name)) for name in SUITES])
def suite(request: pytest.FixtureRequest) -> str:
    missing = [tool for tool in TOOLS if shutil.which(tool) is None] + ["root"] * (os.geteuid() != 0)
    if missing and os.environ.get("CI") == "true":
        pytest.fail(f"missing: {' '.join(missing)}")
    elif missing:
        pytest.skip(f"missing: {' '.join(missing)}")
    return str(request.param)


@dataclass(frozen=True)
class Packages:
    """What was built: the package, and repositories with an earlier one alone, with this one alone and with the next
    one beside it."""

    file: Path
    earlier: Path
    now: Path
    later: Path


@pytest.fixture(scope="session")
def packages(suite: str, tmp_path_factory: pytest.TempPathFactory) -> Packages:
    base = tmp_path_factory.mktemp("packages")
    environ = {**os.environ, "GNUPGHOME": str(base / "gnupg")}
    (base / "gnupg").mkdir(mode=0o700)
    with ThreadPoolExecutor(1) as thread:  # of the two builds one computes while the other one waits
        before = thread.submit(earlier.build, suite)
        _run([ROOT / "tools/build-deb", "--output", base, "--suite", suite], environ)
    (file,) = base.glob("*.deb")
    made = Packages(file, base / "repository-earlier", base / "repository", base / "repository-later")
    _run([ROOT / "tools/build-repo", "--output", made.earlier, before.result()], environ)
    _run([ROOT / "tools/build-repo", "--output", made.now, file], environ)
    _run([ROOT / "tools/build-repo", "--output", made.later, file, _next(file, base / "next")], environ)
    subprocess.run(["gpgconf", "--kill", "all"], env=environ, check=False, timeout=HANGS)
    return made


def _next(package: Path, tree: Path) -> Path:
    """The same package with the version NEXT and another gorgond.conf, as if there had been a release."""
    _run(["dpkg-deb", "--raw-extract", package, tree], os.environ)
    for name in ("DEBIAN/control", "usr/lib/python3/dist-packages/gorgond/__init__.py"):
        text = (tree / name).read_text()
        (tree / name).write_text(text.replace(__version__, NEXT))
    with (tree / "etc/gorgond/gorgond.conf").open("a") as file:
        file.write(f"# As of {NEXT}.\n")
    made = package.with_name(package.name.replace(__version__, NEXT))
    _run(["dpkg-deb", "--root-owner-group", "-Zgzip", "--build", tree, made], os.environ)
    return made


def _run(command: list[Any], environ: Mapping[str, str]) -> None:
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False, timeout=HANGS)
    assert done.returncode == 0, f"{command}: {done.stdout[-3000:]}{done.stderr[-3000:]}"


@pytest.fixture
def bare(suite: str, packages: Packages, tmp_path: Path) -> Iterator[Machine]:
    """A machine on which apt knows the package, and nothing is installed."""
    with Machine(suite, tmp_path / "machine", bare=True) as machine:
        machine.add_repository(packages.now)
        yield machine


@pytest.fixture
def machine(suite: str, packages: Packages, tmp_path: Path) -> Iterator[Machine]:
    """The same with all that the package needs."""
    with Machine(suite, tmp_path / "machine") as machine:
        machine.add_repository(packages.now)
        yield machine


@pytest.fixture(scope="session")
def fabric(suite: str, packages: Packages, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    with Machine(suite, tmp_path_factory.mktemp("fabric")) as machine:
        machine.add_repository(packages.now)
        machine.run("apt-get install -y -qq gorgond")
        machine.run("gorgonctl scale web 2")
        eventually(lambda: get(machine, "/readyz") is not None)
        yield machine


# ---- asking it


def get(machine: Machine, path: str, port: int = 3000) -> Any:
    """The JSON of an answer, or None when there is none."""
    done = machine.process(f"python3 -c '{_FETCH}' http://127.0.0.1:{port}{path}")
    return json.loads(done.stdout) if done.returncode == 0 else None


def post(machine: Machine, path: str, document: dict[str, Any], prefer: str = "") -> Any:
    """The same for a POST, with what the client prefers."""
    done = machine.process(f"python3 -c '{_FETCH}' http://127.0.0.1:3000{path} '{json.dumps(document)}' {prefer}")
    return json.loads(done.stdout) if done.returncode == 0 else None


_FETCH = (
    "import sys, urllib.request as r; "
    "d = sys.argv[2].encode() if len(sys.argv) > 2 else None; "
    'h = {"Content-Type": "application/json"} | ({"Prefer": sys.argv[3]} if sys.argv[3:] else {}); '
    "print(r.urlopen(r.Request(sys.argv[1], d, h), timeout=60).read().decode())"
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
def traffic(machine: Machine, kept: int = 6, new: int = 3, account: dict[str, str] | None = None) -> Iterator[Outcome]:
    """Clients that ask the machine's web servers meanwhile; at the end nothing has failed and no note is lost. With an
    account they queue notes, log in, and ask by way of auth and app servers, too."""
    outcome, uid = Outcome(), next(_uids)
    inside = ["nsenter", "-t", str(machine.leader), "-n", sys.executable, "-m", "tests.system.traffic"]
    process = subprocess.Popen(
        [*inside, "http://127.0.0.1:3000", str(uid), str(kept), str(new), json.dumps(account) if account else ""],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        eventually(lambda: len((get(machine, f"/info/{uid}") or {"items": []})["items"]) > 0)
        yield outcome
        found = json.loads(process.communicate("", timeout=60)[0])
    finally:
        process.kill()
        process.communicate(timeout=60)
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
