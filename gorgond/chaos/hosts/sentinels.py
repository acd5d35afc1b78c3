"""The Redis servers of all hosts as their Sentinels see them."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from gorgond.chaos.hosts.files import HOSTS, MASTER
from gorgond.chaos.hosts.host import Host
from gorgond.redpill import connect

ANSWER = 1.0  # seconds that one may take


class Sentinels:
    """Those of `hosts`."""

    def __init__(self, hosts: Sequence[Host]) -> None:
        self._hosts = {host.address: host for host in hosts}
        self._sent = 0  # what the master had sent when all others followed it for the first time

    def master(self) -> Host | None:
        """The host whose Redis the majority names and that takes writes, if there is one."""
        named = Counter(filter(None, (self._named_by(host) for host in self._hosts.values())))
        for address, number in named.most_common(1):
            if number > HOSTS // 2 and _asked(address, 6379, "ROLE", first="") == b"master":
                return self._hosts[address]
        return None

    def _named_by(self, host: Host) -> str:
        if not host.is_on:
            return ""
        place = _asked(host.address, 26379, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", MASTER)
        return str(place.decode()) if isinstance(place, bytes) else ""

    def in_step(self) -> bool:
        """Whether there is a master of which all others have told to have what it had sent when this was asked before,
        and every Sentinel knows the others."""
        master, sent = self.master(), self._sent
        self._sent = 0
        if master is None or not all(host.is_on for host in self._hosts.values()):
            return False
        replication = _redis(master.address, 6379).info("replication")
        told = [each["offset"] for each in _replicas(replication) if each["state"] == "online"]
        if len(told) < HOSTS - 1 or not all(self._knows_all(address) for address in self._hosts):
            return False
        if 0 < sent <= min(told):
            return True
        self._sent = sent or replication["master_repl_offset"]
        return False

    def _knows_all(self, address: str) -> bool:
        """Whether the Sentinel there could name another master: it hears of replicas every ten seconds only."""
        known = _redis(address, 26379).sentinel_master(MASTER)
        return bool(known["num-slaves"] >= HOSTS - 1 and known["num-other-sentinels"] == HOSTS - 1)

    def fail_over(self) -> None:
        """Have them name another master, as an operator does before a host is shut down. Raises BrokerError."""
        places = ",".join(self._hosts)
        asyncio.run(connect(f"sentinel://{places}/{MASTER}", durable=False).fail_over())


def _replicas(replication: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The replicas in what a master says of them."""
    return [each for key, each in replication.items() if key.startswith("slave") and isinstance(each, dict)]


def _redis(address: str, port: int) -> Any:
    never = Retry(NoBackoff(), 0)  # who is cut off would be asked for many seconds
    return Redis(address, port, socket_timeout=ANSWER, socket_connect_timeout=ANSWER, retry=never)


def _asked(address: str, port: int, *command: str, first: Any = None) -> Any:
    """The first part of an answer; `first` when there is none."""
    try:
        with _redis(address, port) as redis:
            answer = redis.execute_command(*command)
    except RedisError:
        return first
    return answer[0] if answer else first
