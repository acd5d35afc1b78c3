"""Calling: push a request, wait for the reply on a list of one's own.

What is still unanswered after a gap in the connection is pushed again: the same id, the same effect. Replies to ids
that nobody waits for (any more) are dropped.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable

from gorgond.redpill.broker import BLOCK, Broker, log
from gorgond.redpill.errors import BrokerAway, DeadlineExceeded, GorgonError, Undecodable
from gorgond.redpill.message import Message, Reply, decode_reply, now_ms
from gorgond.redpill.producer import Producer


class _Pending:
    """A call that waits: where it went, as what, and for whom."""

    __slots__ = ("answer", "queue", "raw", "timer")

    def __init__(self, queue: str, raw: bytes, answer: asyncio.Future[Reply]) -> None:
        self.queue = queue
        self.raw = raw
        self.answer = answer
        self.timer: asyncio.TimerHandle


class Caller:
    """Makes calls over one producer and one connection for replies, in one event loop.

    `list_name` begins the name of the reply list ("web_data"); its end is this process's own, so that no reply to a
    predecessor is ever taken for one of ours.
    """

    def __init__(self, broker: Broker, producer: Producer, list_name: str, name: str) -> None:
        self.reply_to = f"{list_name}:{name}:{os.urandom(6).hex()}"
        self.unasked = 0  # replies that nobody waited for
        self.beat: Callable[[], None] = lambda: None
        self._link = broker.link(f"{name} {list_name}")
        self._producer = producer
        self._pending: dict[str, _Pending] = {}
        self._task: asyncio.Task[None] | None = None

    def __len__(self) -> int:
        """How many calls wait for their reply."""
        return len(self._pending)

    async def __aenter__(self) -> Caller:
        self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    def start(self) -> None:
        """Begin to listen for replies."""
        self._task = asyncio.get_running_loop().create_task(self._run(), name=self.reply_to)

    async def stop(self) -> None:
        """Stop listening; calls still waiting fail with DeadlineExceeded."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
            self._task = None
        await self._link.close()
        for id in list(self._pending):
            self._late(id)

    def call(self, queue: str, message: Message) -> asyncio.Future[Reply]:
        """Push `message`, which must have a deadline; the future has the Reply, whose error is the other side's no.

        It fails with DeadlineExceeded; with BrokerAway when the broker was away until the deadline; and with what a
        push fails with: QueueFull, BrokerRefused. Cancelling it forgets the call.
        """
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Reply] = loop.create_future()
        wire = Message(
            message.op, message.args, message.id, self.reply_to, message.next, message.user, message.deadline,
            message.sent, message.trace,
        )  # fmt: skip
        pending = _Pending(queue, wire.encode(), answer)
        id = message.id
        pending.timer = loop.call_later((message.deadline - now_ms()) / 1000, self._late, id)
        self._pending[id] = pending
        self._submit(id, pending)
        answer.add_done_callback(lambda _: self._forget(id, pending))
        return answer

    def _submit(self, id: str, pending: _Pending) -> None:
        def outcome(error: GorgonError | None) -> None:
            if error is not None and not pending.answer.done():
                pending.answer.set_exception(error)

        self._producer.submit(pending.queue, pending.raw, outcome)

    def _forget(self, id: str, pending: _Pending) -> None:
        pending.timer.cancel()
        if self._pending.get(id) is pending:
            del self._pending[id]

    def _late(self, id: str) -> None:
        pending = self._pending[id]
        if not pending.answer.done():
            outage = self._link.broker.outage
            error = BrokerAway(f"{outage.what} is away: {outage.reason}") if outage.length else None
            pending.answer.set_exception(error or DeadlineExceeded(f"no answer from {pending.queue} in time"))

    async def _run(self) -> None:
        connects = 0
        while True:
            raws = await self._link.persist(lambda: self._link.fetch(self.reply_to, BLOCK), self.beat)
            if connects not in (0, self._link.connects):
                log.info("%d calls are sent again after a gap", len(self._pending))
                for id, pending in self._pending.items():
                    self._submit(id, pending)
            connects = self._link.connects
            for raw in raws:
                try:
                    reply = decode_reply(raw)
                except Undecodable as error:
                    log.warning("a reply on %s is dropped: %s", self.reply_to, error)
                    continue
                pending_now = self._pending.get(reply.id)
                if pending_now is None or pending_now.answer.done():
                    self.unasked += 1
                else:
                    pending_now.answer.set_result(reply)
