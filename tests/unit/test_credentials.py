"""Who asks: tokens from headers and cookies, and what keeps other sites from asking in somebody's name."""

from __future__ import annotations

import hashlib

import pytest
from tornado.httputil import HTTPHeaders

from gorgond.http.answers import Problem
from gorgond.http.credentials import (
    check_origin,
    cleared_cookie,
    credentials,
    session_cookie,
    token_of,
    xsrf_token,
)
from gorgond.http.routes import Request

COOKIE = {"Cookie": "other=1; __Host-session=secret; more=2"}


def request(method: str = "GET", body: str = "", **headers: str) -> Request:
    """A request with these headers, - as _ in their names."""
    fields = HTTPHeaders({name.replace("_", "-"): text for name, text in headers.items()})
    return Request("id", method, "/", fields, body.encode("latin-1"), 0)


def proof() -> str:
    return xsrf_token(request(**COOKIE))


def test_a_token_is_told_as_its_digest() -> None:
    expected = {"token": hashlib.sha256(b"secret").hexdigest(), "need": "required", "rights": "admin"}
    assert credentials(request(Authorization="Bearer secret"), "required", "admin") == expected
    assert credentials(request(Authorization="bearer  secret"), "required", "admin") == expected
    assert credentials(request(**COOKIE), "required", "admin") == expected


def test_the_header_goes_before_the_cookie() -> None:
    assert token_of(request("POST", Authorization="Bearer mine", **COOKIE)) == "mine"


def test_without_a_token() -> None:
    assert credentials(request(), "optional") == {"token": "", "need": "optional", "rights": ""}
    with pytest.raises(Problem) as caught:
        credentials(request(), "required")
    assert (caught.value.status, caught.value.headers) == (401, {"WWW-Authenticate": "Bearer"})


@pytest.mark.parametrize("header", ["Basic YTpi", "Bearer", "Bearer ", "secret", "Bearer " + "x" * 201])
def test_an_authorization_that_is_none_is_refused_also_where_a_user_is_optional(header: str) -> None:
    with pytest.raises(Problem) as caught:
        credentials(request(Authorization=header), "optional")
    assert caught.value.status == 401


@pytest.mark.parametrize(
    "text", ["__Host-session=" + "x" * 201, "__Host-session=\xfc", "__Host-session=", "=;=;;", "session=x"]
)
def test_a_cookie_that_cannot_be_ours_is_none(text: str) -> None:
    assert token_of(request(Cookie=text)) == ""


# ---- requests that others make a browser send


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_a_change_with_the_cookie_alone_is_refused(method: str) -> None:
    for headers in ({}, {"X_XSRF_Token": "guess"}, {"X_XSRF_Token": "\xfc"}, {"X_XSRF_Token": "secret"}):
        with pytest.raises(Problem) as caught:
            token_of(request(method, **COOKIE, **headers))
        assert caught.value.status == 403
    assert token_of(request(method, **COOKIE, X_XSRF_Token=proof())) == "secret"


def test_a_form_proves_it_by_a_field() -> None:
    form = {"Content_Type": "application/x-www-form-urlencoded; charset=utf-8", **COOKIE}
    assert token_of(request("POST", f"title=a&_xsrf={proof()}", **form)) == "secret"
    for body in ("", "_xsrf=guess", "\xff\xfe", "title=_xsrf", "a&" * 200 + f"_xsrf={proof()}"):
        with pytest.raises(Problem):
            token_of(request("POST", body, **form))
    # what is no form has no fields
    with pytest.raises(Problem):
        token_of(request("POST", f"_xsrf={proof()}", **COOKIE, Content_Type="text/plain"))


def test_the_proof_is_the_sessions_own_and_does_not_tell_the_token() -> None:
    assert xsrf_token(request()) == ""
    assert proof() != xsrf_token(request(Cookie="__Host-session=other"))
    assert "secret" not in proof()
    assert proof() != hashlib.sha256(b"secret").hexdigest()  # which is the session's id, shown to its user


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec_Fetch_Site": "cross-site"}, {"Sec_Fetch_Site": "same-site"},
        {"Sec_Fetch_Site": "cross-site", "Origin": "https://notes.example", "Host": "notes.example"},
        {"Origin": "https://evil.example", "Host": "notes.example"}, {"Origin": "null", "Host": "notes.example"},
        {"Origin": "https://notes.example:8443", "Host": "notes.example"},
        {"Origin": "http://[", "Host": "notes.example"},
    ],
)  # fmt: skip
def test_where_there_is_no_session_another_sites_page_is_refused(headers: dict[str, str]) -> None:
    with pytest.raises(Problem) as caught:
        check_origin(request("POST", **headers))
    assert caught.value.status == 403


@pytest.mark.parametrize(
    "headers",
    [
        {}, {"Sec_Fetch_Site": "same-origin"}, {"Sec_Fetch_Site": "none"},
        {"Origin": "https://Notes.example", "Host": "notes.example"},
        {"Origin": "http://localhost:3000", "Host": "localhost:3000"},
        {"Sec_Fetch_Site": "same-origin", "Origin": "null"},
    ],
)  # fmt: skip
def test_our_own_pages_and_programs_are_not(headers: dict[str, str]) -> None:
    check_origin(request("POST", **headers))


def test_the_cookies_flags() -> None:
    assert session_cookie("t", 60) == "__Host-session=t; Max-Age=60; Path=/; Secure; HttpOnly; SameSite=Lax"
    assert cleared_cookie() == "__Host-session=; Max-Age=0; Path=/; Secure; HttpOnly; SameSite=Lax"
