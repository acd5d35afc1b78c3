"""A consumer that handles its messages in batches: one after the other, as large as the load makes them.

The handler gets the messages of a batch and returns one outcome for each. `Unavailable`, raised by the handler, says
that what it depends on is away: the consumer keeps the batch, shows that it lives, and calls again. Any other exception
fails the batch; its messages come again few at a time, the last time one by one.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence

from gorgond.redpill.account import Handled
from gorgond.redpill.broker import BATCH_MAX, Broker, Claim
from gorgond.redpill.consuming import AnyConsumer
from gorgond.redpill.foreign import contained
from gorgond.redpill.hooks import UNHEARD, Hooks
from gorgond.redpill.logline import handling, log
from gorgond.redpill.message import Message
from gorgond.redpill.outcome import THREE, Attempts, Outcome, Retry, Unavailable, settle
from gorgond.redpill.persist import BACKOFF
from gorgond.redpill.received import Received, receive
from gorgond.redpill.session import Abandoned, SignsOfLife

Handler = Callable[[Sequence[Message]], Awaitable[Sequence[Outcome]]]


class Consumer(AnyConsumer):
    """Consumes a queue, a batch at a time.

        async def handle(messages):
            return [Done(b'{"price": 12}') if message.reply else DONE for message in messages]

        consumer = Consumer(broker, "orders", "till@1", handle, attempts=Attempts(10, first=1, longest=3600))
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, consumer.stop)
        await consumer.run()

    `broker` is what `connect` gave, `queue` the name of the queue. `name` must be the consumer's own among all
    processes, and is best the same when it is started anew: of two of a name the newer wins. `handler` is given up to
    `batch` messages, 1 to 1000, and returns an outcome for each: `Done`, `Retry` or `Dead`. It may be given a message
    twice, and blocks no more than the event loop of this consumer. It may raise `Unavailable` when what it needs is
    away; any other error makes all messages of the batch come again.

    `attempts` is how often a message is started, and after how many seconds again. With `finishes` a consumer also
    handles a message whose deadline has passed, if it may have been started before: use it where the handler makes a
    change in several steps, of which the first may have been done. `hooks` are called as the loop turns, and for each
    operation of a batch. Raises ValueError for another `batch`, and for what is no name of a queue.

    `run` ends after `stop`, with the desk empty. It raises Superseded when a newer process has this name, and
    BrokerRefused when an operator must act. Cancelling it leaves its desk to be found by others.
    """

    def __init__(
        self,
        broker: Broker,
        queue: str,
        name: str,
        handler: Handler,
        batch: int = 64,
        *,
        attempts: Attempts = THREE,
        finishes: bool = False,
        hooks: Hooks = UNHEARD,
    ) -> None:
        if not 0 < batch <= BATCH_MAX:
            raise ValueError(f"a consumer takes 1 to {BATCH_MAX} messages at a time, not {batch}")
        super().__init__(broker, queue, name, attempts, finishes, hooks)
        self._handler = handler
        self._batch = batch
        self._signs = SignsOfLife(self._session)
        self._took = 0.0  # seconds that the handler had for the last batch

    async def _consume(self) -> None:
        session = self._session
        await session.take()
        raws: Sequence[bytes] = await session.claim(Claim(), self._batch)
        while raws or not session.ending.asked:
            session.ending.idle = not raws
            if raws:
                raws = await session.claim(await self._handle(raws), self._batch)
            else:
                raw = await session.wait()
                if raw is not None:
                    raws = (raw,)
                elif not session.ending.asked:
                    raws = await session.claim(Claim(), self._batch)

    async def _handle(self, raws: Sequence[bytes]) -> Claim:
        """Handle a batch: the claim that settles it. Its replies are the session's to send."""
        received = receive(raws, self._finishes)
        self._account.count_received(received)
        in_hand = handling.set([message.id for _, message in received.messages])
        try:
            handled = await self._outcomes(received)
        finally:
            handling.reset(in_hand)
        answers: list[int] = []
        for index, message, outcome in handled:
            failure, reply = settle(index, message, outcome, self._attempts)
            answers.append(len(reply))
            if failure is not None:
                received.failures.append(failure)
            if reply:
                await self._session.answer(message.reply, reply)
        self._account.count_settled(received, handled, answers, self._took)
        return Claim(done=len(raws), expired=received.expired, failures=received.failures)

    async def _outcomes(self, received: Received) -> Handled:
        """The handler's outcomes for the messages; those whose deadline passes while it is unable are expired."""
        delay = BACKOFF[0]
        while received.messages:
            self._beat()
            outcomes = await self._try([message for _, message in received.messages])
            if outcomes is not None:
                return [
                    (index, message, outcome)
                    for (index, message), outcome in zip(received.messages, outcomes, strict=True)
                ]
            if self._session.ending.asked:
                raise Abandoned
            await self._session.touch()
            await asyncio.sleep(delay)
            delay = min(delay * 2, BACKOFF[1])
            if not self._finishes:
                received.drop_expired()
        return []

    async def _try(self, batch: Sequence[Message]) -> Sequence[Outcome] | None:
        """The handler's outcomes for the batch; None when what it needs is away."""
        self._signs.begin()
        began = time.monotonic()
        try:
            outcomes = await contained(self._handler(batch))
            if len(outcomes) != len(batch):
                raise ValueError(f"{len(outcomes)} outcomes for {len(batch)} messages")
        except Unavailable:
            return None
        except Exception as error:  # noqa: BLE001 - a handler may fail as it likes
            log.exception("%s: handling %s failed", self.queue, " ".join(sorted({each.op for each in batch})))
            return [Retry(f"{type(error).__name__}: {error}")] * len(batch)
        finally:
            await self._signs.end()
            self._took = time.monotonic() - began
            self.tally.busy += self._took
        return outcomes
