"""The face that all consumers show to whoever runs them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

from gorgond.redpill import keys
from gorgond.redpill.account import Account, Tally
from gorgond.redpill.broker import Broker
from gorgond.redpill.hooks import Hooks
from gorgond.redpill.outcome import Attempts
from gorgond.redpill.seldom import Seldom
from gorgond.redpill.session import Session


class AnyConsumer(ABC):
    """Consumes `queue` under `name`. `tally` is what it did since it started, `newer` tells of messages that it leaves
    for a newer one. A `Consumer` or a `ConcurrentConsumer`."""

    def __init__(
        self,
        broker: Broker,
        queue: str,
        name: str,
        attempts: Attempts,
        finishes: bool,
        hooks: Hooks,
        renewed: Callable[[], None] = lambda: None,
    ) -> None:
        keys.queue(queue)  # is it a name?
        self.queue = queue
        self.name = name
        self._attempts = attempts
        self._finishes = finishes
        self._beat = hooks.beat
        self._account = Account(name, queue, hooks.measure)
        self._session = Session(broker, queue, name, attempts.most, hooks.beat, renewed, self._account.count_rejoin)

    @property
    def tally(self) -> Tally:
        """Its figures."""
        return self._account.tally

    @property
    def newer(self) -> Seldom:
        """When it told of messages that need a newer consumer."""
        return self._account.newer

    @property
    def stopping(self) -> bool:
        """Whether `stop` was called."""
        return self._session.ending.asked

    def stop(self) -> None:
        """Take nothing more, finish what is in hand, end. From any thread."""
        self._session.ending.ask()

    async def run(self) -> None:
        """Consume until stopped. Raises Superseded when a newer process has taken its name, BrokerRefused when an
        operator must act. Cancelling it leaves its desk to be found."""
        await self._session.run(self._consume())

    @abstractmethod
    async def _consume(self) -> None:
        """Take the desk, and consume until the session is to end."""
