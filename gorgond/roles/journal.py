"""Journal: writes every change that a store announces to the system log.

It is the durable group `journal` of the topic store_notify, so events wait for it while it is away, as many
as a queue holds. An event is
settled after it is written: one that is killed in between writes it again, and its id tells that it is the same.
While the log is away the events wait; those of a batch that were written by then are settled, the others come again.
"""

from __future__ import annotations

from collections.abc import Sequence

from gorgond.config import Config
from gorgond.errors import LogAway
from gorgond.eventlog import open_event_log
from gorgond.redpill import DONE, Message, Outage, Outcome, Retry, Unavailable
from gorgond.service.fabric import Fabric
from gorgond.service.life import Service

TOPIC, GROUP = "store_notify", "journal"
BATCH = 200  # events that are settled together: the broker writes its disk once for all of them


class Journal(Service):
    """One writer of the log; several share the work."""

    role = "journal"

    def __init__(self, config: Config, fabric: Fabric, instance: str) -> None:
        super().__init__(config, fabric, instance)
        self.log = open_event_log(config.journal.file)
        self.outage = Outage(self.log.name)

    async def start(self) -> None:
        # In a thread, since writing blocks.
        self.subscription(TOPIC, GROUP, self._write, BATCH, self.fabric.room.messages, thread=True)

    async def close(self) -> None:
        self.log.close()

    def doing(self) -> str:
        if self.outage.length:
            return f"waiting for {self.outage.what} since {self.outage.length:.0f} s: {self.outage.reason}"
        return self.consuming()

    async def _write(self, events: Sequence[Message]) -> Sequence[Outcome]:
        try:
            self.log.write(events)
        except LogAway as away:
            self.outage.begin(str(away))
            if not away.written:
                raise Unavailable(str(away)) from None
            left = [Retry(str(away), delay=0.0)] * (len(events) - away.written)
            return [*([DONE] * away.written), *left]
        self.outage.end()
        return [DONE] * len(events)
