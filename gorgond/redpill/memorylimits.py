"""What of a queue in memory may be begun: the same as in `enter.lua` and `exit.lua`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field

from gorgond.redpill.limits import AtOnce, Entry, Within

EACH = 50  # ms between two of a line that come although nobody called them

Fetch = Callable[[str, int], bool]
"""Has the message of that id, which is delayed until then, come next; whether it is there."""


@dataclass(slots=True)
class _Bound:
    """Of those that are bound so: who has a slot, until when and by whom; and who waits, until when at most."""

    slots: dict[str, tuple[int, str]] = field(default_factory=dict)
    line: dict[str, int] = field(default_factory=dict)

    def free(self, most: int, now: int) -> int:
        """How many slots are; what was kept for longer than it may is nobody's."""
        if len(self.slots) >= most:
            self.slots = {id: slot for id, slot in self.slots.items() if slot[0] > now}
        return most - len(self.slots)


class QueueLimits:
    """Those of one queue. Times are milliseconds, given by the caller."""

    def __init__(self, fetch: Fetch) -> None:
        self._fetch = fetch
        self._bounds: defaultdict[str, _Bound] = defaultdict(_Bound)
        self._starts: defaultdict[str, dict[str, int]] = defaultdict(dict)
        self._called: set[str] = set()

    def was_called(self, id: str) -> bool:
        """Whether the message got a slot before it was delayed; it is not noted any more."""
        called = id in self._called
        self._called.discard(id)
        return called

    def enter(self, entry: Entry, by: str, now: int) -> int:
        """Whether the message may be begun: 0; or when it is to come again."""
        self._called.discard(entry.id)
        length, due = int(entry.seconds * 1000), 0
        for each in entry.at_once:
            if due:
                self._give_back(entry, each, now)
            else:
                due = self._line_up(entry, each, by, length, now)
        if due:
            return due
        at = max([now, *(self._time_of(entry, each, now) for each in entry.within)])
        for rate in entry.within:
            self._starts[rate.name][entry.start] = at
        if at <= now:
            return 0
        for each in entry.at_once:
            self._give_back(entry, each, now)
        return at

    def exit(self, entry: Entry, by: str, now: int) -> None:
        """It is over: its slots are free, if they are those taken so."""
        for each in entry.at_once:
            if self._bounds[each.name].slots.get(entry.id, (0, ""))[1] == by:
                self._give_back(entry, each, now)

    def _give_back(self, entry: Entry, each: AtOnce, now: int) -> None:
        if self._bounds[each.name].slots.pop(entry.id, None) is not None:
            self._call_next(each, int(entry.seconds * 1000), now)

    def _line_up(self, entry: Entry, each: AtOnce, by: str, length: int, now: int) -> int:
        """Have a slot of a bound; else the time until which it stands in line."""
        bound = self._bounds[each.name]
        bound.line.pop(entry.id, None)
        if entry.id not in bound.slots:
            self._call_next(each, length, now)
            if bound.free(each.most, now) <= 0:
                last = max(bound.line.values(), default=0)
                due = bound.line[entry.id] = max(now + length + EACH * len(bound.line), last + 1)
                return due
        bound.slots[entry.id] = now + length, by
        return 0

    def _call_next(self, each: AtOnce, length: int, now: int) -> None:
        bound = self._bounds[each.name]
        for _ in range(bound.free(each.most, now)):
            id = next(iter(bound.line), None)
            if id is None:
                return
            due = bound.line.pop(id)
            bound.slots[id] = now + length, "-"
            if not self._fetch(id, due):
                self._called.add(id)

    def _time_of(self, entry: Entry, rate: Within, now: int) -> int:
        """When it may be begun. One that comes at its time goes by those that have been begun; a new one, and one that
        is far too late, by all that are to be."""
        length = int(rate.seconds * 1000)
        known = self._starts[rate.name]
        mine = known.pop(entry.start, 0)
        for start in [start for start, at in known.items() if at <= now - length]:
            del known[start]
        in_time = mine > now - length
        before = sorted(at for at in known.values() if at <= now or not in_time)
        return before[-rate.most] + length if len(before) >= rate.most else now
