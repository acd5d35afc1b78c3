"""Our users' identities at other sites: the collection `identities`, a document for each.

    identities  {"id": hash of site and subject, "userid", "site", "subject", "email", "linked"}   linked: ms

An identity is somebody's once: its document is inserted first, with the id of the user it is to be, and the account is
made then; a user who comes back finds the one and, where it is missing, makes the other.

An account is never taken over because another site says that the address is the same: its owner logs in and links it.
"""

from __future__ import annotations

import hashlib

from gorgond.auth import texts
from gorgond.auth.records import Document, Records
from gorgond.auth.sites import Identity
from gorgond.auth.users import Users
from gorgond.redpill import CallFailed, now_ms


class Identities:
    """The identities in the store."""

    def __init__(self, records: Records, users: Users) -> None:
        self._records = records
        self._users = users

    async def user_of(self, site: str, identity: Identity, seed: str) -> Document:
        """The user with this identity; a new one, with an id made of `seed`, if there is none. Raises CallFailed 409
        when an account has the address already."""
        email = texts.address_of(identity.email)
        known = await self._records.get("identities", _key(site, identity))
        if known is None:
            if email and await self._users.by_email(email) is not None:
                raise CallFailed(409, f"there is an account with your address: log in, then link {site} to it")
            userid = await self._users.free_id(seed, email)
            known = await self._insert(site, identity, userid)
        user = await self._users.get(known["userid"])
        if user is None:
            user = await self._users.create(known["userid"], texts.name_of(identity.name), email, "")
        return user

    async def link(self, user: Document, site: str, identity: Identity) -> None:
        """Make it one of the user's. Raises CallFailed 409 when it is somebody else's."""
        if (await self._insert(site, identity, user["id"]))["userid"] != user["id"]:
            raise CallFailed(409, f"this account of {site} is linked to another user")

    async def unlink(self, user: Document, site: str) -> None:
        """Those of this site are the user's no more. Raises CallFailed 404 when there is none, 409 when the user could
        not log in any more without it."""
        linked = await self.of(user)
        gone = [each for each in linked if each["site"] == site]
        if not gone:
            raise CallFailed(404, f"no account of {site} is linked")
        if not user["passhash"] and len(gone) == len(linked):
            raise CallFailed(409, "there would be no way left to log in: set a password first")
        for each in gone:
            await self._records.delete("identities", each)

    async def of(self, user: Document) -> list[Document]:
        """The identities of a user."""
        return await self._records.find("identities", {"userid": user["id"]})

    async def _insert(self, site: str, identity: Identity, userid: str) -> Document:
        """The document of this identity, whoever made it."""
        document: Document = {"id": _key(site, identity), "userid": userid, "site": site, "subject": identity.subject,
                    "email": identity.email, "linked": now_ms()}  # fmt: skip
        await self._records.insert("identities", document)
        found = await self._records.get("identities", document["id"])
        if found is None:
            raise CallFailed(409, "this was unlinked at the same time: try again")
        return found


def _key(site: str, identity: Identity) -> str:
    return hashlib.sha256(f"{site}\0{identity.subject}".encode()).hexdigest()
