"""The rights that routes ask for: a route needs a user or not, and perhaps a role of that user's.

401 says that it is not known who asks, or no longer; 403 that it is known, and not enough. The application checks what
a user may do with its own things alone, by the user it is given.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gorgond.redpill import CallFailed

User = Mapping[str, Any]
"""The user who asks, as a message says: {"id", "name", "email", "roles", "session"}."""


def unknown(message: str = "this session has ended, or never was: log in") -> CallFailed:
    """401."""
    return CallFailed(401, message, headers={"WWW-Authenticate": "Bearer"})


def check_need(user: User | None, need: str, rights: str) -> None:
    """Refuse a user who is not known where that is needed, and one who has not the role. Raises CallFailed 401, 403."""
    if user is None:
        if need != "optional" or rights:
            raise unknown("this needs a user: log in")
    elif rights and rights not in user["roles"]:
        raise CallFailed(403, f"this needs the role {rights}")
