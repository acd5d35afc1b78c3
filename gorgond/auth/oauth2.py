"""Logging in by way of another site: OAuth 2.0 authorization code with PKCE (RFC 6749, 7636), OpenID Connect on top.

    1. `begin`: the address at the other site to which the browser is sent, with a state, a nonce and the challenge to
       a verifier that the web server keeps in a cookie of that browser
    2. the browser comes back with a code; the web server has compared the state
    3. `finish`: the code and the verifier are changed for tokens, and the ID token is checked: its signature against
       the keys that the issuer publishes, issuer, audience, times, nonce

Redirects are not followed, and nothing is asked but what the configuration or the issuer's own description names.
"""

from __future__ import annotations

import hmac
import json
import time
from collections.abc import Mapping
from math import nan
from typing import Any
from urllib.parse import quote, urlencode

import jwt
from tornado.httpclient import AsyncHTTPClient, HTTPClientError, HTTPRequest

from gorgond.auth.sites import Identity, endpoints_of, issuer_of, openid_identity
from gorgond.redpill import CallFailed, now_ms
from gorgond.settings import OAuth2

TIMEOUT = 8.0  # seconds for one question to another site
KEPT = 3600.0  # seconds for which an issuer's description and keys are kept
KEYS_AGAIN = 60.0  # seconds after which keys are asked for again when a token is signed with one that is not known
LEEWAY = 60  # seconds by which clocks may differ
BYTES_MAX = 1024 * 1024
ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
"""Those with a public key; never what the token says alone."""


def is_current(claims: Mapping[str, Any]) -> bool:
    """Whether an ID token with these claims is good now, by the broker's clock, as all that others judge; a host's may
    be off."""
    now = now_ms() / 1000
    begins = (_seconds(claims["iat"]), _seconds(claims.get("nbf", 0)))
    return all(each - LEEWAY <= now for each in begins) and now < _seconds(claims["exp"]) + LEEWAY


def _seconds(claim: Any) -> float:
    """A time in a token, in seconds since 1970; one that is none never is."""
    return float(claim) if isinstance(claim, int | float) and not isinstance(claim, bool) else nan


