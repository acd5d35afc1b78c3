"""What the fabric has to do with a copy of its database.

    follow     the stores announce on the topic `store_changed` under which ids they have written; a durable group keeps
               that from before the pass begins, also while nobody copies
    pass       all that is there is copied, and compared
    pause      with --finish: the queues of writes are paused on all brokers; when nothing of them is in hand, all that
               was announced is copied, the rest is looked at, and it is noted in both databases which one it is now
    go over    the operator starts the stores anew with the new address; when all say so, the queues are resumed

Broken off at any point, the same command goes on. In the pause it resumes the queues before it ends, unless it is
killed: then they wait until it goes on, or the operator resumes them. Once it is noted in the databases nothing is
copied any more, since the stores may write to the new one: what is left is to wait for them.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from gorgond.commands.copying.copying import Copy
from gorgond.commands.operator.brokers import Links, open_links
from gorgond.commands.operator.text import table
from gorgond.commands.progress import Bar
from gorgond.errors import GorgonError, StoreAway, StoreDenied
from gorgond.redpill import DONE, BrokerAway, Listener, Message, Outage, Outcome, Subscription
from gorgond.roles import WRITTEN
from gorgond.service.fabric import Fabric

TOPIC, GROUP = "store_changed", "copy"
NAME = "copy@1"  # of who follows, on any host: a second copy takes over, and the first one ends
LOOK = 0.1  # seconds between two looks whether something is so by now
HEARD = 3.0  # seconds of listening after which each store that lives has told of itself
RECENT = 5.0  # seconds within which an instance that lives has told of itself
PATIENCE = 60.0  # seconds that brokers may take to answer
AGAIN = 1.0  # seconds until a database that is away is asked again

T = TypeVar("T")


class Running:
    """A copy that runs; `there` is the address of its target as the stores will have it, without passwords. What there
    is to tell goes to `say`."""

    def __init__(self, copy: Copy, fabric: Fabric, there: str, say: Callable[[str], None]) -> None:
        self._copy = copy
        self._fabric = fabric
        self._there = there
        self._say = say
        self._thread = ThreadPoolExecutor(1)
        self._stopping = threading.Event()
        self._outage = Outage("a database")
        self._failed: Exception | None = None
        self._stores: dict[str, tuple[str, float]] = {}  # by name: its database, and when it has told of it
        self._early: set[str] = set()  # those that do not tell, as they announce nothing either
        self._listening: float | None = None  # since when
        self._dropped = 0  # announcements, before this copy began

    async def run(self, finish: bool) -> None:
        """Do it. Raises GorgonError."""
        listener = Listener(self._fabric.calls, ["stats"], "copy", self._hear, self._begin_to_hear)
        listening = asyncio.create_task(listener.run())
        try:
            if await self._do(self._copy.begin):
                await self._level(finish)
            else:
                self._say(f"all is in {self._there} already")
                finish = True
            if finish:
                await self._go_over()
        finally:
            self._stopping.set()
            listener.stop()
            await asyncio.gather(listening, return_exceptions=True)
            self._thread.shutdown()

    def _begin_to_hear(self) -> None:
        """Servers tell of themselves; what they told before there was this connection is missed."""
        self._listening = time.monotonic()

    def _hear(self, _: str, event: Message) -> None:
        """A server tells of itself."""
        if str(event.args.get("role", "")).startswith("store"):
            name, database = str(event.args["name"]), str(event.args.get("database", ""))
            self._stores[name] = database, time.monotonic()
            if not database:
                self._early.add(name)

    def _has_heard(self) -> bool:
        """Whether all stores that live have told of themselves."""
        return self._listening is not None and time.monotonic() - self._listening > HEARD

    async def _level(self, finish: bool) -> None:
        """Copy all that is there, and what is changed meanwhile; to the last change if that is asked for."""
        broker = self._fabric.carrier("store_notify", self._fabric.durable)  # whose way it goes
        follower = Subscription(broker, TOPIC, GROUP, NAME, self._apply)
        following = asyncio.create_task(follower.run())
        try:
            await self._until(follower.joined.is_set, following)
            async with open_links(self._fabric, PATIENCE) as links:
                _, self._dropped = await _announced(links)
            bar, total = Bar("copied"), await self._do(self._copy.total)
            while await self._do(self._copy.step):
                self._check(following)
                bar.show(min(self._copy.done, total - 1), total)
            bar.show(total, total)
            if finish:
                await self._finish(following)
            self._tell()
            if not finish:
                self._say("what is changed from now on is kept for the next run; --finish moves the stores over")
        finally:
            follower.stop()
            await asyncio.gather(following, return_exceptions=True)

    async def _apply(self, events: Sequence[Message]) -> Sequence[Outcome]:
        changed: dict[str, list[str]] = {}
        for event in events:
            changed.setdefault(event.args["collection"], []).extend(event.args["ids"])
        try:
            await self._do(lambda: self._copy.apply(changed))
        except Exception as error:
            self._failed = error
            raise
        return [DONE] * len(events)

    def _check(self, following: asyncio.Task[None]) -> None:
        """Raises what went wrong with those who follow, and with those who are to announce."""
        if self._failed is not None:
            raise GorgonError(f"what was changed meanwhile could not be copied: {self._failed}") from self._failed
        if following.done():
            following.result()
        if self._early:
            raise GorgonError(
                f"{' '.join(sorted(self._early))}: of an earlier gorgond, which does not announce what it writes;"
                " upgrade all stores, then begin once more"
            )

    async def _until(self, true: Callable[[], bool], following: asyncio.Task[None]) -> None:
        while not true():
            self._check(following)
            await asyncio.sleep(LOOK)

    async def _finish(self, following: asyncio.Task[None]) -> None:
        """Have all written that is under way, copy the last of it, and note in the databases which one it is now.
        Meanwhile no store writes."""
        await self._until(self._has_heard, following)
        async with open_links(self._fabric, PATIENCE) as links:
            began = time.monotonic()
            try:
                for link in links.values():
                    for queue in WRITTEN:
                        await link.pause(queue)
                while await _written(links) or not await self._has_followed(links):
                    self._check(following)
                    links.extend()
                    await asyncio.sleep(LOOK)
                while await self._do(self._copy.step):  # collections that are new
                    links.extend()
                comparing = asyncio.create_task(self._do(self._copy.compare))
                while not comparing.done():
                    links.extend()
                    await asyncio.wait([comparing], timeout=LOOK)
                comparing.result()
                if not await _paused(links):
                    raise GorgonError("somebody has resumed the queues meanwhile: begin once more")
            except BaseException:
                await self._resume(links)
                raise
        # Whoever ends this from here on leaves the queues paused: the thread does not stop half way, and what it notes
        # cannot be taken back.
        await self._do(self._copy.leave)
        self._say(f"the stores write nothing since {time.monotonic() - began:.1f} s; requests to write wait")

    async def _has_followed(self, links: Links) -> bool:
        """Whether all that was announced is copied."""
        left, dropped = await _announced(links)
        if dropped > self._dropped:
            raise GorgonError("more was changed than could be followed: begin once more, when less is written")
        return left == 0

    async def _go_over(self) -> None:
        """Wait until all stores work on the new database, then have them go on."""
        self._say(f"say [store] url = {self._there} on each host, and start the stores anew: gorgonctl restart store")
        told = ""
        while True:
            await asyncio.sleep(LOOK)
            there = {name: url for name, (url, at) in self._stores.items() if time.monotonic() - at < RECENT}
            late = sorted(name for name, url in there.items() if url != self._there)
            if there and not late and self._has_heard():
                break
            if (waiting := " ".join(late) or "any store") != told:
                told = waiting
                self._say(f"waiting for {told}; broken off, the queues stay paused, and the same command goes on")
        while True:
            try:
                async with open_links(self._fabric, PATIENCE) as links:
                    await self._resume(links)
                    for link in links.values():
                        await link.forget(TOPIC, GROUP)
            except BrokerAway:
                await asyncio.sleep(LOOK)
            else:
                break
        self._say("the stores write again, to the new database")

    async def _resume(self, links: Links) -> None:
        for link in links.values():
            for queue in WRITTEN:
                await link.resume(queue)

    def _tell(self) -> None:
        sums = sorted(self._copy.sums.items())
        rows = [(name, f"{each.documents:,}", f"{each.digest:032x}") for name, each in sums]
        for line in table(("collection", ">documents", "digest"), rows):
            self._say(line)

    async def _do(self, work: Callable[[], T]) -> T:
        """Have the thread do that; while a database is away it is waited for, and the work begun anew."""

        def patiently() -> T:
            while True:
                try:
                    done = work()
                except StoreDenied:
                    raise
                except StoreAway as away:
                    self._outage.begin(str(away))
                    if self._stopping.wait(AGAIN):
                        raise
                else:
                    self._outage.end()
                    return done

        return await asyncio.get_running_loop().run_in_executor(self._thread, patiently)


async def _written(links: Links) -> int:
    """How many messages the stores have in hand that write."""
    counts = [each for link in links.values() for each in await link.counts(WRITTEN)]
    return sum(each.in_flight for each in counts)


async def _paused(links: Links) -> bool:
    """Whether nobody takes from the queues of writes."""
    counts = [each for link in links.values() for each in await link.counts(WRITTEN)]
    return all(each.paused for each in counts)


async def _announced(links: Links) -> tuple[int, int]:
    """How many announcements were not followed yet, and how many were ever dropped, as there were too many."""
    counts = [each for link in links.values() for each in await link.counts([f"{TOPIC}/{GROUP}"])]
    return sum(each.queued + each.in_flight + each.delayed for each in counts), sum(each.overflow for each in counts)
