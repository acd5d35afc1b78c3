"""One queue of the broker in memory: for each script in `scripts/` a method of its name that does the same.

Nothing here waits or fails halfway; whoever changes a queue calls `serve` afterwards, as Redis does after each command.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import math
from collections import Counter, defaultdict, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from gorgond.redpill.broker import (
    CLAIM_BYTES,
    DUE_MAX,
    FORGET,
    IDLE,
    REASON_MAX,
    Claim,
    Claimed,
    Counts,
    DeadLetter,
    Found,
    Later,
    Room,
    Stale,
    Voided,
)
from gorgond.redpill.errors import Superseded, Undecodable
from gorgond.redpill.memorylimits import QueueLimits
from gorgond.redpill.message import decode
from gorgond.redpill.raw import age, attempts_of, forgiven, marked, suspected, unmarked, unstarted, with_attempts

_tokens = itertools.count(1)


@dataclass(slots=True)
class _Tenant:
    """Whose a desk is: the fencing token, the number of the last claim (None: it was given to others), when that was,
    and how many messages it gave."""

    token: int
    claim: int | None
    at: int
    given: int = 0


class MemoryQueue:
    """All that Redis keeps under the keys of one queue. Times are milliseconds, given by the caller."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.waiting: deque[bytes] = deque()
        self.bound = 0  # of the bytes that wait: what was measured last, and what was pushed since
        self.paused = False
        self.desks: defaultdict[str, list[bytes]] = defaultdict(list)
        self.delayed: list[tuple[int, int, int, bytes]] = []  # a heap: when due, number, delay (or -1), message
        self.later = 0  # how many messages were ever pushed for later
        self.letters: dict[int, DeadLetter] = {}
        self.consumers: dict[str, _Tenant] = {}
        self.limits = QueueLimits(self._fetch)
        self.watched = (0, 0)  # since when somebody looks for silent consumers, and when last
        self.epoch = 0  # how often it was switched: paused, resumed, joined, parted from
        self.figures: Counter[str] = Counter()
        self.waiters: dict[asyncio.Future[bytes], str] = {}  # consumers that wait for a message, longest first

    def serve(self) -> None:
        """Put what waits on the desks of the consumers that wait for it, first come first served."""
        while self.waiting and self.waiters and not self.paused:
            future = next(iter(self.waiters))
            consumer = self.waiters.pop(future)
            if not future.done():
                raw = self.waiting.popleft()
                self.desks[consumer].append(raw)
                future.set_result(raw)

    def push(self, messages: Sequence[bytes], room: Room, later: Sequence[Later] = (), now: int = 0) -> bool:
        """Append the messages, those for later among what is delayed, or none when there is no room for all."""
        pushed = [*(each.raw for each in later), *messages]
        there = len(self.waiting) + len(self.delayed)
        if there + len(pushed) > room.messages or (there and not self._has_room(pushed, room.bytes)):
            return False
        self._keep_for_later(later, now)
        self.waiting += messages
        self.figures["accepted"] += len(pushed)
        return True

    def _keep_for_later(self, later: Sequence[Later], now: int) -> None:
        waited_for = not self.waiting and not self.paused
        for each in later:
            self.later += 1
            delay = -1 if each.at else each.ms
            due = each.ms if each.at else now + delay
            if due <= now:
                self.waiting.append(each.raw)
            elif waited_for and due - now < IDLE * 1000 and each.raw.startswith(b'{"'):
                self.waiting.append(marked(each.raw, due, self.later, delay))
                waited_for = False
            else:
                heapq.heappush(self.delayed, (due, self.later, delay, each.raw))

    def _has_room(self, messages: Sequence[bytes], most: int) -> bool:
        size = sum(map(len, messages))
        if self.bound + size > most:
            self.bound = sum(map(len, self.waiting)) + sum(len(raw) for _, _, _, raw in self.delayed)
        fits = self.bound + size <= most
        self.bound += size if fits else 0
        return fits

    def push_newest(self, messages: Sequence[bytes], limit: int, most: int) -> None:
        """Append the messages and drop the oldest over the limit and over so many bytes, as `publish` does to the queue
        of a group."""
        self.waiting += messages
        self.figures["accepted"] += len(messages)
        over = max(0, len(self.waiting) - limit)
        self.bound += sum(map(len, messages))
        if self.bound > most:
            over = max(over, self._over_in_bytes(most))
        for _ in range(over):
            self.bound -= len(self.waiting.popleft())
        if over:
            self.figures["overflow"] += over

    def _over_in_bytes(self, most: int) -> int:
        """How many of the oldest are too many; a sixteenth more, as in Redis."""
        self.bound = sum(map(len, self.waiting))
        goal = self.bound if self.bound <= most else most * 15 // 16
        size, over = self.bound, 0
        while size > goal and over < len(self.waiting) - 1:
            size -= len(self.waiting[over])
            over += 1
        return over

    def take(self, consumer: str, stands: str, now: int) -> tuple[str, int]:
        """A new token for the consumer, and how many messages lie on its desk."""
        tenant = self.consumers.get(consumer)
        token_before = str(tenant.token) if tenant else ""
        if stands != token_before:
            raise Stale(token_before)
        token = next(_tokens)
        self.consumers[consumer] = _Tenant(token, 0, now)
        desk = self.desks[consumer]
        desk[:] = map(suspected, desk)
        return str(token), len(desk)

    def leave(self, consumer: str, token: str, unhandled: bool) -> int:
        """Back to the head of the queue with what is on the desk; the starts of what was not handled are taken back."""
        tenant = self.consumers.get(consumer)
        if tenant is None or tenant.claim is None or str(tenant.token) != token:
            return 0
        tenant.claim = None
        desk = self.desks[consumer]
        for index in range(min(tenant.given, len(desk)) if unhandled else 0):
            desk[index] = unstarted(desk[index])
        return self._give_back(consumer)

    def recover(self, silence: int, now: int) -> list[tuple[str, int]]:
        """The consumers that were silent, and how many messages of each went back to the head of the queue."""
        since, last = self.watched
        if now < last:
            self.delayed = [
                (due if delay < 0 else min(due, now + delay), number, delay, raw)
                for due, number, delay, raw in self.delayed
            ]
            heapq.heapify(self.delayed)
        if not 0 <= now - last < silence // 2:
            since = now
        self.watched = since, now
        found = []
        for consumer, tenant in sorted(self.consumers.items(), key=lambda item: (item[1].at, item[0])):
            tenant.at = min(tenant.at, now)
            if now - max(since, tenant.at) < silence:
                continue
            if self.desks[consumer]:
                if tenant.claim is not None:
                    self.desks[consumer] = [suspected(raw) for raw in self.desks[consumer]]
                found.append((consumer, self._give_back(consumer)))
                self.figures["recovered"] += found[-1][1]
                tenant.claim = None
            elif now - tenant.at >= FORGET * 1000:
                del self.consumers[consumer]
        return found

    def _give_back(self, consumer: str) -> int:
        desk = self.desks.pop(consumer, [])
        self.waiting.extendleft(reversed(desk))
        return len(desk)

    def claim(self, consumer: str, token: str, claim: Claim, limit: int, now: int) -> Claimed:
        """A consumer's whole claim; see `claim.lua`."""
        tenant = self.consumers.get(consumer)
        void = Voided(f"the desk of {consumer} on {self.name} was given to others")
        if tenant is None or tenant.claim is None or tenant.token < int(token):
            raise void
        if tenant.token > int(token):
            raise Superseded(f"another process has taken over as {consumer} on {self.name}")
        desk = self.desks[consumer]
        first = claim.number == tenant.claim + 1 and claim.want >= 0
        if len(desk) != claim.length if first else claim.number != tenant.claim:
            raise void
        tenant.claim, tenant.at = claim.number, now
        if first:
            self._settle(desk, claim, limit, now)
            tenant.given = 0
        if claim.want > 0 and not self.paused:
            self._bring_due(now)
        if claim.want > 0 and first:
            tenant.given = self._give(desk, claim.held, claim.want, limit, now)
        messages = desk[claim.held : claim.held + tenant.given] if claim.want > 0 else []
        return Claimed(len(desk), messages, None if messages or claim.want <= 0 else self._due(now))

    def _due(self, now: int) -> float | None:
        """In how many seconds the next of the delayed is due; None when none is."""
        return max(0, self.delayed[0][0] - now) / 1000 if self.delayed and not self.paused else None

    def _give(self, desk: list[bytes], held: int, want: int, limit: int, now: int) -> int:
        """How many messages are handed out: those behind what is in hand, with what is brought for it."""
        if held and attempts_of(desk[0]):
            return 0
        if not held and (started := self._restart(desk, want, limit, now)):
            return started
        while len(desk) > held and self._put_off(desk, held, now):
            pass
        if not any(map(attempts_of, desk[held : held + 1])):
            self._bring_fresh(desk, want, now)
        return sum(1 for _ in itertools.takewhile(lambda raw: not attempts_of(raw), desk[held:]))

    def _put_off(self, place: list[bytes] | deque[bytes], index: int, now: int) -> bool:
        """Whether the message at that place was only marked: then it is as it was pushed if it is due, else delayed."""
        found = unmarked(place[index])
        if found is None:
            return False
        due, number, delay, raw = found
        due = due if delay < 0 else min(due, now + delay)
        if due <= now:
            place[index] = raw
        else:
            del place[index]
            heapq.heappush(self.delayed, (due, number, delay, raw))
        return True

    def _settle(self, desk: list[bytes], claim: Claim, limit: int, now: int) -> None:
        for failure in claim.failures:
            raw = desk[failure.index]
            raw = suspected(raw) if failure.started else unstarted(raw)
            delay = -1 if failure.delay is None else int(failure.delay * 1000)
            if failure.waits:
                due = now if self.limits.was_called(failure.waits) else failure.at
                self.figures["waited"] += 1
                heapq.heappush(self.delayed, (due, self.figures["waited"], max(due - now, 0), raw))
            elif delay < 0 or attempts_of(raw) >= limit:
                self._bury(raw, failure.reason[:REASON_MAX], now)
            else:
                self.figures["retried"] += 1
                heapq.heappush(self.delayed, (now + delay, self.figures["retried"], delay, raw))
        for index in sorted(claim.later, reverse=True):
            del desk[index]
        del desk[: claim.done]
        self.figures["done"] += claim.done + len(claim.later) - claim.expired - len(claim.failures)
        self.figures["expired"] += claim.expired

    def _fetch(self, id: str, due: int) -> bool:
        """The message of that id comes next, if it is delayed until then already."""
        for place, each in enumerate(self.delayed):
            if each[0] == due and _id_of(each[3]) == id:
                del self.delayed[place]
                heapq.heapify(self.delayed)
                self.waiting.appendleft(each[3])
                return True
        return False

    def _bring_due(self, now: int) -> None:
        if not self.delayed or self.delayed[0][0] > now:
            return
        if self.waiting and (found := unmarked(self.waiting[0])) is not None:
            due, number, delay, raw = found
            due = due if delay < 0 else min(due, now + delay)
            if due <= now:  # it comes in its order
                self.waiting.popleft()
                heapq.heappush(self.delayed, (due, number, delay, raw))
        some: list[bytes] = []
        while self.delayed and self.delayed[0][0] <= now and len(some) < DUE_MAX:
            some.append(heapq.heappop(self.delayed)[3])
        self.waiting.extendleft(reversed(some))

    def _restart(self, desk: list[bytes], want: int, limit: int, now: int) -> int:
        """Start again what the desk begins with, then the queue; each start is counted before it happens. How many."""
        started, size = 0, 0
        waiting = deque[bytes]() if self.paused else self.waiting
        while started < math.ceil(math.sqrt(want)):
            lying = started < len(desk)
            raw = desk[started] if lying else waiting[0] if waiting else b""
            attempts = attempts_of(raw)
            final = attempts + 1 >= limit
            if not attempts or (started and (final or size + len(raw) > CLAIM_BYTES)):
                break
            if self._put_off(desk if lying else waiting, started if lying else 0, now):
                continue
            if not lying:
                desk.append(waiting.popleft())
            if attempts < limit:
                desk[started] = with_attempts(raw, attempts + 1)
                started, size = started + 1, size + len(raw)
                if final:
                    break
            else:
                self._bury(desk.pop(0), "its consumer died each time", now)
        return started

    def _bring_fresh(self, desk: list[bytes], want: int, now: int) -> None:
        """New messages until so many lie there, or too large ones."""
        brought = 0
        while not self.paused and self.waiting and len(desk) < want:
            raw = self.waiting[0]
            if attempts_of(raw) and self._put_off(self.waiting, 0, now):
                continue
            if attempts_of(raw) or (brought and brought + len(raw) > CLAIM_BYTES):
                break
            desk.append(self.waiting.popleft())
            brought += len(raw)

    def _bury(self, raw: bytes, reason: str, now: int) -> None:
        self.figures["dead"] += 1
        number = self.figures["dead"]
        self.letters[number] = DeadLetter(number, now, reason, attempts_of(raw), raw)

    def requeue(self, number: int) -> bool:
        """A dead letter back at the end of the queue, its attempts forgotten."""
        letter = self.letters.pop(number, None)
        if letter is None:
            return False
        self.waiting.append(forgiven(letter.raw))
        self.figures["requeued"] += 1
        return True

    def pause(self, stands: str) -> bool:
        """Nothing is taken from the queue until it is resumed."""
        if self.paused:
            return False
        self.switch(stands)
        self.paused = True
        return True

    def resume(self, stands: str) -> bool:
        """Undo a pause."""
        if not self.paused:
            return False
        self.switch(stands)
        self.paused = False
        return True

    def switch(self, stands: str) -> None:
        """Begin another epoch, if it is the next one."""
        epoch = str(self.epoch or "")
        if stands != epoch:
            raise Stale(epoch)
        self.epoch += 1

    def drop(self, number: int) -> bool:
        """A dead letter deleted."""
        if self.letters.pop(number, None) is None:
            return False
        self.figures["dropped"] += 1
        return True

    def find(self, text: bytes) -> Iterator[Found]:
        """Where messages lie that hold this text."""
        places = [("queued", str(before), raw) for before, raw in enumerate(self.waiting)]
        places += [("desk", consumer, raw) for consumer, desk in self.desks.items() for raw in desk]
        places += [("delayed", str(due), raw) for due, _, _, raw in sorted(self.delayed)]
        places += [("dead", str(letter.number), letter.raw) for letter in self.letters.values()]
        return (Found(self.name, place, detail, raw) for place, detail, raw in places if text in raw)

    def counts(self, now: int) -> Counts:
        """All figures."""
        in_flight = sum(map(len, self.desks.values()))
        oldest = age(self.waiting[0], now) if self.waiting else 0.0
        since = {name: figure for name, figure in self.figures.items() if name not in ("dead", "waited")}
        return Counts(
            len(self.waiting), in_flight, len(self.delayed), len(self.letters), oldest, paused=self.paused, **since
        )


def _id_of(raw: bytes) -> str:
    try:
        return decode(raw).id
    except Undecodable:
        return ""
