"""Topics: every durable group gets each event once and keeps it until handled; listeners hear what happens now.

Events are published with `Producer.publish`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from gorgond.redpill.broker import IDLE, Broker
from gorgond.redpill.concurrent import ConcurrentConsumer, Work
from gorgond.redpill.consumer import Consumer, Handler
from gorgond.redpill.ending import Ending
from gorgond.redpill.hooks import UNHEARD, Hooks
from gorgond.redpill.logline import about, log
from gorgond.redpill.message import Message, decode
from gorgond.redpill.outcome import THREE, Attempts
from gorgond.redpill.seldom import Seldom

KEPT = 1_000_000  # events a group keeps at most; beyond that the oldest are dropped and counted


class Subscription(Consumer):
    """A consumer of a durable group: of all consumers of the group, one handles each event of the topic.

        async def tidy(events):
            return [DONE for event in events]

        await Subscription(broker, "order_changes", "tidy", "till@1", tidy).run()

    The group `group` of `topic` is made when `run` begins, and gets all events from then on, also while nobody consumes
    it. It keeps the newest `kept` of them. `joined`, an `asyncio.Event`, is set once no further event is missed.
    `broker`, `name`, `handler`, `batch`, `attempts`, `finishes`, `hooks` and what is raised are as those of a
    `Consumer`, and so is what `run` raises.
    """

    def __init__(
        self,
        broker: Broker,
        topic: str,
        group: str,
        name: str,
        handler: Handler,
        batch: int = 64,
        kept: int = KEPT,
        *,
        attempts: Attempts = THREE,
        finishes: bool = False,
        hooks: Hooks = UNHEARD,
    ) -> None:
        queue = f"{topic}/{group}"
        super().__init__(broker, queue, name, handler, batch, attempts=attempts, finishes=finishes, hooks=hooks)
        self._session.join(topic, group, kept)
        self.joined = self._session.joined


class ConcurrentSubscription(ConcurrentConsumer):
    """A concurrent consumer of a durable group: it handles many events at the same time, each for itself.

        await ConcurrentSubscription(broker, "order_changes", "mail", "till@1", work, limit=50).run()

    `topic`, `group` and `kept` are as those of a `Subscription`. `broker`, `name`, `work`, `limit`, `attempts`,
    `finishes`, `hooks` and what is raised are as those of a `ConcurrentConsumer`.
    """

    def __init__(
        self,
        broker: Broker,
        topic: str,
        group: str,
        name: str,
        work: Work,
        limit: int = 100,
        kept: int = KEPT,
        *,
        attempts: Attempts = THREE,
        finishes: bool = False,
        hooks: Hooks = UNHEARD,
    ) -> None:
        queue = f"{topic}/{group}"
        super().__init__(broker, queue, name, work, limit, attempts=attempts, finishes=finishes, hooks=hooks)
        self._session.join(topic, group, kept)
        self.joined = self._session.joined


class Listener:
    """Hears the events of topics as they are published, and never those that it missed.

        listener = Listener(broker, ["order_changes"], "page", lambda topic, event: print(topic, event.op))
        await listener.run()

    `broker` is what `connect` gave. `topics` are the names of the topics. `name` says in the log who listens. `heard`
    is called with the topic and the event, a `Message`, and must not block. `missed` is called each time a connection
    is made, since events may have been published while there was none. Of the `hooks`, `beat` is called as the
    loop turns.

    An event that cannot be read, or for which `heard` raises, is dropped; the log says so, with how many they are, once
    a minute at most. `run` ends after `stop`, and raises BrokerRefused when an operator must act.
    """

    def __init__(
        self,
        broker: Broker,
        topics: Sequence[str],
        name: str,
        heard: Callable[[str, Message], None],
        missed: Callable[[], None] = lambda: None,
        *,
        hooks: Hooks = UNHEARD,
    ) -> None:
        self._beat = hooks.beat
        self._dropped = Seldom()  # events that could not be read or not be understood
        self._missed = missed
        self._link = broker.link(f"{name} listener")
        self._topics = tuple(topics)
        self._heard = heard
        self._ending = Ending(broker, patience=0)  # what is cut off is heard by nobody, as all that comes later

    @property
    def stopping(self) -> bool:
        """Whether `stop` was called."""
        return self._ending.asked

    def stop(self) -> None:
        """End at once."""
        self._ending.ask()

    async def run(self) -> None:
        """Listen until stopped."""
        try:
            await self._ending.over(self._listen())
        finally:
            await self._link.close()

    async def _listen(self) -> None:
        connects = 0
        while not self._ending.asked:
            found = await self._link.persist(lambda: self._link.listen(self._topics, IDLE), self._beat)
            if connects != self._link.connects:
                connects = self._link.connects
                self._missed()
            if found is not None:
                self._hear(*found)

    def _hear(self, topic: str, raw: bytes) -> None:
        """Deliver an event. A publisher may publish anything: what cannot be read, or not be understood, is dropped."""
        event: Message | None = None
        try:
            event = decode(raw)
            self._heard(topic, event)
        except Exception as error:  # noqa: BLE001 - it may fail in any way
            if not (count := self._dropped.add()):
                return
            if event is None:
                log.warning("an event of %s is dropped: %s (%d by now)", topic, error, count)
            else:
                log.exception(
                    "an event of %s, %.100s, is not understood (%d by now)",
                    topic, event.op, count, extra=about(event.id),
                )  # fmt: skip
