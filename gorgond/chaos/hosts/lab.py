"""Three hosts as the fabric of a drill: all roles, Redis, Sentinel and mongod on each, and HAProxy before them."""

from __future__ import annotations

import base64
import os
import shutil
import tempfile
import time
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from redis.exceptions import RedisError

from gorgond.chaos.errors import Aborted
from gorgond.chaos.hosts.balancer import Balancer
from gorgond.chaos.hosts.clock import Clock, faketime
from gorgond.chaos.hosts.database import Database
from gorgond.chaos.hosts.files import HOSTS, MASTER, ROOT, SENTINELS, Fitting
from gorgond.chaos.hosts.host import Host
from gorgond.chaos.hosts.network import Network, address_of
from gorgond.chaos.hosts.sentinels import Sentinels
from gorgond.chaos.hosts.target import HostsTarget

PREFIX = "gorgond-lab-"  # of directories, before the process that made one
START = 120.0  # seconds all may take to be up


@dataclass(frozen=True, slots=True)
class Hosts:
    """How the hosts are fitted. `copies` is how many replicas must have what is accepted; `environ` is of all
    processes of gorgond, which run the `code` of this checkout. `one` is for versions that know no Sentinels: their
    broker is the Redis of the first host. `clocks`: that of each can be set."""

    copies: int = 1
    environ: dict[str, str] = field(default_factory=dict)
    code: Path = ROOT
    one: bool = False
    clocks: bool = False

    @property
    def broker(self) -> str:
        """The URL of the broker."""
        several = f"sentinel://{SENTINELS}/{MASTER}?copies={self.copies}"
        return f"redis://{address_of(1)}:6379" if self.one else several


class Lab:
    """`hosts` are up inside the `with`, `target` is their processes. Raises Refused where it cannot be, Aborted when
    they do not come up."""

    target: HostsTarget

    def __init__(self, cast: Hosts) -> None:
        self._cast = cast
        self._closing = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as closing:
            _sweep()
            self.directory = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-", dir="/tmp"))
            closing.callback(shutil.rmtree, self.directory, ignore_errors=True)
            closing.enter_context(Network())
            balancer = Balancer(self.directory, "    http-check send meth GET uri /healthz\n" if self._cast.one else "")
            key = base64.urlsafe_b64encode(os.urandom(32)).decode()  # as a Fernet key is
            self.hosts = [self._host(number, key) for number in range(1, HOSTS + 1)]
            self.database, self.sentinels = Database(self.hosts), Sentinels(self.hosts)
            for host in self.hosts:
                host.run_code(self._cast.code)
                closing.callback(host.off)
                host.on()
            self.database.found()
            for host in self.hosts:
                host.until_up(START)
            self._until_in_step()
            closing.callback(balancer.stop)
            balancer.start()
            self.target = HostsTarget(self.hosts)
            self._closing = closing.pop_all()
        return self

    def _host(self, number: int, key: str) -> Host:
        """The host of that number. Raises Refused."""
        cast, path = self._cast, self.directory / f"h{number}"
        path.mkdir()
        clock = Clock(faketime(), path / "clock") if cast.clocks else None
        environ = {**cast.environ, **(clock.environment if clock is not None else {})}
        return Host(Fitting(number, str(path), cast.broker, key, cast.copies, environ=environ), clock)

    def _until_in_step(self) -> None:
        end = time.monotonic() + START
        while time.monotonic() < end:
            with suppress(RedisError):
                if self.sentinels.in_step():
                    return
            time.sleep(0.1)
        raise Aborted("the Redis servers of the hosts do not follow one master")

    def __exit__(self, *_: object) -> None:
        self._closing.close()


def _sweep() -> None:
    """Remove the directories of labs that were killed."""
    for directory in Path("/tmp").glob(f"{PREFIX}*"):  # noqa: S108 - ours by their name
        if not Path("/proc", directory.name.removeprefix(PREFIX).partition("-")[0]).exists():
            shutil.rmtree(directory, ignore_errors=True)
