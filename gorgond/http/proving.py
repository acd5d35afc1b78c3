"""The routes by which users prove whose an e-mail address is: each a question to the auth server, `auth.proving`."""

from __future__ import annotations

from gorgond.bounds import EMAIL_MAX, LINK_MAX, PASSWORD_MAX
from gorgond.http.accounts import FORGED, OFTEN, UNKNOWN, read_fields
from gorgond.http.answers import Answer, ok
from gorgond.http.asking import Asking, client_of
from gorgond.http.credentials import check_origin, credentials
from gorgond.http.routes import Request, Route

_KEPT = {202: ("an e-mail is on its way", ""), 404: ("no e-mails are sent from here", "Error")}
_OVER = {404: ("the link does not hold any more", "Error")}


class Proving:
    """The handlers; `routes` says which is for what."""

    def __init__(self, asking: Asking) -> None:
        self._ask = asking.ask
        mine = UNKNOWN | FORGED
        self.routes = [
            Route("POST", "/auth/confirm", self.ask_confirm, "Be sent a link to confirm one's e-mail address",
                  user="required", answers=_KEPT | mine | OFTEN | {409: ("it is confirmed already", "Error")}),
            Route("PUT", "/auth/confirm", self.confirm, "Confirm it, with the token of the link", body="Proof",
                  user="required", answers={200: ("the user", "User")} | _OVER | mine),
            Route("POST", "/auth/address", self.ask_address, "Have a link to have another address sent there",
                  body="NewAddress", user="required",
                  answers=_KEPT | mine | OFTEN | {409: ("it is the account's already", "Error")}),
            Route("PUT", "/auth/address", self.move, "Have it, with the token of the link; the one before is told",
                  body="ProofOfAddress", user="required", answers={200: ("the user", "User")} | _OVER | mine
                  | {409: ("it is another account's, or this one was changed just then", "Error")}),
            Route("POST", "/auth/reset", self.ask_reset, "Have a link to choose a new password sent to an address, "
                  "if it is that of an account", body="Address", answers=_KEPT | FORGED | OFTEN),
            Route("PUT", "/auth/reset", self.reset, "Choose it, with the token of the link; all sessions end",
                  body="Reset", answers={204: ("changed", ""), 409: ("the account was changed just then", "Error")}
                  | _OVER | FORGED | OFTEN),
        ]  # fmt: skip

    async def ask_confirm(self, request: Request) -> Answer:
        await self._ask(request, "auth.confirm.ask", {"client": client_of(request)}, credentials(request, "required"))
        return Answer(202)

    async def confirm(self, request: Request) -> Answer:
        user = credentials(request, "required")
        return ok((await self._ask(request, "auth.confirm", read_fields(request, {"token": LINK_MAX}), user)).body)

    async def ask_address(self, request: Request) -> Answer:
        user = credentials(request, "required")
        args = {"password": "", **read_fields(request, {"email": EMAIL_MAX}, {"password": PASSWORD_MAX})}
        await self._ask(request, "auth.address.ask", args | {"client": client_of(request)}, user)
        return Answer(202)

    async def move(self, request: Request) -> Answer:
        user, fields = credentials(request, "required"), {"token": LINK_MAX, "email": EMAIL_MAX}
        return ok((await self._ask(request, "auth.address", read_fields(request, fields), user)).body)

    async def ask_reset(self, request: Request) -> Answer:
        check_origin(request)
        args = read_fields(request, {"email": EMAIL_MAX})
        await self._ask(request, "auth.reset.ask", args | {"client": client_of(request)})
        return Answer(202)

    async def reset(self, request: Request) -> Answer:
        check_origin(request)
        args = read_fields(request, {"token": LINK_MAX, "new": PASSWORD_MAX})
        await self._ask(request, "auth.reset", args | {"client": client_of(request)})
        return Answer(204)
