"""Made-up notes, for trying things out and for measuring.

Note n of a seed is always the same, whoever makes it and whatever was made before: pushing or loading it again makes
no second one. Note n belongs to user n modulo the number of users, so that each has equally many; the first is dated
2024-01-01, each further one a millisecond later.
"""

# ruff: noqa: SIM905 - words are read better without quotes
from __future__ import annotations

from hashlib import blake2b
from random import Random
from typing import Any

FIRST_TS = 1_704_067_200_000  # 2024-01-01 in UTC
POOL = 64 * 1024  # characters of text from which bodies are cut

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
        self._prefix = f"random-{seed}-"
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

    def id(self, n: int) -> str:
        """The id of note number n."""
        return f"{self._prefix}{n}"

    def item(self, n: int) -> dict[str, Any]:
        """Note number n."""
        digest = blake2b(b"%d" % n, digest_size=8, key=self._key).digest()
        word = int.from_bytes(digest[:4], "big") % len(self._starts)
        start = self._starts[word]
        return {
            "id": self.id(n),
            "userid": n % self._users,
            "ts": FIRST_TS + n,
            "title": " ".join(self._words[word : word + 3 + digest[4] % 4]),
            "body": self._pool[start : start + self._size],
            "url": f"https://example.org/notes/{n}",
            "location": PLACES[digest[5] % len(PLACES)],
            "keywords": [WORDS[digest[6] % len(WORDS)], WORDS[digest[7] % len(WORDS)]],
        }
