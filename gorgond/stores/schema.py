"""The schema: what the drivers index, as the roles declare it. Every other collection and field can be used all the
same, unindexed, or indexed where an application declares it (`stores.declared`).

    User: id name passhash email authtokens + any      Item: id title body url ts location keywords userid + any

`users`, `emails`, `sessions` and `identities` are the auth server's (`auth.users`, `auth.tokens`, `auth.identities`).
"""

from __future__ import annotations

from collections.abc import Mapping

from gorgond.roles import ROLES

DECLARED = {name: indexes for role in ROLES.values() for name, indexes in role.collections.items()}
"""The indexes that the roles declare, by collection. Applications declare more (`stores.declared`)."""

TEXT: Mapping[str, tuple[str, ...]] = {name: each.text for name, each in DECLARED.items() if each.text}

FOLDED: Mapping[str, tuple[str, ...]] = {name: each.folded for name, each in DECLARED.items() if each.folded}
"""The fields whose texts are found whatever their case (`stores.folding`)."""

INDEXES = "indexes"
"""The collection in which applications say what is to be indexed."""

PUSH_KEYS = "push_keys"
"""The key with which notification servers sign what they send to browsers, {"id", "public", "private"}."""

PRIVATE: Mapping[str, tuple[str, ...]] = {
    "users": ("name",), "emails": (), "sessions": (), "identities": (), PUSH_KEYS: ("public",),
}  # fmt: skip
"""Collections that only the auth server asks for and changes, over queues of its own: who could read or write them
would be anybody. These fields of theirs everybody may find by id, and is told when they change."""

KEPT_ONCE = frozenset({PUSH_KEYS})
"""Those of them to which everybody may add what is not there yet. Nobody but the auth server could change it."""

CONTACT: Mapping[str, tuple[str, ...]] = {
    "users": ("name", "email", "confirmed", "erased"),
    PUSH_KEYS: ("public", "private"),
}
"""The fields that notification servers may find too, by id, over a queue of their own: how a user is reached."""

PROVIDERS = "providers"
"""How far each provider has read: all that providers ask for, over a queue of their own."""

OWNED: Mapping[str, str] = {"items": "userid"}
"""The field that says whose a document is, by numbers (`stores.ownership`): with a text it would be nobody's."""

TOMBSTONES = "tombstones"
"""The collection in which drivers remember deletes; no caller's business."""

REQUESTS = "gorgon.requests"
"""The collection in which drivers remember what a request's key was used for; no collection can have this name."""

MOVING = "gorgon_moving"
"""The collection in which it is noted that a database is moved. No caller may ask for it, nor change it: stores would
not start any more."""

RESERVED = (TOMBSTONES, "tombstones_at", "text_building", "json_each", "pragma_module_list", "pragma_table_info")
"""Names that no collection can have: SQLite keeps its tables, indexes and table functions among them. All others that
a driver uses hold a dot."""

OWN_FIELDS = "_gorgon"
"""A document's fields whose names begin so are the drivers' own: nobody writes, asks for or sees them."""

UNANNOUNCED = (
    "stats",
    PROVIDERS,
    INDEXES,
    "jobs",
    "crons",
    "notifications",
    "inboxes",
    "preferences",
    "deliveries",
    "browsers",
    "digests",
    "endpoints",
    *(name for name, public in PRIVATE.items() if not public),
)
"""Collections whose changes are nobody's news: the fabric's own books, a hundred kilobytes a minute, how far its
providers have read, what is indexed; and what is private, as what users are told. store_notify is heard by many."""

TOMBSTONE_SECONDS = 24 * 3600
