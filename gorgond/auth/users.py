"""Accounts: the collection `users`, and `emails`, which makes an e-mail address somebody's once.

Two writes make an account, and the first decides. `emails` has a document for each address, its id a hash of it: of two
who register at once one insert is stored. That document holds the whole new user until the second write, the one to
`users`, is done; whoever finds it there, at the next login or registration, does the second write. So a crash between
the two leaves an account that is made, never an address that is locked, and nobody has to guess by the time.
A user that was deleted leaves the address to who registers it next, and so does one who has another one by then. While
an account ends (`auth.erasing`) its document is `erased`, and nobody is known by it.

    users   {"id", "name", "email", "passhash", "authtokens": {"since", "era"}, "roles", "confirmed", "links"} and what
            applications add
    emails  {"id": hash of the address, "userid", "user": the new user or nothing, "reserved": until when, ms}

Another address is an account's by two writes too: it is reserved in `emails` for a while, then it is in the user. So of
two who want it one has it, and a crash between the two leaves it free when that while is over.

`authtokens.era` is a random text that every session bears: another one voids all that were begun before. Changing the
password sets it, in the same write, and logging out everywhere does. It is no number, which two who end everything at
the same time would raise to the same, and no time, since clocks differ. `since` (ms since 1970) is for users of whom
nothing was ended since there were eras.

`confirmed` is true when somebody has proved to read the e-mails of the address: by a link in one, or by the word of
another site. It is false for who has registered and not proved it, and missing for who registered when that was not
possible, as before there was this. Who proves it later takes the account over: one write ends all ways in that whoever
registered had, the password, the sessions, and the links to other sites, which are void when they bear another `links`
(`identities`).

The sessions are documents of their own (`auth.tokens`), since two logins at the same time would each overwrite the
other's in a list that the user has.

An id is the decimal text of a random whole number from 10^9 to 2^53 - 1, so that it is the `userid` of the user's
items. It is made of the id of the message that registers: a repeat makes the same account.
"""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import secrets

from gorgond.auth import texts
from gorgond.auth.records import Document, Records
from gorgond.auth.tokens import new_era
from gorgond.bounds import REGISTERED, WHOLE_MAX
from gorgond.redpill import CallFailed, now_ms

RESERVED_MS = 3_600_000  # for which an address is kept for who is about to have it: longer than any process may sleep
LOWEST, HIGHEST = REGISTERED, WHOLE_MAX  # of ids
ERASED = "erased"  # the field of a user whose account is ending: since when, ms


