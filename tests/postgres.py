"""PostgreSQL servers of tests: Debian's own programs, unprivileged, on a unix socket, with all that keeps data safe."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psutil

from tests.conftest import Server, left_out

USER = "postgres"  # whom the server runs as where we are root, as whom it refuses to run


def postgres_programs() -> Path:
    """The directory of initdb and postgres. Leaves the test out where there is none, or no driver."""
    if find_spec("psycopg") is None:
        left_out("psycopg is not installed")
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: int(path.parts[4]))
    if not found:
        left_out("postgresql is not installed")
    return found[-1].parent


class PostgresServer(Server):
    """postgres on a unix socket; `url` has a place for the name of a database: "gorgon" is there."""

    def __init__(self, programs: Path, directory: Path, *options: str) -> None:
        super().__init__(directory)
        self.data.rmdir()
        # Whom it runs as does not reach into pytest's directories.
        self.data = Path(tempfile.mkdtemp(prefix="gorgond-postgres-"))
        self._programs = programs
        self.options = options
        if os.geteuid() == 0:
            shutil.chown(self.data, USER, USER)
        initdb = [f"{programs}/initdb", "-D", f"{self.data}/db", "-U", USER, "-A", "trust", "-E", "UTF8"]
        made = subprocess.run(
            [*_as_user(), *initdb, "--locale=C.UTF-8", "--no-sync"],
            check=False,
            capture_output=True,
            cwd="/",
            text=True,
        )
        assert made.returncode == 0, made.stdout + made.stderr

    @property
    def url(self) -> str:
        return f"postgresql://{USER}@/gorgon?host={self.data}"

    def command(self) -> list[str]:
        fixed = [*_as_user(), f"{self._programs}/postgres", "-D", f"{self.data}/db", "-k", str(self.data), "-h", ""]
        return [*fixed, *(word for option in self.options for word in ("-c", option))]

    def ready(self) -> bool:
        import psycopg

        with suppress(psycopg.OperationalError), psycopg.connect(self._address("postgres"), autocommit=True) as admin:
            if not admin.execute("SELECT 1 FROM pg_database WHERE datname = 'gorgon'").fetchone():
                admin.execute("CREATE DATABASE gorgon")
            return True
        return False

    def _address(self, database: str) -> str:
        return self.url.replace("/gorgon?", f"/{database}?")

    def kill(self) -> None:
        """Its children are in process groups of their own, and hold what the next one needs."""
        with suppress(psutil.NoSuchProcess):
            children = psutil.Process(self.pid).children(recursive=True)
            super().kill()
            for child in children:
                with suppress(psutil.NoSuchProcess):
                    child.kill()
            psutil.wait_procs(children, timeout=60)

    def run(self, statement: str) -> list[Any]:
        """What the server answers to this, asked by its administrator."""
        import psycopg

        with psycopg.connect(self.url, autocommit=True) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def empty(self) -> None:
        """Drop all tables."""
        self.run("DROP SCHEMA public CASCADE; CREATE SCHEMA public")

    @contextmanager
    def running(self) -> Iterator[PostgresServer]:
        """Started, and closed at the end."""
        try:
            self.start()
            yield self
        finally:
            self.close()


def _as_user() -> list[str]:
    if os.geteuid() != 0:
        return []
    user = pwd.getpwnam(USER)
    return ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]
