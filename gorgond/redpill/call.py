"""Calling: push a request, wait for the reply on a list of one's own.

The caller pushes requests again that are still unanswered after a gap in the connection: the same id, the same effect.
Its answer goes to a new list, since a fetch that got no answer may still arrive and take what lies on the old one. The
caller also takes replies that come there all the same, to calls that were being handled.

Calls of the same id are the same call, repeated: a reply answers all of them. Replies to ids that nobody waits for (any
more) are dropped.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from secrets import token_urlsafe
from typing import Self

from gorgond.redpill import keys
from gorgond.redpill.broker import BLOCK, CLAIM_BYTES, FETCH_MAX, IDLE, Broker
from gorgond.redpill.clock import judged_ms
from gorgond.redpill.deadline import NEVER, Deadline
from gorgond.redpill.ending import Background
from gorgond.redpill.errors import BrokerAway, BrokerError, DeadlineExceeded, GorgonError, LoopEnded, Undecodable
from gorgond.redpill.hooks import UNHEARD, Hooks
from gorgond.redpill.logline import about, counted, log
from gorgond.redpill.message import Message, Reply, decode_reply
from gorgond.redpill.persist import BACKOFF
from gorgond.redpill.producer import Producer, Submitted
from gorgond.redpill.seldom import Seldom

LISTS = 3  # of replies that are looked at: the newest, and those of before the last gaps
TOGETHER = 0.02  # seconds that a call's end may be late, so that the calls that have become late end together
LATELY = 0.95  # what the number of replies of a fetch counts for at the next one


Told = Callable[[Reply | GorgonError], None]


class Call:
    """A call that waits: where it goes, as what, and who is `told` how it ends: a Reply or an error, once. Until then
    it is among those that are `waiting`."""

    __slots__ = ("_told", "_waiting", "late_at", "message", "queue", "submitted", "taken")

    def __init__(self, queue: str, message: Message, told: Told, waiting: dict[str, list[Call]]) -> None:
        self.queue = queue
        self.message = message
        self.late_at = time.monotonic() + (message.deadline - judged_ms()) / 1000  # on the monotonic clock
        self.taken = False  # by the broker, once
        self.submitted: Submitted | None = None
        self._told: Told | None = told
        self._waiting = waiting

    @property
    def over(self) -> bool:
        """Whether nobody waits for it any more."""
        return self._told is None

    def note_push(self, error: GorgonError | None) -> None:
        """Take note of what became of the push. Once the broker had it, there may be an answer, whatever becomes of a
        repeat."""
        if error is None:
            self.taken = True
        elif not self.taken:
            self.end(error)

    def end(self, outcome: Reply | GorgonError) -> None:
        """It is over, and this is what it ends with; unless it was over before."""
        told = self._told
        self.forget()
        if told is not None:
            try:
                told(outcome)
            except Exception:  # noqa: BLE001 - what they raise is not the business of other calls
                log.exception("somebody could not be told an answer", extra=about(self.message.id))

    def forget(self) -> None:
        """It is over, and nobody wants to hear how it ends."""
        self._told = None
        self.withdraw()
        same = self._waiting.get(self.message.id)
        if same is not None and self in same:
            same.remove(self)
            if not same:
                del self._waiting[self.message.id]

    def withdraw(self) -> None:
        """Do not push it, unless that is under way."""
        submitted, self.submitted = self.submitted, None  # it knows it: a cycle, which would keep the reply for long
        if submitted is not None:
            submitted.withdraw()


class Caller:
    """Makes calls over one producer and one connection for replies, in one event loop.

        async with Producer(broker, "shop@1") as producer, Caller(broker, producer, "shop_data", "shop@1") as caller:
            reply = await caller.call("orders", Message("order.price", {"number": 7}, deadline=now_ms() + 10_000))
            print(reply.error or reply.body)

    `broker` is what `connect` gave, and what `producer`, which is started before and stopped after, pushes to. `name`
    is the caller's own among all processes. `list_name` begins the name of the reply list ("web_data"); its end is this
    process's own, so that no reply to a predecessor is ever taken for one of ours, and new after each gap. Nobody can
    guess it, so that nobody who has our rights takes our replies. `hooks` are called as the loop turns and when it
    fails. Start with `async with`, or `start` and `stop`. Raises ValueError when `list_name` and `name` make no name of
    a list.

    A request that is unanswered when the broker comes back is pushed again with the same id, so it may be handled
    twice.
    """

    def __init__(
        self, broker: Broker, producer: Producer, list_name: str, name: str, *, hooks: Hooks = UNHEARD
    ) -> None:
        self._begin = f"{list_name}:{name}"
        self._lists: deque[str] = deque(maxlen=LISTS)  # on which replies may come, the newest first
        self._new_list()
        self.unasked = 0  # replies that nobody waited for
        self._dropped = Seldom()  # replies that could not be read
        self._hooks = hooks
        keys.replies(self.reply_to)  # is it a name?
        self._link = broker.link(f"{name} {list_name}")
        self._producer = producer
        self._waiting: dict[str, list[Call]] = {}  # by the ids of their messages
        self._deadline = Deadline(self._look_for_late)  # not later than the first of theirs
        self._lately = 1.0  # replies that a fetch brought lately, the most of them
        self._most = 1  # replies taken at a time
        self._background: Background | None = None
        self._ended: BrokerError | None = None

    def _new_list(self) -> None:
        self._lists.appendleft(f"{self._begin}:{token_urlsafe(12)}")

    @property
    def reply_to(self) -> str:
        """The list to which calls ask their replies now."""
        return self._lists[0]

    def __len__(self) -> int:
        """How many calls wait for their reply."""
        return len(self._waiting)

    async def __aenter__(self) -> Self:
        self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    def start(self) -> None:
        """Begin to listen for replies. Should that ever end without `stop`, every call fails, and the hook `failed` is
        called."""
        self._background = Background(self._run(), f"{self._begin} replies", self._over)

    def _over(self, ended: LoopEnded) -> None:
        self._ended = BrokerError("listening for replies has failed; there will be no answer")
        for call in self._all():
            call.end(self._ended)
        self._hooks.failed(ended)

    async def stop(self) -> None:
        """Stop listening; calls still waiting fail with DeadlineExceeded, later ones at once."""
        self._ended = BrokerError("this caller was stopped")
        if self._background is not None:
            await self._background.end()
        await self._link.close()
        self._deadline.end()
        for call in self._all():
            self._late(call)

    def call(self, queue: str, message: Message) -> asyncio.Future[Reply]:
        """Push `message`, which must have a deadline, in ms since 1970; the future has the Reply, whose `error` is the
        other side's no, a CallFailed with an HTTP status.

        It fails with DeadlineExceeded; with BrokerAway when the broker was away until the deadline; and with what a
        push fails with: QueueFull, BrokerRefused. Cancelling it forgets the call. Raises ValueError for what is no
        queue's name.
        """
        answer: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()

        def told(outcome: Reply | GorgonError) -> None:
            if answer.done():
                return
            if isinstance(outcome, Reply):
                answer.set_result(outcome)
            else:
                answer.set_exception(outcome)

        call = self.ask(queue, message, told)
        answer.add_done_callback(lambda _: call.forget())
        return answer

    def ask(self, queue: str, message: Message, told: Told) -> Call:
        """The same without a future: `told` is called with the Reply or with the error, in the turn of the event loop
        in which it comes, and possibly before this returns. `forget` the Call and it is not called. It must not block,
        and all replies of a fetch wait for it."""
        call = Call(queue, message, told, self._waiting)
        if self._ended is not None:
            call.end(self._ended)
            return call
        self._submit(call)
        if call.over:  # the producer takes nothing any more
            call.withdraw()
            return call
        if call.late_at < self._deadline.at:
            self._deadline.set(call.late_at)
        self._waiting.setdefault(message.id, []).append(call)
        return call

    def _submit(self, call: Call) -> None:
        raw = call.message.encode(self.reply_to)
        call.submitted = self._producer.submit(call.queue, (raw,), call.note_push)

    def _all(self) -> list[Call]:
        return [call for same in self._waiting.values() for call in same]

    def _look_for_late(self) -> None:
        """End the calls whose deadlines have passed, and see when to look again."""
        now, first = time.monotonic(), NEVER
        late = []
        for call in self._all():
            if call.late_at <= now:
                late.append(call)
            else:
                first = min(first, call.late_at)
        self._deadline.set(max(first, now + TOGETHER))
        for call in late:  # last: who is told so may call again, by a deadline that comes first
            self._late(call)

    def _late(self, call: Call) -> None:
        outage = self._link.broker.outage
        away = BrokerAway(f"{outage.what} is away: {outage.reason}") if outage.length else None
        call.end(away or DeadlineExceeded(f"no answer from {call.queue} in time"))

    async def _run(self) -> None:
        gap = False
        while True:
            try:
                if gap:
                    self._deliver(await self._link.persist(lambda: self._fetch(0), self._hooks.beat))
                    self._push_again()
                    gap = False
                self._hooks.beat()
                self._deliver(await self._fetch(BLOCK if self._waiting else IDLE))
            except BrokerAway as away:
                gap = True
                self._link.note_loss(away)
            except BrokerError as refused:  # an operator must act; until then no call has a chance
                gap = True
                self._link.broker.outage.begin(str(refused))
                for call in self._all():
                    call.end(refused)
                await asyncio.sleep(BACKOFF[1])

    async def _fetch(self, timeout: float) -> list[bytes]:
        """Take replies: by the size of those of the last time, some CLAIM_BYTES, and twice as many as came lately,
        since the next ones may be larger. Many large ones would fill the memory, and all else here would wait."""
        raws = await self._link.fetch(self._lists, timeout, self._most)
        if raws:
            by_size = CLAIM_BYTES * len(raws) // max(1, sum(map(len, raws)))
            self._lately = max(len(raws), self._lately * LATELY)
            self._most = max(1, min(FETCH_MAX, int(2 * self._lately), by_size))
        return raws

    def _push_again(self) -> None:
        """After a gap a call that the broker had, or its answer, may be lost; and what it did not take yet asks for an
        answer on the old list."""
        self._new_list()
        again = self._all()
        if again:
            log.info("%s sent again after a gap", counted(len(again), "call"), extra=about(*self._waiting))
        for call in again:
            call.withdraw()
            self._submit(call)

    def _deliver(self, raws: Sequence[bytes]) -> None:
        for raw in raws:
            try:
                reply = decode_reply(raw)
            except Undecodable as error:
                if count := self._dropped.add():
                    log.warning("a reply on %s is dropped: %s (%d by now)", self.reply_to, error, count)
                continue
            waiting = self._waiting.pop(reply.id, None)
            if waiting is None:
                self.unasked += 1
                continue
            for call in waiting:
                call.end(reply)
