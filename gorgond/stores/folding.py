"""Texts that are found whatever their case: `iphone`, `IPHONE` and `iPhone` are the same keyword.

`schema.FOLDED` declares the fields that they are in. A document keeps them as they were written; its index has them
folded too, and a condition of equality is folded as well.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from unicodedata import normalize


def folded(text: str) -> str:
    """A text without its case, and without what else makes no difference to a reader (Unicode's NFKC_Casefold, but for
    characters that nobody sees)."""
    if text.isascii():
        return text.lower()
    return normalize("NFKC", normalize("NFKC", text.casefold()).casefold())


def fold(value: Any) -> Any:
    """A value of a condition: a text folded, anything else as it is."""
    return folded(value) if isinstance(value, str) else value


def copies(document: Mapping[str, Any], field: str) -> list[str]:
    """The texts in a field of a document, folded: those that it does not have so itself, each once."""
    found = document.get(field)
    texts = found if isinstance(found, list | tuple) else (found,)
    made = [folded(one) for one in texts if isinstance(one, str)]
    return [text for text in dict.fromkeys(made) if text not in texts]
