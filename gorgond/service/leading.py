"""The instance that does what one alone may do, as a provider that polls: one of several, as long as it can show that
it lives.

Each instance asks for the lease of a name every second, and the one that has it keeps it. When that one is killed
the lease ends after LEASE seconds, and another one gets it. An instance that could not keep it, since the broker was
away or the instance hung, knows by its own clock that it has ended.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import time

from gorgond.redpill import BrokerError, Lease, Link
from gorgond.service.watched import Beat

LEASE = 10.0  # seconds for which the lease is taken each time
LOOK = 1.0  # seconds between two looks, and two renewals
LEAVE = 1.0  # seconds that giving it up may take; else it ends by itself


class Leading:
    """The lease of one name, for `owner`: a successor of the same name has it at once."""

    def __init__(self, link: Link, name: str, owner: str) -> None:
        self.term = 0  # another one has led when it is another number
        self._link = link
        self._name = name
        self._owner = owner
        self._until = 0.0  # on the monotonic clock
        self._stands = ""  # the lease, as the broker told it last
        self._asked = asyncio.Event()

    @property
    def held(self) -> bool:
        """Whether it is ours to do."""
        return time.monotonic() < self._until

    async def look(self, timeout: float) -> None:
        """Wait until the broker was asked again, so many seconds at most."""
        self._asked.clear()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._asked.wait(), timeout)

    async def run(self, beat: Beat) -> None:
        """Ask, again and again, until cancelled."""
        while True:
            began = time.monotonic()
            lease = await self._link.persist(functools.partial(self._ask, LEASE), beat)
            if lease.token:
                self.term, self._until = lease.token, began + LEASE
            else:
                self._until = 0.0
            self._asked.set()
            await asyncio.sleep(LOOK)

    async def leave(self) -> None:
        """Let another one have it at once, if the broker is there."""
        try:
            if self.held:
                async with asyncio.timeout(LEAVE):
                    await self._ask(0)
        except (BrokerError, TimeoutError):
            pass
        finally:
            await self._link.close()

    async def _ask(self, seconds: float) -> Lease:
        lease = await self._link.lease(self._name, self._owner, seconds, None, self._stands)
        self._stands = lease.stands
        return lease
