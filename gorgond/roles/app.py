"""AppServer: runs the handlers of the applications, many at the same time in one event loop.

    web_get            requests, answered to the web server
    TOPIC/APPLICATION  events of the topics that an application listens to
    every so often     what an application has run by one instance at a time (gorgond.app.schedule)

Handlers ask store_get, store_put, and each provider: provider_get:NAME, provider_put:NAME. One that fails is its own
message's affair, and one that is slow holds up nobody; one that blocks the event loop holds up all others, so the log
tells it, with its stack.
"""

from __future__ import annotations

import asyncio
import os

from gorgond.app.dispatch import Dispatcher
from gorgond.app.loading import load_apps
from gorgond.app.schedule import ScheduleLoop
from gorgond.config import Config
from gorgond.errors import NotFound
from gorgond.redpill import Caller, ConcurrentConsumer, ConcurrentSubscription, Message, Outcome, Producer, Reply
from gorgond.service.fabric import Fabric
from gorgond.service.life import Service

EVENTS = 16  # events of one topic under way at the same time


class AppServer(Service):
    """One app server."""

    role = "app"

    def __init__(self, config: Config, fabric: Fabric, instance: str) -> None:
        super().__init__(config, fabric, instance)
        self.calls = Producer(fabric.calls, self.name, fabric.room, hooks=self.hooks("push calls"))
        same = fabric.durable is fabric.calls
        self.events = (
            self.calls if same else Producer(fabric.durable, self.name, fabric.room, hooks=self.hooks("push events"))
        )
        self._callers = {
            kind: Caller(fabric.calls, self.calls, f"{kind}_data", self.name, hooks=self.hooks(f"{kind} replies"))
            for kind in ("store", "provider")
        }
        self._apps = load_apps(config)
        self._dispatcher = Dispatcher(self._apps, self)
        self._running: dict[ConcurrentConsumer | ScheduleLoop, asyncio.Task[None]] = {}

    async def start(self) -> None:
        for producer in {self.calls, self.events}:
            producer.start()
        for caller in self._callers.values():
            caller.start()
        for broker in self.fabric.brokers:
            name = f"{self.name} web_get at {broker.outage.what}"
            limit, hooks = self.config.app.requests, self.consumer_hooks(name, "web_get")
            self._consume(ConcurrentConsumer(broker, "web_get", self.name, self._answer, limit, hooks=hooks), name)
        self._adjust()

    def _adjust(self) -> None:
        """Listen to the topics that the applications name now, and run what they have run every so often."""
        topics = {f"{topic}/{app.name}" for app in self._apps for topic in app.topics}
        schedules = {schedule for app in self._apps for schedule in app.schedules.values()}
        listening, running = set(), set()
        for loop in self._running:
            if isinstance(loop, ScheduleLoop):
                running.add(loop.schedule.name)
                if loop.schedule not in schedules:
                    loop.stop()
            elif isinstance(loop, ConcurrentSubscription):
                listening.add(loop.queue)
                if loop.queue not in topics:
                    loop.stop()
        for queue in sorted(topics - listening):
            self._listen(queue)
        for schedule in schedules:
            if schedule.name not in running:
                link = self.fabric.durable.link(f"{self.name} {schedule.name}")
                owner, hooks = f"{self.name}:{os.getpid()}", self.hooks(schedule.name)
                self._keep(ScheduleLoop(schedule, self, link, owner, hooks=hooks), schedule.name)

    def _listen(self, queue: str) -> None:
        topic, _, group = queue.partition("/")

        async def hear(event: Message) -> Outcome:
            return await self._dispatcher.hear(queue, event)

        name = f"{self.name} {queue}"
        hooks = self.consumer_hooks(name, queue)
        self._consume(
            ConcurrentSubscription(self.fabric.durable, topic, group, self.name, hear, EVENTS, hooks=hooks), name
        )

    def _consume(self, consumer: ConcurrentConsumer, name: str) -> None:
        self.consumers.append(consumer)
        self._keep(consumer, name)

    def _keep(self, loop: ConcurrentConsumer | ScheduleLoop, name: str) -> None:
        """Run a loop until it was stopped."""

        async def run() -> None:
            await loop.run()
            self.heartbeats.end(name)
            del self._running[loop]
            if not self.draining:
                self._adjust()  # it may be wanted again, or another one in its place

        self._running[loop] = self.spawn(run(), name, ends=True)

    async def _answer(self, message: Message) -> Outcome:
        return await self._dispatcher.answer(message)

    async def drain(self) -> None:
        for loop in self._running:
            loop.stop()
        if self._running:
            await asyncio.wait(list(self._running.values()))
        for caller in self._callers.values():
            await caller.stop()
        for producer in {self.calls, self.events}:
            await producer.stop()

    def doing(self) -> str:
        return self.consuming() if self._apps else "waiting for an application: [app] module names none"

    def reload(self, config: Config) -> None:
        apps = load_apps(config)
        super().reload(config)
        self._apps = apps
        self._dispatcher = Dispatcher(apps, self)
        self._adjust()

    async def call(self, queue: str, message: Message) -> Reply:
        """Push a request and wait for the reply; its errors are raised. A provider that is not in the
        configuration nobody waits for."""
        kind = queue.partition("_")[0]
        if kind == "provider" and (name := queue.partition(":")[2]) not in self.config.providers:
            raise NotFound(f"there is no provider {name:.100}")
        reply = await self._callers[kind].call(queue, message)
        if reply.error is not None:
            raise reply.error
        return reply

    async def publish(self, topic: str, event: Message) -> None:
        """Publish an event; back when it is kept."""
        await self.events.publish(topic, event)