class Users:
    """The accounts in the store."""

    def __init__(self, records: Records) -> None:
        self._records = records

    async def get(self, id: str) -> Document | None:
        """The user of this id, unless the account is ending."""
        found = await self._records.get("users", id)
        return None if found is None or found.get(ERASED) else found

    def claims(self, email: str) -> list[str]:
        """The ids of what may claim this address, in whatever form, in `emails`."""
        return [_key(form) for form in texts.forms(email)] if email else []

    async def by_email(self, email: str) -> Document | None:
        """The user with this address, in whatever form, whose account is finished where it is not yet. It asks the
        same, whether there is one or not. Raises CallFailed 400 for what is no address."""
        found = await asyncio.gather(*(self._by_form(form) for form in texts.forms(email)))
        return next((user for user in found if user is not None), None)

    async def _by_form(self, email: str) -> Document | None:
        found, claim = await asyncio.gather(
            self._records.find("users", {"email": email}, 1), self._records.get("emails", _key(email))
        )
        if found:
            return found[0]
        if claim is not None and claim.get("user"):
            await self._finish(claim)
            user = await self.get(claim["userid"])
            if user is not None and user["email"] == email:  # and has no other one since
                return user
        return None

    async def free_id(self, seed: str, email: str) -> str:
        """An id that nobody has; made of `seed`, and the same again for the same address."""
        for number in itertools.count():
            digest = hashlib.sha256(f"{seed} {number}".encode()).digest()
            id = str(LOWEST + int.from_bytes(digest[:16]) % (HIGHEST - LOWEST + 1))
            found = await self.get(id)
            if found is None or found["email"] == email:
                return id
        raise AssertionError("numbers do not end")

    async def create(self, id: str, name: str, email: str, passhash: str, confirmed: bool | None = None) -> Document:
        """Make an account, whose address somebody has proved or not, if anybody can; a repeat with this id makes the
        same one. Raises CallFailed 409 when the address, in whatever form, is somebody else's. Without an address
        nobody else can have it."""
        user: Document = {"id": id, "name": name, "email": email, "passhash": passhash,
                          "authtokens": {"since": 0}, "roles": []}  # fmt: skip
        if confirmed is not None:
            user["confirmed"] = confirmed
        if email:
            await self._claim(user)
        else:
            await self._records.insert("users", user)
        made = await self.get(id)
        if made is None:
            raise CallFailed(409, "this account was deleted meanwhile")
        return made

    async def change(self, user: Document, changes: Document) -> None:
        """Set fields of a user."""
        if not await self._records.patch("users", user, changes):
            raise CallFailed(409, "this account was deleted meanwhile")

    async def change_unchanged(self, user: Document, changes: Document) -> None:
        """Set fields of a user as it was found. Raises CallFailed 409 when somebody has changed it since."""
        if not await self._records.patch_unchanged("users", user, changes):
            raise CallFailed(409, "this account was changed at the same time, its password perhaps: try again")

    async def rehash(self, user: Document, passhash: str) -> None:
        """Store a newer hash of the password that this user had; nothing if the user has been changed since, as the
        password may have been."""
        await self._records.amend("users", user, {"passhash": passhash})

    async def reserve(self, user: Document, email: str) -> None:
        """Keep an address for a user, who may `move` to it then. Raises CallFailed 409 when it is somebody else's."""
        reserved = now_ms() + RESERVED_MS
        claim = await self._claimed(
            {"id": _key(email), "userid": user["id"], "user": None, "reserved": reserved}, email
        )
        if claim.get("reserved") != reserved and not await self._records.patch_unchanged(
            "emails", claim, {"reserved": reserved}
        ):
            raise CallFailed(409, "email: others want this address at the same time: try again", "email")

    async def move(self, user: Document, email: str) -> None:
        """Give a user, as it was found, the address that is reserved, and is proved; the one before is free then.
        Raises CallFailed 409 when somebody has changed the user since."""
        await self.change_unchanged(user, {"email": email, "confirmed": True})
        for key in set(self.claims(user["email"])) - set(self.claims(email)):
            found = await self._records.get("emails", key)
            if found is not None and found["userid"] == user["id"]:
                await self._records.delete_unchanged("emails", found)

    async def _claim(self, user: Document) -> None:
        claim = await self._claimed({"id": _key(user["email"]), "userid": user["id"], "user": user}, user["email"])
        if claim.get("user"):
            await self._finish(claim)

    async def _claimed(self, claim: Document, email: str) -> Document:
        """What claims an address for a user, this or one of before. Raises CallFailed 409 when it is somebody
        else's."""
        taken = CallFailed(409, "email: there is an account with this address: log in", "email")
        older = [form for form in texts.forms(email) if form != email]
        if any(await asyncio.gather(*(self._by_form(form) for form in older))):
            raise taken
        claim = {**claim, "ts": now_ms()}
        while not await self._records.insert("emails", claim):
            found = await self._records.get("emails", claim["id"])
            if found is None:
                continue
            if found["userid"] == claim["userid"]:
                return found
            if await self._stands(found):
                raise taken
            # That account ended, or has another address: its document of this age goes, if nobody else was quicker.
            await self._records.delete_unchanged("emails", found)
            claim["ts"] = max(now_ms(), found["ts"] + 1)
        return claim

    async def _stands(self, claim: Document) -> bool:
        """Whether an address is still that of the account that this claims it for."""
        if claim.get("user") or claim.get("reserved", 0) > now_ms():
            return True
        owner = await self.get(claim["userid"])
        return owner is not None and claim["id"] in self.claims(owner["email"])

    async def _finish(self, claim: Document) -> None:
        """The second write, and the note that it is done. Each may be repeated."""
        await self._records.insert("users", claim["user"])
        await self._records.patch("emails", claim, {"user": None})


def is_proved(user: Document) -> bool:
    """Whether the user has proved to read the e-mails of the address. Who registered before that was asked for, and had
    no password, came by way of another site, which had vouched for the address."""
    return bool(user.get("confirmed", not user["passhash"]))


def taken_over() -> Document:
    """The change of a user whose address somebody proves first: of the ways in that there were, none is left."""
    return {"passhash": "", "confirmed": True, "links": secrets.token_hex(16), **new_era()}


def _key(email: str) -> str:
    return hashlib.sha256(email.encode()).hexdigest()
