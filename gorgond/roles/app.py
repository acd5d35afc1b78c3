"""AppServer: runs the handlers of the applications, many at the same time in one event loop.

    web_get            requests, answered to the web server
    TOPIC/APPLICATION  events of the topics that an application listens to
    app_job:JOB        jobs, each of a queue of its own (gorgond.app.working)
    every so often     what an application has run by one instance at a time (gorgond.app.schedule), and jobs that are
                       enqueued by the clock (gorgond.app.cronloop)

Handlers ask store_get, store_put, and each provider: provider_get:NAME, provider_put:NAME. One that fails is its own
message's affair, and one that is slow holds up nobody; one that blocks the event loop holds up all others, so the log
tells it, with its stack.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from gorgond.app.application import Schedule
from gorgond.app.cancels import Cancels
from gorgond.app.cron import Cron
from gorgond.app.cronloop import CronLoop
from gorgond.app.dispatch import Dispatcher
from gorgond.app.jobs import WAIT, Job
from gorgond.app.jobstatus import CANCELS
from gorgond.app.limits import Gate
from gorgond.app.loading import load_apps
from gorgond.app.notifying import INBOX
from gorgond.app.schedule import ScheduleLoop
from gorgond.app.telemetry import open_spans
from gorgond.app.webhooks import Webhook
from gorgond.app.working import Worker
from gorgond.bounds import LIM_MAX
from gorgond.config import Config
from gorgond.errors import NotFound
from gorgond.notifiers import NOTIFIERS
from gorgond.redpill import (
    Attempts,
    BrokerError,
    GorgonError,
    Message,
    Outcome,
    Reply,
    Unique,
    loads,
    now_ms,
)
from gorgond.roles.row import Indexes
from gorgond.service.ends import Together
from gorgond.service.fabric import Fabric
from gorgond.service.life import Service
from gorgond.stores.declared import declaration
from gorgond.validators import Network

AGAIN = 5.0  # seconds until the stores are told again what they were not
ANSWER_MS = 5000  # for what they were told before
JOBS_AT_ONCE = 16  # jobs of one name under way at the same time
UNCOUNTED = Attempts(
    most=1_000_000
)  # it is the job's worker that counts them, and says in its status what became of it
EVENTS = 16  # events of one topic under way at the same time

log = logging.getLogger("gorgond.app")


class AppServer(Service):
    """One app server."""

    role = "app"

    def __init__(self, config: Config, fabric: Fabric, instance: str) -> None:
        super().__init__(config, fabric, instance)
        self._asking = {kind: self.caller(f"{kind}_data") for kind in ("store", "provider")}
        self._apps = load_apps(config)
        self._dispatcher = Dispatcher(self._apps, self)
        self._listening: dict[str, Together] = {}  # by queue
        self._scheduled: dict[str, ScheduleLoop | CronLoop] = {}  # by the loop's name
        self._working: dict[str, Together] = {}  # by queue
        self._workers: dict[str, Worker] = {}  # by queue
        self._cancels = Cancels(self)
        self._hears_cancels = False
        self._uniques = fabric.durable.link(f"{self.name} unique jobs")
        self._unique_turn = asyncio.Lock()
        self._gate = Gate(lambda queue: fabric.carrier(queue, fabric.durable), self.name)
        self.spans = open_spans(os.environ, self.role, self.name)

    async def start(self) -> None:
        self.concurrent_consumer("web_get", self._answer, self.config.app.requests)
        self._adjust()
        self.task(self._declare(), "declare")

    @property
    def kinds(self) -> Mapping[str, str]:
        """The kinds of notifications that the applications declare, with their titles."""
        return {kind: title for app in self._apps for kind, title in app.notifications.items()}

    @property
    def channels(self) -> Mapping[str, str]:
        """The channels over which notifications are sent, with the kind of each."""
        return {INBOX: INBOX, **{name: settings.kind for name, settings in self.config.channels.items()}}

    @property
    def loud(self) -> Mapping[str, bool]:
        """Those of them that disturb people, and whether digests are sent over them."""
        kinds = {name: NOTIFIERS.load(settings.kind) for name, settings in self.config.channels.items()}
        return {name: not kind.targets for name, kind in kinds.items() if kind.loud}

    @property
    def webhooks(self) -> Mapping[str, Sequence[Network]]:
        """The channel to endpoints of users' own, if there is one, with the private networks where those may be."""
        return {name: each.allow for name, each in self.config.channels.items() if isinstance(each, Webhook)}

    def _adjust(self) -> None:
        """Listen to the topics that the applications name now, and run what they have run every so often."""
        topics = {f"{topic}/{app.name}" for app in self._apps for topic in app.topics}
        jobs = {job.queue: job for app in self._apps for job in app.jobs.values()}
        self._workers = {queue: self._worker(job) for queue, job in jobs.items()}
        for ends, wanted in ((self._listening, topics), (self._working, jobs)):
            for queue, consumer in ends.items():
                if queue not in wanted:
                    consumer.stop()
        for queue in sorted(topics - self._listening.keys()):
            self._listen(queue)
        for queue in sorted(jobs.keys() - self._working.keys()):
            self._work(queue)
        if jobs and not self._hears_cancels:
            self._hears_cancels = True
            self.listener(CANCELS, self._cancels.hear, self._cancels.miss, usual=self.fabric.durable)
        self._adjust_schedules()

    def _adjust_schedules(self) -> None:
        wanted: dict[str, Schedule | Cron] = {each.name: each for app in self._apps for each in app.schedules.values()}
        wanted |= {f"cron:{name}": cron for app in self._apps for name, cron in app.crons.items()}
        for name, loop in self._scheduled.items():
            if loop.does is not wanted.get(name):
                loop.stop()
        for name, what in wanted.items():
            if name not in self._scheduled:
                self._schedule(name, what)

    async def _declare(self) -> None:
        """Tell the stores what the applications have indexed, and what they had: a document for each of their
        collections, which the stores find when they look."""
        while True:
            question = Message("indexes.find", {"filter": {}, "limit": LIM_MAX}, deadline=now_ms() + ANSWER_MS)
            try:
                documents = list(self._declarations(loads((await self.call("store_get", question)).body)))
                if documents:
                    await self.push("store_put", Message("indexes.replace", {"documents": documents}))
            except BrokerError as error:
                log.warning("the stores are not told yet what is to be indexed: %s", error)
            except GorgonError as error:  # no store answers, which others tell
                log.debug("the stores are not told yet what is to be indexed: %s", error)
            else:
                return
            await asyncio.sleep(AGAIN)

    def _declarations(self, stands: Sequence[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
        before = {document["id"]: document for document in stands}
        for app in self._apps:
            names = dict.fromkeys(app.collections)
            for id, document in before.items():
                if id.startswith(f"{app.name}.") and (document.get("newest") or document.get("values")):
                    names[id.removeprefix(f"{app.name}.")] = None
            for name in names:
                id = f"{app.name}.{name}"
                yield declaration(id, name, app.collections.get(name, Indexes()), before.get(id, {}))

    def _listen(self, queue: str) -> None:
        topic, _, group = queue.partition("/")

        async def hear(event: Message) -> Outcome:
            return await self._dispatcher.hear(queue, event)

        over = functools.partial(self._on_end, self._listening, queue)
        self._listening[queue] = self.concurrent_subscription(topic, group, hear, EVENTS, then=over)

    def _worker(self, job: Job) -> Worker:
        return Worker(job, self, self._cancels, self._gate, self.name, lambda: self.draining)

    def _work(self, queue: str) -> None:
        async def work(message: Message) -> Outcome:
            return await self._workers[queue].handle(message)

        over = functools.partial(self._on_end, self._working, queue)
        self._working[queue] = self.job_consumer(queue, work, JOBS_AT_ONCE, then=over, attempts=UNCOUNTED)

    def _schedule(self, name: str, what: Schedule | Cron) -> None:
        heartbeat = self.heartbeats.start(name)
        link, owner = self.fabric.durable.link(f"{self.name} {name}"), f"{self.consumes_as}:{os.getpid()}"
        hooks = self.hooks(heartbeat)
        if isinstance(what, Schedule):
            loop: ScheduleLoop | CronLoop = ScheduleLoop(what, self, link, owner, hooks=hooks)
        else:
            loop = CronLoop(what, self, link, owner, hooks=hooks)
        self._scheduled[name] = loop
        self.keep(loop, heartbeat, then=functools.partial(self._on_end, self._scheduled, name))

    def _on_end(self, loops: dict[str, Any], name: str) -> None:
        """One was stopped; it may be wanted again, or another one in its place."""
        del loops[name]
        if not self.draining:
            self._adjust()

    async def _answer(self, message: Message) -> Outcome:
        return await self._dispatcher.answer(message)

    def doing(self) -> str:
        return self.consuming() if self._apps else "waiting for an application: [app] module names none"

    def reload(self, config: Config) -> None:
        apps = load_apps(config)
        super().reload(config)
        self._apps = apps
        self._dispatcher = Dispatcher(apps, self)
        self._adjust()
        self.task(self._declare(), "declare")

    async def call(self, queue: str, message: Message) -> Reply:
        """Push a request and wait for the reply; its errors are raised. A provider that is not in the
        configuration nobody waits for."""
        kind = queue.partition("_")[0]
        if kind == "provider" and (name := queue.partition(":")[2]) not in self.config.providers:
            raise NotFound(f"there is no provider {name:.100}")
        reply = await self._asking[kind].call(queue, message)
        if reply.error is not None:
            raise reply.error
        return reply

    async def unique(self, queue: str, step: Unique) -> tuple[str, bytes]:
        """Take a step of a unique job of a queue."""
        async with self._unique_turn:
            return await self._uniques.persist(functools.partial(self._uniques.unique, queue, step))

    async def close(self) -> None:
        await self._uniques.close()
        await self._gate.close()
        if self.spans is not None:
            await self.spans.close()

    async def publish(self, topic: str, event: Message) -> None:
        """Publish an event; back when it is kept."""
        await self.producer(topic).publish(topic, event)

    def note_wait(self, queue: str, seconds: float) -> None:
        """Note how long a job has waited in its queue."""
        self.metrics.measure(f"{queue} {WAIT}", 1, 0, 0, seconds)

    async def push(self, queue: str, message: Message, at: int | None = None) -> None:
        """Push a job, due at a time if that is given; back when it is kept."""
        await self.producer(queue).push(queue, message, at=at)
