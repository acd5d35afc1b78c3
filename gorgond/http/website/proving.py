"""Pages for who has forgotten the password, and for who follows the link in an e-mail.

A link alone does nothing: programs that look at the links of e-mails decide nothing, a form does."""

from __future__ import annotations

from collections.abc import Mapping

from gorgond.bounds import EMAIL_MAX, LINK_MAX, PASSWORD_MAX
from gorgond.http.answers import Answer, Problem
from gorgond.http.asking import Asking, client_of
from gorgond.http.bodies import form_body
from gorgond.http.credentials import check_origin
from gorgond.http.routes import Parameter, Request, Route
from gorgond.http.website.rendering import DID, GO_ON, PAGE, Templates, page, see_other
from gorgond.http.website.visitor import NOBODY, show_again, visitor_of
from gorgond.redpill import CallFailed

_EMAIL = Parameter("email", "the e-mail address", str, high=EMAIL_MAX)
_NEW_EMAIL = Parameter("email", "the address", str, high=EMAIL_MAX, empty=True)
_TOKEN = Parameter("token", "what the link in the e-mail has, as a proof", str, high=LINK_MAX, empty=True)
_NEW = Parameter("new", "the new password, 8 to 256 characters", str, high=PASSWORD_MAX)
_NONE: Mapping[str, str] = {}
_HERE = {**PAGE, 404: ("no e-mails are sent from here", "Error text/html")}


class Proving:
    """The pages; `routes` says which is for what. `offered`: e-mails are sent from here."""

    def __init__(self, asking: Asking, templates: Templates, offered: bool) -> None:
        self._asking = asking
        self._templates = templates
        self._offered = offered
        self.routes = (
            Route("GET", "/reset", self.forgotten, "The form for who has forgotten the password; with a token the one "
                  "to choose another", query=(_TOKEN, DID), answers=_HERE),
            Route("POST", "/reset", self.ask, "Be sent a link", form=(_EMAIL,), answers=GO_ON),
            Route("POST", "/reset/password", self.reset, "Choose another password", form=(_TOKEN, _NEW), answers=GO_ON),
            Route("GET", "/confirm", self.confirming, "The question whether one's address is to be confirmed",
                  query=(_TOKEN,), answers=_HERE),
            Route("POST", "/confirm", self.confirm, "Confirm it", form=(_TOKEN,), answers=GO_ON),
            Route("GET", "/address", self.moving, "The question whether an account is to have another address",
                  query=(_TOKEN, _NEW_EMAIL), answers=_HERE),
            Route("POST", "/address", self.move, "Have it", form=(_TOKEN, _EMAIL), answers=GO_ON),
            Route("POST", "/account/confirm", self.ask_confirm, "Be sent a link to confirm it", answers=GO_ON),
        )  # fmt: skip

    async def forgotten(
        self, request: Request, said: str = "", wrong: str = "", typed: Mapping[str, str] = _NONE
    ) -> Answer:
        """The form for who has forgotten the password."""
        self._check_offered()
        token = typed.get("token") or request.parameters.get("token", "")
        shown = {"token": token, "said": said, "wrong": wrong, "values": typed, "here": "login"}
        return page(self._templates.render("reset.html", NOBODY, **shown, did=request.parameters.get("did", "")))

    async def ask(self, request: Request) -> Answer:
        """Have a link sent, if the address is that of an account."""
        check_origin(request)
        typed = form_body(request)
        args = {"email": typed.get("email", ""), "client": client_of(request)}
        try:
            await self._asking.ask(request, "auth.reset.ask", args)
        except CallFailed as failed:
            return await show_again(failed, lambda said, wrong: self.forgotten(request, said, wrong, typed))
        return see_other("/reset?did=reset_sent")

    async def reset(self, request: Request) -> Answer:
        """Choose another password."""
        check_origin(request)
        typed = form_body(request)
        args = {name: typed.get(name, "") for name in ("token", "new")}
        try:
            await self._asking.ask(request, "auth.reset", {**args, "client": client_of(request)})
        except CallFailed as failed:
            if failed.field == "token":  # the form for another link
                typed = {}
            return await show_again(failed, lambda said, wrong: self.forgotten(request, said, wrong, typed))
        return see_other("/login?did=reset")

    async def confirming(self, request: Request, said: str = "", wrong: str = "") -> Answer:
        """The question whether the address is to be confirmed."""
        self._check_offered()
        shown = {"token": request.parameters.get("token", ""), "said": said, "wrong": wrong, "here": "account"}
        return page(self._templates.render("confirm.html", await visitor_of(self._asking, request), **shown))

    async def confirm(self, request: Request) -> Answer:
        """Confirm the address."""
        try:
            await self._asking.mine(request, "auth.confirm", {"token": form_body(request).get("token", "")})
        except CallFailed as failed:
            return await show_again(failed, lambda said, wrong: self.confirming(request, said, wrong))
        return see_other("/account?did=confirmed")

    async def ask_confirm(self, request: Request) -> Answer:
        """Be sent a link to confirm the address."""
        await self._asking.mine(request, "auth.confirm.ask", {"client": client_of(request)})
        return see_other("/account?did=confirm_sent")

    async def moving(self, request: Request, said: str = "", wrong: str = "") -> Answer:
        """The question whether the account is to have another address."""
        self._check_offered()
        link = {name: request.parameters.get(name, "") for name in ("token", "email")}
        shown = {"link": link, "said": said, "wrong": wrong, "here": "account"}
        return page(self._templates.render("address.html", await visitor_of(self._asking, request), **shown))

    async def move(self, request: Request) -> Answer:
        """Have another address."""
        typed = form_body(request)
        args = {name: typed.get(name, "") for name in ("token", "email")}
        try:
            await self._asking.mine(request, "auth.address", args)
        except CallFailed as failed:
            return await show_again(failed, lambda said, wrong: self.moving(request, said, wrong))
        return see_other("/account?did=moved")

    def _check_offered(self) -> None:
        if not self._offered:
            raise Problem(404, "no e-mails are sent from here")
