"""AppServer: runs the handlers of the applications, many at the same time in one event loop.

    web_get            requests, answered to the web server
    TOPIC/APPLICATION  events of the topics that an application listens to

Handlers ask store_get, store_put, provider_get and provider_put. One that fails is its own message's affair, and one
that is slow holds up nobody; one that blocks the event loop holds up all others, so the log tells it, with its stack.
"""

from __future__ import annotations

import asyncio

from gorgond.app.dispatch import Dispatcher
from gorgond.app.loading import load_apps
from gorgond.config import Config
from gorgond.redpill import Caller, ConcurrentLane, ConcurrentSubscription, Message, Outcome, Producer, Reply
from gorgond.service.fabric import Fabric
from gorgond.service.life import Service
from gorgond.service.stall import StallWatch

EVENTS = 16  # events of one topic under way at the same time


class AppServer(Service):
    """One app server."""

    role = "app"

    def __init__(self, config: Config, fabric: Fabric, instance: str) -> None:
        super().__init__(config, fabric, instance)
        self.calls = Producer(fabric.calls, self.name, fabric.limit)
        same = fabric.lasting is fabric.calls
        self.events = self.calls if same else Producer(fabric.lasting, self.name, fabric.limit)
        self._callers = {
            kind: Caller(fabric.calls, self.calls, f"{kind}_data", self.name) for kind in ("store", "provider")
        }
        self._apps = load_apps(config)
        self._dispatcher = Dispatcher(self._apps, self)
        self._stalls = StallWatch()
        self._running: dict[ConcurrentLane, asyncio.Task[None]] = {}

    async def start(self) -> None:
        for producer in {self.calls, self.events}:
            producer.failed = self.fail
            producer.start()
        for kind, caller in self._callers.items():
            caller.beat = self.pulses.start(f"{kind} replies")
            caller.start()
        self._stalls.start()
        for broker in self.fabric.brokers:
            self._run(ConcurrentLane(broker, "web_get", self.name, self._answer, self.config.app.requests))
        self._listen()

    def _listen(self) -> None:
        """Listen to the topics that the applications name now, and to no others."""
        wanted = {f"{topic}/{app.name}" for app in self._apps for topic in app.topics}
        for lane in self._running:
            if isinstance(lane, ConcurrentSubscription) and lane.queue not in wanted:
                lane.stop()
        for queue in sorted(wanted - {lane.queue for lane in self._running}):
            topic, _, group = queue.partition("/")

            async def hear(event: Message, queue: str = queue) -> Outcome:
                return await self._dispatcher.hear(queue, event)

            self._run(ConcurrentSubscription(self.fabric.lasting, topic, group, self.name, hear, EVENTS))

    def _run(self, lane: ConcurrentLane) -> None:
        pulse = f"{lane.name} {lane.queue}"
        lane.beat = self.pulses.start(pulse)
        self.attend(lane)

        async def run() -> None:
            await lane.run()
            self.pulses.end(pulse)
            del self._running[lane]
            if not self.draining:
                self._listen()  # again, if it is wanted after all

        self._running[lane] = self.spawn(run(), pulse)

    async def _answer(self, message: Message) -> Outcome:
        return await self._dispatcher.answer(message)

    async def drain(self) -> None:
        for lane in self._running:
            lane.stop()
        if self._running:
            await asyncio.wait(list(self._running.values()))
        for caller in self._callers.values():
            await caller.stop()
        for producer in {self.calls, self.events}:
            await producer.stop()
        self._stalls.stop()

    def doing(self) -> str:
        return self.consuming() if self._apps else "waiting for an application: [app] module names none"

    def reload(self, config: Config) -> None:
        apps = load_apps(config)
        super().reload(config)
        self._apps = apps
        self._dispatcher = Dispatcher(apps, self)
        self._listen()

    async def call(self, queue: str, message: Message) -> Reply:
        """Push a request and wait for the reply; its errors are raised."""
        reply = await self._callers[queue.partition("_")[0]].call(queue, message)
        if reply.error is not None:
            raise reply.error
        return reply

    async def publish(self, topic: str, event: Message) -> None:
        """Publish an event; back when it is kept."""
        await self.events.publish(topic, event)
