"""DataProvider: one instance of a provider, [provider.NAME], which brings items in from outside and is asked by others.

    store_put            each item that its source brings, a message of its own
    provider_data        an event for each: NAME.arrived
    provider_get:NAME    what applications want fetched
    provider_put:NAME    what they want sent
    provider_hook:NAME   what was pushed to /hooks/NAME

`kind` says which source it has: `gorgond.providers`. There may be several instances, on other hosts or as NAME.2,
NAME.3 on the same one: one of them polls, all of them serve. A provider whose source is at its end ends too, with exit
code 0.
"""

from __future__ import annotations

import asyncio
import time

from gorgond.config import Config
from gorgond.providers import SOURCES
from gorgond.providers.polling import Polling
from gorgond.providers.pushing import Pushing
from gorgond.providers.serving import GET, HOOK, PUT, Serving
from gorgond.providers.source import Source, takes_hooks
from gorgond.redpill import contained
from gorgond.service.fabric import Fabric
from gorgond.service.leading import Leading
from gorgond.service.life import Service, log
from gorgond.service.watched import Beat

SERVED = 16  # requests that one instance has under way at the same time, from each queue
PATIENCE = 1.0  # seconds that a push under way has left when the provider is to end


class DataProvider(Service):
    """One instance of a provider."""

    role = "provider"

    def __init__(self, config: Config, fabric: Fabric, instance: str) -> None:
        super().__init__(config, fabric, instance)
        name = instance.partition(".")[0]
        settings = config.provider(instance)
        kind: type[Source] = SOURCES.load(settings.kind)
        self.source = kind(name, settings)
        self.pushing = Pushing(
            name, self.producer, fabric.room, self.metrics, lambda pushed: self.progress(pushed, self.source.total)
        )
        self._serving = Serving(self.source, self.pushing, self.metrics)
        self._leading = Leading(fabric.durable.link(f"{self.name} lease"), f"provider:{name}", self.consumes_as)
        self._polling = Polling(self.source, self._leading, self.pushing, self.caller("cursor_data"))
        self._queues = {f"{GET}:{name}": self._serving.get, f"{PUT}:{name}": self._serving.put}
        if takes_hooks(kind):
            self._queues[f"{HOOK}:{name}"] = self._serving.hook
        self._started = time.monotonic()

    async def start(self) -> None:
        self._started = time.monotonic()
        for queue, work in self._queues.items():
            self.concurrent_consumer(queue, work, SERVED)
        self._lead = self.loop(self._leading.run, "lease")
        self._poll = self.loop(self._poll_to_the_end, "poll", ends=True)

    async def _poll_to_the_end(self, beat: Beat) -> None:
        await self._polling.run(beat)
        self.finished = True
        self.stop()

    async def drain(self) -> None:
        self._polling.stop()
        await asyncio.wait({self._poll}, timeout=PATIENCE)
        self._poll.cancel()  # the broker is away; what of it was queued has the same ids at the next start
        await asyncio.wait({self._poll})

    async def close(self) -> None:
        self._lead.cancel()
        await asyncio.wait({self._lead})
        await self._leading.leave()
        try:
            await contained(self.source.close())
        except Exception:  # noqa: BLE001 - a source may fail as it likes
            log.exception("%s could not be closed", self.source.name)
        log.info("%s", self.summary())

    def doing(self) -> str:
        away = next((each for each in (self._polling.outage, self._polling.unread) if each.length), None)
        if away is not None:
            return f"waiting for {away.what} for {away.length:.0f} s: {away.reason}"
        pushed, total = self.pushing.pushed, self.source.total
        of = f" of {total:,}" if total else ""
        full = ", the queue is full" if self.pushing.full else ""
        polls = "" if self._leading.held else ", another instance polls"
        status = f"; {self.source.status}" if self.source.status else ""
        return f"pushing to store_put: {self._rate.of(pushed):.0f}/s, {pushed:,}{of}{full}{polls}{status}"

    def summary(self) -> str:
        """The number of items pushed, and at which rate; how many offers of an item were refused, and how many items
        were pushed after a refusal."""
        seconds = time.monotonic() - self._started
        counters, pushed = self.metrics.counters, self.pushing.pushed
        return (
            f"pushed {pushed:,} items in {seconds:.1f} s, {pushed / seconds:,.0f}/s; "
            f"refused {counters['refused']:,}, retried {counters['retried']:,}"
        )
