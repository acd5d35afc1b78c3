"""The servers of a broker, each asked for itself: the master, its replicas, the Sentinels; alone, cut off, gone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from gorgond.chaos.servers import Server
from gorgond.redpill import Link, Replication, connect
from tests.conftest import RedisServer
from tests.sets import NAME, MakeSet, Member, Set
from tests.waiting import eventually, eventually_async


def place_of(member: Member) -> str:
    host, port = member.place
    return f"{host}:{port}"


async def wait_for(link: Link, right: Callable[[Replication], bool]) -> Replication:
    """What they say, once it is right."""
    found = Replication()

    async def is_right() -> bool:
        nonlocal found
        found = await link.replication()
        return right(found)

    await eventually_async(is_right)
    return found


def link_to(some: Set, copies: int = 1) -> Link:
    return connect(some.url(copies), durable=False).link("look")


async def test_a_redis_by_itself_is_one_copy(redis_factory: Callable[..., RedisServer]) -> None:
    link = connect(redis_factory().url).link("look")
    found = await link.replication()
    assert [(each.role, each.error) for each in found.servers] == [("master", "")]
    assert (found.sentinels, found.name, found.copies) == ((), "", 1)
    await link.close()


async def test_all_of_a_set_are_seen(make_set: MakeSet) -> None:
    some = make_set(replicas=2)
    master, *replicas = map(place_of, some.members)
    link = link_to(some)
    found = await wait_for(link, lambda found: found.copies == 3)
    assert (found.name, found.needed, found.named_master, found.masters) == (NAME, 1, master, [master])
    assert {each.where: each.follows for each in found.servers} == {master: "", **dict.fromkeys(replicas, master)}
    assert sorted(found.replicas) == sorted(replicas)
    assert [each.names for each in found.sentinels] == [master] * 3
    # a replica that is stopped says nothing, and is no copy
    some.members[1].pause()
    found = await wait_for(link, lambda found: found.copies == 2)
    (silent,) = (each for each in found.servers if not each.role)
    assert (silent.where, silent.error) == (place_of(some.members[1]), "no answer within 2 s")
    some.members[1].resume()
    # nor does a Sentinel that has ended
    some.sentinels[0].kill()
    found = await wait_for(link, lambda found: found.copies == 3)
    assert [bool(each.names) for each in found.sentinels] == [False, True, True]
    assert found.named_master == master
    await link.close()


async def test_a_replica_without_its_master_is_no_copy(make_set: MakeSet) -> None:
    some = make_set(replicas=1, down_after=600.0)
    link = link_to(some)
    await wait_for(link, lambda found: found.copies == 2)
    some.members[0].kill()
    found = await wait_for(
        link, lambda found: any(each.error == "its master does not answer it" for each in found.servers)
    )
    assert (found.copies, found.masters, found.replicas) == (0, [], [])
    assert found.named_master == place_of(some.members[0])
    await link.close()


async def test_two_masters_and_a_failover_are_seen(make_set: MakeSet) -> None:
    some = make_set(replicas=1, down_after=1.0)
    old, new = some.members
    link = link_to(some)
    await wait_for(link, lambda found: found.copies == 2)
    # when the master hangs until the other one is the master, and no Sentinel is there to tell it
    old.pause()
    await asyncio.to_thread(eventually, new.is_master)
    await wait_for(link, lambda found: found.named_master == place_of(new))
    for each in some.sentinels[:2]:
        each.kill()
    some.sentinels[2].pause()
    old.resume()
    # then both say that they are masters, and no majority names one
    found = await wait_for(link, lambda found: len(found.masters) == 2)
    assert sorted(found.masters) == sorted(map(place_of, some.members))
    assert found.named_master == ""
    some.sentinels[2].resume()
    await link.close()


def test_gorgon_chaos_asks_the_master_that_a_majority_names(make_set: MakeSet) -> None:
    # given a set whose first Sentinel hangs
    some = make_set(replicas=1, down_after=1.0)
    some.sentinels[0].pause()
    server = Server("broker", some.url())
    assert server.redis.role()[0] == "master"
    # when the master dies
    some.members[0].kill()
    # then it asks the next one
    eventually(server.answers)
    assert server.redis.role()[0] == "master"
    server.close()
    some.sentinels[0].resume()
