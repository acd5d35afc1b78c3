"""Three hosts as the fabric of a drill: all roles, Redis, Sentinel and mongod on each, and HAProxy before them."""

from __future__ import annotations

import base64
import os
import shutil
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from gorgond.chaos.hosts.balancer import Balancer
from gorgond.chaos.hosts.database import Database
from gorgond.chaos.hosts.files import HOSTS, Fitting
from gorgond.chaos.hosts.host import Host
from gorgond.chaos.hosts.network import Network
from gorgond.chaos.hosts.target import HostsTarget

START = 120.0  # seconds all may take to be up


@dataclass(frozen=True, slots=True)
class Hosts:
    """How the hosts are fitted. `copies` is how many replicas must have what is accepted; `environ` is of all
    processes of gorgond."""

    copies: int = 1
    environ: dict[str, str] = field(default_factory=dict)

    @property
    def broker(self) -> str:
        return "redis://10.0.0.1:6379"


class Lab:
    """`hosts` are up inside the `with`, `target` is their processes. Raises Refused where it cannot be, Aborted when
    they do not come up."""

    target: HostsTarget

    def __init__(self, cast: Hosts) -> None:
        self._cast = cast
        self._closing = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as closing:
            self.directory = Path(tempfile.mkdtemp(prefix="lab-", dir="/tmp"))
            closing.callback(shutil.rmtree, self.directory, ignore_errors=True)
            closing.enter_context(Network())
            balancer = Balancer(self.directory)
            key = base64.urlsafe_b64encode(os.urandom(32)).decode()  # as a Fernet key is
            fittings = [
                Fitting(
                    number, str(self.directory / f"h{number}"), self._cast.broker, key, self._cast.copies,
                    environ=self._cast.environ,
                )
                for number in range(1, HOSTS + 1)
            ]  # fmt: skip
            self.hosts = [Host(each) for each in fittings]
            self.database = Database(self.hosts)
            for host in self.hosts:
                closing.callback(host.off)
                host.on()
            self.database.found()
            for host in self.hosts:
                host.until_up(START)
            closing.callback(balancer.stop)
            balancer.start()
            self.target = HostsTarget(self.hosts)
            self._closing = closing.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.close()
