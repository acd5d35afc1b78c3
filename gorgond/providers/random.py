"""Made-up notes, for trying things out and for measuring.

Note n is always the same, whoever makes it and whatever was made before, for one seed, number of users and size: these
are part of its id, so pushing or loading it again makes no second one, and other settings make others. Note n belongs
to user n modulo the number of users, so that each has equally many; the first is dated 2024-01-01, each further one a
millisecond later.
"""

# ruff: noqa: SIM905 - words are read better without quotes
from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b
from random import Random
from typing import Any, ClassVar

from gorgond.providers.pace import Pace
from gorgond.providers.source import Batch, Item, Source, id_of
from gorgond.settings import Provider, setting
from gorgond.validators import whole

FIRST_TS = 1_704_067_200_000  # 2024-01-01 in UTC
POOL = 64 * 1024  # characters of text from which bodies are cut
NAME = "random"  # of the provider whose notes `gorgond load` makes
BATCH = 500  # notes made at a time, at most
TICK = 0.01  # seconds between two batches, when the rate allows

WORDS = (
    "a about across after against all along also always among and any around as at autumn away back bell between "
    "bird black blue boat book both bread bridge bright brook by call calm child city clear cloud coast cold corner "
    "dark dawn day deep distant door down dream dust early earth east echo edge empty evening every fall far field "
    "fire first flower fog follow forest forever forgotten friend from garden gate gentle glass gold grass green "
    "grey half harbour hear heart hill hold home horizon horse hour house in island keep lake lamp land last late "
    "leaf letter light line listen little lonely long lost love low market meadow memory mild mill mirror mist "
    "moment moon morning mountain near never new night noise north of old on once open orchard over paper path "
    "pattern peace pine place plain quiet rain red remember return river road roof room round salt sand sea season "
    "secret shadow shore silence silver sky sleep slow small snow soft some song sound south spring star stone storm "
    "story stream street summer sun table that the their then there thread through tide time to tower town train "
    "tree turn twilight under until valley village voice wait walk wall warm water wave west while white wide wild "
    "wind window winter with wood word world year yellow young"
).split()

PLACES = (
    "Amsterdam Athens Barcelona Berlin Bern Bologna Bremen Bruges Brussels Cologne Copenhagen Cork Dresden Dublin "
    "Edinburgh Florence Geneva Ghent Graz Hamburg Helsinki Innsbruck Kraków Leipzig Lisbon Ljubljana London Lyon "
    "Madrid Malmö Milan Munich Naples Oslo Paris Porto Prague Riga Rome Salzburg Seville Sofia Stockholm Tallinn "
    "Turin Utrecht Valencia Venice Vienna Vilnius Warsaw Zagreb Zürich"
).split()


class RandomItems:
    """The notes of one seed, for that many users, with bodies of `size` bytes."""

    def __init__(self, seed: int, users: int, size: int) -> None:
        self._prefix = f"{seed}-{users}-{size}-"
        self._key = seed.to_bytes(8, "big")
        self._users = users
        self._size = size
        choice = Random(seed)
        words: list[str] = []
        length = 0
        self._starts: list[int] = []  # of words, where a body may begin
        while length < POOL + size:
            if length < POOL:
                self._starts.append(length)
            words.append(choice.choice(WORDS))
            length += len(words[-1]) + 1
        self._words = words
        self._pool = " ".join(words)

    def key(self, n: int) -> str:
        """The key of note number n: all of the note is made of it."""
        return f"{self._prefix}{n}"

    def id(self, n: int) -> str:
        """The id of note number n of the provider NAME."""
        return id_of(NAME, self.key(n))

    def item(self, n: int) -> dict[str, Any]:
        """Note number n of the provider NAME."""
        return {"id": self.id(n), **self.note(n)}

    def note(self, n: int) -> dict[str, Any]:
        """The same without its id."""
        digest = blake2b(b"%d" % n, digest_size=8, key=self._key).digest()
        word = int.from_bytes(digest[:4], "big") % len(self._starts)
        start = self._starts[word]
        return {
            "userid": n % self._users,
            "ts": FIRST_TS + n,
            "title": " ".join(self._words[word : word + 3 + digest[4] % 4]),
            "body": self._pool[start : start + self._size],
            "url": f"https://example.org/notes/{n}",
            "location": PLACES[digest[5] % len(PLACES)],
            "keywords": [WORDS[digest[6] % len(WORDS)], WORDS[digest[7] % len(WORDS)]],
        }


@dataclass(frozen=True, slots=True)
class RandomSettings(Provider):
    """What [provider.NAME] has of the kind random."""

    rate: int = setting("1000", whole(1, 10**6), "items a second")
    count: int = setting("100000", whole(0, 10**12), "items in all; 0: for ever")
    users: int = setting("10000", whole(1, 10**9), "users the items belong to")
    size: int = setting("1800", whole(0, 10**6), "bytes in the body of an item")
    seed: int = setting("0", whole(0, 2**63 - 1), "the same seed makes the same items")


class RandomSource(Source):
    """Makes up notes at a rate, the same ones at each start: so it has nothing to remember."""

    settings: ClassVar[type[Provider]] = RandomSettings
    network = False
    remembers = False

    def __init__(self, name: str, settings: RandomSettings) -> None:
        super().__init__(name, settings)
        self.total = settings.count
        self._items = RandomItems(settings.seed, settings.users, settings.size)
        self._pace = Pace(settings.rate)

    async def poll(self, cursor: int | None) -> Batch | None:
        first = cursor or 0
        if self.total and first >= self.total:
            return None
        number = self._pace.due(min(BATCH, self.total - first) if self.total else BATCH)
        numbers = range(first, first + number)
        items = [Item(self._items.key(n), self._items.note(n)) for n in numbers]
        return Batch(items, numbers.stop, 0.0 if number else max(self._pace.wait(), TICK))
