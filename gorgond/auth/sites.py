"""Other sites that vouch for users: where they are asked, and how their answers are read.

An OpenID provider describes itself at its issuer (OpenID Connect Discovery 1.0). GitHub and Facebook do not: their
addresses are here, and they tell who somebody is when asked with the access token.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from gorgond.config import Config
from gorgond.errors import ConfigError, Mistakes
from gorgond.settings import OAuth2

GOOGLE = "https://accounts.google.com"

Ask = Callable[[str], Awaitable[Any]]
"""GET with the access token: the JSON that is answered."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Somebody's identity at another site. `email` is there only if the site says that it is proved."""

    subject: str
    email: str = ""
    name: str = ""


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Where a site that does not describe itself is asked, and how it is read who somebody is."""

    authorization: str
    token: str
    scope: str
    identity: Callable[[Ask], Awaitable[Identity]]


async def _github(ask: Ask) -> Identity:
    user = await ask("https://api.github.com/user")
    emails = await ask("https://api.github.com/user/emails")
    proved = [each["email"] for each in emails if each["primary"] and each["verified"]]
    return Identity(str(user["id"]), proved[0] if proved else "", user.get("name") or user["login"])


async def _facebook(ask: Ask) -> Identity:
    user = await ask("https://graph.facebook.com/me?fields=id,name")  # it does not say whether an address is proved
    return Identity(str(user["id"]), "", user.get("name", ""))


_KNOWN: Mapping[str, Endpoints] = {
    "github": Endpoints(
        "https://github.com/login/oauth/authorize",
        "https://github.com/login/oauth/access_token",
        "read:user user:email",
        _github,
    ),
    "facebook": Endpoints(
        "https://www.facebook.com/dialog/oauth",
        "https://graph.facebook.com/oauth/access_token",
        "public_profile",
        _facebook,
    ),
}


def endpoints_of(settings: OAuth2) -> Endpoints | None:
    """Those of a site that does not describe itself; None for an OpenID provider."""
    return _KNOWN.get(settings.kind)


def issuer_of(settings: OAuth2) -> str:
    """The issuer of an OpenID provider. Raises ConfigError when it is not said."""
    issuer = GOOGLE if settings.kind == "google" else settings.issuer
    if not issuer:
        raise ConfigError(f"must be given for kind {settings.kind}, as https://id.example")
    return issuer


def check_sites(config: Config, mistakes: Mistakes) -> None:
    """Note what is missing in the configuration for the sites that it names."""
    for name, settings in config.oauth2.items():
        section = f"oauth2.{name}"
        with mistakes.collect(needs=("web.url",)), config.blaming("web", "url"):
            if not config.web.url:
                raise ConfigError("must be given, as https://notes.example: other sites send browsers back to it")
        with mistakes.collect(needs=(f"{section}.client_id",)), config.blaming(section, "client_id"):
            if not settings.client_id:
                raise ConfigError("must be given: the site gives it to who registers with it")
        with mistakes.collect(needs=(f"{section}.kind", f"{section}.issuer")), config.blaming(section, "issuer"):
            if not endpoints_of(settings):
                issuer_of(settings)


def openid_identity(claims: Mapping[str, Any]) -> Identity:
    """The identity in an ID token, or in the answer of a userinfo endpoint (OpenID Connect Core 1.0, 5.1)."""
    email = claims.get("email", "") if claims.get("email_verified") is True else ""
    return Identity(str(claims["sub"]), str(email), str(claims.get("name") or ""))
