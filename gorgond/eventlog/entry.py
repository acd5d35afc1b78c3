"""What of an event is logged, and how it reads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gorgond.redpill import Message

SECRET = frozenset({"passhash", "authtokens"})  # fields whose value is nobody's business
HIDDEN = "***"


def headline(event: Message) -> str:
    """The event in a line: "items.added 1a2b by user 5"."""
    line = f"{event.op} {event.args.get('id', '')}".rstrip()
    return f"{line} by user {user}" if (user := user_of(event)) else line


def user_of(event: Message) -> str:
    """The id of who made the change; empty when nobody was logged in."""
    return str((event.user or {}).get("id", ""))


def shown(args: Mapping[str, Any]) -> dict[str, Any]:
    """The event's arguments with secrets hidden, in the document or the changes it carries."""
    return {key: _masked(value) if isinstance(value, dict) else value for key, value in args.items()}


def _masked(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {key: HIDDEN if key in SECRET else value for key, value in fields.items()}
