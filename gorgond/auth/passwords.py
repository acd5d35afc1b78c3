"""Passwords: which are allowed, and their Argon2id hashes.

Hashing takes 19 MiB and tens of milliseconds, so it happens in a few threads: never on the event loop, and never more
at a time than there are threads, which bounds the memory.

The parameters are OWASP's (Password Storage Cheat Sheet: Argon2id, m = 19 MiB, t = 2, p = 1); a hash made with others
is made anew when its owner logs in. So is one of a password as it was typed (`auth.texts`). The commonest passwords
are in commonest.txt, which says where they come from.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from argon2 import PasswordHasher, Type
from argon2.exceptions import InvalidHash, VerificationError

from gorgond.auth import texts
from gorgond.bounds import PASSWORD_MAX, PASSWORD_MIN

LENGTH = PASSWORD_MIN, PASSWORD_MAX
MEMORY, PASSES, LANES = 19 * 1024, 2, 1  # KiB, t, p
THREADS = 2  # hashes at a time


@dataclass(frozen=True, slots=True)
class Checked:
    """Whether a hash is a password's; and if so whether it is to be made anew."""

    right: bool
    outdated: bool = False


def rule_broken(password: str) -> str:
    """The fault of a new password in words; empty when it has none."""
    password = texts.password(password)
    if not LENGTH[0] <= len(password) <= LENGTH[1]:
        return f"must have {LENGTH[0]} to {LENGTH[1]} characters"
    if len(set(password)) == 1 or password.lower() in _commonest():
        return "is one of the commonest passwords; choose another one"
    return ""


class Passwords:
    """Makes and checks hashes."""

    def __init__(self) -> None:
        self._hasher = PasswordHasher(PASSES, MEMORY, LANES, hash_len=32, salt_len=16, type=Type.ID)
        self._threads = ThreadPoolExecutor(THREADS, "argon2")
        self._decoy = self._hasher.hash("nobody's password")

    async def hash(self, password: str) -> str:
        """The hash to be stored, with its parameters and salt, in PHC string format."""
        text = texts.password(password)
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._hasher.hash, text)

    async def check(self, passhash: str, password: str) -> Checked:
        """Whether a hash is this password's, however it is spelt. An empty hash is nobody's, and takes as long to
        check."""
        spellings = texts.spellings("" if len(password) > LENGTH[1] else password)
        for spelling in spellings:
            checked = passhash or self._decoy
            right = await asyncio.get_running_loop().run_in_executor(self._threads, self._verify, checked, spelling)
            if right and passhash:
                return Checked(True, spelling != spellings[0] or self._hasher.check_needs_rehash(passhash))
        return Checked(False)

    def close(self) -> None:
        """End the threads."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _verify(self, passhash: str, password: str) -> bool:
        try:
            return self._hasher.verify(passhash, password)
        except (VerificationError, InvalidHash):
            return False


_known: frozenset[str] = frozenset()


def _commonest() -> frozenset[str]:
    """The list, read when it is first needed."""
    global _known
    if not _known:
        lines = (Path(__file__).parent / "commonest.txt").read_text(encoding="utf-8").splitlines()
        _known = frozenset(line for line in lines if not line.startswith("#"))
    return _known
