"""The links in letters: who has one proves to read the e-mails of a user.

    TOKEN    USER.UNTIL.MAC    MAC: HMAC-SHA256 of what it is for, the user, until when it holds (ms since 1970), and of
                               the account as it was when the letter was written

Nothing of them is stored. One that is used changes the account, so it holds no more, and neither do those that were
sent before it: those of a new password and of a new address have the old password's hash and the era of the sessions in
them, the latter the new address too. The key is made of
[auth] key: with another one the links that are on their way are void.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re

from gorgond.app.letters import ADDRESS, LETTERS, RESET
from gorgond.auth.records import Document
from gorgond.redpill import now_ms

_TOKEN = re.compile(r"([0-9]{1,16})\.([0-9]{1,16})\.([A-Za-z0-9_-]{43})")


class Links:
    """Makes them with the first of these keys, which have blanks between them, and knows those of all."""

    def __init__(self, keys: str) -> None:
        self._keys = [hmac.new(key.encode(), b"gorgond links", hashlib.sha256).digest() for key in keys.split()]

    def token(self, kind: str, user: Document, to: str = "") -> str:
        """One for a letter of this kind, which goes `to` another address than that of the user's account, or not."""
        until = now_ms() + int(LETTERS[kind] * 1000)
        return f"{user['id']}.{until}.{_mac(self._keys[0], kind, user, until, to)}"

    def holds(self, token: str, kind: str, user: Document, to: str = "") -> bool:
        """Whether it is one for letters of this kind to this user, whose account is still as it was then."""
        found = _TOKEN.fullmatch(token)
        if found is None or found[1] != user["id"] or int(found[2]) < now_ms():
            return False
        return any(hmac.compare_digest(_mac(key, kind, user, int(found[2]), to), found[3]) for key in self._keys)


def user_in(token: str) -> str:
    """The id of the user whom a token names; nothing where it is none."""
    found = _TOKEN.fullmatch(token)
    return found[1] if found else ""


def _mac(key: bytes, kind: str, user: Document, until: int, to: str) -> str:
    about = [kind, user["id"], str(until), user["email"], *filter(None, [to])]
    if kind in (RESET, ADDRESS):
        about += [user["passhash"], str(user["authtokens"].get("era", ""))]
    made = hmac.new(key, "\0".join(about).encode(), hashlib.sha256).digest()
    return base64.urlsafe_b64encode(made).rstrip(b"=").decode()
