"""All that is heard and seen of a fabric, put together: what every instance tells each second, and what the brokers say
of themselves and of their queues. The stats server has one all the time, `gorgonctl` one for as long as it looks."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

from gorgond.redpill import Broker, BrokerAway, BrokerError, Counts, Link, Message, now_ms, overslept
from gorgond.service.channels import OPERATION
from gorgond.service.fabric import Fabric, topic_of
from gorgond.service.metrics import Operation
from gorgond.stats import channels
from gorgond.stats.brokers import BrokerHealth
from gorgond.stats.channels import Channels
from gorgond.stats.history import History
from gorgond.stats.instances import Expected, Instances, LifecycleEvent
from gorgond.stats.jobs import Jobs, is_wait
from gorgond.stats.losses import Losses
from gorgond.stats.picture import picture
from gorgond.stats.queues import Queues, together
from gorgond.stats.replication import Failover

ANSWER = 2.0  # seconds that a broker may take to say how it is
SEARCH = 1.0  # seconds between two searches for queues that nobody is heard to consume, and at least SHARE times as
SHARE = 100  # long as one takes
CLOCKS = 5  # seconds by which the time of an instance may differ before ours is taken: that of an earlier gorgond


class Watched:
    """A broker, and what it said of itself and its queues when it was last looked at."""

    def __init__(self, name: str, broker: Broker, queues: Collection[str] = (), keeps_route: bool = False) -> None:
        self.broker = broker
        self.health = BrokerHealth(name, broker.shown, queues)
        self._keeps_route = keeps_route
        self.counts: Mapping[str, Counts] | None = None  # None: it has never answered
        self.lost = False  # whether it did not answer, and we were not what was late
        self._answered = time.monotonic()
        self._search = 0.0  # when queues are searched for again

    async def look(self, link: Link, queues: Queues) -> None:
        """Ask it; `queues` are those that are known."""
        try:
            async with asyncio.timeout(ANSWER) as limit:
                if (now := time.monotonic()) > self._search:
                    queues.know(await link.queues())
                    self._search = now + max(SEARCH, SHARE * (time.monotonic() - now))
                names = list(queues.names)
                counts = dict(zip(names, await link.counts(names), strict=True))
                self.health.take_answer(await link.about())
                if self._keeps_route:
                    self.health.route = await link.route()
        except (BrokerError, TimeoutError) as error:
            self.health.reason = str(error) or f"no answer within {ANSWER:g} s"
            ours = isinstance(error, TimeoutError) and overslept(limit)
            self.lost = isinstance(error, BrokerAway | TimeoutError) and not ours
            self.health.away = max(time.monotonic() - self._answered, 0.1)
        else:
            self.counts, self._answered, self.lost = counts, time.monotonic(), False

    async def look_at_servers(self, link: Link) -> None:
        """Ask each of its servers how it is."""
        self.health.replication.hear(await link.replication())


class Collector:
    """Puts it together: `heard` gets what instances tell, each of `brokers` is looked at once a second."""

    def __init__(self, fabric: Fabric) -> None:
        self.history = History(now_ms() // 1000)
        self.brokers = [
            Watched(name, broker, fabric.queues_of(broker), keeps_route=broker is fabric.durable)
            for name, broker in fabric.named.items()
        ]
        self.queues = Queues()
        lasting = [each for each in self.brokers if each.broker is fabric.durable or each.broker not in fabric.main]
        self._losses = {each.broker: (each, Losses(each.health.name, each.health.where)) for each in lasting}
        self._fabric = fabric
        self._channels = Channels()
        self.jobs = Jobs()
        self._failovers: dict[str, Failover] = {}  # those that were told, by brokers
        self._began = time.monotonic()
        self._instances = Instances(self._began)

    @property
    def losses(self) -> list[Losses]:
        """Those of each broker that lasts."""
        return [losses for _, losses in self._losses.values()]

    def __len__(self) -> int:
        """How many instances were heard."""
        return len(self._instances.all)

    def hear(self, event: Message) -> None:
        """Take note of what an instance did in a second."""
        heard = time.monotonic()
        done = self._instances.hear(event.args, heard)
        if done is None:
            return
        self.queues.know(event.args["queues"])
        for queue in done.rejoined:
            self._losses[self._fabric.carrier(topic_of(queue), self._fabric.durable)][1].note_rejoin(queue)
        at, now = event.sent // 1000, now_ms() // 1000
        if abs(at - now) > CLOCKS:
            at = now
        role = str(event.args["role"])
        notifies = role == channels.ROLE
        whole = Operation()
        for name, operation in done.operations.items():
            if notifies and name.startswith(OPERATION):  # these are times that notifications took, not that it did
                continue
            self.history.add(f"{role} {name}", at, operation)
            if not is_wait(name):
                whole.merge(operation)
        if whole.count:
            self.history.add(role, at, whole)
        for name, operation in self._channels.hear(done, heard) if notifies else ():
            self.history.add(OPERATION + name, at, operation)
        self.jobs.hear(done, at // 60)

    def note_failure(self, event: Message) -> None:
        """Take note of an instance that cannot run. Raises KeyError for what does not say which."""
        name, run, why = (event.args[key] for key in ("name", "run", "why"))
        self._instances.note_failure(str(name), run, str(why), time.monotonic())

    def forget(self, name: str) -> None:
        """Miss no more what is missing: an instance, or what a broker has lost."""
        self._instances.forget(name)
        for losses in self.losses:
            losses.forget(name)

    def expect(self, them: Iterable[Expected]) -> None:
        """Miss these instances unless they are heard soon."""
        self._instances.expect(them, time.monotonic(), now_ms() / 1000)

    def expected(self) -> list[Expected]:
        """The instances that are there or missed, for the next stats server."""
        return self._instances.expected(time.monotonic(), now_ms() / 1000)

    def add_up(self, now: float, at: float, hearing: bool) -> list[LifecycleEvent]:
        """Take all that came until now into the figures, by the monotonic clock and that of the wall; what became of
        instances since the last time. Unless we are `hearing` them, nobody is silent."""
        self._instances.look(now, hearing)
        self._add_up_queues(now, int(at))
        self.history.advance(int(at))
        return [*self._instances.take_events(), *self._look_for_losses(now), *self._look_for_failovers(now)]

    def _look_for_failovers(self, now: float) -> Iterator[LifecycleEvent]:
        """The events that another Redis became a broker's master."""
        for each in self.brokers:
            failover = each.health.replication.failover
            if failover is not None and failover is not self._failovers.get(each.health.name):
                self._failovers[each.health.name] = failover
                text = f"{failover.now} is the master of {each.health.replication.last.name} instead of {failover.was}"
                yield LifecycleEvent("outage", each.health.name, failover.at, text)

    def _look_for_losses(self, now: float) -> Iterator[LifecycleEvent]:
        """The events that a broker that lasts has lost something."""
        for watched, losses in self._losses.values():
            self.queues.know(losses.queues)  # also those that it does not know any more
            if watched.counts is not None and losses.look(watched.counts):
                text = f"broker {watched.health.where} has less than it had accepted"
                yield LifecycleEvent("outage", watched.health.name, now, text)
            watched.health.lost, watched.health.deaf = losses.lost, losses.deaf

    def picture(self, now: float, at: float, database: dict[str, Any], marks: Sequence[Any]) -> dict[str, Any]:
        """All of it."""
        return picture(
            at, now, now - self._began, self._instances.all.values(), self.queues.rows(),
            self._channels.rows(self.queues.figures, self.history, now, int(at)),
            self.jobs.rows(self.queues.figures, int(at) // 60),
            [each.health.row() for each in self.brokers], database, self.history, marks,
        )  # fmt: skip

    def _add_up_queues(self, now: float, clock: int) -> None:
        """The queues' figures over all brokers, into the history too. Where one that may hold some has not said so yet,
        nothing is known of a queue."""
        parts = [each.counts for each in self.brokers if each.counts is not None]
        unknown = [each for each in self.brokers if each.counts is None]
        if not parts or any(each.broker in self._fabric.main for each in unknown):
            return
        untold = {name for each in unknown for name in each.health.queues}
        names = {name for name in set.intersection(*map(set, parts)) if topic_of(name) not in untold}
        self.queues.look({name: together([each[name] for each in parts]) for name in names}, now)
        self.queues.note(clock)
        self._channels.look(self.queues.figures)
        for name, grown in self.queues.growth.items():
            if grown.done or grown.expired:
                self.history.add(f"queue {name}", clock - 1, _amount(grown.done + grown.expired, grown.expired))


def _amount(count: int, errors: int) -> Operation:
    """So many, of which nobody knows how long they took."""
    found = Operation()
    found.latency.count, found.errors = count, errors
    return found
