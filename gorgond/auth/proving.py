"""The questions to the auth server by which users prove whose an e-mail address is; see `auth.operations` for the rest.

    auth.confirm.ask    {"client"}                  → null; a letter with a link is on its way to the user's address
    auth.confirm        {"token"}                   → the user, whose address is confirmed from now on
    auth.address.ask    {"email", "password", "client"}   → null; a letter with a link is on its way to that address
    auth.address        {"token", "email"}          → the user, whose address it is from now on; the one before is told
    auth.reset.ask      {"email", "client"}         → null, whoever has this address; the job auth.reset.letter is kept
    auth.reset.letter   {"email"}                   → null; a letter is on its way, if an account has this address
    auth.reset          {"token", "new", "client"}  → null; the password is another one, and all sessions have ended

The first four need a user, the token of a link alone does not do: the owner of an address whom a stranger's account
sends a letter would make that account an honest one by a click. Who has forgotten the password does not log in; so the
link in that letter takes the account from everybody else, if nobody had confirmed its address before
(`users.taken_over`).

What is asked about an address is answered the same, and after the same work, whether it is anybody's: the job finds
out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gorgond.app.letters import ADDRESS, CONFIRM, RESET
from gorgond.auth import texts
from gorgond.auth.identities import Identities
from gorgond.auth.letters import Letters, Push
from gorgond.auth.limits import Limits
from gorgond.auth.links import Links, user_in
from gorgond.auth.operations import Operations, Own, Public, client_of, new_password, text
from gorgond.auth.passwords import Passwords
from gorgond.auth.records import Document
from gorgond.auth.rights import User
from gorgond.auth.tokens import Tokens, new_era, public_part
from gorgond.auth.users import Users, is_proved, taken_over
from gorgond.redpill import CallFailed, Message

ARGUMENTS: Mapping[str, Sequence[str]] = {
    "auth.confirm.ask": ("client",),
    "auth.confirm": ("token",),
    "auth.address.ask": ("email", "password", "client"),
    "auth.address": ("token", "email"),
    "auth.reset.ask": ("email", "client"),
    "auth.reset.letter": ("email",),
    "auth.reset": ("token", "new", "client"),
}


class Proving:
    """The operations, on what they need; `push` keeps a job for this server. Each raises CallFailed for what it
    refuses."""

    def __init__(
        self,
        links: Links,
        letters: Letters,
        users: Users,
        identities: Identities,
        passwords: Passwords,
        tokens: Tokens,
        limits: Limits,
        accounts: Operations,
        push: Push,
    ) -> None:
        self._links = links
        self._letters = letters
        self._users = users
        self._identities = identities
        self._passwords = passwords
        self._tokens = tokens
        self._limits = limits
        self._accounts = accounts
        self._push = push
        self.public: dict[str, Public] = {
            "auth.reset.ask": self.ask_reset,
            "auth.reset.letter": self.send_reset,
            "auth.reset": self.reset,
        }
        self.own: dict[str, Own] = {
            "auth.confirm.ask": self.ask_confirm,
            "auth.confirm": self.confirm,
            "auth.address.ask": self.ask_address,
            "auth.address": self.move,
        }

    async def ask_confirm(self, message: Message, user: User) -> Any:
        self._letters.check_offered()
        account = await self._accounts.account(user)
        if not account["email"]:
            raise CallFailed(409, "this account has no e-mail address")
        if is_proved(account):
            raise CallFailed(409, "the address is confirmed already")
        await self._limits.letter(account["id"], client_of(message.args)["address"])
        await self._letters.send(CONFIRM, account, message.id)

    async def confirm(self, message: Message, user: User) -> Any:
        account, token = await self._accounts.account(user), text(message.args, "token")
        _check_user(token, account)
        done = account.get("confirmed") and message.attempts  # by one that died before it could say so
        if (account.get("confirmed") and not done) or not self._links.holds(token, CONFIRM, account):
            raise _over("ask for a new one, unless the address is confirmed already")
        if not done:
            await self._users.change_unchanged(account, {"confirmed": True})
        await self._tokens.announce_change(account["id"])
        return public_part(account | {"confirmed": True})

    async def ask_address(self, message: Message, user: User) -> Any:
        self._letters.check_offered()
        email = texts.address(text(message.args, "email"))
        account, address = (
            await self._accounts.owner(user, message.args, "password"),
            client_of(message.args)["address"],
        )
        if email == account["email"]:
            raise CallFailed(409, "email: this is the address of the account", "email")
        for counted in (account["id"], email):
            await self._limits.letter(counted, address)
        await self._letters.send(ADDRESS, account, message.id, email)  # whose it is already, its owner alone may learn

    async def move(self, message: Message, user: User) -> Any:
        account, token = await self._accounts.account(user), text(message.args, "token")
        email = texts.address(text(message.args, "email"))
        _check_user(token, account)
        if not (message.attempts and account["email"] == email):  # by one that died before it could say so
            if not self._links.holds(token, ADDRESS, account, email):
                raise _over("ask for a new one, unless the account has the address already")
            await self._users.reserve(account, email)
            if is_proved(account):  # before it is forgotten
                await self._letters.tell_moved(account, email, token)
            await self._users.move(account, email)
        await self._tokens.announce_change(account["id"])
        return public_part(account | {"email": email, "confirmed": True})

    async def ask_reset(self, message: Message) -> Any:
        self._letters.check_offered()
        email = text(message.args, "email")
        await self._limits.letter(texts.account(email), client_of(message.args)["address"])
        await self._push("auth_put", Message("auth.reset.letter", {"email": email}, f"{message.id}.letter"))

    async def send_reset(self, message: Message) -> Any:
        user = await self._users.by_email(text(message.args, "email"))
        if user is not None:
            await self._letters.send(RESET, user, message.id)

    async def reset(self, message: Message) -> Any:
        args = message.args
        token, new = text(args, "token"), new_password(args, "new")
        await self._limits.registration(client_of(args)["address"])
        account = await self._users.get(user_in(token))
        if account is None or not self._links.holds(token, RESET, account):
            if account is None or not message.attempts or not await self._is_password(account, new):
                raise _over("ask for a new one")
            await self._end_others(account, bool(account.get("links")))  # who set it died before all was done
            return
        taken = not is_proved(account)
        changes = {**(taken_over() if taken else new_era()), "passhash": await self._passwords.hash(new)}
        await self._users.change_unchanged(account, changes)  # of two with the same link one succeeds
        await self._end_others(account | changes, taken)

    async def _end_others(self, account: Document, taken: bool) -> None:
        await self._tokens.end_others(account["id"])
        if taken:
            await self._identities.end_others(account)

    async def _is_password(self, account: Document, password: str) -> bool:
        return (await self._passwords.check(account["passhash"], password)).right


def _check_user(token: str, account: Document) -> None:
    if user_in(token) not in ("", account["id"]):
        raise CallFailed(403, "token: this link was sent to another user: log in as who has asked for it", "token")


def _over(advice: str) -> CallFailed:
    return CallFailed(404, f"token: this link does not hold any more: {advice}", "token")
