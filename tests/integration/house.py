"""A copy of gorgond that a test adds to, the way docs/development.md says, and runs."""

from __future__ import annotations

import shutil
import subprocess
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from tests import programs

PARTS = ("gorgond", "systemd", "debian", "docs", "etc", "tools")


class House:
    """The copy in `root`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for part in PARTS:
            shutil.copytree(programs.ROOT / part, root / part)

    def add(self, file: str, text: str) -> None:
        """A file that was not there."""
        path = self.root / file
        assert not path.exists()
        path.write_text(text)

    def insert(self, file: str, before: str, text: str) -> None:
        """Lines before this one, which is there once."""
        path = self.root / file
        whole = path.read_text()
        assert whole.count(before) == 1, f"{file} has {before!r} {whole.count(before)} times"
        path.write_text(whole.replace(before, text + before))

    def read(self, file: str) -> str:
        """What is in a file."""
        return (self.root / file).read_text()

    def run(self, *arguments: str, code: int | None = 0, **variables: str) -> str:
        """What `python ARGUMENTS` prints in it, which must end with this exit code, or with any."""
        done = programs.run(list(arguments), variables, self.root)
        assert code in (None, done.returncode), done.stdout + done.stderr
        return done.stdout

    def users(self) -> str:
        """The file of its users in Redis: each has a password of the form secret-USER."""
        return self.run(
            "-c",
            "from gorgond.service.access import USERS, acl_file\n"
            "print(acl_file({user: f'secret-{user}' for user in USERS}), end='')",
        )

    def started(
        self, *arguments: str, output: Path, **variables: str
    ) -> AbstractContextManager[subprocess.Popen[bytes]]:
        """A command of it that runs meanwhile."""
        return programs.started(*arguments, output=output, root=self.root, **variables)


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path / "house")
