"""WebServer: takes HTTP requests, asks the other roles through the queues, answers.

Several instances serve one port: with a socket that systemd holds for all, or each with its own (SO_REUSEPORT). A
request that waits for a broker that is away is answered when it is back, as long as its deadline allows.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partial

from gorgond.app import jobapp, notes
from gorgond.app.letters import letter_channel
from gorgond.app.loading import load_apps
from gorgond.auth.sealing import Sealing
from gorgond.config import Config
from gorgond.errors import ConfigError, StoreRefused
from gorgond.http.answers import Answer, Problem, sendable, wants_page
from gorgond.http.api import Api, refusal
from gorgond.http.applications import routes_of
from gorgond.http.asking import Asking
from gorgond.http.hooks import Hooks
from gorgond.http.job_live import JobLive
from gorgond.http.routes import Routes
from gorgond.http.server import Server, open_port
from gorgond.http.website import Website
from gorgond.providers import SOURCES
from gorgond.providers.source import takes_hooks
from gorgond.redpill import (
    BrokerAway,
    BrokerError,
    Call,
    CallFailed,
    GorgonError,
    Message,
    Reply,
    Told,
    public_error,
)
from gorgond.service.ends import Together
from gorgond.service.fabric import Fabric
from gorgond.service.life import Service
from gorgond.service.share import Share
from gorgond.service.systemd import listening_sockets
from gorgond.service.watched import Beat
from gorgond.stores.filters import check_write
from gorgond.stores.requests import writes_of

RETRY_AFTER = {"stopping": "1", "queue_full": "1", "broker_away": "2", "broker_refused": "2"}  # seconds, by the reason
SEARCHES = 4  # that a client may have under way at a time
LOOK = 1.0  # seconds between two questions whether the durable broker lives

log = logging.getLogger("gorgond.web")


class WebServer(Service):
    """One web server."""

    role = "web"

    def __init__(self, config: Config, fabric: Fabric, instance: str) -> None:
        super().__init__(config, fabric, instance)
        self.calls = self.caller("web_data")
        self._searches = Share(SEARCHES, "searches")
        self._sealing = Sealing(config.auth.key)
        spawn, letters = partial(self.loop, ends=True), bool(letter_channel(config))
        self.site = Website(self, self._hear, spawn, _problem, tuple(config.oauth2), letters)
        self.job_live = JobLive(self._hear, spawn, Asking(self))
        self.server = Server(self._routes(config), config.web.deadline, _problem, self._measure, self._show)
        self.server.trusted_proxies = config.web.trusted_proxies
        self.server.secure = config.web.url.startswith("https://")
        self.port = 0
        self._answered = 0

    async def start(self) -> None:
        sockets = listening_sockets("web")
        if sockets is None:
            sockets = open_port(self.config.web.address, self.config.web.port)
        self.port = sockets[0].getsockname()[1]
        if not self.config.auth.key:
            log.warning(
                "[auth] key is empty: passwords go through the broker, and into its files, in clear text; "
                "docs/auth.md says how to make a key"
            )
        if self.fabric.durable is not self.fabric.calls:
            self.loop(self._look_after_jobs, "durable broker")
        self.loop(self.server.sweep, "sweep")
        self.server.listen(sockets)

    async def drain(self) -> None:
        # First no new requests, then the answers to those begun.
        self.site.close()
        self.job_live.close()
        await self.server.drain()

    def doing(self) -> str:
        return f"serving port {self.port}: {self._rate.of(self._answered):.0f}/s, {len(self.calls)} waiting"

    def _routes(self, config: Config) -> Routes:
        """The routes that it serves: gorgond's own API, the applications, and the website if its application is one of
        them. Raises ConfigError."""
        apps = load_apps(config)
        website = any(app is notes.app for app in apps)
        pages = [*self.site.routes] if website else []
        if any(app is jobapp.app for app in apps):
            pages += self.job_live.routes
        try:
            routes = Api(self, [*pages, *self._hooks(config).routes, *routes_of(apps, self)], config.web.api).routes
        except ValueError as error:
            raise ConfigError(f"an application has a route that is there already: {error}") from None
        self._website = website
        return routes

    def _hooks(self, config: Config) -> Hooks:
        kinds = {name: SOURCES.load(settings.kind) for name, settings in config.providers.items()}
        return Hooks(self, [name for name, kind in kinds.items() if takes_hooks(kind)])

    def _show(self, problem: Problem, request: str, headers: Mapping[str, str]) -> Answer:
        if self._website:
            return self.site.problem(problem, request, headers)
        return problem.page(request) if wants_page(headers) else problem.answer(request)

    def _hear(self, topic: str, heard: Callable[[str, Message], None], missed: Callable[[], None]) -> Together:
        return self.listener(topic, heard, missed, usual=self.fabric.durable)

    def reload(self, config: Config) -> None:
        self.server.routes = self._routes(config)
        super().reload(config)
        self.server.deadline_ms = int(config.web.deadline * 1000)

    async def call(self, queue: str, message: Message) -> Reply:
        """Push a request and wait for the reply; its errors are raised. Its secrets travel sealed."""
        reply = await self.calls.call(queue, self._sealing.sealed(message))
        if reply.error is not None:
            raise reply.error
        return reply

    def ask(self, queue: str, message: Message, told: Told) -> Call:
        """The same, for who is called with the reply or with the error."""
        return self.calls.ask(queue, self._sealing.sealed(message), told)

    async def push(self, queue: str, message: Message) -> None:
        """Push a job, which has no deadline once it is kept; until then the request's holds.

        It refuses what the store would refuse: later there is nobody to tell.
        """
        if queue == "store_put":
            for write in writes_of(message, queue):
                check_write(write)
        try:
            async with asyncio.timeout(self.server.deadline_ms / 1000):
                await self.producer(message.next or queue).push(queue, replace(message, deadline=0))
        except TimeoutError:
            raise BrokerAway("the broker did not take it in time; it may have it all the same") from None

    def searching(self, client: str) -> AbstractContextManager[None]:
        """For as long as the client at this address searches. Raises CallFailed 429."""
        return self._searches.take(client)

    def unready(self) -> CallFailed | None:
        """Why no requests should be sent here."""
        if self.draining:
            return CallFailed(503, "this server is about to stop", reason="stopping")
        for broker in self.fabric.main:  # without another one only what has its route there cannot be answered
            if broker.outage.length:
                return CallFailed(
                    503, f"the broker has been away for {broker.outage.length:.0f} s", reason="broker_away"
                )
            if not broker.met:
                return CallFailed(503, "the broker was not reached yet", reason="broker_away")
        return None

    async def _look_after_jobs(self, beat: Beat) -> None:
        """Ask the durable broker for a sign of life: between two jobs nobody else would notice that it is away."""
        link = self.fabric.durable.link(f"{self.name} look")
        try:
            while True:
                try:
                    await link.persist(link.ping, beat)
                except BrokerError:
                    self.fabric.durable.outage.begin(str(refusal))
                await asyncio.sleep(LOOK)
        finally:
            await link.close()

    def _measure(self, route: str, status: int, seconds: float, bytes: int) -> None:
        self._answered += 1
        self.metrics.count(f"http {status}")
        self.metrics.measure(route or "none", 1, status >= 500, bytes, seconds)


def _problem(error: GorgonError) -> Problem:
    """How an error of the fabric is told to the client."""
    if isinstance(error, StoreRefused):
        return refusal(error.code, str(error), error.field)
    failed = public_error(error)
    if failed is not None:
        retry = {"Retry-After": RETRY_AFTER.get(failed.reason, "5")} if failed.code == 503 else {}
        code = failed.code if 400 <= failed.code < 600 else 502
        return Problem(code, failed.message, retry | sendable(failed.headers), failed.field, failed.reason)
    log.error("no answer is known for %r", error)
    return Problem(500, "this failed; the log of the server has the reason")
