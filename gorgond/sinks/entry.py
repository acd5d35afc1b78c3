"""The part of an event that is logged, and how it reads.

A log is read by more people than the database, and kept longer: it has who did what to which document, the names of
the fields, and of their values those of LOGGED alone. So nobody needs to list here what is secret. No content is among
them: a change does not say whether the document is private.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gorgond.redpill import Message

LOGGED: Mapping[str, tuple[str, ...]] = {"items": ("userid",)}
"""The fields whose values are logged, by collection."""

VALUE_MAX = 60  # characters of a text


def headline(event: Message) -> str:
    """The event in a line: "items.added 1a2b by user 5"."""
    line = f"{event.op} {event.args.get('id', '')}".rstrip()
    return f"{line} by user {user}" if (user := user_of(event)) else line


def user_of(event: Message) -> str:
    """The id of who made the change; empty when nobody was logged in."""
    return str((event.user or {}).get("id", ""))


def logged_part(event: Message) -> dict[str, Any]:
    """The part of the event's arguments that is logged: {"id", "ts", "fields": the names of those set or changed, and
    the values that are logged}."""
    args = event.args
    about: dict[str, Any] = {name: args[name] for name in ("id", "ts") if name in args}
    document = args.get("changes", args.get("document"))
    if not isinstance(document, dict):
        return about
    logged = LOGGED.get(event.op.partition(".")[0], ())
    return {**about, "fields": list(document), **{name: _short(document[name]) for name in logged if name in document}}


def _short(value: Any) -> Any:
    """A number or the beginning of a text; of anything else nothing."""
    if isinstance(value, str):
        return value if len(value) <= VALUE_MAX else f"{value[:VALUE_MAX]}…"
    return value if isinstance(value, int | float) else None
