"""Our users' identities at other sites: the collection `identities`, a document for each.

    identities  {"id": hash of site and subject, "userid", "site", "subject", "email", "linked", "links"}   linked: ms

An identity is somebody's once: its document is inserted first, with the id of the user it is to be, and the account is
made then; a user who comes back finds the one and, where it is missing, makes the other.

An account whose address is confirmed is never taken over because another site says that the address is the same: its
owner logs in and links it. One that somebody registered and never confirmed is: whoever it was has not proved to read
the e-mails of that address, and the other site says who does. An identity bears the `links` that its user had when it
was linked, and is void when the user has others: those that were linked before do not outlive that.
"""

from __future__ import annotations

import asyncio
import hashlib

from gorgond.auth import texts
from gorgond.auth.records import TARGETS, Document, Records
from gorgond.auth.rights import User
from gorgond.auth.sites import Identity
from gorgond.auth.tokens import Tokens
from gorgond.auth.users import Users, is_proved, taken_over
from gorgond.redpill import CallFailed, now_ms

MANY = 200  # of each collection; a user has fewer


class Identities:
    """The identities in the store."""

    def __init__(self, records: Records, users: Users, tokens: Tokens) -> None:
        self._records = records
        self._users = users
        self._tokens = tokens

    async def user_of(self, site: str, identity: Identity, seed: str) -> tuple[Document, bool]:
        """The user with this identity; a new one, with an id made of `seed`, if there is none, and whether it is new.
        Raises CallFailed 409 when an account has the address already, and has confirmed it."""
        email = texts.address_of(identity.email)
        known = await self._records.get("identities", _key(site, identity))
        user = None if known is None else await self._users.get(known["userid"])
        if known is not None and user is not None and not _holds(known, user):
            await self._records.delete("identities", known)
            known = user = None
        if known is None:
            there = await self._users.by_email(email) if email else None
            if there is not None:
                return await self._take_over(there, site, identity), False
            userid = await self._users.free_id(seed, email)
            known = await self._insert(site, identity, userid, "")
            user = await self._users.get(known["userid"])
        if user is not None:
            return user, False
        name = texts.name_of(identity.name)
        return await self._users.create(known["userid"], name, email, "", confirmed=bool(email)), True

    async def _take_over(self, user: Document, site: str, identity: Identity) -> Document:
        """The account with this identity's address as its own. The identity is there first, and holds with the write
        that takes the account from everybody else."""
        if is_proved(user):
            raise CallFailed(409, f"there is an account with your address: log in, then link {site} to it")
        changes = taken_over()
        known = await self._insert(site, identity, user["id"], changes["links"])
        if known["userid"] != user["id"]:
            raise CallFailed(409, "this was linked to another user at the same time: try again")
        changes["links"] = known["links"]
        await self._users.change_unchanged(user, changes)
        await self._tokens.end_others(user["id"])
        await self.end_others(user | changes)
        return user | changes

    async def end_others(self, user: Document) -> None:
        """Delete what others had of an account that was taken over: their accounts at other sites, and where else they
        were told what its user is."""
        await self.tidy(user)
        left = await self._records.belongings(user["id"], MANY, TARGETS)
        await asyncio.gather(*(self._records.delete_belonging(collection, id, user["id"]) for collection, id in left))

    async def tidy(self, user: Document) -> None:
        """Delete the identities that the user had before the account was taken over."""
        found = await self._records.find("identities", {"userid": user["id"]})
        await asyncio.gather(*(self._records.delete("identities", each) for each in found if not _holds(each, user)))

    async def link(self, asker: User, site: str, identity: Identity) -> None:
        """Make it one of the user's. Raises CallFailed 409 when it is somebody else's."""
        user = await self._tokens.account_of(asker)
        await self.tidy(user)
        known = await self._insert(site, identity, user["id"], user.get("links", ""))
        if known["userid"] != user["id"]:
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
        found = await self._records.find("identities", {"userid": user["id"]})
        return [each for each in found if _holds(each, user)]

    async def _insert(self, site: str, identity: Identity, userid: str, links: str) -> Document:
        """The document of this identity, whoever made it."""
        document: Document = {"id": _key(site, identity), "userid": userid, "site": site, "subject": identity.subject,
                    "email": identity.email, "linked": now_ms(), "links": links}  # fmt: skip
        await self._records.insert("identities", document)
        found = await self._records.get("identities", document["id"])
        if found is None:
            raise CallFailed(409, "this was unlinked at the same time: try again")
        return found


def _holds(identity: Document, user: Document) -> bool:
    return bool(identity.get("links", "") == user.get("links", ""))


def _key(site: str, identity: Identity) -> str:
    return hashlib.sha256(f"{site}\0{identity.subject}".encode()).hexdigest()
