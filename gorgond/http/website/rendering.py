"""HTML pages from the templates, and the files that they need; all are read once, when the server starts.

Everything a page shows is escaped by the templates. Static files have their content's digest in their address, so a
browser keeps them for good and asks for nothing twice.
"""

from __future__ import annotations

import hashlib
import mimetypes
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from tornado.template import Loader

from gorgond.http.answers import HTML, Answer, Problem
from gorgond.http.routes import Parameter
from gorgond.http.website.fields import LABELS, RULES
from gorgond.http.website.visitor import Visitor

SHORT = 600  # characters of a note's text that a list shows
FACES = 6  # colours of the initials of writers

# Nothing but our own files, and nobody frames us.
_POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)
SAFE = {
    "Content-Security-Policy": _POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}

DID = Parameter("did", "what was done just now, for the page to say", str, high=20, empty=True)
_DONE = {
    "added": "The note is stored.",
    "saved": "The note is changed.",
    "deleted": "The note is deleted.",
    "password": "The password is changed; all other sessions have ended.",
    "ended": "That session has ended.",
    "reset_sent": "If it is that of an account, an e-mail with a link is on its way. It may be among the spam.",
    "reset": "The password is changed: log in with it. All sessions have ended.",
    "confirm_sent": "An e-mail with a link is on its way to you. It may be among the spam.",
    "confirmed": "The address is confirmed.",
    "address_sent": "An e-mail with a link is on its way to that address. It may be among the spam.",
    "moved": "The account has that address.",
    "renamed": "The name is changed.",
    "preferred": "That is changed, from now on.",
    "told": "You are told in this browser from now on.",
    "untold": "You are told there no more.",
    "changed": "That is changed.",
    "tested": "A test is on its way. What becomes of it is told below.",
    "replayed": "What was given up is sent again.",
    "gone": "The endpoint is deleted.",
    "erased": "The account is deleted, and all its notes are being deleted.",
}
PAGE = {200: ("the page", "text/html")}
FOUND = {
    **PAGE,
    **dict.fromkeys(
        (400, 429, 503, 504), ("not searched for: the page says why, and holds what was asked", "Error text/html")
    ),
}
OWN_PAGE = {**PAGE, 401: ("nobody is logged in; browsers are sent to do that", "Error")}
DONE = {303: ("done; Location shows what it did", "text/html")}
GO_ON = {
    **DONE,
    **dict.fromkeys((400, 403, 409, 422, 429), ("not done; if it can be mended, the form again", "Error text/html")),
    401: ("nobody is logged in, or it is not the password", "Error text/html"),
    404: ("there is no such thing of one's own", "Error text/html"),
}

_HERE = Path(__file__).parents[1]


class Static:
    """The files of static/."""

    def __init__(self) -> None:
        self._files = {path.name: _file(path) for path in (_HERE / "static").iterdir()}

    def address(self, name: str) -> str:
        """Where a page finds the file."""
        return f"/static/{name}?v={self._files[name].headers['ETag'][1:-1]}"

    def answer(self, name: str) -> Answer:
        """The file. Raises Problem 404."""
        if name not in self._files:
            raise Problem(404, f"there is no file {name}")
        return self._files[name]


def _file(path: Path) -> Answer:
    content = path.read_bytes()
    kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    digest = hashlib.sha256(content).hexdigest()[:16]
    headers = {"ETag": f'"{digest}"', "Cache-Control": "public, max-age=31536000, immutable"}
    return Answer(200, content, kind, headers | {"X-Content-Type-Options": "nosniff"})


class Templates:
    """The templates of templates/, with what they all may use."""

    def __init__(self, static: Static) -> None:
        tools: dict[str, Any] = {
            "static": static.address, "iso": _iso, "shown": _date, "short": _short, "link": _link, "path": _path,
            "leads": _leads, "face": _face, "host": _host, "paragraphs": _paragraphs, "labels": LABELS, "rules": RULES,
        }  # fmt: skip
        self._loader = Loader(str(_HERE / "templates"), namespace=tools)

    def render(self, name: str, visitor: Visitor, **values: Any) -> bytes:
        """The page of this template for a visitor, with these values; `did` is a word of a `did` in its query."""
        shared = {"user": visitor.user, "xsrf": visitor.xsrf, "here": "", "said": "", "wrong": ""}
        values["did"] = _DONE.get(values.get("did", ""), "")
        return self._loader.load(name).generate(**{**shared, **values})

    def card(self, note: Mapping[str, Any], names: Mapping[Any, str], where: Callable[[str], str]) -> str:
        """One note, as it stands in a list of everybody's; `where` says where those with a keyword are."""
        return self._loader.load("note.html").generate(note=note, names=names, mine=False, where=where).decode()


def page(body: bytes, status: int = 200, headers: Mapping[str, str] | None = None) -> Answer:
    """A page of the website."""
    return Answer(status, body, HTML, {**SAFE, **(headers or {})})


def see_other(where: str, cookie: str = "") -> Answer:
    """Go on there, with GET; `cookie` is a Set-Cookie header."""
    headers = {**SAFE, "Location": where}
    if cookie:
        headers["Set-Cookie"] = cookie
    return Answer(303, b"", HTML, headers)


def query(**values: str | int) -> str:
    """A query with those of the values that are not empty, after its question mark; nothing without any."""
    given = {name: value for name, value in values.items() if value}
    return f"?{urlencode(given)}" if given else ""


def _iso(ms: Any) -> str:
    return _time(ms).strftime("%Y-%m-%dT%H:%M:%SZ")


def _date(ms: Any) -> str:
    return f"{_time(ms):%-d %b %Y, %H:%M} UTC"


def _time(ms: Any) -> datetime:
    """A time in a document, which may hold anything; the year 9999 at most."""
    known = ms if isinstance(ms, int | float) and ms > 0 else 0
    return datetime.fromtimestamp(min(known / 1000, 253_402_300_799), UTC)


def _short(value: Any) -> str:
    """The beginning of a text: all of one that is not long."""
    text = str(value)
    return text if len(text) <= SHORT else text[: SHORT - 1].rstrip()


def _paragraphs(value: Any) -> list[str]:
    """The paragraphs of a text, each of which may be in another direction."""
    return [part for part in str(value).split("\n\n") if part.strip()]


def _face(note: Mapping[str, Any]) -> int:
    """The colour of its writer's initial."""
    owner = note.get("userid")
    return owner % FACES if type(owner) is int else 0


def _host(address: str) -> str:
    """The name of the place that an address leads to."""
    return (urlsplit(address).hostname or address).removeprefix("www.")


def _link(note: Mapping[str, Any]) -> str:
    """A note's address if it is one of the web: others, as javascript:, would run."""
    url = note.get("url")
    try:
        return url if isinstance(url, str) and urlsplit(url).scheme in ("http", "https") else ""
    except ValueError:
        return ""


def _leads(data: Mapping[str, Any]) -> str:
    """Where a notification leads: a page of ours, or an address of the web."""
    url = data.get("url")
    ours = isinstance(url, str) and url.startswith("/") and not url.startswith(("//", "/\\"))
    return str(url) if ours else _link(data)


def _path(text: str) -> str:
    return quote(text, safe="")
