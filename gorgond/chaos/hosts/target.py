"""The processes of all hosts as what a drill hurts: h2:store@1."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence

from gorgond.chaos.errors import Refused
from gorgond.chaos.hosts.balancer import URL
from gorgond.chaos.hosts.host import Host
from gorgond.chaos.target import Target, Victim
from gorgond.config import load


class HostsTarget(Target):
    """Of these hosts."""

    def __init__(self, hosts: Sequence[Host]) -> None:
        self.place = "the hosts of this lab"
        self.url = URL
        self._hosts = {host.name: host for host in hosts}
        fitting = hosts[0].fitting
        self.config = load(os.devnull, {}, {"broker.url": fitting.broker, "auth.key": fitting.key})

    def victims(self) -> list[Victim]:
        return [
            Victim(f"{host.name}:{each['name']}", each["role"], each["pid"], each["state"], each["restarts"])
            for host in self._hosts.values()
            for each in host.processes()
        ]

    def signal(self, name: str, number: signal.Signals) -> None:
        host, process = self._of(name)
        host.signal(process, number)

    def stop(self, name: str) -> None:
        self._ask("stop", name)

    def start(self, name: str) -> None:
        self._ask("start", name)

    def hurry(self, name: str) -> None:
        self.start(name)

    def restart(self, name: str) -> None:
        self._ask("restart", name)

    def add(self, name: str) -> None:
        raise Refused(f"{name}: on these hosts no instance is added")

    def remove(self, name: str) -> None:
        raise Refused(f"{name}: on these hosts none is removed")

    def _ask(self, do: str, name: str) -> None:
        host, process = self._of(name)
        host.ask(do, process)

    def _of(self, name: str) -> tuple[Host, str]:
        host, _, process = name.partition(":")
        if host not in self._hosts:
            raise Refused(f"there is no {name} at {self.place}")
        return self._hosts[host], process
