"""The operator's sessions: who has logged in, and not yet out.

Each is a file, in a directory that all stats servers of a host share, as they share their port: whichever is asked
knows it, after a restart too. Logging out removes the file. Its name is made of the session's token and the password,
so that nobody who reads the directory gets the session, and a new password ends all. It holds when the session began,
and was changed when the session was last used.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

IDLE = 3600  # seconds after which a session that is not used ends
LIFETIME = 12 * 3600  # seconds after which every session ends
NAME = 64  # characters of the name of a file
NOTED = 60  # seconds between two notes that a session is used


class Sessions:
    """Those of `password`, in `directory`; `clock` gives seconds since 1970."""

    def __init__(self, directory: Path, password: str, clock: Callable[[], float]) -> None:
        self._directory = directory
        self._key = hashlib.sha256(b"gorgon-stats " + password.encode()).digest()
        self._clock = clock

    def begin(self) -> str:
        """A new session: its token. Raises OSError when it cannot be kept."""
        for file in self._directory.glob("?" * NAME):
            if not self._lasts(file):
                file.unlink(missing_ok=True)
        token = secrets.token_urlsafe(32)
        file, now = self._file(token), self._clock()
        with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as begun:
            begun.write(str(int(now)))
        os.utime(file, (now, now))
        return token

    def lasts(self, token: str) -> bool:
        """Whether it is a session that has not ended."""
        return self._lasts(self._file(token))

    def use(self, token: str) -> bool:
        """The same; if so it goes on from now."""
        file, now = self._file(token), self._clock()
        if not self._lasts(file):
            return False
        with suppress(OSError):  # somebody has just logged out
            if now - file.stat().st_mtime > NOTED:
                os.utime(file, (now, now))
        return True

    def end(self, token: str) -> None:
        """Nobody has this session any more."""
        self._file(token).unlink(missing_ok=True)

    def new_browser(self) -> str:
        """A token by which a browser is known in which the operator was logged in. It is no session, and kept by nobody
        else."""
        id = secrets.token_hex(16)
        return f"{id}.{self._proof(id)}"

    def is_browser(self, text: str) -> bool:
        """Whether it is what a browser is known by, since the password was set."""
        id, _, proof = text.partition(".")
        return hmac.compare_digest(proof.encode(errors="replace"), self._proof(id).encode())

    def _proof(self, id: str) -> str:
        return hmac.new(self._key, b"browser " + id.encode(errors="replace"), hashlib.sha256).hexdigest()

    def _file(self, token: str) -> Path:
        return self._directory / hmac.new(self._key, token.encode(errors="replace"), hashlib.sha256).hexdigest()

    def _lasts(self, file: Path) -> bool:
        try:
            used, begun, now = file.stat().st_mtime, int(file.read_text()), self._clock()
        except (OSError, ValueError):
            return False
        return now - used < IDLE and now - begun < LIFETIME
