"""A store without a database: answers every request of store_get at once, with no items.

    python -m tools.speed.echo INSTANCE

Each on a fabric has a name of its own: of two of a name the newer one ends the other.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from gorgond.config import load
from gorgond.redpill import Done, Message, Outcome
from gorgond.service.fabric import connect_fabric
from gorgond.service.life import Service
from gorgond.service.log import set_up
from gorgond.service.process import run_process


class Echo(Service):
    """One consumer on the broker of the calls."""

    role = "store"

    async def start(self) -> None:
        self.consumer("store_get", _answer, broker=self.fabric.calls)

    def doing(self) -> str:
        return self.consuming()


async def _answer(batch: Sequence[Message]) -> Sequence[Outcome]:
    return [Done(b"[]")] * len(batch)


def _main(instance: str) -> int:
    config = load(None, os.environ, {})
    set_up(config.log.level, config.log.format, f"store@{instance}")
    return run_process(lambda: Echo(config, connect_fabric(config), instance), lambda: config)


if __name__ == "__main__":
    sys.exit(_main(sys.argv[1]))
