"""The package as Debian's own tools see it."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.programs import ROOT
from tests.system.conftest import Packages
from tests.system.machine import Machine, root
from tests.waiting import HANGS


@pytest.mark.dear(0)
def test_lintian_finds_nothing(packages: Packages) -> None:
    command = ["lintian", "--allow-root", "-EvIL", "+pedantic", str(packages.file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=HANGS)
    found = [line for line in done.stdout.splitlines() if line.startswith(("E:", "W:", "I:", "P:"))]
    assert found == []


@pytest.mark.dear(0)
def test_two_builds_are_the_same_bytes(suite: str, packages: Packages, tmp_path: Path) -> None:
    # given the package, when it is built again elsewhere, from newer files, in another zone, language and umask
    sources = tmp_path / "elsewhere/sources"
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
        timeout=HANGS,
    )
    for name in listed.stdout.decode().rstrip("\0").split("\0"):
        if (ROOT / name).exists():
            (sources / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, sources / name)
    environ = {**os.environ, "TZ": "Asia/Tokyo", "LC_ALL": "tr_TR.UTF-8"}
    command = [str(sources / "tools/build-deb"), "--output", str(tmp_path), "--suite", suite]
    subprocess.run(command, env=environ, umask=0o027, capture_output=True, check=True, timeout=HANGS)
    # then it is the same
    assert digest(tmp_path / packages.file.name) == digest(packages.file)


def digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


@pytest.mark.dear(1)
def test_piuparts_finds_nothing_left_behind(suite: str, packages: Packages) -> None:
    # what it would ask besides, of an older package and of signatures, is not about this one
    options = "--no-eatmydata --skip-minimize --no-upgrade-test --do-not-verify-signatures --keep-sources-list"
    options += " --ignore-regex=/var/cache/debconf/tmp.ci/?"  # apt's own, when it configures others before us
    command = ["piuparts", "-e", str(root(suite)), "-d", suite, *options.split(), str(packages.file)]
    environ = {**os.environ, "PATH": f"/usr/sbin:/sbin:{os.environ['PATH']}"}
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False, timeout=HANGS)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-1000:]


def test_autopkgtest_passes(fabric: Machine) -> None:
    # given the sources in a machine on which the package is installed
    shutil.copytree(ROOT / "debian", fabric.root / "srv/source/debian")
    fabric.run("apt-get install -y -qq autopkgtest")
    # when its tests are run there
    options = "-B --no-built-binaries --ignore-restrictions=isolation-container"
    done = fabric.process(f"autopkgtest {options} /srv/source -- null")
    # then they pass
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]


def test_the_repository_names_each_package_once(bare: Machine) -> None:
    assert len(bare.run("apt-cache madison gorgond").splitlines()) == 1
