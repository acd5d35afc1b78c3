"""What `gorgonctl join` writes, with real servers on three addresses: who starts as what, and who may do what."""

from __future__ import annotations

import asyncio
import grp
import os
import shutil
import sys
from collections.abc import Callable, Coroutine, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

import pytest
from redis import Redis
from redis.exceptions import ConnectionError, ResponseError

from gorgond.chaos.errors import Refused
from gorgond.chaos.hosts.network import SWITCH, Network, address_of, ip
from gorgond.commands import secrets, tls
from gorgond.commands.hosts import addresses, asking, files, leaving
from gorgond.commands.hosts.addresses import Hosts
from gorgond.commands.hosts.asking import broker_at, following, known_by, master_by, named_by, replicas_by, sentinel_at
from gorgond.commands.hosts.files import (
    FOLLOWING,
    NAME,
    OWN,
    ROLE,
    SENTINEL_KEEPS,
    Certificates,
    sentinel_text,
    set_text,
)
from gorgond.commands.hosts.invitation import Invitation
from gorgond.commands.hosts.role import check_disk, role_text
from gorgond.commands.hosts.status import holds, lines, look
from gorgond.commands.operator.installation import Installation
from gorgond.commands.redis_server import redis_server
from gorgond.errors import GorgonError
from gorgond.redpill import Message, Producer, connect, keys, script
from gorgond.service.access import REPLICA, SENTINEL, USERS, acl_file
from tests.conftest import Server, left_out
from tests.programs import ROOT
from tests.waiting import LONG, eventually

T = TypeVar("T")

PASSWORDS = {user: f"{user}-has/one:of*'\"its@own" for user in USERS}
ADDRESSES = [address_of(each) for each in (1, 2, 3)]


class Broker(Server):
    """The Redis of a host as gorgon-broker.service starts it, and its Sentinel as gorgon-sentinel.service does."""

    def __init__(self, directory: Path, address: str) -> None:
        super().__init__(directory)
        self.address, self._directory = address, directory
        self.role = directory / "role.conf"
        conf = (ROOT / "etc/broker.conf").read_text()
        conf = conf.replace("/var/lib/gorgond/broker", str(self.data)).replace("/run/gorgond", str(directory))
        self._conf = conf
        own = set_text(address, PASSWORDS[REPLICA], complete=True)
        (directory / OWN.name).write_text(own.replace(str(ROLE), str(self.role)))
        (directory / "users.acl").write_text(acl_file(PASSWORDS))

    @property
    def url(self) -> str:
        return f"redis://{self.address}"

    def command(self) -> list[str]:
        self.role.write_text(eventually(self._role))
        here = self._directory
        (here / "broker.conf").write_text(self._conf)  # which Redis may not rewrite on a host
        words = [redis_server(), here / "broker.conf", "--include", here / OWN.name, "--aclfile", here / "users.acl"]
        return list(map(str, words))

    def _role(self) -> str:
        try:
            text = role_text(self.address)
            check_disk(self.address, text, self.data)
        except GorgonError:
            return ""
        return text

    def ready(self) -> bool:
        try:
            with broker_at(self.address) as redis:
                about = redis.info("replication")
        except GorgonError:
            return False
        return bool(about["role"] == "master" or about["master_link_status"] == "up")


class Sentinel(Server):
    def __init__(self, directory: Path, address: str) -> None:
        super().__init__(directory)
        self.address = address
        self._file = directory / SENTINEL_KEEPS.name
        following = directory / FOLLOWING.name
        text = sentinel_text(address, PASSWORDS[SENTINEL], ADDRESSES[0], 3)
        self._file.write_text(text.replace(str(FOLLOWING), str(following)))
        (directory / f"broker.password.{SENTINEL}").write_text(PASSWORDS[SENTINEL])
        command = f"exec {sys.executable} -m gorgond.commands.hosts.following {address}"
        following.write_text(f"#!/bin/sh\ncd {ROOT} && CREDENTIALS_DIRECTORY={directory} {command}\n")
        following.chmod(0o755)

    @property
    def url(self) -> str:
        return f"redis://{self.address}:26379"

    def command(self) -> list[str]:
        return [redis_server(), str(self._file), "--sentinel"]

    def ready(self) -> bool:
        return named_by([self.address]) != ""


