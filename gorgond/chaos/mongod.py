"""A mongod of the drill's own, to be killed."""

from __future__ import annotations

import shutil
import subprocess
import sysconfig
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pymongo
import pymongo.errors

from gorgond.chaos.errors import Aborted, Refused
from gorgond.service.tied import TIED

START = 60.0  # seconds it may take to serve, its journal read


def mongod() -> str:
    """The path of the program. Raises Refused where there is none."""
    places = [shutil.which("mongod"), Path(sysconfig.get_path("purelib"), "fiftyone/db/bin/mongod")]
    found = next((str(place) for place in places if place and Path(place).exists()), None)
    if found is None:
        raise Refused("mongod is not installed")
    return found


class Mongod:
    """On a unix socket in `directory`; the kernel kills it when this process dies. Raises Refused without mongod."""

    def __init__(self, directory: Path) -> None:
        self._binary = mongod()
        self._directory = directory
        self._socket = directory / "mongod.sock"
        self._process: subprocess.Popen[bytes] | None = None
        (directory / "mongod").mkdir()

    @property
    def url(self) -> str:
        return f"mongodb://{quote(str(self._socket), safe='')}/chaos"

    def start(self) -> None:
        """Start, on the data of the last time, and return when it serves."""
        command = [self._binary, "--dbpath", str(self._directory / "mongod"), "--bind_ip", str(self._socket)]
        command += ["--nounixsocket", "--wiredTigerCacheSizeGB", "0.25"]
        with (self._directory / "mongod.log").open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603
                [*TIED, *command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        end = time.monotonic() + START
        while not self._serves():
            if self._process.poll() is not None or time.monotonic() > end:
                raise Aborted(f"mongod did not come up; see {log.name}")
            time.sleep(0.05)

    def kill(self) -> None:
        """SIGKILL."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def _serves(self) -> bool:
        client: pymongo.MongoClient[dict[str, Any]] = pymongo.MongoClient(self.url, serverSelectionTimeoutMS=200)
        try:
            return bool(client.admin.command("ping")["ok"])
        except pymongo.errors.PyMongoError:
            return False
        finally:
            client.close()
