"""Pseudonyms stand in the log for accounts and addresses, whose own names are nobody's business who reads it.

The same one has the same pseudonym wherever the key is the same, so that an attack can be followed. A reader without
the key can neither tell whose it is nor try whether it is somebody's.
"""

from __future__ import annotations

import hashlib
import hmac

DIGITS = 12  # of a pseudonym, hexadecimal: enough to tell millions apart


class Pseudonyms:
    """Made with a key that only servers have, and that cannot be guessed."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def of(self, kind: str, name: str) -> str:
        """That of an account or an address: `account 3f2a9c01b7de`."""
        return f"{kind} {hmac.new(self._key, f'{kind} {name}'.encode(), hashlib.sha256).hexdigest()[:DIGITS]}"


def key_of(password: str) -> bytes:
    """A key made of a password, which somebody may have chosen: each guess of a reader of the log takes long."""
    return hashlib.scrypt(password.encode(), salt=b"gorgond pseudonyms", n=1 << 14, r=8, p=1, dklen=32)
