"""A store without a database: answers every request of store_get at once, with no items."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from gorgond.config import load
from gorgond.redpill import Done, Lane, Message, Outcome
from gorgond.service.fabric import connect_fabric
from gorgond.service.life import Service
from gorgond.service.log import set_up
from gorgond.service.process import run_process


class Echo(Service):
    """One lane on the broker of the calls."""

    role = "store"

    async def start(self) -> None:
        lane = Lane(self.fabric.calls, "store_get", self.name, _answer)
        lane.beat = self.pulses.start("lane")
        self.attend(lane)
        self._running = self.spawn(lane.run(), "lane")

    async def drain(self) -> None:
        self.lanes[0].stop()
        await self._running

    def doing(self) -> str:
        return self.consuming()


async def _answer(batch: Sequence[Message]) -> Sequence[Outcome]:
    return [Done(b"[]")] * len(batch)


def _main() -> int:
    config = load(None, os.environ, {})
    set_up(config.log.level, config.log.format, "store@echo")
    return run_process(lambda: Echo(config, connect_fabric(config), "echo"), lambda: config)


if __name__ == "__main__":
    sys.exit(_main())
