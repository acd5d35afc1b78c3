"""Notifications as they are sent and stored; servers that send them know them by this too.

    notify_put      "notify.send" {"id", "user", "kind", "title", "data", "at"}: what a handler wants somebody to know
    notifications   {"id": "USER:000000000012", "userid", "nid", "kind", "title", "data", "at", "read"}; `data`
                    is JSON in a text: a store takes no names that begin with $, and no depth
    notify_live     "notify.added", "notify.read": what happens in inboxes, for who watches them now
    inboxes         {"id": USER, "read"}: all up to this number are read
    preferences     {"id": USER, "off": ["KIND CHANNEL", …], "digest": ["KIND CHANNEL", …], "times", "token"}: what is
                    not sent; what is, but together; when (`app.times`); and what proves that a link to send no more
                    comes from us. What is in both lists is off

The notifications of a user are numbered without a gap, in the order in which they came to be there: the number is a
part of the document's id, and the next one is stored when the one before it is there. So who has seen up to a number
gets what came after by asking for what lies behind it. `nid` is the notification's own id, by which a repeat is
known.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Callable, Mapping
from typing import Any

from gorgond.app.clients import Document, StoreClient
from gorgond.app.letters import DIGEST
from gorgond.errors import BadRequest, Conflict, NotFound, Refused
from gorgond.redpill import dumps, loads
from gorgond.service import channels

QUEUE = channels.QUEUE
TOPIC = "notify_live"
SEND = "notify.send"
INBOX = "inbox"  # the channel that is always there
NOTIFICATIONS, INBOXES, PREFERENCES = "notifications", "inboxes", "preferences"
DELIVERIES = "deliveries"  # `gorgond.notifiers.delivering`

KIND = "[a-z][a-z0-9_.-]{0,63}"  # what a kind is called
DATA_MAX = 20_000  # bytes of a notification's data, as JSON
ROUNDS = 20  # times in a row that others change the same document at the same moment

_USER = re.compile(r"[A-Za-z0-9_.-]{1,64}")  # no colon, which ends it in a document's id
_DIGITS = 12  # of a number


def notification_id(*of: str) -> str:
    """The id of the one notification that is made of these texts."""
    return hashlib.sha256("\0".join(of).encode()).hexdigest()[:32]


def send_args(id: str, user: str, kind: str, title: str, data: Any, at: int) -> dict[str, Any]:
    """The arguments of a message that asks for a notification. Raises BadRequest for what is no user, Refused 413 for
    too much data, TypeError or ValueError for what is no JSON."""
    if not _USER.fullmatch(user):
        raise BadRequest("user", "must be a user's id: 1 to 64 letters, digits, . _ or -")
    if (size := len(dumps(data))) > DATA_MAX:
        raise Refused(413, f"data: has {size} bytes, and must have at most {DATA_MAX}")
    return {"id": id, "user": user, "kind": kind, "title": title, "data": data, "at": at}


def document_id(user: str, number: int) -> str:
    """The id of a user's notification of that number."""
    return f"{user}:{number:0{_DIGITS}}"


def number_of(id: str) -> int:
    """The number in such an id."""
    return int(id.rpartition(":")[2])


def own_filter(user: str) -> dict[str, Any]:
    """The filter for the documents of a user in a collection whose ids begin with the user's and a colon."""
    return {"id": {"$gt": f"{user}:", "$lt": f"{user};"}}


def target_id(document: Mapping[str, Any]) -> str:
    """A target's own part of its document's id."""
    return str(document["id"]).partition(":")[2]


def filter_after(user: str, number: int = 0) -> dict[str, Any]:
    """The filter for those of a user's notifications that came after this number."""
    return {"id": {"$gt": document_id(user, number), "$lt": f"{user};"}}


def visible_part(document: Mapping[str, Any], until: int) -> dict[str, Any]:
    """A notification as its user sees it, who has read all up to the number `until`."""
    number = number_of(document["id"])
    told = {name: document[name] for name in ("kind", "title", "at")}
    return {
        "number": number,
        **told,
        "data": loads(document["data"].encode()),
        "read": bool(document.get("read")) or number <= until,
    }


async def newest_number(store: StoreClient, user: str) -> int:
    """The number of a user's newest notification; 0 where there is none."""
    found = await store.find(NOTIFICATIONS, filter_after(user), sort="-id", limit=1, fields=["at"])
    return number_of(found[0]["id"]) if found else 0


async def preferences_of(store: StoreClient, user: str) -> Document:
    """What this user wants, made where there is nothing yet: a link to send no more needs its token."""
    for _ in range(ROUNDS):
        if found := await store.find(PREFERENCES, {"id": user}, limit=1):
            return found[0]
        try:
            await store.insert(PREFERENCES, {"id": user, "off": [], "token": secrets.token_urlsafe(24)})
        except Conflict:
            continue  # somebody else has made it
    raise Conflict


async def prefer(store: StoreClient, user: str, kind: str, channel: str, on: bool, digest: bool = False) -> None:
    """Have notifications of a kind sent to this user over a channel from now on, alone or in a `digest`, or not. The
    kind of digests stands for all that is sent in them. Raises Conflict when others change the same all the time."""
    word = preference_word(kind, channel)

    def change(found: Document) -> Document:
        gathered = found.get("digest", [])
        ours = [each for each in gathered if each.endswith(f" {channel}")] if kind == DIGEST else [word]
        off, gathered = ([each for each in some if each not in ours] for some in (found["off"], gathered))
        return {"off": off + ([] if on else ours), "digest": gathered + (ours if on and digest else [])}

    await change_preferences(store, user, change)


async def change_preferences(store: StoreClient, user: str, change: Callable[[Document], Document]) -> None:
    """Set the fields that `change` makes of a user's preferences. Raises Conflict when others change the same all the
    time."""
    for _ in range(ROUNDS):
        found = await preferences_of(store, user)
        changes = {name: value for name, value in change(found).items() if value != found.get(name, [])}
        if not changes:
            return
        try:
            await store.patch(PREFERENCES, user, changes, unchanged=found["ts"])
        except Conflict:
            continue
        return
    raise Conflict


def preference_word(kind: str, channel: str) -> str:
    """As what a kind over a channel stands in preferences."""
    return f"{kind} {channel}"


def check_kind(kind: str, kinds: Mapping[str, str]) -> None:
    """Raises NotFound for a kind that no application here declares."""
    if kind not in kinds:
        known = ", ".join(sorted(kinds)) or "none: an application declares them, app.notification(kind, title)"
        raise NotFound(f"there is no kind of notification {kind:.100}; there are {known}")
