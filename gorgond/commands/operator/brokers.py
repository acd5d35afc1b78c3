"""The brokers, for a question or a change by the operator."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from gorgond.commands.operator.installation import Installation
from gorgond.errors import GorgonError
from gorgond.redpill import BrokerAway, Link
from gorgond.service.fabric import Fabric

PATIENCE = 3.0  # seconds that they may take


class Links(dict[str, Link]):
    """A link to each broker by its name, `durable` first; within `patience` seconds they have to answer."""

    def __init__(self, fabric: Fabric, patience: float) -> None:
        super().__init__({name: each.link("gorgonctl") for name, each in fabric.named.items()})
        self.patience = patience
        self.timeout = asyncio.timeout(patience)

    def extend(self) -> None:
        """They have as long again: there is more to ask than fits into that."""
        self.timeout.reschedule(asyncio.get_running_loop().time() + self.patience)


@asynccontextmanager
async def open_links(fabric: Fabric, patience: float = PATIENCE) -> AsyncIterator[Links]:
    """A link to each broker. Raises BrokerAway when they do not answer in time."""
    links = Links(fabric, patience)
    try:
        async with links.timeout:
            yield links
    except TimeoutError:
        raise BrokerAway(f"no answer within {patience:g} s") from None
    finally:
        for link in links.values():
            await link.close()


async def check_known(links: Links, queue: str) -> None:
    """Raises GorgonError when no broker knows a queue of that name: it is a slip of the keyboard."""
    names = sorted({name for link in links.values() for name in await link.queues()})
    if queue not in names:
        raise GorgonError(f"there is no queue {queue}; there are {' '.join(names) or 'none yet'}")


async def pause(installation: Installation, queues: list[str], undo: bool) -> list[str]:
    """Pause or resume these queues on every broker; what was done, in words. Raises GorgonError."""
    said = []
    async with open_links(installation.connect()) as links:
        for queue in queues:
            await check_known(links, queue)
        for queue in queues:
            # The durable broker first: what it says counts for consumers of both.
            changed = [await (link.resume(queue) if undo else link.pause(queue)) for link in links.values()]
            state = "resumed" if undo else "paused: pushes go on, nothing is taken from it"
            was = "was not paused" if undo else "was paused already"
            said.append(f"{queue} {f'is {state}' if any(changed) else was}")
    return said
