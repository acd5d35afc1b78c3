"""A store more, by the list in docs/development.md: a package brings a driver, and a URL of its scheme names it."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from gorgond.stores import open_store
from gorgond.stores.contract import Query
from gorgond.stores.drivers import DRIVERS, starts
from tests.plugin import make_plugin
from tests.waiting import HANGS

DRIVER = '''"""Drawers: files of SQLite, under another name."""

from gorgond.stores.sqlite import SqliteStore


class Drawer(SqliteStore):
    def __init__(self, url: str) -> None:
        super().__init__(url.replace("drawer://", "sqlite:///"))
'''


@pytest.fixture
def package(tmp_path: Path) -> Path:
    return make_plugin(
        tmp_path / "package", {"throwaway_drawer": DRIVER}, {"gorgond.stores": {"drawer": "throwaway_drawer:Drawer"}}
    )


def gorgond(package: Path | None, url: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    path = {"PYTHONPATH": str(package)} if package else {}
    environ = os.environ | {"GORGOND_CONFIG": os.devnull, "GORGOND_STORE_URL": url} | path
    command = [sys.executable, "-m", "gorgond", *arguments]
    return subprocess.run(command, env=environ, capture_output=True, text=True, timeout=HANGS, check=False)


def test_a_store_of_a_package_is_written_and_read(package: Path, tmp_path: Path) -> None:
    # given a fabric whose database is of a scheme that a package brings
    url = f"drawer://{tmp_path}/notes.db"
    # when it runs
    done = gorgond(package, url, "simulate", "--duration", "3", "--port", "0", "--count", "100")
    # then its notes are there
    assert done.returncode == 0, done.stderr
    with closing(open_store(f"sqlite:///{tmp_path}/notes.db")) as store:
        assert store.count([Query("items", {})]) == [100]


def test_a_scheme_without_a_driver_is_refused_with_those_that_have_one(package: Path) -> None:
    # without the package its URLs are refused with its schemes, and not shown
    refused = gorgond(None, "drawer://hunter2", "config", "--check")
    assert refused.returncode == 78
    schemes = " ".join(starts(DRIVERS.names()))
    assert f"a URL that starts with {schemes}, or with the scheme of a driver" in refused.stderr
    assert "hunter2" not in refused.stderr
    # with it they are good, and one that is not its own is refused by it
    assert gorgond(package, "drawer://notes.db", "config", "--check").returncode == 0
    assert "names no file" in gorgond(package, "drawer://:memory:", "config", "--check").stderr


def test_a_driver_that_cannot_be_imported_says_so(tmp_path: Path) -> None:
    package = make_plugin(
        tmp_path, {"throwaway_bad": "import nosuchdriver"}, {"gorgond.stores": {"bad": "throwaway_bad:Bad"}}
    )
    refused = gorgond(package, "bad://host", "config", "--check")
    assert refused.returncode == 78
    assert "bad, which is throwaway_bad:Bad: ModuleNotFoundError: No module named 'nosuchdriver'" in refused.stderr
    assert f"({package}/throwaway_bad.py:1)" in refused.stderr
