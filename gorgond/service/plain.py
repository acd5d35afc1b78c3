"""Text of others as it may be shown on a terminal, or go into a log that is read on one.

Control characters move the cursor, set the window's title, answer for the keyboard; characters that are not seen, or
turn the direction of writing, make a text look like another one. They are shown by their numbers, as JSON has them, so
what is JSON stays it.
"""

from __future__ import annotations

import json
import unicodedata

UNSEEN = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
"""Unicode's categories of what is not seen: C0, C1 and DEL, format characters, halves of pairs, ends of lines."""


def unseen(character: str) -> bool:
    """Whether a character is not seen itself, but does something to what is."""
    return unicodedata.category(character) in UNSEEN


def plain(line: str) -> str:
    """A line with what is not seen made visible: an escape is shown as \\u001b. An end of a line is among that."""
    if line.isprintable():
        return line
    return "".join(json.dumps(each)[1:-1] if unseen(each) else each for each in line)


def plain_lines(text: str) -> str:
    """The same for a text of several lines."""
    return "\n".join(map(plain, text.split("\n")))
