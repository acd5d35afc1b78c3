"""Logging in by way of another site, against a real OpenID provider (oidc-provider, from npm)."""

from __future__ import annotations

import base64
import itertools
import json
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta, tzinfo
from http.cookies import SimpleCookie
from typing import Any
from urllib.error import HTTPError
from urllib.parse import parse_qs, unquote, urlencode, urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

import pytest

from gorgond.auth import tokens
from gorgond.http import site_logins
from gorgond.http.forms import FORM
from gorgond.redpill import now_ms
from tests.conftest import RedisServer
from tests.integration.letters import change_user
from tests.integration.oidc import CLIENT, provider
from tests.integration.website import Answer, Website

SITE = "http://notes.test"  # what the web server is called; the test is its browser
CALLBACK = f"{SITE}/auth/oauth2/house/callback"
PASSWORD = "a violin in the attic"
_numbers = itertools.count()


@pytest.fixture(scope="module")
def issuer() -> Iterator[str]:
    """The provider's address."""
    with provider(CALLBACK) as address:
        yield address


@pytest.fixture(scope="module")
def site(issuer: str, module_redis: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Website]:
    conf = tmp_path_factory.mktemp("conf") / "gorgond.conf"
    conf.write_text(
        f"[web]\nurl = {SITE}\n[auth]\naddress_attempts = 100000\n"
        f"[oauth2.house]\nissuer = {issuer}\n{CLIENT}"
        "[oauth2.gone]\nissuer = http://127.0.0.1:1\nclient_id = x\n[oauth2.hub]\nkind = github\nclient_id = x\n"
    )
    with Website(module_redis.url, tmp_path_factory.mktemp("site"), conf=str(conf), web__deadline="60s") as website:
        yield website


class Browser:
    """Follows redirects between the site and the provider, with the cookies of each."""

    def __init__(self, site: Website) -> None:
        self.site = site
        self.cookies: dict[str, str] = {}  # of our site
        self._opener = build_opener(_Unfollowed())

    def ask(self, method: str, target: str, **headers: str) -> Answer:
        """A request to our site, which may set a cookie."""
        cookie = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        answer = self.site.ask(method, target, **({"Cookie": cookie} if cookie else {}), **headers)
        if "set-cookie" in answer.headers:
            name, _, value = answer.headers["set-cookie"].partition(";")[0].partition("=")
            self.cookies[name] = value
        return answer

    def leave(self, query: str = "") -> str:
        """Leave our site: where it sends the browser."""
        answer = self.ask("GET", f"/auth/oauth2/house{query}")
        assert answer.status == 303, answer
        return answer.headers["location"]

    def log_in(self, address: str, who: str) -> str:
        """Log in at the provider: the path and query with which it sends the browser back to us."""
        address += f"&{urlencode({'login_hint': who})}"
        cookies: dict[str, str] = {}  # of the provider's
        for _ in range(10):
            if address.startswith(SITE):
                return address.removeprefix(SITE)
            address, more = self._get(address, "; ".join(f"{name}={value}" for name, value in cookies.items()))
            cookies |= more
        raise AssertionError("it goes round in circles")

    def _get(self, address: str, cookies: str) -> tuple[str, dict[str, str]]:
        base = urlsplit(address)
        with pytest.raises(HTTPError) as caught:
            self._opener.open(Request(address, headers={"Cookie": cookies}), timeout=60).close()
        with caught.value as answer:
            assert answer.code in (302, 303), answer.read()[:2000]
            found: SimpleCookie = SimpleCookie()
            for header in answer.headers.get_all("Set-Cookie") or ():
                found.load(header)
            where = answer.headers["Location"]
        if where.startswith("/"):
            where = f"{base.scheme}://{base.netloc}{where}"
        return where, {name: morsel.value for name, morsel in found.items()}

    def journey(self, who: str, query: str = "") -> Answer:
        """There and back."""
        return self.ask("GET", self.log_in(self.leave(query), who))

    def me(self) -> Any:
        answer = self.ask("GET", "/auth/me")
        return answer.json if answer.status == 200 else None


