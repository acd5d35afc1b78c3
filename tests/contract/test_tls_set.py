"""A set of Redis servers over TLS, with the certificates of gorgonctl tls: nothing else is taken for it, nothing stops
when they are renewed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import redis

from gorgond.chaos.servers import Server
from gorgond.commands import tls
from gorgond.redpill import Message, Producer, Replication, connect
from tests.certificates import kept_in
from tests.contract.stage import OUTAGE, refused
from tests.sets import PASSWORD, MakeSet, Member
from tests.waiting import eventually

DAY = 86_400


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where gorgonctl tls makes them for this test, good for ten days."""
    monkeypatch.setattr("gorgond.redpill.sentinels.ANSWER", 60.0)  # a busy machine takes its time
    for module in ("rediswire", "redisserver", "sentinelbroker"):
        monkeypatch.setattr(f"gorgond.redpill.{module}.ROUND_TIMEOUT", 60.0)
    monkeypatch.setattr("gorgond.redpill.servers.ANSWER", 60.0)
    monkeypatch.setattr(tls, "HOST_DAYS", 10)
    return kept_in(tmp_path, monkeypatch)


def reload(member: Member) -> list[str]:
    """What gorgonctl tls does with the broker that runs here."""
    said: list[str] = []
    with redis.Redis(unix_socket_path=str(member.socket), password=PASSWORD, decode_responses=True) as broker:
        tls.reload_broker(broker, said.append)
    return said


def ends_of(replication: Replication) -> dict[str, float]:
    """When the certificate ends that each server shows."""
    ends = {each.where: each.ends for each in replication.servers}
    ends |= {each.where: each.ends for each in replication.sentinels}
    return {where: end or 0.0 for where, end in ends.items()}


async def test_it_is_pushed_to_and_followed_over_tls_alone(
    files: Path, make_set: MakeSet, expected_logs: Callable[[str], None]
) -> None:
    expected_logs(OUTAGE)
    tls.make_certificate((), lambda _: None)
    some = make_set(replicas=1, down_after=1.0, tls=files, appendonly="yes")
    url = some.url()
    assert url.startswith("sentinels://")
    async with Producer(connect(url, durable=False), "test") as producer:
        await producer.push("q", Message("one"))
        # when the master dies, then the next one is found over TLS
        some.members[0].kill()
        await asyncio.to_thread(eventually, some.members[1].is_master)
        some.members[0].start()
        await producer.push("q", Message("two"))
    link = connect(url).link("look")
    [counts] = await link.counts(["q"])
    assert counts.accepted == 2
    await link.close()
    # as gorgon-chaos finds it
    chaos = Server("broker", url)
    assert chaos.count_accepted("q") == 2
    chaos.close()
    # and nobody gets in without
    plain = url.replace("sentinels://", "sentinel://").partition("&")[0]
    assert (await refused(plain)).startswith("BrokerAway: no majority of the Sentinels")


async def test_servers_of_another_name_are_refused(
    files: Path, make_set: MakeSet, monkeypatch: pytest.MonkeyPatch, expected_logs: Callable[[str], None]
) -> None:
    expected_logs("others in the network may pass for the broker: leave ssl_check_hostname=false out of its address")
    # given certificates of our CA that have not the address by which the servers are met
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr(tls, "own_addresses", list)
        tls.make_certificate(["db1.example"], lambda _: None)
    url = make_set(replicas=0, tls=files).url(copies=0)
    # then nobody connects, but who asks for less, and is told
    told = await refused(url)
    assert told.startswith("BrokerAway: ")
    assert "its certificate is not accepted" in told
    assert await refused(f"{url}&ssl_check_hostname=false") == "nothing is wrong"
    # nor does gorgon-chaos
    assert [Server("broker", each).answers() for each in (url, f"{url}&ssl_check_hostname=false")] == [False, True]


async def test_a_certificate_is_renewed_while_all_goes_on(
    files: Path, make_set: MakeSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gorgond.redpill.servers.FRESH", 0.0)
    tls.make_certificate((), lambda _: None)
    some = make_set(replicas=1, tls=files, appendonly="yes")
    link, look = connect(some.url()).link("works"), connect(some.url()).link("look")
    await link.ping()
    client = await link.clock()
    before = await look.replication()
    assert all(end - time.time() < 11 * DAY for end in ends_of(before).values())
    # when the certificate is renewed
    monkeypatch.setattr(tls, "HOST_DAYS", 730)
    tls.make_certificate((), lambda _: None)
    for member in some.members:
        assert reload(member)[0] == "the broker that runs here shows it from now on"
    # then whoever connects sees the new one, and a Sentinel shows it when it was started anew
    some.sentinels[0].kill()
    some.sentinels[0].start()
    after = await look.replication()
    fresh = [where for where, end in ends_of(after).items() if end - time.time() > 365 * DAY]
    host, port = some.sentinels[0].place
    assert sorted(fresh) == sorted([*(each.where for each in after.servers), f"{host}:{port}"])
    assert after.copies == 2
    # and the connection of before is still there
    assert await link.clock() >= client
    await link.close()
    await look.close()
