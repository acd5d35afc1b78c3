"""A Redis of the drill's own to which queues are routed, to be killed."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

from redis import Redis
from redis.exceptions import RedisError

from gorgond.chaos.errors import Aborted
from gorgond.commands.redis_server import redis_server
from gorgond.service.tied import TIED

START = 60.0  # seconds it may take to serve, its file read
SETTINGS = "port 0\nappendonly yes\nappendfsync always\nmaxmemory-policy noeviction\nsave ''\n"


class RoutedRedis:
    """On a unix socket in `directory`; the kernel kills it when this process dies. Raises ConfigError without Redis."""

    def __init__(self, directory: Path) -> None:
        self._binary = redis_server()
        self._socket = directory / "routed.sock"
        self._files = directory / "routed"
        self._log = directory / "routed.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._files.mkdir()

    @property
    def url(self) -> str:
        return f"unix://{self._socket}"

    def start(self) -> None:
        """Start, on the file of the last time, and return when it serves."""
        settings = f"{SETTINGS}dir {self._files}\nunixsocket {self._socket}\n"
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603
                [*TIED, self._binary, "-"], stdin=subprocess.PIPE, stdout=log, stderr=log
            )
        if self._process.stdin is not None:
            self._process.stdin.write(settings.encode())
            self._process.stdin.close()
        end = time.monotonic() + START
        while not self._serves():
            if self._process.poll() is not None or time.monotonic() > end:
                raise Aborted(f"the routed Redis did not come up; see {self._log}")
            time.sleep(0.05)

    def kill(self) -> None:
        """SIGKILL."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def _serves(self) -> bool:
        try:
            with Redis.from_url(self.url, socket_timeout=1.0) as client:
                return bool(client.ping())
        except RedisError:
            return False