class IdentityProvider:
    """One other site, [oauth2.NAME]; `callback` is where it sends browsers back to. Raises ConfigError when its issuer
    is not said."""

    def __init__(self, name: str, settings: OAuth2, callback: str) -> None:
        self.name = name
        self.kind = settings.kind
        self._settings = settings
        self._callback = callback
        self._endpoints = endpoints_of(settings)
        self._issuer = "" if self._endpoints else issuer_of(settings)
        self._http = AsyncHTTPClient(force_instance=True, defaults={"user_agent": "gorgond", "follow_redirects": False})
        self._metadata: dict[str, Any] = {}
        self._metadata_until = 0.0
        self._keys: dict[str, Any] = {}
        self._keys_at = 0.0

    def close(self) -> None:
        """Let go of the connections."""
        self._http.close()

    async def begin(self, state: str, nonce: str, challenge: str) -> str:
        """The address to which the browser is sent. Raises CallFailed 502 when the site does not answer."""
        query = {
            "response_type": "code",
            "client_id": self._settings.client_id,
            "redirect_uri": self._callback,
            "state": state,
            "code_challenge": challenge,
            "code_challenge_method": "S256",
        }
        if self._endpoints is not None:
            return f"{self._endpoints.authorization}?{urlencode({**query, 'scope': self._endpoints.scope})}"
        where = (await self._describe())["authorization_endpoint"]
        query |= {"scope": "openid email profile", "nonce": nonce}
        return f"{where}{'&' if '?' in where else '?'}{urlencode(query)}"

    async def finish(self, code: str, nonce: str, verifier: str, issuer: str) -> Identity:
        """The identity of the user who came back with this code; `issuer` is the one that the browser brought, if any
        (RFC 9207).

        Raises CallFailed: 401 when it is not proved, 502 when the site does not answer.
        """
        if issuer and issuer != self._issuer:
            raise self._no_proof("it came back from another issuer")
        try:
            tokens = await self._tokens(code, verifier)
            access = str(tokens.get("access_token", ""))

            async def ask(url: str) -> Any:
                return await self._ask(url, headers={"Authorization": f"Bearer {access}"})

            if self._endpoints is not None:
                return await self._endpoints.identity(ask)
            claims = await self._check(str(tokens.get("id_token", "")), nonce)
            where = (await self._describe()).get("userinfo_endpoint")
            if "email" not in claims and where:
                told = await ask(where)
                if told["sub"] != claims["sub"]:
                    raise self._no_proof("its answers are about different users")
                claims = {**told, **claims}
            return openid_identity(claims)
        except (KeyError, TypeError, IndexError, AttributeError) as error:
            raise CallFailed(502, f"{self.name} answered what is not understood: {error!r}") from None

    async def _tokens(self, code: str, verifier: str) -> dict[str, Any]:
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self._callback,
            "client_id": self._settings.client_id,
            "code_verifier": verifier,
        }
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        if self._endpoints is not None:
            where, methods = self._endpoints.token, ["client_secret_post"]
        else:
            described = await self._describe()
            where = described["token_endpoint"]
            methods = described.get("token_endpoint_auth_methods_supported", ["client_secret_basic"])
        secret = self._settings.client_secret
        if secret and "client_secret_basic" not in methods:
            form["client_secret"] = secret
        user = quote(self._settings.client_id, safe="") if secret and "client_secret" not in form else None
        tokens: dict[str, Any] = await self._ask(
            where, method="POST", headers=headers, body=urlencode(form), auth_username=user,
            auth_password=quote(secret, safe="") if user else None,
        )  # fmt: skip
        return tokens

    async def _check(self, token: str, nonce: str) -> dict[str, Any]:
        """The claims of an ID token that is the issuer's, for us, and for this login (OpenID Connect Core, 3.1.3.7)."""
        try:
            kid = jwt.get_unverified_header(token).get("kid")
            key = await self._key(kid)
            claims: dict[str, Any] = jwt.decode(
                token, key, algorithms=list(ALGORITHMS), audience=self._settings.client_id, issuer=self._issuer,
                options={
                    "require": ["iss", "sub", "aud", "exp", "iat"],
                    "verify_exp": False, "verify_iat": False, "verify_nbf": False,  # by the host's clock
                },
            )  # fmt: skip
        except jwt.PyJWTError as error:
            raise self._no_proof(f"its ID token is refused: {error}") from None
        if not is_current(claims):
            raise self._no_proof("its ID token is refused: it is of another time")
        audience = claims["aud"]
        if isinstance(audience, list) and len(audience) > 1 and claims.get("azp") != self._settings.client_id:
            raise self._no_proof("its ID token was made for somebody else")
        if not hmac.compare_digest(str(claims.get("nonce", "")).encode(), nonce.encode()):
            raise self._no_proof("its ID token is of another login")
        return claims

    async def _key(self, kid: Any) -> Any:
        """The public key of this id; the only one there is, when the token does not say which."""
        now = time.monotonic()
        old = now - self._keys_at > KEPT
        if not self._keys or old or (kid not in self._keys and now - self._keys_at > KEYS_AGAIN):
            found = jwt.PyJWKSet.from_dict(await self._ask((await self._describe())["jwks_uri"]))
            self._keys = {str(key.key_id): key.key for key in found.keys if key.public_key_use in (None, "sig")}
            self._keys_at = now
        if kid is None and len(self._keys) == 1:
            return next(iter(self._keys.values()))
        if str(kid) not in self._keys:
            raise self._no_proof("its ID token is signed with a key that it does not publish")
        return self._keys[str(kid)]

    async def _describe(self) -> Mapping[str, Any]:
        """The issuer's description of itself."""
        if time.monotonic() > self._metadata_until:
            found = await self._ask(f"{self._issuer.rstrip('/')}/.well-known/openid-configuration")
            if found.get("issuer") != self._issuer:
                raise CallFailed(502, f"{self.name} says it is {found.get('issuer')!r}, not {self._issuer}")
            self._metadata, self._metadata_until = found, time.monotonic() + KEPT
        return self._metadata

    async def _ask(self, url: str, **options: Any) -> Any:
        """The JSON that is answered. Raises CallFailed."""
        headers = {"Accept": "application/json", **options.pop("headers", {})}
        request = HTTPRequest(url, headers=headers, connect_timeout=TIMEOUT, request_timeout=TIMEOUT, **options)
        try:
            answer = await self._http.fetch(request)
            return json.loads(answer.body)
        except HTTPClientError as error:
            if error.code == 400 and request.method == "POST":
                raise self._no_proof("it does not take the code") from None
            raise CallFailed(502, f"{self.name} does not answer as it should: {error}") from None
        except (OSError, ValueError) as error:
            raise CallFailed(502, f"{self.name} does not answer: {error}") from None

    def _no_proof(self, why: str) -> CallFailed:
        return CallFailed(401, f"{self.name} does not vouch for you: {why}")
