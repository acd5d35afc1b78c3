"""The documents of one database made those of another, and held to be so.

One pass goes through all ids of both in their order, a page at a time: what differs is written to the target, read back
and compared. It needs no memory of an earlier one that was broken off: what is there already is only looked at.
Meanwhile `apply` does the same for ids of which somebody says that they were changed. All of it is done by one thread:
so whatever is written was read from the source after all that was written before.

With each collection go the number of its documents and the sum of their digests. They are those of the target: `apply`
takes away what it replaces where the pass has been, and adds what it writes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from gorgond.bounds import LIM_MAX
from gorgond.errors import GorgonError, StoreAway, StoreRefused
from gorgond.redpill import loads
from gorgond.stores.contract import Query, Store
from gorgond.stores.declared import indexes_of
from gorgond.stores.filters import check_collection, check_id
from gorgond.stores.kept import Kept
from gorgond.stores.moving import Moving, moving_of, note
from gorgond.stores.schema import INDEXES, MOVING

PAGE = 500  # ids looked at, or written, at a time
MODULUS = 2**128


@dataclass(slots=True)
class Sum:
    """The documents of a collection in two figures."""

    documents: int = 0
    digest: int = 0

    def add(self, kept: Kept, sign: int = 1) -> None:
        if kept.document is not None:
            self.documents += sign
            self.digest = (self.digest + sign * kept.digest()) % MODULUS


class Copy:
    """That of `source`, whose address is `here`, to `target`, at `there`; addresses are without passwords. Its methods
    raise StoreAway, and may be called again then; and GorgonError, when it cannot be done."""

    def __init__(self, source: Store, target: Store, here: str, there: str) -> None:
        self._source = source
        self._target = target
        self._here = here
        self._there = there
        self._until: dict[str, str | None] = {}  # the pass has been up to this id; None: it is through
        self.sums: dict[str, Sum] = {}
        self._name = ""  # the collection in which the pass is

    def begin(self) -> bool:
        """See that it may be done, and note that it is; False if it was done, but for the stores' going over."""
        if self._here == self._there:
            raise GorgonError("--from and --to name the same database")
        left = moving_of(self._source)
        if left == Moving("left", self._there):
            note(self._target, None)  # in case the last step was not done to its end
            return False
        if left is not None:
            raise GorgonError(f"{self._here} is {_words(left)}")
        filled = moving_of(self._target)
        if filled not in (None, Moving("filled", self._here)):
            raise GorgonError(f"{self._there} is {_words(filled)}: empty it first")
        if filled is None:
            full = [name for name in self._target.collections() if self._documents(self._target, name)]
            if full:
                raise GorgonError(f"{self._there} has content of its own, {' '.join(full)}: name an empty database")
            note(self._target, Moving("filled", self._here))
        self._index()
        return True

    def _index(self) -> None:
        """Make the indexes, but for those for searches: on what is empty that costs nothing."""
        self._target.prepare()
        [found] = self._source.find([Query(INDEXES, {}, limit=LIM_MAX)])
        if isinstance(found, StoreRefused):
            raise found
        for name, each in indexes_of(loads(found)).items():
            self._target.index(name, each.newest, each.values)

    def total(self) -> int:
        """How many documents there are."""
        return sum(self._documents(self._source, name) for name in self._collections())

    @property
    def done(self) -> int:
        """How many of them the pass has seen."""
        return sum(each.documents for each in self.sums.values())

    def step(self) -> bool:
        """Let the pass look at the next page; False when it is through all collections that there are."""
        if not self._name:
            self._name = next((name for name in self._collections() if self._until.get(name, "") is not None), "")
        if not self._name:
            return False
        self._page(self._name, self._until.get(self._name) or "")
        if self._until[self._name] is None:
            self._name = ""
        return True

    def apply(self, changed: Mapping[str, Iterable[str]]) -> None:
        """Do what was changed in these collections under these ids. Raises StoreRefused for what are none."""
        for name, ids in changed.items():
            check_collection(name)
            different = [*dict.fromkeys(ids)]
            for id in different:
                check_id(id)
            if name == MOVING:
                continue
            for begin in range(0, len(different), PAGE):
                some = different[begin : begin + PAGE]
                wanted, held = (store.kept(name, some) for store in (self._source, self._target))
                self._level(name, wanted, held)
                until = self._until.get(name, "")
                for new, old in zip(wanted, held, strict=True):
                    if until is None or new.id <= until:
                        self.sums[name].add(old, -1)
                        self.sums[name].add(new)

    def compare(self) -> None:
        """What is left when nobody writes any more: the keys of requests, and a last look at the numbers."""
        key = ""
        while some := self._source.claims(key, PAGE):
            self._target.claim(some)
            key = some[-1].key
        for name, each in self.sums.items():
            numbers = [self._documents(store, name) for store in (self._source, self._target)]
            if numbers != [each.documents] * 2:
                raise GorgonError(
                    f"{name} has {numbers[0]} documents here, {numbers[1]} there, and {each.documents} were compared: "
                    "those whose ids are no texts, which others have put there, cannot be copied"
                )

    def leave(self) -> None:
        """Note in both that stores are to go over. It cannot be taken back, so nobody writes from `compare` on."""
        note(self._source, Moving("left", self._there))
        note(self._target, None)

    def _collections(self) -> list[str]:
        return [name for name in self._source.collections() if name != MOVING]

    def _documents(self, store: Store, name: str) -> int:
        [number] = store.count([Query(name, {})])
        if not isinstance(number, int):
            raise number
        return number

    def _page(self, name: str, after: str) -> None:
        """Level what is kept under the next ids."""
        wanted = self._source.scan(name, after, PAGE)
        end = wanted[-1].id if len(wanted) == PAGE else None
        held = list(self._held(name, after, end))
        sources, targets = ({each.id: each for each in some} for some in (wanted, held))
        ids = [*dict.fromkeys([*sources, *targets])]
        self._level(name, [sources.get(id, Kept(id)) for id in ids], [targets.get(id, Kept(id)) for id in ids])
        total = self.sums.setdefault(name, Sum())
        for each in wanted:
            total.add(each)
        self._until[name] = end

    def _held(self, name: str, after: str, end: str | None) -> Iterator[Kept]:
        """What the target keeps from there to the end of the page."""
        while more := self._target.scan(name, after, PAGE):
            for each in more:
                if end is not None and each.id > end:
                    return
                yield each
            after = more[-1].id

    def _level(self, name: str, wanted: list[Kept], held: list[Kept]) -> None:
        """Write to the target what differs, and see that it has it."""
        other = [new for new, old in zip(wanted, held, strict=True) if _differ(new, old)]
        if not other:
            return
        try:
            self._target.restore(name, other)
        except StoreAway:  # how much of it was done nobody knows: all is looked at anew
            self._until.clear()
            self.sums.clear()
            raise
        for new, old in zip(other, self._target.kept(name, [each.id for each in other]), strict=True):
            if new.digest() != old.digest():
                raise GorgonError(f"{self._there} does not keep {name} {new.id} as it is in {self._here}")


def _differ(new: Kept, old: Kept) -> bool:
    """Whether the target lacks something. A tombstone that only the target has is forgotten there by itself."""
    if new.digest() != old.digest():
        return True
    grave, there = new.tombstone, old.tombstone
    return grave is not None and (there is None or (grave.ts, grave.marks) != (there.ts, there.marks))


def _words(moving: Moving) -> str:
    if moving.state == "left":
        return f"moved to {moving.other} already"
    return f"an unfinished copy of {moving.other}"
