"""The questions to the auth server about other sites that vouch for users; see `auth.operations` for the rest.

    auth.oauth2.sites                                            → {"sites": [{"name", "kind"}]}
    auth.oauth2.begin   {"site", "state", "nonce", "challenge"} → {"url"}, where the browser is sent
    auth.oauth2.login   {"site", "code", "nonce", "verifier", "issuer", "client", "token"}   → {"user", "expires"}
    auth.oauth2.link    {"site", "code", "nonce", "verifier", "issuer"}   → null; that account there is the user's too
    auth.oauth2.linked                                           → {"linked": [{"site", "email", "linked"}]}
    auth.oauth2.unlink  {"site"}                                → null

The first three need no user. The last, and link, need a session that has just begun.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from gorgond.auth.identities import Identities
from gorgond.auth.limits import Limits
from gorgond.auth.oauth2 import IdentityProvider
from gorgond.auth.operations import Operations, Own, Public, client_of, text
from gorgond.auth.rights import User
from gorgond.auth.sites import Identity
from gorgond.redpill import CallFailed, Message

ARGUMENTS: Mapping[str, Sequence[str]] = {
    "auth.oauth2.sites": (),
    "auth.oauth2.begin": ("site", "state", "nonce", "challenge"),
    "auth.oauth2.login": ("site", "code", "nonce", "verifier", "issuer", "client", "token", "former"),
    "auth.oauth2.link": ("site", "code", "nonce", "verifier", "issuer"),
    "auth.oauth2.linked": (),
    "auth.oauth2.unlink": ("site",),
}

log = logging.getLogger("gorgond.auth")


class SiteLogins:
    """The operations, on what they need; `sites` by name. Each raises CallFailed for what it refuses."""

    def __init__(
        self,
        sites: Mapping[str, IdentityProvider],
        identities: Identities,
        limits: Limits,
        accounts: Operations,
    ) -> None:
        self._sites = sites
        self._identities = identities
        self._limits = limits
        self._accounts = accounts
        self.public: dict[str, Public] = {
            "auth.oauth2.sites": self.sites,
            "auth.oauth2.begin": self.begin,
            "auth.oauth2.login": self.login,
        }
        self.own: dict[str, Own] = {
            "auth.oauth2.link": self.link,
            "auth.oauth2.linked": self.linked,
            "auth.oauth2.unlink": self.unlink,
        }

    async def sites(self, message: Message) -> Any:
        return {"sites": [{"name": name, "kind": site.kind} for name, site in self._sites.items()]}

    async def begin(self, message: Message) -> Any:
        args = message.args
        url = await self._site(args).begin(text(args, "state"), text(args, "nonce"), text(args, "challenge"))
        return {"url": url}

    async def login(self, message: Message) -> Any:
        site, args = self._site(message.args), message.args
        await self._limits.registration(client_of(args)["address"])
        try:
            identity = await self._prove(site, args)
        except CallFailed as failed:
            if failed.code == 401:
                log.info("%s does not vouch: %s", site.name, self._limits.about("", client_of(args)["address"]))
            raise
        user, new = await self._identities.user_of(site.name, identity, message.id)
        if message.attempts and user.get("links"):  # one who died may not have come so far
            await self._identities.end_others(user)
        return await self._accounts.begin(user, args, new)

    async def link(self, message: Message, user: User) -> Any:
        site = self._site(message.args)
        await self._accounts.check_fresh(user)
        await self._identities.link(user, site.name, await self._prove(site, message.args))

    async def linked(self, message: Message, user: User) -> Any:
        found = await self._identities.of(await self._accounts.account(user))
        return {"linked": [{name: each[name] for name in ("site", "email", "linked")} for each in found]}

    async def unlink(self, message: Message, user: User) -> Any:
        await self._accounts.check_fresh(user)
        await self._identities.unlink(await self._accounts.account(user), text(message.args, "site"))

    async def _prove(self, site: IdentityProvider, args: Mapping[str, Any]) -> Identity:
        code, nonce, verifier = text(args, "code", 4000), text(args, "nonce"), text(args, "verifier")
        return await site.finish(code, nonce, verifier, text(args, "issuer"))

    def _site(self, args: Mapping[str, Any]) -> IdentityProvider:
        site = self._sites.get(text(args, "site"))
        if site is None:
            raise CallFailed(404, f"no such site vouches for users here; there are: {' '.join(self._sites) or 'none'}")
        return site
