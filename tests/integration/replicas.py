"""A replica set of three mongods, whose primary steps down, is killed, or is alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pymongo
import pymongo.errors

from tests.conftest import MongodServer
from tests.waiting import eventually
from tools.speed.ports import free_port

NAME = "three"
# Elections after 2 s without a primary, where 10 is MongoDB's own choice; so long one goes on alone, too.
SETTINGS = {"electionTimeoutMillis": 2000, "heartbeatIntervalMillis": 200}

Client = pymongo.MongoClient[dict[str, Any]]


class Member(MongodServer):
    """A mongod that others reach over TCP."""

    def __init__(self, binary: str, directory: Path) -> None:
        super().__init__(binary, directory, "--replSet", NAME)
        self.address = f"127.0.0.1:{free_port()}"

    @property
    def bound(self) -> str:
        return "127.0.0.1"

    @property
    def url(self) -> str:
        return f"mongodb://{self.address}/?directConnection=true"

    def command(self) -> list[str]:
        return [*super().command(), "--port", self.address.partition(":")[2]]

    @contextmanager
    def client(self) -> Iterator[Client]:
        client: Client = pymongo.MongoClient(self.url, serverSelectionTimeoutMS=2000)
        with client:
            yield client

    def is_primary(self) -> bool:
        """Whether it takes writes; one that does not answer does not."""
        with suppress(pymongo.errors.PyMongoError), self.client() as client:
            return bool(client.admin.command("hello")["isWritablePrimary"])
        return False


class ReplicaSet:
    """Three members that have chosen a primary."""

    def __init__(self, make: Callable[[], Member]) -> None:
        self.members = [make() for _ in range(3)]
        names = [{"_id": number, "host": member.address} for number, member in enumerate(self.members)]
        with self.members[0].client() as client:
            client.admin.command("replSetInitiate", {"_id": NAME, "members": names, "settings": SETTINGS})
        self.primary()

    def url(self, database: str) -> str:
        """The URL of a database in the set."""
        return f"mongodb://{','.join(member.address for member in self.members)}/{database}?replicaSet={NAME}"

    def primary(self) -> Member:
        """The member that takes writes, when there is one."""
        return eventually(lambda: [each for each in self.members if each.is_primary()], timeout=60)[0]

    def step_down(self) -> None:
        """The primary makes place for another one."""
        with self.primary().client() as client, suppress(pymongo.errors.AutoReconnect):
            client.admin.command("replSetStepDown", 5, secondaryCatchUpPeriodSecs=5)
