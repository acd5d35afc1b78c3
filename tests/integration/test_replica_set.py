"""A MongoDB of three members under bulk writes: whoever is its primary, all that was accepted is stored, once."""

from __future__ import annotations

import asyncio
import os
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing

import pytest

from gorgond.stores import open_store
from gorgond.stores.contract import Write
from gorgond.stores.mongo_indexing import NOT_PUT
from tests.conftest import RedisServer
from tests.integration.killing import Child, Fabric, Pusher
from tests.integration.replicas import Member, ReplicaSet
from tests.waiting import eventually_async

AWAY = "database .* is away"
BULK = 50  # notes that are pushed together
FAILOVERS = int(os.environ.get("FAILOVERS", "2"))  # of each kind; tools/prove primaries has more


@pytest.fixture
def replicas(mongod_binary: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ReplicaSet]:
    with ExitStack() as closing:

        def make() -> Member:
            member = Member(mongod_binary, tmp_path_factory.mktemp("member"))
            closing.callback(member.close)
            member.start()
            return member

        yield ReplicaSet(make)


async def wait_for_more(fabric: Fabric) -> None:
    """Wait until some more bulks are stored."""
    done = (await fabric.counts()).done

    async def going() -> bool:
        return (await fabric.counts()).done > done + 4 * BULK

    await eventually_async(going)


async def all_is_there(fabric: Fabric, pusher: Pusher, store: Child) -> None:
    """Check that every accepted job is stored, once, that waiting for the database was no attempt, and that the store
    never ended."""
    await fabric.kept(pusher.accepted)
    counts = await fabric.counts()
    assert (counts.retried, counts.recovered) == (0, 0)
    # the indexes are made when all members are there
    await asyncio.to_thread(store.logged, "database .* is back", len(re.findall(AWAY, store.text)))
    assert store.stop() == 0


async def test_indexes_are_made_although_a_member_is_down(replicas: ReplicaSet) -> None:
    # given a note, without which an index is there at once, and a member that is down and is not the primary
    primary = await asyncio.to_thread(replicas.primary)
    with closing(open_store(replicas.url("indexes"))) as store:
        assert store.write([Write("insert", "items", "a", 1, {"title": "x"})]) == ["stored"]
        next(member for member in replicas.members if member is not primary).kill()
        # when a store makes the indexes, then nobody waits for that member
        making = threading.Thread(target=lambda: (store.prepare(), store.make_search()), daemon=True)
        making.start()
        await eventually_async(lambda: not making.is_alive())
    with primary.client() as client:
        made = client["indexes"]["items"].index_information()
    assert NOT_PUT in made
    assert len(made) > 4


def test_an_address_that_demands_what_we_do_is_taken(replicas: ReplicaSet) -> None:
    with closing(open_store(f"{replicas.url('demands')}&w=majority&journal=true")) as store:
        assert store.write([Write("insert", "items", "a", 1, {"title": "x"})]) == ["stored"]


async def test_a_primary_that_steps_down_or_dies_loses_nothing(
    fabric_of: Callable[..., Fabric], durable: RedisServer, replicas: ReplicaSet
) -> None:
    fabric = fabric_of(durable.url, replicas.url("kills"))
    pusher = Pusher(fabric, BULK, 0.005)
    store = fabric.start_store()
    async with pusher.running():
        for _ in range(FAILOVERS):
            # when the primary makes place for another one
            await wait_for_more(fabric)
            await asyncio.to_thread(replicas.step_down)
            # and when it dies
            await wait_for_more(fabric)
            primary = await asyncio.to_thread(replicas.primary)
            primary.kill()
            await wait_for_more(fabric)
            await asyncio.to_thread(primary.start)
    await all_is_there(fabric, pusher, store)


async def test_what_the_primary_alone_has_is_not_stored(
    fabric_of: Callable[..., Fabric], durable: RedisServer, replicas: ReplicaSet
) -> None:
    fabric = fabric_of(durable.url, replicas.url("kills"))
    pusher = Pusher(fabric, BULK, 0.005)
    store = fabric.start_store()
    async with pusher.running():
        await wait_for_more(fabric)
        # given a primary that writes what nobody else hears of any more
        primary = await asyncio.to_thread(replicas.primary)
        others = [member for member in replicas.members if member is not primary]
        outages = len(re.findall(AWAY, store.text))
        for member in others:
            member.kill()
        # until it sees that it is alone, which the store is told
        await asyncio.to_thread(store.logged, AWAY, outages + 1)
        primary.kill()
        # when the others choose one of them, and what was the primary comes back to them
        for member in others:
            await asyncio.to_thread(member.start)
        await wait_for_more(fabric)
        await asyncio.to_thread(primary.start)
        await wait_for_more(fabric)
    # then all of it was written again
    await all_is_there(fabric, pusher, store)
