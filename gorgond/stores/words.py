"""The words of texts, for an index of our own: as SQLite's full-text index takes them apart, so that all drivers find
the same.

A word is a run of letters and digits, whatever its case and accents. A word of a search finds those that begin with
it, unless it is so short that most would.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

BEGINNING = 3
"""Characters of a word of a search from which on it is taken for the beginning of others, too."""

LONGEST = 64
"""Characters of a word that are looked at."""

_WORD = re.compile(r"[^\W_]+")
_PLAIN = bytes(ord(chr(code).lower()) if chr(code).isalnum() else 32 for code in range(128)) + b" " * 128


def words_in(text: str) -> list[str]:
    """The words of a text, in their order."""
    if text.isascii():  # takes half the time
        return text.encode().translate(_PLAIN).decode().split()
    apart = unicodedata.normalize("NFKD", text)
    return _WORD.findall("".join(each for each in apart if not unicodedata.combining(each)).casefold())


def text_of(document: Mapping[str, Any], fields: Iterable[str]) -> str:
    """What can be searched for in a document: the texts, and lists of texts, of these fields."""
    texts = []
    for field in fields:
        value = document.get(field)
        if isinstance(value, str):
            texts.append(value)
        elif isinstance(value, list | tuple):
            texts += [each for each in value if isinstance(each, str)]
    return "\n".join(texts)


class Sought:
    """The words of a search."""

    def __init__(self, search: str) -> None:
        words = dict.fromkeys(word[:LONGEST] for word in words_in(search))
        self.begin = tuple(word for word in words if len(word) >= BEGINNING)
        self.whole = frozenset(words) - frozenset(self.begin)
        self.heads = {head_of(word) for word in words}

    def finds(self, word: str) -> bool:
        """Whether a word is one of them, or begins with one."""
        return word.startswith(self.begin) or word in self.whole

    def score(self, words: Sequence[str]) -> tuple[int, int]:
        """How well a text of these words is found: how many of what is sought it has, and how often; (0, 0) for one
        that is not found."""
        found = [word for word in words if word.startswith(self.begin) or word in self.whole]
        if not found:
            return 0, 0
        begun = sum(any(word.startswith(begin) for word in found) for begin in self.begin)
        return begun + len(self.whole.intersection(found)), len(found)


def head_of(word: str) -> str:
    """What all words have in common that a word of a search may find."""
    return word[:BEGINNING]
