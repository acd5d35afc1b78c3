"""Pages of accounts: register, log in and out; be called otherwise, change the password, see and end sessions, take all
that is one's own along, delete the account."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from gorgond.bounds import DOCUMENT_ID_MAX, EMAIL_MAX, NAME_MAX, PASSWORD_MAX
from gorgond.http.answers import Answer
from gorgond.http.asking import Asking, client_of
from gorgond.http.bodies import form_body
from gorgond.http.credentials import check_origin, cleared_cookie, credentials, former
from gorgond.http.routes import Parameter, Request, Route
from gorgond.http.website.rendering import DID, GO_ON, OWN_PAGE, PAGE, Templates, page, see_other
from gorgond.http.website.visitor import NOBODY, show_again, visitor_of
from gorgond.redpill import CallFailed
from gorgond.service.agents import browser_of

_ID = Parameter("id", "the session's id", str, high=DOCUMENT_ID_MAX)
_NAME = Parameter("name", "what others see", str, high=NAME_MAX)
_NONE: Mapping[str, str] = {}
_EMAIL = Parameter("email", "the e-mail address", str, high=EMAIL_MAX)


def _password(name: str, doc: str) -> Parameter:
    return Parameter(name, doc, str, high=PASSWORD_MAX)


class Account:
    """The pages; `routes` says which is for what. `providers` are names of OAuth2 providers one may come from;
    `letters`: e-mails are sent from here."""

    def __init__(self, asking: Asking, templates: Templates, providers: Sequence[str], letters: bool) -> None:
        self._asking = asking
        self._templates = templates
        self._offers = {"providers": providers, "letters": letters}
        word = _password("password", "8 to 256 characters")
        old = Parameter(
            "old", "the password now; who came from another site has none yet", str, high=PASSWORD_MAX, empty=True
        )
        now = Parameter(
            "password", "the password; who came from another site has none yet", str, high=PASSWORD_MAX, empty=True
        )
        words = (old, _password("new", "8 to 256 characters"))
        self.routes = (
            Route("GET", "/login", self.login_form, "The form to log in", query=(DID,), answers=PAGE),
            Route("POST", "/login", self.login, "Log in", form=(_EMAIL, word), answers=GO_ON),
            Route("GET", "/register", self.register_form, "The form to register", answers=PAGE),
            Route("POST", "/register", self.register, "Register", form=(_NAME, _EMAIL, word), answers=GO_ON),
            Route("POST", "/logout", self.logout, "Log out", answers=GO_ON),
            Route("GET", "/account", self.account, "One's account", query=(DID,), answers=OWN_PAGE),
            Route("POST", "/account/name", self.rename, "Have another name", form=(_NAME,), answers=GO_ON),
            Route(
                "POST",
                "/account/address",
                self.ask_address,
                "Be sent a link to have another address",
                form=(_EMAIL, now),
                answers=GO_ON,
            ),
            Route("POST", "/account/delete", self.delete, "Delete the account", form=(now,), answers=GO_ON),
            Route("POST", "/account/password", self.password, "Change the password", form=words, answers=GO_ON),
            Route("POST", "/account/sessions/{id}", self.revoke, "End a session", (_ID,), answers=GO_ON),
        )

    async def login_form(
        self, request: Request, said: str = "", wrong: str = "", typed: Mapping[str, str] = _NONE
    ) -> Answer:
        """The form to log in."""
        return self._door("login", "Log in", said, wrong, typed, request.parameters.get("did", ""))

    async def register_form(
        self, request: Request, said: str = "", wrong: str = "", typed: Mapping[str, str] = _NONE
    ) -> Answer:
        """The form to register."""
        return self._door("register", "Register", said, wrong, typed)

    def _door(self, here: str, heading: str, said: str, wrong: str, typed: Mapping[str, str], did: str = "") -> Answer:
        shown = {"here": here, "heading": heading, "said": said, "wrong": wrong, "values": typed, "did": did}
        return page(self._templates.render("login.html", NOBODY, **shown, **self._offers))

    async def login(self, request: Request) -> Answer:
        """Begin a session."""
        check_origin(request)
        typed = form_body(request)
        try:
            return await self._enter(request, typed)
        except CallFailed as failed:
            return await show_again(failed, lambda said, wrong: self.login_form(request, said, wrong, typed))

    async def register(self, request: Request) -> Answer:
        """Make an account, and begin a session."""
        check_origin(request)
        typed = form_body(request)
        args = {name: typed.get(name, "") for name in ("name", "email", "password")}
        try:
            await self._asking.ask(request, "auth.register", args | {"client": client_of(request)})
            return await self._enter(request, typed)
        except CallFailed as failed:
            return await show_again(failed, lambda said, wrong: self.register_form(request, said, wrong, typed))

    async def _enter(self, request: Request, typed: Mapping[str, str]) -> Answer:
        args = {name: typed.get(name, "") for name in ("email", "password")}
        begun = await self._asking.begin(request, "auth.login", args | former(request))
        return see_other("/my", begun.cookie())

    async def logout(self, request: Request) -> Answer:
        """End this session."""
        await self._asking.mine(request, "auth.logout", {})
        return see_other("/", cleared_cookie())

    async def account(self, request: Request, said: str = "", wrong: str = "") -> Answer:
        """The page of a user's account, and of the sessions in which the user is logged in."""
        visitor, answer = await asyncio.gather(
            visitor_of(self._asking, request), self._asking.mine(request, "auth.sessions", {})
        )
        sessions = sorted(answer["sessions"], key=lambda each: (not each["current"], -each["used"]))
        shown = {"here": "account", "sessions": sessions, "browser": browser_of, "said": said, "wrong": wrong}
        shown["did"] = request.parameters.get("did", "")
        return page(self._templates.render("account.html", visitor, **shown, **self._offers))

    async def password(self, request: Request) -> Answer:
        """Change the password; all other sessions end."""
        typed = form_body(request)
        args = {name: typed.get(name, "") for name in ("old", "new")}
        try:
            begun = await self._asking.begin(request, "auth.password", args, credentials(request, "required"))
        except CallFailed as failed:
            return await show_again(failed, lambda said, wrong: self.account(request, said, wrong))
        return see_other("/account?did=password", begun.cookie())

    async def rename(self, request: Request) -> Answer:
        """Have another name."""
        try:
            await self._asking.mine(request, "auth.rename", {"name": form_body(request).get("name", "")})
        except CallFailed as failed:
            return await show_again(failed, lambda said, wrong: self.account(request, said, wrong))
        return see_other("/account?did=renamed")

    async def ask_address(self, request: Request) -> Answer:
        """Be sent a link to another address."""
        typed = form_body(request)
        args = {name: typed.get(name, "") for name in ("email", "password")}
        try:
            await self._asking.mine(request, "auth.address.ask", {**args, "client": client_of(request)})
        except CallFailed as failed:
            return await show_again(failed, lambda said, wrong: self.account(request, said, wrong))
        return see_other("/account?did=address_sent")

    async def delete(self, request: Request) -> Answer:
        """End the account, and delete all that is the user's."""
        args = {"password": form_body(request).get("password", ""), "client": client_of(request)}
        try:
            await self._asking.mine(request, "auth.delete", args)
        except CallFailed as failed:
            return await show_again(failed, lambda said, wrong: self.account(request, said, wrong))
        return see_other("/login?did=erased", cleared_cookie())

    async def revoke(self, request: Request) -> Answer:
        """End a session."""
        await self._asking.mine(request, "auth.revoke", {"id": request.parameters["id"]})
        return see_other("/account?did=ended")
