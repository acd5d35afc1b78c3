"""The ends of queues and topics that a service holds: it makes them, begins them, watches them and stops them.

    self.producer("jobs")                    pushes to that queue, or publishes on that topic
    self.caller("web_data")                  asks, and has its replies on a list of that name
    self.consumer("jobs", handle)            handles messages in batches; concurrent_consumer: side by side
    self.subscription("topic", "group", …)   handles events of a durable group in batches; concurrent_subscription
    self.listener("topic", heard)            hears what happens now

Each is at the broker that carries its queue or topic; what consumes or listens is at all that may hold some of it.
Producers and callers may be made at any time, and begin with the service. The others begin when they are made, in
`start` at the earliest. They stop in the order in which one needs the other: what consumes, what listens, callers,
producers.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import TypedDict, TypeVar, Unpack

from gorgond.redpill import (
    KEPT,
    AnyConsumer,
    Attempts,
    Broker,
    Caller,
    ConcurrentConsumer,
    ConcurrentSubscription,
    Consumer,
    Handler,
    Hooks,
    Listener,
    Message,
    Producer,
    Subscription,
    Work,
)
from gorgond.service.calling import RoutedCaller
from gorgond.service.fabric import Fabric, topic_of
from gorgond.service.heartbeat import Heartbeat
from gorgond.service.metrics import Metrics
from gorgond.service.watched import Stoppable, Watched

PATIENCE = 5.0  # seconds for which a producer that stops pushes what is still wanted


class Handling(TypedDict, total=False):
    """How consumers may handle messages, as redpill's take it."""

    attempts: Attempts
    finishes: bool


E = TypeVar("E", Producer, Caller)