class _Unfollowed(HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        return None


@pytest.fixture
def browser(site: Website) -> Browser:
    return Browser(site)


@pytest.fixture
def who() -> str:
    """A user of the provider's whom no other test knows, with a proved address."""
    return f"user{next(_numbers)}@proved.example"


def account(site: Website, email: str) -> Mapping[str, str]:
    """Make an account with a password; the headers of a session of it."""
    body = {"email": email, "password": PASSWORD}
    assert site.ask("POST", "/auth/register", body).status == 201
    return {"Authorization": f"Bearer {site.ask('POST', '/auth/login', body).json['token']}"}


def test_who_comes_from_there_has_an_account_here(browser: Browser, who: str) -> None:
    # when somebody logs in by way of the provider
    answer = browser.journey(who, "?to=/notes?page=2")

    # then the browser is where it wanted to be, with a session
    assert (answer.status, answer.headers["location"]) == (303, "/notes?page=2")
    assert "HttpOnly" in answer.headers["set-cookie"]
    user = browser.me()
    assert (user["email"], user["name"]) == (who, f"Name of {who}")
    assert browser.ask("GET", "/auth/links").json["linked"][0]["site"] == "house"
    # and the second time it is the same account
    again = Browser(browser.site)
    again.journey(who)
    assert again.me()["id"] == user["id"]
    # which has no password that anybody could guess
    for password in ("", "x", "nobody's password"):
        assert browser.site.ask("POST", "/auth/login", {"email": who, "password": password}).status == 401


def test_the_clock_of_our_host_does_not_decide_about_a_token(
    browser: Browser, who: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given a host that is an hour ahead
    class Ahead(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Ahead:
            return super().now(tz) + timedelta(hours=1)

    monkeypatch.setattr("jwt.api_jwt.datetime", Ahead)
    # then who comes from there is known
    browser.journey(who)
    assert browser.me()["email"] == who
    # and by the broker's clock a token of an hour ago is not good any more
    monkeypatch.setattr("gorgond.auth.oauth2.now_ms", lambda: now_ms() + 7_200_000)
    late = Browser(browser.site)
    late.journey(who)
    assert late.me() is None


def test_an_address_that_is_not_proved_is_nobodys(browser: Browser) -> None:
    browser.journey("somebody@claimed.example")
    assert browser.me()["email"] == ""


def test_what_the_browser_is_sent_with(browser: Browser) -> None:
    query = parse_qs(urlsplit(browser.leave()).query)
    assert query["response_type"] == ["code"]
    assert query["redirect_uri"] == [CALLBACK]
    assert query["code_challenge_method"] == ["S256"]
    assert query["scope"] == ["openid email profile"]
    # each time with another state, nonce and challenge, of which the last hides what the cookie holds
    second = parse_qs(urlsplit(browser.leave()).query)
    for name in ("state", "nonce", "code_challenge"):
        assert len(query[name][0]) == 43
        assert query[name] != second[name]


def test_no_account_whose_address_is_confirmed_is_taken_over(browser: Browser, who: str) -> None:
    # given an account with a password, whose owner has confirmed the address that the provider says is another's
    account(browser.site, who)
    change_user(browser.site, who, confirmed=True)
    answer = browser.journey(who)
    # then nobody is logged in, and told why
    assert answer.status == 409
    assert "log in, then link" in answer.error["message"]
    assert browser.me() is None


@pytest.mark.parametrize("before", [False, True])
def test_who_never_confirmed_an_address_loses_the_account_to_its_owner(
    browser: Browser, who: str, before: bool
) -> None:
    # given a stranger who has registered with somebody's address, now or before addresses were confirmed, is logged in,
    # and comes by way of the provider too
    session = account(browser.site, who)
    if before:
        change_user(browser.site, who, confirmed=None)
    stranger = Browser(browser.site)
    begun = browser.site.ask("POST", "/auth/login", {"email": who, "password": PASSWORD, "cookie": True})
    stranger.cookies["__Host-session"] = begun.headers["set-cookie"].partition(";")[0].partition("=")[2]
    assert stranger.journey(f"thief-{who}", "?link=1").status == 303
    id = stranger.me()["id"]
    assert browser.site.ask("POST", "/me/notes", {"title": "kept"}, **session).status == 201
    # when the owner of the address logs in by way of the provider, which says whose it is
    assert browser.journey(who).status == 303
    # then that is the owner's account, with all that is in it
    assert (browser.me()["id"], browser.me()["email"], browser.me()["confirmed"]) == (id, who, True)
    cookie = f"__Host-session={browser.cookies['__Host-session']}"
    notes = browser.site.ask("GET", "/me/notes", Cookie=cookie).json["items"]
    assert [note["title"] for note in notes] == ["kept"]
    assert [each["email"] for each in browser.ask("GET", "/auth/links").json["linked"]] == [who]
    # and the stranger has no way in any more: no session, no password, no account at the provider
    assert browser.site.ask("GET", "/auth/me", **session).status == 401
    assert stranger.me() is None
    assert browser.site.ask("POST", "/auth/login", {"email": who, "password": PASSWORD}).status == 401
    stranger.journey(f"thief-{who}")
    assert stranger.me()["id"] != id
    # and the owner comes again as the same user, and is told of the login
    again = Browser(browser.site)
    again.journey(who)
    assert again.me()["id"] == id


def test_linking_and_unlinking(browser: Browser, who: str) -> None:
    # given somebody who is logged in with a password
    email = f"own-{who}"
    headers = account(browser.site, email)
    begun = browser.site.ask("POST", "/auth/login", {"email": email, "password": PASSWORD, "cookie": True})
    browser.cookies["__Host-session"] = begun.headers["set-cookie"].partition(";")[0].partition("=")[2]
    user = browser.me()

    # when the account at the provider is linked
    assert browser.journey(who, "?link=1&to=/account").headers["location"] == "/account"

    # then who comes from there is the same user
    other = Browser(browser.site)
    other.journey(who)
    assert other.me()["id"] == user["id"]
    # and nobody else may link it
    thief = Browser(browser.site)
    thief.journey(f"thief-{who}")
    assert thief.journey(who, "?link=1").status == 409
    assert thief.journey(f"thief-{who}", "?link=1").status == 303  # its own again: nothing new

    # when it is unlinked, then who comes from there is somebody else
    assert browser.site.ask("DELETE", "/auth/links/house", **headers).status == 204
    assert browser.site.ask("DELETE", "/auth/links/house", **headers).status == 404
    stranger = Browser(browser.site)
    stranger.journey(who)
    assert stranger.me()["id"] != user["id"]
    # and the last way to log in is not given up
    refused = stranger.ask("DELETE", "/auth/links/house", X_XSRF_Token=stranger.me()["xsrf"])
    assert refused.status == 409


def test_coming_again_ends_the_session_that_the_browser_had(browser: Browser, who: str) -> None:
    # given somebody who came in by way of the provider, here and in another browser
    browser.journey(who)
    other = Browser(browser.site)
    other.journey(who)
    before = Browser(browser.site)
    before.cookies = dict(browser.cookies)
    assert before.me() is not None
    # when the first comes again, then what it had is void, and the other's holds
    browser.journey(who)
    assert before.me() is None
    assert browser.me()["id"] == other.me()["id"]


def test_a_first_password_is_set_on_the_page_after_a_login_only(
    browser: Browser, who: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given somebody who came by way of the provider
    browser.journey(who)

    def change() -> Answer:
        fields = {"old": "", "new": PASSWORD, "_xsrf": browser.me()["xsrf"]}
        cookie = f"__Host-session={browser.cookies['__Host-session']}"
        return browser.site.ask(
            "POST", "/account/password", urlencode(fields).encode(), Content_Type=FORM, Cookie=cookie
        )

    # when the session was left open for long, then it is not enough, and the page says what is
    with monkeypatch.context() as patched:
        patched.setattr(tokens, "FRESH", -1.0)
        refused = change()
    assert refused.status == 403
    assert b'<a href="/login">Log in again</a>' in refused.body
    assert browser.site.ask("POST", "/auth/login", {"email": who, "password": PASSWORD}).status == 401
    # when it has just begun, then the password is set
    assert change().status == 303
    assert browser.site.ask("POST", "/auth/login", {"email": who, "password": PASSWORD}).status == 200


def test_linking_wants_a_session_and_a_page_of_ours(browser: Browser, who: str) -> None:
    assert browser.ask("GET", "/auth/oauth2/house?link=1").status == 401
    browser.journey(who)
    assert browser.ask("GET", "/auth/oauth2/house?link=1", Sec_Fetch_Site="cross-site").status == 403


def test_who_did_not_leave_from_here_does_not_come_back(browser: Browser, who: str) -> None:
    # given a code that was given to another browser
    other = Browser(browser.site)
    stolen = other.log_in(other.leave(), who)
    # then it is of no use without that browser's cookie, nor with one's own
    assert browser.ask("GET", stolen).status == 403
    browser.leave()
    assert browser.ask("GET", stolen).status == 403
    # nor with another state, issuer or code
    state = f"state={parse_qs(urlsplit(stolen).query)['state'][0]}"
    base = "/auth/oauth2/house/callback"
    assert other.ask("GET", stolen.replace(state, "state=guess")).status == 403
    assert other.ask("GET", f"{base}?{state}&code=x&iss=https://evil.example").status == 401
    assert other.ask("GET", f"{base}?{state}&code=guess").status == 401
    assert other.ask("GET", f"{base}?{state}&error=access_denied").status == 401
    assert other.ask("GET", f"{base}?{state}").status == 401
    # at another site
    assert other.ask("GET", stolen.replace("house", "hub")).status == 403
    assert other.me() is None
    # and it is of use once
    assert other.ask("GET", stolen).status == 303
    assert other.me()["email"] == who
    assert other.ask("GET", stolen).status == 401


def test_a_code_wants_the_verifier_of_its_own_journey(browser: Browser, who: str) -> None:
    # given a browser that left twice: it has the second journey's verifier and nonce
    first = browser.log_in(browser.leave(), who)
    cookie = browser.cookies[site_logins.COOKIE]
    browser.leave()
    # when the state alone is made to fit
    state = parse_qs(urlsplit(first).query)["state"][0]
    mixed = {**_read(browser.cookies[site_logins.COOKIE]), "state": state}
    browser.cookies[site_logins.COOKIE] = _written(mixed)
    # then the provider does not take it
    answer = browser.ask("GET", first)
    assert answer.status == 401
    # nor is an ID token with the nonce of another login taken
    second = browser.log_in(browser.leave(), who)
    browser.cookies[site_logins.COOKIE] = _written(
        {**_read(browser.cookies[site_logins.COOKIE]), "nonce": _read(cookie)["nonce"]}
    )
    assert "another login" in browser.ask("GET", second).error["message"]


def test_who_says_no_there_is_told_so(browser: Browser) -> None:
    answer = browser.journey("nobody")
    assert answer.status == 401
    assert "access_denied" in answer.error["message"]


@pytest.mark.parametrize(
    "to", ["//evil.example", "/\\evil.example", "https://evil.example", "evil", "/a%0d%0aX:y", "/%C3%BC"]
)
def test_nobody_is_sent_elsewhere_in_the_end(browser: Browser, to: str) -> None:
    browser.leave(f"?to={to}")
    assert _read(browser.cookies[site_logins.COOKIE])["to"] == "/"
    # nor by a cookie that says so
    browser.cookies[site_logins.COOKIE] = _written({**_read(browser.cookies[site_logins.COOKIE]), "to": unquote(to)})
    assert browser.ask("GET", "/auth/oauth2/house/callback?code=x&state=x").status == 403


def test_sites_that_are_unknown_or_away(browser: Browser) -> None:
    assert browser.ask("GET", "/auth/oauth2").json["sites"] == [
        {"name": "house", "kind": "oidc"}, {"name": "gone", "kind": "oidc"}, {"name": "hub", "kind": "github"},
    ]  # fmt: skip
    assert browser.ask("GET", "/auth/oauth2/none").status == 404
    assert browser.ask("GET", "/auth/oauth2/gone").status == 502
    # GitHub is not asked before the browser comes back
    assert browser.ask("GET", "/auth/oauth2/hub").headers["location"].startswith("https://github.com/login/oauth/")


def _read(cookie: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(base64.urlsafe_b64decode(cookie))
    return found


def _written(journey: Mapping[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(journey).encode()).decode()
