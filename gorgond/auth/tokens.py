"""Sessions: the collection `sessions`, a cache of who has which, and their end everywhere at once.

    sessions  {"id": SHA-256 of the token, "userid", "era", "created", "used", "expires", "agent", "address"}

Times are ms since 1970. A session bears the era of its user in which it was begun (`auth.users`), and is void in any
other one. So all sessions of a user end with one write, whatever the clocks say of the hosts that began them.

A token is known here by its digest alone. An auth server keeps what it has validated for KEPT seconds; the live topic
auth_notify tells every auth server which sessions ended, so that a logout is felt at once and not when that time is
over. An answer of the store that was under way while such news came is for those alone who had asked before it, and not
kept.

When a session was last used is written at most once in a twentieth of the time after which it would be idle.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from gorgond.auth.records import Document, Records
from gorgond.auth.rights import User, unknown
from gorgond.redpill import GorgonError, Message, now_ms
from gorgond.service.share import customer

KEPT = 30.0  # seconds
CACHE_MAX = 50_000  # sessions
SESSIONS_MAX = 100  # of one user; beyond it the one that is unused for longest ends
FRESH = 600.0  # seconds after a login in which who is logged in counts as who knows the password
TOPIC = "auth_notify"

_DIGEST = re.compile("[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class _Known:
    """A session in the cache."""

    user: User
    until: float  # time.monotonic()


class Begun(NamedTuple):
    """A session that has begun: when it ends, ms since 1970; whether there was one at this place before, with the same
    browser at the same address; whether there was any."""

    expires: int
    familiar: bool
    others: bool


class Tokens:
    """Begins, validates and ends sessions. `idle` and `lifetime` are seconds; `publish` tells all auth servers."""

    def __init__(
        self, records: Records, idle: float, lifetime: float, publish: Callable[[Message], Awaitable[None]]
    ) -> None:
        self._records = records
        self._idle = int(idle * 1000)
        self._lifetime = int(lifetime * 1000)
        self._publish = publish
        self._cache: dict[str, _Known] = {}
        self._asking: dict[tuple[str, int], asyncio.Task[User]] = {}  # by the token and the news of then
        self._notes: set[asyncio.Task[None]] = set()
        self._news = 0  # how often sessions ended, as far as was heard

    def cached_user(self, token: str) -> User | None:
        """The user of a token, if the cache has it."""
        found = self._cache.get(token)
        if found is None:
            return None
        if time.monotonic() < found.until:
            return found.user
        del self._cache[token]
        return None

    async def user_of(self, token: Any) -> User:
        """The user of a token. Raises CallFailed 401, and what asking the store raises."""
        if not isinstance(token, str) or not _DIGEST.fullmatch(token):
            raise unknown("this is no token: log in")
        user = self.cached_user(token)
        if user is not None:
            return user
        # A caller that asks for the same meanwhile waits for the same answer, unless there was news since.
        key = token, self._news
        task = self._asking.get(key)
        if task is None:
            task = asyncio.get_running_loop().create_task(self._ask(token))
            self._asking[key] = task
            task.add_done_callback(lambda _: self._asking.pop(key, None))
        return await asyncio.shield(task)

    async def _ask(self, token: str) -> User:
        news = self._news
        session = await self._records.get("sessions", token)
        user = None if session is None else await self._records.get("users", session["userid"])
        now = now_ms()
        if session is None or user is None or not self._holds(session, user, now):
            raise unknown()
        public = public_part(user) | {"session": token}
        left = min(session["expires"], session["used"] + self._idle) - now
        if news == self._news:
            if len(self._cache) >= CACHE_MAX:
                del self._cache[next(iter(self._cache))]
            self._cache[token] = _Known(public, time.monotonic() + min(KEPT, left / 1000))
        if now - session["used"] > self._idle / 20:
            task = asyncio.get_running_loop().create_task(self._note_use(session, now))
            self._notes.add(task)
            task.add_done_callback(self._notes.discard)
        return public

    def _holds(self, session: Document, user: Document, now: int) -> bool:
        return not self._over(session, now) and _of_this_era(session, user)

    def _over(self, session: Document, now: int) -> bool:
        return bool(now >= min(session["expires"], session["used"] + self._idle))

    async def _note_use(self, session: Document, now: int) -> None:
        with contextlib.suppress(GorgonError):  # the next one who asks does it
            await self._records.patch("sessions", session, {"used": now})

    async def begin(self, user: Document, token: str, client: Mapping[str, str]) -> Begun:
        """Begin a session with this token for a `client` {"address", "agent"}."""
        now = now_ms()
        session = {"id": token, "userid": user["id"], "era": _era(user), "created": now, "used": now,
                   "expires": now + self._lifetime, "agent": client["agent"], "address": client["address"]}  # fmt: skip
        await self._records.insert("sessions", session)
        found = await self._records.find("sessions", {"userid": user["id"]})
        over = [each for each in found if self._over(each, now)]
        await self._end([*over, *self._valid(user, found)[SESSIONS_MAX:]])
        others = [_place(each) for each in found if each["id"] != token]
        return Begun(int(session["expires"]), _place(session) in others, bool(others))

    async def fresh(self, user: User) -> bool:
        """Whether the session with which a user asks was begun so lately that it proves who asks."""
        session = await self._records.get("sessions", user["session"])
        return session is not None and now_ms() - int(session["created"]) < FRESH * 1000

    async def account_of(self, user: User) -> Document:
        """The account of a user who asks, as it was at a moment at which the session held. Raises CallFailed 401."""
        session = await self._records.get("sessions", user["session"])
        account = await self._records.get("users", user["id"])
        if session is None or account is None or not self._holds(session, account, now_ms()):
            raise unknown()
        return account

    async def of(self, user: Document) -> list[Document]:
        """The sessions of a user, the one last used first."""
        return self._valid(user, await self._records.find("sessions", {"userid": user["id"]}))

    def _valid(self, user: Document, sessions: list[Document]) -> list[Document]:
        """Those that hold, the one last used first."""
        now = now_ms()
        held = [session for session in sessions if self._holds(session, user, now)]
        return sorted(held, key=lambda session: -int(session["used"]))

    async def has_session_from(self, userid: str, address: str) -> bool:
        """Whether a user has a session that was begun at this address."""
        return bool(await self._records.find("sessions", {"userid": userid, "address": address}, 1))

    async def end(self, sessions: list[Document]) -> None:
        """End these: back when no auth server takes them any more."""
        await self._end(sessions)
        await self._publish(Message("auth.ended", {"sessions": [session["id"] for session in sessions]}))

    async def end_former(self, token: str) -> None:
        """End the session that a browser had before it logged in again, if it had one."""
        session = await self._records.get("sessions", token) if _DIGEST.fullmatch(token) else None
        if session is not None:
            await self.end([session])

    async def end_others(self, userid: str) -> None:
        """Tell that a new era of a user has begun, which ended all sessions of those before, and tidy up."""
        await self._publish(Message("auth.ended", {"userid": userid}))
        found = await self._records.find("sessions", {"userid": userid})
        user = await self._records.get("users", userid)  # after them: an era that is over does not come again
        if user is not None:
            await self._end([session for session in found if not _of_this_era(session, user)])

    async def _end(self, sessions: list[Document]) -> None:
        await asyncio.gather(*(self._records.delete("sessions", session) for session in sessions))

    async def announce_change(self, userid: str) -> None:
        """Tell that a user is called otherwise from now on."""
        await self._publish(Message("auth.changed", {"userid": userid}))

    def take_event(self, event: Message) -> None:
        """Forget the sessions that ended, or whose user has changed: an event of auth_notify."""
        self._news += 1
        for token in event.args.get("sessions", ()):
            self._cache.pop(token, None)
        userid = event.args.get("userid")
        if userid is not None:
            for token in [token for token, known in self._cache.items() if known.user["id"] == userid]:
                del self._cache[token]

    def forget_all(self) -> None:
        """News may have been missed: forget everything."""
        self._news += 1
        self._cache.clear()


def public_part(user: Document) -> dict[str, Any]:
    """The part of a user that may be told."""
    told = {name: user[name] for name in ("id", "name", "email", "roles")}
    return told | ({"confirmed": True} if user.get("confirmed") else {})


def new_era() -> Document:
    """A change of a user that voids all its sessions."""
    return {"authtokens": {"since": now_ms(), "era": secrets.token_hex(16)}}


def _place(session: Document) -> tuple[str, str]:
    """From where a session was begun."""
    return session["agent"], customer(session["address"])


def _era(user: Document) -> str:
    return str(user["authtokens"].get("era", ""))


def _of_this_era(session: Document, user: Document) -> bool:
    """Whether it was begun since all sessions of its user were last ended. Auth servers of before there were eras
    compared times, and so it remains for users of whom nothing was ended since."""
    if era := _era(user):
        return bool(session.get("era") == era)
    return int(session["created"]) >= int(user["authtokens"]["since"])
