"""A channel whose users name several targets each, as browsers: who names many that hang keeps nobody else waiting.

A server sends to AT_ONCE of a user's targets at the same time. What finds no place, and what was tried in vain, comes
again later as a message of its own: a consumer hands out one that was started before with little else beside it, since
that may have killed somebody, and would wait with it for a target that hangs.
"""

from __future__ import annotations

import random

from gorgond.app.clients import StoreClient
from gorgond.app.notifying import QUEUE
from gorgond.notifiers.delivering import PATIENT, Outside, Server
from gorgond.notifiers.notifier import Notifier
from gorgond.notifiers.pace import Pace
from gorgond.notifiers.places import Places
from gorgond.redpill import DONE, BrokerError, Message, Outcome, Retry, now_ms

AT_ONCE = 8  # to one user, by one server
BUSY = 1.0  # seconds, more or less, until one comes again that found no place; twice as long each time
TRIES = "tries"  # the argument of a message that says how often it has come again


class Targeted(Outside):
    """Such a channel."""

    def __init__(self, notifier: Notifier, store: StoreClient, server: Server, pace: Pace, site: str) -> None:
        super().__init__(notifier, store, server, pace, site)
        self._places = Places()

    async def handle(self, message: Message) -> Outcome:
        if not message.args.get("target"):
            return await super().handle(message)
        user, tries = str(message.args.get("user")), message.args.get(TRIES, 0)
        if self._places.taken(user) >= AT_ONCE:
            # Not all at the same moment: eight of them would find a place again, and no more.
            delay = BUSY * 2.0 ** min(tries, 9) * random.uniform(0.5, 1.5)
            return await self._again(message, Retry("others are on their way to its user", delay))
        with self._places.place(user):
            outcome = await super().handle(message)
        return await self._again(message, outcome) if isinstance(outcome, Retry) else outcome

    async def _again(self, message: Message, retry: Retry) -> Outcome:
        """Have a message come again as another one. When that cannot be had, it comes again itself."""
        tries = message.args.get(TRIES, 0) + 1
        delay = PATIENT.delay(tries) if retry.delay is None else retry.delay
        again = message.forward(args={**message.args, TRIES: tries})
        try:
            await self._server.push(f"{QUEUE}:{self.name}", again, now_ms() + int(delay * 1000))
        except BrokerError:
            return retry
        return DONE
