"""Every redis-py is met by calls that are cancelled: the oldest that is supported, one of the middle, the newest."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import RedisServer, left_out
from tests.programs import ROOT
from tests.waiting import HANGS

VERSIONS = re.findall(r"^redis_drivers=\((.*)\)", (ROOT / "tools" / "setup.sh").read_text(), re.MULTILINE)[0].split()


@pytest.mark.parametrize("parser", ["hiredis", "plain"])
@pytest.mark.parametrize("version", VERSIONS)
def test_a_thousand_cancelled_calls(version: str, parser: str, shared_redis: RedisServer) -> None:
    driver = Path.home() / ".cache" / "gorgond" / f"redis-{version}"
    if not (driver / "made").exists():
        left_out(f"{driver} is missing: tools/test makes it")
    # what the newest Python says of an old driver's code is no matter here
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-m", "tests.drivers", shared_redis.url]
    done = subprocess.run(
        command if parser == "hiredis" else [*command, "plain"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(driver)},
        capture_output=True,
        text=True,
        timeout=HANGS,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, f"{version} {parser}\n"), done.stderr