class QueueEnds(Watched):
    """Those of one service, all of its `name`. Its desks and leases are also told apart from those of a service of that
    name on another `machine`: as which it `consumes_as`."""

    def __init__(self, fabric: Fabric, name: str, machine: str) -> None:
        super().__init__()
        self.fabric = fabric
        self.name = name
        self.consumes_as = f"{name}:{machine}"
        self.metrics = Metrics()
        self.consumers: list[AnyConsumer] = []  # those that are over too: what they did was done by the service
        self._producers: dict[Broker, Producer] = {}
        self._callers: list[Caller] = []
        self._listeners: list[Listener] = []
        self._beating: dict[Producer | Caller, Heartbeat] = {}
        self._begun = False

    def producer(self, name: str, usual: Broker | None = None) -> Producer:
        """The service's producer to that queue or topic; `usual` is the broker of what has no route, the durable one
        unless another is given. One for all that goes over the same broker."""
        return self.producer_over(self.fabric.carrier(name, usual or self.fabric.durable))

    def producer_over(self, broker: Broker) -> Producer:
        """That over a broker, for what goes on over the one that it came over."""
        if broker not in self._producers:
            self._producers[broker] = self._begin_if_begun(self._producer(self.name, broker))
        return self._producers[broker]

    def producer_apart(self, name: str, to: str, usual: Broker | None = None) -> Producer:
        """One of that name to queue or topic `to`, that the service neither begins nor stops: for the handler of a
        consumer that runs in a thread, to which it is given."""
        return self._producer(name, self.fabric.carrier(to, usual or self.fabric.durable))

    def _producer(self, name: str, broker: Broker) -> Producer:
        heartbeat = self.heartbeats.start(f"{name} push to {broker.outage.what}")
        producer = Producer(broker, name, self.fabric.room, hooks=self.hooks(heartbeat))
        self._beating[producer] = heartbeat
        return producer

    def caller(self, list_name: str, usual: Broker | None = None) -> RoutedCaller:
        """A caller over `usual`, that of calls unless another is given, and over the brokers of what has a route, whose
        replies come to lists of its own that begin so."""
        return RoutedCaller(self.fabric, usual or self.fabric.calls, functools.partial(self._caller_over, list_name))

    def _caller_over(self, list_name: str, broker: Broker) -> Caller:
        heartbeat = self.heartbeats.start(f"{self.name} {list_name} at {broker.outage.what}")
        caller = Caller(broker, self.producer_over(broker), list_name, self.name, hooks=self.hooks(heartbeat))
        self._beating[caller] = heartbeat
        self._callers.append(caller)
        return self._begin_if_begun(caller)

    def _begin_if_begun(self, end: E) -> E:
        if self._begun:
            end.start()
        return end

    def listener(
        self,
        topic: str,
        heard: Callable[[str, Message], None],
        missed: Callable[[], None] = lambda: None,
        *,
        usual: Broker | None = None,
    ) -> Together:
        """Hear what happens on this topic now, at the broker of calls unless another is given or it has a route; until
        the service drains, or the listener is stopped."""
        listeners = []
        for broker in self.fabric.holders(topic, (usual or self.fabric.calls,)):
            heartbeat = self.heartbeats.start(f"{self.name} listens to {topic} at {broker.outage.what}")
            listener = Listener(broker, [topic], self.name, heard, missed, hooks=self.hooks(heartbeat))
            self._listeners.append(listener)
            self.keep(listener, heartbeat, then=functools.partial(self._listeners.remove, listener))
            listeners.append(listener)
        return Together(listeners)

    def consumer(
        self,
        queue: str,
        handler: Handler,
        batch: int = 64,
        *,
        broker: Broker | None = None,
        part: str = "",
        thread: bool = False,
        producer: Producer | None = None,
        heartbeat: Heartbeat | None = None,
        **handling: Unpack[Handling],
    ) -> None:
        """Consume a queue, on each broker that may hold some of it unless one is given.

        Several of one queue at one broker need each a name, whose end is `part`. With `thread` the handler may block; a
        `producer` apart, with which it pushes, begins and stops there with the consumer. A handler that takes long, and
        lives, beats a `heartbeat` that it shares with its consumer.
        """
        name = f"{self.consumes_as}.{part}" if part else self.consumes_as
        for each in self.holders(queue) if broker is None else (broker,):
            beat = heartbeat or self._heartbeat(queue, each, name)
            consumer = Consumer(each, queue, name, handler, batch, hooks=self.hooks(beat, queue), **handling)
            self._consume(consumer, beat, thread=thread, producer=producer)

    def concurrent_consumer(self, queue: str, work: Work, limit: int = 100, **handling: Unpack[Handling]) -> None:
        """Consume a queue, on each broker that may hold some of it: up to `limit` messages side by side."""
        for broker in self.holders(queue):
            heartbeat = self._heartbeat(queue, broker, self.consumes_as)
            hooks = self.hooks(heartbeat, queue)
            self._consume(
                ConcurrentConsumer(broker, queue, self.consumes_as, work, limit, hooks=hooks, **handling), heartbeat
            )

    def job_consumer(
        self,
        queue: str,
        work: Work,
        limit: int = 100,
        *,
        then: Callable[[], None] = lambda: None,
        **handling: Unpack[Handling],
    ) -> Together:
        """Consume a queue to which jobs alone go, on each broker that may hold some of it: up to `limit` messages side
        by side; `then` is called when it was stopped and has ended."""

        def make(broker: Broker, hooks: Hooks) -> AnyConsumer:
            return ConcurrentConsumer(broker, queue, self.consumes_as, work, limit, hooks=hooks, **handling)

        return self._together(queue, make, then)

    def subscription(
        self,
        topic: str,
        group: str,
        handler: Handler,
        batch: int = 64,
        kept: int = KEPT,
        *,
        thread: bool = False,
        **handling: Unpack[Handling],
    ) -> None:
        """Handle the events of a durable group, which keeps so many; with `thread` the handler may block."""
        queue = f"{topic}/{group}"
        for broker in self.fabric.holders(topic, (self.fabric.durable,)):
            heartbeat = self._heartbeat(queue, broker, self.consumes_as)
            hooks = self.hooks(heartbeat, queue)
            subscription = Subscription(
                broker, topic, group, self.consumes_as, handler, batch, kept, hooks=hooks, **handling
            )
            self._consume(subscription, heartbeat, thread=thread)

    def concurrent_subscription(
        self,
        topic: str,
        group: str,
        work: Work,
        limit: int = 100,
        kept: int = KEPT,
        *,
        then: Callable[[], None] = lambda: None,
        **handling: Unpack[Handling],
    ) -> Together:
        """Handle the events of a durable group, up to `limit` side by side; `then` is called when it was stopped and
        has ended."""
        queue = f"{topic}/{group}"

        def make(broker: Broker, hooks: Hooks) -> AnyConsumer:
            return ConcurrentSubscription(
                broker, topic, group, self.consumes_as, work, limit, kept, hooks=hooks, **handling
            )

        return self._together(queue, make, then)

    def _together(self, queue: str, make: Callable[[Broker, Hooks], AnyConsumer], then: Callable[[], None]) -> Together:
        """The consumers of a queue at each broker that may hold some of it; `then` is called when all have ended."""
        consumers = list[AnyConsumer]()

        def over(consumer: AnyConsumer) -> None:
            consumers.remove(consumer)
            if not consumers:
                then()

        for broker in self.fabric.holders(topic_of(queue), (self.fabric.durable,)):
            heartbeat = self._heartbeat(queue, broker, self.consumes_as)
            consumer = make(broker, self.hooks(heartbeat, queue))
            consumers.append(consumer)
            self._consume(consumer, heartbeat, then=functools.partial(over, consumer))
        return Together(consumers)

    def holders(self, queue: str) -> Sequence[Broker]:
        """The brokers that may hold some of a queue to which both calls and jobs go."""
        return self.fabric.holders(queue, self.fabric.main)

    def _heartbeat(self, queue: str, broker: Broker, name: str) -> Heartbeat:
        return self.heartbeats.start(f"{name} {queue} at {broker.outage.what}")

    def hooks(self, heartbeat: Heartbeat, queue: str = "") -> Hooks:
        """The hooks that an end is given for the service to hear of it; a consumer, of that queue."""
        if not queue:
            return Hooks(heartbeat.beat, self.fail)
        return Hooks(heartbeat.beat, self.fail, functools.partial(_measure, self.metrics.part(), queue))

    def _consume(
        self,
        consumer: AnyConsumer,
        heartbeat: Heartbeat,
        *,
        thread: bool = False,
        producer: Producer | None = None,
        then: Callable[[], None] = lambda: None,
    ) -> None:
        self.consumers.append(consumer)
        # A broker in memory is of one event loop, which all of its users share.
        thread = thread and not any(broker.in_process for broker in self.fabric.brokers)
        if producer is None:
            self.keep(consumer, heartbeat, thread=thread, then=then)
        else:
            self.keep(_Pushing(consumer, producer), heartbeat, thread=thread, then=self._beating[producer].end)

    def _begin_ends(self) -> None:
        self._begun = True
        for producer in self._producers.values():
            producer.start()
        for caller in self._callers:
            caller.start()

    async def _stop_ends(self) -> None:
        """Finish what consumers have in hand, which may need all others; then stop those."""
        await self._stop_kept(lambda loop: loop not in self._listeners)
        await self._stop_kept(lambda loop: True)
        await self._stop_pushing(PATIENCE)

    async def _stop_pushing(self, timeout: float) -> None:
        """Stop callers and producers, which push for so long what is still wanted."""
        for caller in self._callers:
            await caller.stop()
            self._beating[caller].end()
        for producer in self._producers.values():
            await producer.stop(timeout)
            self._beating[producer].end()


class Together:
    """What one thing is at several brokers, to be stopped together."""

    def __init__(self, them: Sequence[Stoppable]) -> None:
        self._them = them

    def stop(self) -> None:
        """Stop each."""
        for each in list(self._them):
            each.stop()


class _Pushing:
    """A consumer with the producer of its handler."""

    def __init__(self, consumer: AnyConsumer, producer: Producer) -> None:
        self._consumer, self._producer = consumer, producer

    @property
    def stopping(self) -> bool:
        return self._consumer.stopping

    def stop(self) -> None:
        self._consumer.stop()

    async def run(self) -> None:
        async with self._producer:
            await self._consumer.run()


def _measure(metrics: Metrics, queue: str, op: str, count: int, errors: int, bytes: int, seconds: float) -> None:
    metrics.measure(f"{queue} {op}", count, errors, bytes, seconds)
