"""`gorgond` as a process of its own, the way a user starts it.

done = gorgond("config", "--check")                    runs to its end
with started("web", GORGOND_WEB_PORT="0") as process:  is killed at the end if it still runs
"""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.request import Request, urlopen

from tests.waiting import HANGS

ROOT = Path(__file__).parents[1]


SCRIPTS = sysconfig.get_path("scripts")  # where the programs of this environment are


def bare_path() -> str:
    """Where a shell looks for programs in which nobody has said where this environment's are."""
    return os.pathsep.join(each for each in os.environ["PATH"].split(os.pathsep) if each != SCRIPTS)


def _environment(variables: dict[str, str]) -> dict[str, str]:
    """Ours without what configures gorgond, and with these."""
    kept = {name: text for name, text in os.environ.items() if not name.startswith("GORGOND_")}
    return {**kept, "GORGOND_CONFIG": os.devnull, "GORGOND_STATS_PORT": "0", "GORGOND_NOTIFY_PORT": "0", **variables}


def gorgond(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    return run(["-m", "gorgond", *arguments], variables)


def gorgonctl(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """The same for gorgonctl."""
    return run(["-c", "import sys; from gorgond.gorgonctl import main; sys.exit(main())", *arguments], variables)


def run(arguments: list[str], variables: dict[str, str], root: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Run Python to its end, in a checkout."""
    command, environ = [sys.executable, *arguments], _environment(variables)
    return subprocess.run(command, cwd=root, env=environ, capture_output=True, text=True, timeout=HANGS, check=False)


def tool(*arguments: str, seconds: float = HANGS) -> None:
    """Run a program of tools/, which must end well. One that does not end is terminated, so that it ends its own."""
    process = subprocess.Popen(
        [sys.executable, *arguments], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        output = process.communicate(timeout=seconds)[0]
    except BaseException:
        process.terminate()
        process.wait(timeout=60)
        raise
    assert process.returncode == 0, output


@contextmanager
def started(
    *arguments: str, module: str = "gorgond", output: Path | None = None, root: Path | str = ROOT, **variables: str
) -> Iterator[subprocess.Popen[bytes]]:
    """A command that runs meanwhile; what it writes goes to the file `output`. `module` runs in place of gorgond."""
    with (output or Path(os.devnull)).open("wb") as file, TemporaryDirectory() as state:  # none is left by the killed
        process = subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            cwd=root,
            env=_environment({"STATE_DIRECTORY": state, **variables}),
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
        )
        try:
            yield process
        finally:
            process.kill()
            process.wait(timeout=60)


def ended(process: subprocess.Popen[bytes]) -> int:
    """Ask it to end; its exit code."""
    process.terminate()
    return process.wait(timeout=60)


def asked(url: str, body: bytes | None = None) -> bytes | None:
    """What is answered to a GET, or with a body to a POST; None when it was no success or nobody answers."""
    request = Request(url, body, {"Content-Type": "application/json"})
    try:
        with urlopen(request, timeout=60) as answer:
            found: bytes = answer.read()
            return found
    except (OSError, HTTPException):
        return None
