"""The fields of forms, as people see them: the labels, and messages that name them so."""

from __future__ import annotations

from collections.abc import Mapping

from gorgond.bounds import PASSWORD_MAX, PASSWORD_MIN

LABELS: Mapping[str, str] = {
    "q": "Words",
    "keyword": "Keyword",
    "title": "Title",
    "body": "Text",
    "url": "Link",
    "keywords": "Keywords, with commas between them",
    "private": "Private: only you see it",
    "name": "Name",
    "email": "E-mail",
    "password": "Password",
    "old": "Password now",
    "new": "New password",
    "zone": "Time zone",
    "quiet": "Quiet hours",
    "kinds": "Kinds of notifications, with commas between them; none: all",
    "days": "Of so many days",
}

RULES = f"{PASSWORD_MIN} to {PASSWORD_MAX} characters, and none of the commonest: a few words of your own are good."
"""Of new passwords (`auth.passwords`), to be read before one is chosen."""


def named(message: str, field: str) -> str:
    """A message about a field, with the label that people see in place of the field's name."""
    about, colon, words = message.partition(": ")
    if colon and about == field and field in LABELS:
        message = f"{LABELS[field].partition(',')[0].partition(':')[0]}: {words}"
    return message[:1].upper() + message[1:]
