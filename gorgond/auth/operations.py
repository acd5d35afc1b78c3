"""The questions to the auth server on auth_get, beside who somebody is. Answers are JSON objects.

    auth.register   {"email", "password", "name", "client"}     → 201, the user
    auth.login      {"email", "password", "client", "token"}    → {"user", "expires"}
    auth.me                                                      → the user
    auth.password   {"old", "new", "client", "token"}           → {"user", "expires"}; the other sessions ended
    auth.rename     {"name"}                                     → the user
    auth.delete     {"password", "client"}                       → null; the account, and all that is its user's
                    "queued" where others change the account just then: it ends soon
    auth.logout                                                  → null; this session ended
    auth.sessions                                                → {"sessions": […]}
    auth.revoke     {"id"}, or {} for all of them               → null

`client` is {"address", "agent"} of who asks, `token` the digest of the token of the session that is to begin, which the
web server made and tells nobody but its client; `former` that of the session which it ends, if there is one.
All but the first two need a user. `auth.site_logins` has those that are about other sites,
`auth.proving` those that are about e-mail addresses.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from gorgond.auth import texts
from gorgond.auth.erasing import Erasing
from gorgond.auth.letters import Letters
from gorgond.auth.limits import Limits
from gorgond.auth.passwords import Passwords, rule_broken
from gorgond.auth.records import Document
from gorgond.auth.rights import User, unknown
from gorgond.auth.tokens import FRESH, Tokens, new_era, public_part
from gorgond.auth.users import Users
from gorgond.bounds import AGENT_MAX, NAME_MAX
from gorgond.redpill import CallFailed, Message

QUICK = ("auth.me", "auth.sessions", "auth.oauth2.sites", "auth.oauth2.linked")
"""Those that neither hash a password nor ask another site nor change anything."""

ENDING = ("auth.logout", "auth.revoke", "auth.delete")
"""Those that may end the session that asks."""

ARGUMENTS: Mapping[str, Sequence[str]] = {
    "auth.register": ("email", "password", "name", "client"),
    "auth.login": ("email", "password", "client", "token", "former"),
    "auth.me": (),
    "auth.password": ("old", "new", "client", "token", "former"),
    "auth.rename": ("name",),
    "auth.delete": ("password", "client"),
    "auth.logout": (),
    "auth.sessions": (),
    "auth.revoke": ("id",),
}
"""The arguments that each may be given; all others are refused."""

log = logging.getLogger("gorgond.auth")

Public = Callable[[Message], Awaitable[Any]]
Own = Callable[[Message, User], Awaitable[Any]]


class Operations:
    """The operations, on what they need. Each raises CallFailed for what it refuses."""

    def __init__(
        self, users: Users, passwords: Passwords, tokens: Tokens, limits: Limits, erasing: Erasing, letters: Letters
    ) -> None:
        self._users = users
        self._passwords = passwords
        self._tokens = tokens
        self._limits = limits
        self._erasing = erasing
        self._letters = letters
        self.public: dict[str, Public] = {"auth.register": self.register, "auth.login": self.login}
        self.own: dict[str, Own] = {
            "auth.me": self.me,
            "auth.password": self.password,
            "auth.rename": self.rename,
            "auth.delete": self.delete,
            "auth.logout": self.logout,
            "auth.sessions": self.sessions,
            "auth.revoke": self.revoke,
        }

    async def register(self, message: Message) -> Any:
        args = message.args
        email = texts.address(text(args, "email"))
        password = new_password(args, "password")
        name = texts.name(text(args, "name", NAME_MAX))
        await self._limits.registration(client_of(args)["address"])
        passhash = await self._passwords.hash(password)
        id = await self._users.free_id(message.id, email)
        user = await self._users.create(id, name, email, passhash, False if self._letters.offered else None)
        await self._letters.welcome(user, message.id)
        return public_part(user)

    async def login(self, message: Message) -> Any:
        args = message.args
        email, password, client = text(args, "email"), text(args, "password"), client_of(args)
        user = await self._prove(texts.account(email), password, client, lambda: self._users.by_email(email))
        if user is None:
            raise unknown("wrong e-mail address or password")
        return await self.begin(user, args)

    async def _prove(
        self, account: str, password: str, client: Mapping[str, str], find: Callable[[], Awaitable[Document | None]]
    ) -> Document | None:
        """The user whose password this is, or None; attempts are counted for this `account`. It takes the same time
        whether there is such a user."""
        address = client["address"]

        async def familiar() -> bool:
            user = await find()
            return await self._tokens.has_session_from("" if user is None else user["id"], address)

        counted = await self._limits.attempt(account, address, familiar)
        user = await find()
        passhash = "" if user is None else user["passhash"]
        checked = await self._passwords.check(passhash, password)
        if not checked.right or user is None:
            log.info("wrong password: %s", self._limits.about(account, address))
            return None
        await self._limits.take_back(counted)
        if checked.outdated:
            await self._users.rehash(user, await self._passwords.hash(password))
        return user

    async def begin(self, user: Document, args: Mapping[str, Any], new: bool = False) -> Any:
        """Begin a session with the token among the arguments, and end the one in its place: the answer to a login. The
        user is told of one from somewhere new, unless the user is `new` too."""
        token, client = text(args, "token", 64), client_of(args)
        begun = await self._tokens.begin(user, token, client)
        if "former" in args:
            await self._tokens.end_former(text(args, "former", 64))
        if not begun.familiar and (begun.others or (user.get("confirmed") and not new)):
            await self._letters.tell_login(user["id"], client, token)
        return {"user": public_part(user), "expires": begun.expires}

    async def me(self, message: Message, user: User) -> Any:
        return {name: value for name, value in user.items() if name != "session"}

    async def password(self, message: Message, user: User) -> Any:
        args = message.args
        new = new_password(args, "new")
        account = await self.owner(user, args, "old")
        # One write changes the password and ends the sessions that were begun before.
        changes = {"passhash": await self._passwords.hash(new), **new_era()}
        await self._users.change_unchanged(account, changes)
        answer = await self.begin(account | changes, args)
        await self._tokens.end_others(account["id"])
        return answer

    async def owner(self, user: User, args: Mapping[str, Any], name: str) -> Document:
        """The account of a user who proves to be its owner: by the password, the argument of this name, or where there
        is none by having just logged in. Raises CallFailed 403 and 429."""
        account = await self.account(user)
        if not account["passhash"]:  # who came by way of another site has none yet
            await self.check_fresh(user)
            return account
        password, email = text(args, name), account["email"]
        counted = texts.account(email) if email else account["id"]
        proved = await self._prove(counted, password, client_of(args), lambda: self.account(user))
        if proved is None:
            raise CallFailed(403, f"{name}: this is not the password", name)
        return proved

    async def rename(self, message: Message, user: User) -> Any:
        account = await self.account(user)
        changes = {"name": texts.name(text(message.args, "name", NAME_MAX))}
        await self._users.change(account, changes)
        await self._tokens.announce_change(account["id"])
        return public_part(account | changes)

    async def delete(self, message: Message, user: User) -> Any:
        ended = await self._erasing.begin(await self.owner(user, message.args, "password"))
        return None if ended else "queued"

    async def check_fresh(self, user: User) -> None:
        """Refuse to change by which ways a user may log in, when a session is all that shows who asks: it may have been
        left open, or stolen. Raises CallFailed 403."""
        if not await self._tokens.fresh(user):
            minutes = FRESH // 60
            raise CallFailed(
                403, f"this needs a login of the last {minutes:.0f} minutes: log in again first", "session"
            )

    async def logout(self, message: Message, user: User) -> Any:
        await self._end(user, user["session"])

    async def sessions(self, message: Message, user: User) -> Any:
        held = await self._tokens.of(await self.account(user))
        told = ("id", "created", "used", "expires", "agent", "address")
        listed = [{name: each[name] for name in told} | {"current": each["id"] == user["session"]} for each in held]
        return {"sessions": listed}

    async def revoke(self, message: Message, user: User) -> Any:
        if "id" in message.args:
            await self._end(user, text(message.args, "id", 64))
            return
        account = await self.account(user)
        await self._users.change(account, new_era())
        await self._tokens.end_others(account["id"])

    async def _end(self, user: User, id: str) -> None:
        held = await self._tokens.of(await self.account(user))
        found = [session for session in held if session["id"] == id]
        if not found and id != user["session"]:
            raise CallFailed(404, f"there is no session {id}")
        await self._tokens.end(found)

    async def account(self, user: User) -> Document:
        """The account of a user who asks. Raises CallFailed 401."""
        account = await self._users.get(user["id"])
        if account is None:
            raise unknown()
        return account


def text(args: Mapping[str, Any], name: str, most: int = 1000) -> str:
    """A text among the arguments."""
    found = args.get(name)
    if not isinstance(found, str) or len(found) > most or "\0" in found:
        raise CallFailed(400, f"{name}: must be text of at most {most} characters", name)
    return found


def check_arguments(message: Message, allowed: Sequence[str]) -> None:
    """Refuse what an operation does not know: whoever gives it means something that would not be done."""
    for name in message.args:
        if name not in allowed:
            known = ", ".join(allowed) or "none"
            raise CallFailed(400, f"{name[:100]}: no argument of {message.op}; allowed are {known}", name[:100])


def new_password(args: Mapping[str, Any], name: str) -> str:
    """A password to be set, among the arguments."""
    password = text(args, name)
    why = rule_broken(password)
    if why:
        raise CallFailed(400, f"{name}: {why}", name)
    return password


def client_of(args: Mapping[str, Any]) -> Mapping[str, str]:
    """The client that asks, among the arguments."""
    client = args.get("client")
    if not isinstance(client, dict):
        client = {}
    return {name: str(client.get(name, ""))[:AGENT_MAX] for name in ("address", "agent")}
