"""A set of Redis servers that Sentinels watch over: a master, its replicas, three Sentinels, all on this host.

They listen on an address of this host that is not the loopback's, since no host's Sentinel may be called that, and let
nobody in without a password. A Sentinel lets anybody ask where the master is, and nothing else, as docs/redpill.md
says.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol

import pytest
import redis

from tests.conftest import RedisServer, Server, left_out
from tests.waiting import eventually
from tools.speed.ports import free_port

NAME = "gorgon"
ONE_HOST = "3 of 3 Sentinels are on .*, and when it dies nobody names another master"  # which is so here
PASSWORD = "of-the-set"
ASKING = "+ping +subscribe &+switch-master +sentinel|get-master-addr-by-name +sentinel|replicas"


def own_address() -> str:
    """An address of this host that is not the loopback's. Without one the test is left out. Nothing is sent."""
    address = "127.0.0.1"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe, suppress(OSError):
        probe.connect(("192.0.2.1", 9))
        address = probe.getsockname()[0]
    if address.startswith("127."):
        left_out("this host has no address but the loopback's")
    return address


def _listening(port: int, tls: Path | None) -> dict[str, str]:
    """The settings of one that listens there, over TLS with the files that gorgonctl tls has made in this directory."""
    if tls is None:
        return {"port": str(port)}
    files = {"ca-cert": "ca.pem", "cert": "host.pem", "key": "host.key"}
    named = {f"tls-{what}-file": str(tls / name) for what, name in files.items()}
    return {"port": "0", "tls-port": str(port), "tls-replication": "yes", "tls-auth-clients": "no", **named}


def _url(place: tuple[str, int], user: str, tls: Path | None) -> str:
    where = f"{user}:{PASSWORD}@{place[0]}:{place[1]}"
    return (
        f"redis://{where}"
        if tls is None
        else f"rediss://{where}?ssl_ca_certs={tls / 'ca.pem'}&ssl_check_hostname=false"
    )


class Member(RedisServer):
    """A Redis of a set, or a Valkey, which the others reach over TCP."""

    def __init__(self, binary: str, directory: Path, address: str, tls: Path | None, **options: str) -> None:
        self.place = (address, free_port(address))
        self._tls = tls
        mine = {"bind": address, "requirepass": PASSWORD, "masterauth": PASSWORD, **_listening(self.place[1], tls)}
        quick = {"repl_diskless_sync_delay": "0", "repl_ping_replica_period": "1"}
        super().__init__(binary, directory, **mine, **quick, **options)

    def cli(self, *args: str) -> str:
        return super().cli("--no-auth-warning", "-a", PASSWORD, *args)

    def ready(self) -> bool:
        return "NOAUTH" in self._redis_cli("PING").stdout

    def is_master(self) -> bool:
        """Whether it says so; one that does not answer does not."""
        try:
            with redis.Redis.from_url(
                _url(self.place, "", self._tls), socket_timeout=1, decode_responses=True
            ) as client:
                return str(client.role()[0]) == "master"
        except redis.RedisError:
            return False

    def follow(self, master: Member) -> None:
        """Be a replica of that one, which has all that it has."""
        self.cli("REPLICAOF", master.place[0], str(master.place[1]))
        eventually(lambda: "master_link_status:up" in self.cli("INFO", "replication"))