class Several:
    """Three hosts."""

    def __init__(self, brokers: list[Broker], sentinels: list[Sentinel]) -> None:
        self.brokers, self.sentinels = brokers, sentinels

    def master(self) -> str:
        return named_by(ADDRESSES)

    def of(self, address: str) -> Broker:
        return next(each for each in self.brokers if each.address == address)

    def in_step(self) -> bool:
        try:
            with broker_at(self.master()) as broker:
                return len(following(broker.info("replication"))) == 2 and all(map(self._knows_all, ADDRESSES))
        except GorgonError:
            return False

    def _knows_all(self, address: str) -> bool:
        with sentinel_at(address) as sentinel:
            return len(known_by(sentinel)) == len(replicas_by(sentinel)) == 2

    def url(self, user: str) -> str:
        scheme, _, rest = Hosts((*ADDRESSES,), "").url.partition("://")
        return f"{scheme}://{user}:{quote(PASSWORDS[user], safe='')}@{rest}"


@pytest.fixture
def certificates(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Certificates:
    """Where those of all three are; none unless a test makes them."""
    made = Certificates(tmp_path_factory.mktemp("tls"))
    for module in (files, asking, addresses):
        monkeypatch.setattr(module, "TLS", made)
    return made


@pytest.fixture
def over_tls(certificates: Certificates, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """There are some, for the addresses of all three."""
    for module in ("rediswire", "redisserver", "sentinelbroker"):  # a handshake on a busy machine takes its time
        monkeypatch.setattr(f"gorgond.redpill.{module}.ROUND_TIMEOUT", 60.0)
    monkeypatch.setattr(secrets, "CREDENTIALS", tmp_path)
    monkeypatch.setattr(secrets, "GROUP", grp.getgrgid(os.getegid()).gr_name)
    monkeypatch.setattr(tls, "DIRECTORY", certificates.directory)
    tls.make_certificate(ADDRESSES, lambda _: None)


@pytest.fixture
def three(
    certificates: Certificates, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Several]:
    assert certificates
    monkeypatch.setattr("gorgond.redpill.sentinels.ANSWER", 60.0)  # a busy machine takes its time
    monkeypatch.setattr("gorgond.redpill.failover.ANSWER", 10.0)
    monkeypatch.setattr("gorgond.redpill.rediswire.ROUND_TIMEOUT", 60.0)  # in which four are asked, perhaps over TLS
    credentials = tmp_path_factory.mktemp("credentials")
    for user, password in PASSWORDS.items():
        (credentials / f"gorgond.broker.password.{user}").write_text(password)
    monkeypatch.setattr(secrets, "CREDENTIALS", credentials)
    with ExitStack() as closing:
        try:
            closing.enter_context(Network())
        except Refused as refused:
            left_out(str(refused))
        for address in ADDRESSES:
            ip(f"addr add {address}/24 dev {SWITCH}")
        sentinels = [Sentinel(tmp_path_factory.mktemp("sentinel"), each) for each in ADDRESSES]
        brokers = [Broker(tmp_path_factory.mktemp("broker"), each) for each in ADDRESSES]
        for sentinel, broker in zip(sentinels, brokers, strict=True):
            for server in (sentinel, broker):
                closing.callback(server.close)
                server.start()
        for address in ADDRESSES:  # or they would hear of the replicas ten seconds later
            with sentinel_at(address, may_order=True) as ordered:
                ordered.execute_command("SENTINEL RESET", NAME)
        made = Several(brokers, sentinels)
        eventually(made.in_step)
        for address in ADDRESSES:  # as the watch of each does
            with broker_at(address) as redis:
                for each in script.ALL:
                    redis.script_load(each.text)
        yield made


def done(work: Coroutine[Any, Any, T]) -> T:
    """The result of what waits for its broker for ever."""
    return asyncio.run(asyncio.wait_for(work, LONG))


def push(three: Several, *ids: str) -> None:
    """Jobs, as a web server queues them."""

    async def pushing() -> None:
        async with Producer(connect(three.url("web"), durable=False), "web@1.h1") as producer:
            for each in ids:
                await producer.push("store_put", Message("items.put", id=each))

    done(pushing())


async def queued(three: Several) -> int:
    link = connect(three.url("operator"), durable=False).link("look")
    try:
        (counts,) = await link.counts(["store_put"])
    finally:
        await link.close()
    assert counts.difference() == 0
    return counts.queued


def test_a_master_that_comes_back_is_a_replica_and_has_what_was_accepted_meanwhile(
    three: Several, expected_logs: Callable[[str], None]
) -> None:
    expected_logs("must have what counts the broker has [01] now|is away, waiting for it|is back after")
    # given a first master, on which the Sentinels agree, and a job
    old = three.of(three.master())
    assert old.address == ADDRESSES[0]
    push(three, "before")
    # when its host dies, and comes back after another one has taken over
    old.kill()
    eventually(lambda: three.master() != old.address)
    push(three, "meanwhile")
    old.start()
    # then it follows the other one, by what it was started with
    assert old.role.read_text() == f"replicaof {three.master()} 6379\n"
    eventually(three.in_step)
    # and has both jobs, as the other two
    copies = []
    for address in ADDRESSES:
        with broker_at(address) as redis:
            copies.append(redis.llen(keys.queue("store_put")))
    assert copies == [2, 2, 2]


def test_a_master_that_has_lost_its_disk_does_not_have_the_others_lose_theirs(
    three: Several, expected_logs: Callable[[str], None]
) -> None:
    expected_logs("must have what counts the broker has [01] now|is away, waiting for it|is back after")
    push(three, "before")
    # given a master that is started with an empty disk before anybody has missed it
    old = three.of(three.master())
    old.kill()
    shutil.rmtree(old.data)
    old.data.mkdir()
    old.start()
    # then all have what was accepted, since another one is the master
    eventually(three.in_step)
    assert done(queued(three)) == 1
    assert three.master() != old.address


def test_a_replica_that_was_left_out_follows_the_new_master_all_the_same(
    three: Several, expected_logs: Callable[[str], None]
) -> None:
    expected_logs("must have what counts the broker has [01] now|is away, waiting for it|is back after")
    # given Sentinels that look after what they have left out after an hour only
    for address in ADDRESSES:
        with sentinel_at(address, may_order=True) as sentinel:
            sentinel.execute_command("SENTINEL SET", NAME, "failover-timeout", 3_600_000)
    # and a replica that they take for down, when the master dies
    old = three.of(three.master())
    missed = next(each for each in three.brokers if each is not old)
    missed.pause()
    for address in ADDRESSES:
        eventually(lambda address=address: is_down(address, missed.address))  # type: ignore[misc]
    old.kill()
    eventually(lambda: three.master() != old.address)
    # when it goes on, then it follows the new master, which accepts something then
    missed.resume()
    push(three, "after")
    with broker_at(three.master()) as redis:
        assert following(redis.info("replication")) == {missed.address}


def is_down(sentinel: str, replica: str) -> bool:
    """Whether a Sentinel takes a replica for down."""
    with sentinel_at(sentinel) as asked:
        rows = asked.execute_command("SENTINEL REPLICAS", NAME)
    return any(row["ip"] == replica and "s_down" in row["flags"] for row in map(asking._about, rows))


def login() -> str:
    return f"{SENTINEL}:{quote(PASSWORDS[SENTINEL], safe='')}"


@pytest.mark.usefixtures("over_tls")
def test_over_tls_all_is_the_same(three: Several, expected_logs: Callable[[str], None]) -> None:
    expected_logs("must have what counts the broker has [01] now|is away, waiting for it|is back after")
    push(three, "before")
    with pytest.raises(ConnectionError), Redis(three.master(), 6379, socket_timeout=5) as redis:
        redis.ping()
    before, now = done(connect(three.url("operator"), durable=False).fail_over(login()))
    assert three.master() == now.partition(":")[0] != before.partition(":")[0]
    assert done(queued(three)) == 1


@pytest.mark.usefixtures("over_tls")
def test_who_is_invited_asks_over_tls_before_there_is_a_certificate(
    three: Several, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asking, "TLS", Certificates(tmp_path / "none"))
    assert named_by(ADDRESSES) == ""
    invitation = Invitation({tls.AUTHORITY: (tmp_path / tls.AUTHORITY).read_text()}, "")
    assert named_by(ADDRESSES, invitation.authority) == three.brokers[0].address


def test_a_master_that_is_alone_takes_nothing(three: Several) -> None:
    # given a master that has lost the others, and Sentinels that are stopped
    master = three.master()
    for sentinel in three.sentinels:
        sentinel.pause()
    for each in three.brokers:
        if each.address != master:
            each.kill()
    # then after some seconds it takes nothing
    with broker_at(master) as redis:
        eventually(lambda: refuses(redis))


def refuses(redis: Any) -> bool:
    try:
        redis.set("key", "text")
    except ResponseError as error:
        return "NOREPLICAS" in str(error)
    return False


def test_a_broker_waits_until_a_majority_of_the_sentinels_names_a_master(three: Several) -> None:
    own = ADDRESSES[2]
    assert role_text(own) == f"replicaof {three.master()} 6379\n"
    for sentinel in three.sentinels[:2]:
        sentinel.kill()
    with pytest.raises(GorgonError, match=r"no majority of 3 Sentinels names a master: the Sentinel at 10.0.0.1: "):
        role_text(own)


def test_a_host_leaves_and_the_others_know_nothing_of_it_any_more(
    three: Several, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given the host that has the master
    leaver = three.of(three.master())
    mark = tmp_path / "set.conf"
    mark.write_text(f"replica-announce-ip {leaver.address}\n")
    for name in ("OWN", "SENTINEL_BEGINS", "SENTINEL_KEEPS"):
        monkeypatch.setattr(leaving, name, tmp_path / mark.name)
    monkeypatch.setattr(files, "OWN", mark)
    stopping = {"gorgon-sentinel.service": three.sentinels[0].stop, "gorgon-broker.service": leaver.stop}
    monkeypatch.setattr(leaving, "systemctl", lambda *words: stopping.get(words[-1], bool)())
    environ = {"GORGOND_BROKER_URL": three.url("operator")}
    installation = Installation.of(None, environ)
    assert holds(done(look(installation)))[-1].startswith("three copies: one host may die")
    # when it leaves
    said: list[str] = []
    leaving.leave(installation, said.append)
    # then another one has the master, and the Sentinels of the others know nothing of it
    left = [each for each in ADDRESSES if each != leaver.address]
    assert three.master() in left
    assert said[0] == f"the master is {three.master()}:6379 now"
    assert said[-1].startswith("the old copy in /var/lib/gorgond/broker must be deleted before")
    for address in left:
        with sentinel_at(address) as sentinel:
            assert {master_by(sentinel), *known_by(sentinel), *replicas_by(sentinel)} == set(left)
    found = done(look(installation))
    assert holds(found)[-1].startswith("two copies")
    assert f"the Sentinel at {leaver.address}:26379 names no master" in " ".join(lines(found))
    # and a second one may not: nobody would take over
    mark.write_text(f"replica-announce-ip {left[0]}\n")
    with pytest.raises(GorgonError, match="without this host there would be 1 copies and 1 Sentinels"):
        leaving.leave(installation, said.append)
