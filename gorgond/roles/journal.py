"""Journal: writes every change that a store announces to the system log, or to another sink.

It is the durable group `journal` of the topic store_notify, so events wait for it while it is away, as many as a queue
holds. `gorgond.sinks.handing` says what becomes of them when the log is away, or a journal is killed.
"""

from __future__ import annotations

from gorgond.config import Config
from gorgond.service.fabric import Fabric
from gorgond.service.life import Service
from gorgond.sinks.handing import BATCH, Handing
from gorgond.sinks.opening import open_sink

TOPIC, GROUP = "store_notify", "journal"


class Journal(Service):
    """One writer of the log; several share the work."""

    role = "journal"

    def __init__(self, config: Config, fabric: Fabric, instance: str) -> None:
        super().__init__(config, fabric, instance)
        self._handing = Handing(open_sink(config.journal))

    async def start(self) -> None:
        # In a thread, since writing blocks.
        self.subscription(TOPIC, GROUP, self._handing.handle, BATCH, self.fabric.room.messages, thread=True)

    async def close(self) -> None:
        self._handing.close()

    def doing(self) -> str:
        return self._handing.waiting() or self.consuming()