class Sentinel(Server):
    """The same program as a Sentinel."""

    def __init__(self, binary: str, directory: Path, master: Member, down_after: float, tls: Path | None) -> None:
        super().__init__(directory)
        self.place = (master.place[0], free_port(master.place[0]))
        self._tls = tls
        listening = "".join(f"{name} {value}\n" for name, value in _listening(self.place[1], tls).items())
        self._binary = binary
        self.file = directory / "sentinel.conf"
        address, port = master.place
        self.file.write_text(
            f"bind {self.place[0]}\n{listening}dir {self.data}\nprotected-mode no\n"
            f"user default on nopass -@all {ASKING}\nuser sentinel on >{PASSWORD} ~* &* +@all\n"
            f"sentinel sentinel-user sentinel\nsentinel sentinel-pass {PASSWORD}\n"
            f"sentinel monitor {NAME} {address} {port} 2\nsentinel auth-pass {NAME} {PASSWORD}\n"
            f"sentinel down-after-milliseconds {NAME} {down_after * 1000:.0f}\n"
            f"sentinel failover-timeout {NAME} 10000\nsentinel parallel-syncs {NAME} 1\n"
        )

    @property
    def url(self) -> str:
        return _url(self.place, "sentinel", self._tls)

    def command(self) -> list[str]:
        return [self._binary, str(self.file), "--sentinel"]

    @contextmanager
    def client(self) -> Iterator[redis.Redis]:
        with redis.Redis.from_url(self.url, decode_responses=True, socket_timeout=60) as client:
            yield client

    def tell(self, *command: str) -> Any:
        """Its answer to an operator's command. Raises redis.ResponseError."""
        with self.client() as client:
            return client.execute_command(*command)  # type: ignore[no-untyped-call]

    def ready(self) -> bool:
        try:
            with self.client() as client:
                return bool(client.ping())
        except redis.RedisError:
            return False

    def knows(self, replicas: int, others: int) -> bool:
        """Whether it has met all the others."""
        with self.client() as client:
            state: Any = client.sentinel_master(NAME)
        return bool((state["num-slaves"], state["num-other-sentinels"]) == (replicas, others))


class Set:
    """The master first, then its replicas; and the Sentinels."""

    def __init__(self, members: list[Member], sentinels: list[Sentinel], tls: Path | None) -> None:
        self.members, self.sentinels = members, sentinels
        self._tls = tls

    def url(self, copies: int = 1) -> str:
        places = ",".join(f"{host}:{port}" for host, port in (each.place for each in self.sentinels))
        where = f":{PASSWORD}@{places}/{NAME}?copies={copies}"
        return (
            f"sentinel://{where}" if self._tls is None else f"sentinels://{where}&ssl_ca_certs={self._tls / 'ca.pem'}"
        )

    def master(self) -> Member:
        """The one that a majority of the Sentinels names, when it says itself that it is."""
        found = eventually(self._master)
        assert found is not None
        return found

    def switched(self, old: Member) -> Member:
        """The master, once it is another one than that."""
        eventually(lambda: self.master() is not old)
        return self.master()

    def fail_over(self) -> Member:
        """Have a Sentinel make another one the master, as an operator does: that one."""
        old = self.master()
        eventually(lambda: _done(lambda: self.sentinels[0].tell("SENTINEL", "FAILOVER", NAME)))
        return self.switched(old)

    def _master(self) -> Member | None:
        named = []
        for each in self.sentinels:
            with each.client() as client:
                named.append(client.sentinel_get_master_addr_by_name(NAME))
        found = [each for each in self.members if named.count(each.place) > len(named) // 2]
        return found[0] if found and found[0].is_master() else None


def _done(ask: Callable[[], object]) -> bool:
    """Whether it is done: a Sentinel refuses while it has another failover in hand, or sees no good replica."""
    try:
        ask()
    except redis.ResponseError:
        return False
    return True


class MakeSet(Protocol):
    """Starts a set with so many replicas. `down_after`: seconds after which a silent master is replaced. `tls`: where
    the files are with which all of them speak TLS."""

    def __call__(self, replicas: int = 2, down_after: float = 3.0, tls: Path | None = None, **options: str) -> Set: ...


@contextmanager
def sets(binary: str, directories: pytest.TempPathFactory) -> Iterator[MakeSet]:
    """What starts sets, all of which end with the block."""
    with ExitStack() as closing:

        def started(server: Server) -> None:
            closing.callback(server.close)
            server.start()

        def make(replicas: int = 2, down_after: float = 3.0, tls: Path | None = None, **options: str) -> Set:
            address = own_address()
            members = [
                Member(binary, directories.mktemp("redis"), address, tls, **options) for _ in range(1 + replicas)
            ]
            for each in members:
                started(each)
            for each in members[1:]:
                each.follow(members[0])
            watching = [Sentinel(binary, directories.mktemp("sentinel"), members[0], down_after, tls) for _ in range(3)]
            for sentinel in watching:
                started(sentinel)
            for sentinel in watching:
                eventually(lambda sentinel=sentinel: sentinel.knows(replicas, 2))  # type: ignore[misc]
            return Set(members, watching, tls)

        yield make
