"""The mongods of all hosts as one replica set."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, TypeAlias

import pymongo
import pymongo.errors

from gorgond.chaos.errors import Aborted
from gorgond.chaos.hosts.files import REPLICAS
from gorgond.chaos.hosts.host import Host

START = 60.0  # seconds until there is a primary
# Elections after 2 s without a primary, where 10 is MongoDB's own choice.
SETTINGS = {"electionTimeoutMillis": 2000, "heartbeatIntervalMillis": 200}

Client: TypeAlias = "pymongo.MongoClient[dict[str, Any]]"


class Database:
    """The set; `hosts` are its members."""

    def __init__(self, hosts: Sequence[Host]) -> None:
        self._hosts = hosts

    def found(self) -> None:
        """Make the set, and wait for its primary. Raises Aborted when none comes."""
        members = [{"_id": host.fitting.number, "host": f"{host.address}:27017"} for host in self._hosts]
        settings = {"_id": REPLICAS, "members": members, "settings": SETTINGS}
        end, founded = time.monotonic() + START, False
        while time.monotonic() < end:
            with suppress(pymongo.errors.PyMongoError):
                if founded or self._initiate(settings):
                    founded = True
                    if self.primary() is not None:
                        return
            time.sleep(0.1)
        raise Aborted("the mongods of the hosts have chosen no primary")

    def _initiate(self, settings: dict[str, Any]) -> bool:
        with _client(self._hosts[0]) as client:
            return bool(client.admin.command("replSetInitiate", settings)["ok"])

    def primary(self) -> Host | None:
        """The host whose mongod takes writes, if there is one."""
        for host in self._hosts:
            with suppress(pymongo.errors.PyMongoError), _client(host) as client:
                if client.admin.command("hello")["isWritablePrimary"]:
                    return host
        return None

    def step_down(self) -> None:
        """The primary makes place for another one."""
        if (host := self.primary()) is not None:
            with suppress(pymongo.errors.AutoReconnect), _client(host) as client:
                client.admin.command("replSetStepDown", 10, secondaryCatchUpPeriodSecs=5)


@contextmanager
def _client(host: Host) -> Iterator[Client]:
    client: Client = pymongo.MongoClient(
        f"mongodb://{host.address}:27017/?directConnection=true", serverSelectionTimeoutMS=1000, socketTimeoutMS=5000
    )
    try:
        yield client
    finally:
        client.close()
