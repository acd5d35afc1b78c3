"""The bodies of requests: JSON, and the fields of an item. Raises BadRequest and Problem."""

from __future__ import annotations

from typing import Any

from gorgond.bounds import (
    BODY_MAX,
    DEPTH_MAX,
    DOCUMENT_ID_MAX,
    KEYWORD_MAX,
    KEYWORDS_MAX,
    LIM_MAX,
    LOCATION_MAX,
    REGISTERED,
    TITLE_MAX,
    URL_MAX,
    WHOLE_MAX,
)
from gorgond.errors import BadRequest
from gorgond.http.answers import Problem
from gorgond.http.forms import FIELDS_MAX, fields_of, is_form
from gorgond.http.routes import Request
from gorgond.redpill import loads_strictly, now_ms

VALUES_MAX = 60_000  # keys and values in one body: 1000 notes of 50 keywords have room; they take some 20 ms to read

_TEXTS = {"title": TITLE_MAX, "url": URL_MAX, "body": BODY_MAX, "location": LOCATION_MAX}

_AS_LISTS = bytes.maketrans(b"{}", b"[]")
_NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))

AHEAD = 60  # seconds by which the `ts` that a client chooses may be later than our clock


def json_body(request: Request) -> Any:
    """The value in the body. Raises Problem 415 and BadRequest."""
    kind = request.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise Problem(415, f"the body must be application/json, not {kind[:100] or 'without a Content-Type'}")
    if _too_many(request.body):
        raise BadRequest("body", f"must not hold more than {VALUES_MAX} keys and values")
    try:
        value = loads_strictly(request.body)
    except ValueError as error:
        raise BadRequest("body", f"must be JSON in UTF-8: {error}") from None
    if _too_deep(request.body):
        raise BadRequest("body", f"must not be nested deeper than {DEPTH_MAX}")
    return value


def form_body(request: Request) -> dict[str, str]:
    """The fields of a form that a browser sent, each once. Raises Problem 415 and BadRequest."""
    pairs = form_fields(request)
    fields = dict(pairs)
    if len(fields) < len(pairs):
        raise BadRequest("body", "a field is given twice")
    return fields


def form_fields(request: Request) -> list[tuple[str, str]]:
    """The fields of a form that a browser sent, in their order. Raises Problem 415 and BadRequest."""
    kind = request.headers.get("Content-Type", "")
    if not is_form(kind):
        raise Problem(415, f"the body must be a form's, not {kind[:100] or 'without a Content-Type'}")
    try:
        return fields_of(request.body)
    except ValueError:
        raise BadRequest(
            "body", f"must be a form in UTF-8 with at most {FIELDS_MAX} fields, its percent signs written as %25"
        ) from None


def items(value: Any, userid: int) -> list[dict[str, Any]]:
    """One note or a list of notes, made the user's."""
    found = value if isinstance(value, list) else [value]
    if not 0 < len(found) <= LIM_MAX:
        raise BadRequest("body", f"must hold 1 to {LIM_MAX} notes, not {len(found)}")
    for note in found:
        check_item(note)
        if note.setdefault("userid", userid) != userid:
            raise BadRequest("userid", f"must be {userid}, as in the path, or left out")
        check_private(note)
    own = [note["id"] for note in found if "id" in note]
    if len(set(own)) < len(own):
        raise BadRequest("id", "must be another one for each note")
    return found


def check_ts(ts: int) -> None:
    """The time of a change that a client chose."""
    if ts > now_ms() + AHEAD * 1000:
        raise BadRequest("ts", f"must not be more than {AHEAD} s ahead of the server's clock")


def check_private(item: dict[str, Any]) -> None:
    """Check that a private item has an owner who can see it."""
    owner = item.get("userid")
    owners = [one for one in (owner if isinstance(owner, list) else [owner]) if isinstance(one, int | float)]
    if item.get("private") is True and not any(one >= REGISTERED for one in owners):
        raise BadRequest("private", "must be false, or left out, where no registered user is the owner")


def check_item(item: Any, removable: bool = False) -> None:
    """The fields of the schema have their kinds; others may be anything. `removable`: null removes a field."""
    if not isinstance(item, dict):
        raise BadRequest("body", "must be an object with the fields of a note")
    for name, value in item.items():
        if value is None and removable and name not in ("id", "ts"):
            continue
        if name in _TEXTS:
            if not isinstance(value, str) or len(value) > _TEXTS[name]:
                raise BadRequest(name, f"must be text of at most {_TEXTS[name]} characters")
        elif name == "keywords":
            if not isinstance(value, list) or len(value) > KEYWORDS_MAX or not all(_keyword(each) for each in value):
                raise BadRequest(
                    name, f"must be a list of at most {KEYWORDS_MAX} texts of 1 to {KEYWORD_MAX} characters"
                )
        elif name in ("ts", "userid"):
            if type(value) is not int or not 0 <= value <= WHOLE_MAX:
                raise BadRequest(name, f"must be a whole number from 0 to {WHOLE_MAX}")
            if name == "ts":
                check_ts(value)
        elif name == "id":
            if not isinstance(value, str) or not 0 < len(value) <= DOCUMENT_ID_MAX or "\0" in value:
                raise BadRequest(name, f"must be text of 1 to {DOCUMENT_ID_MAX} characters")
        elif name == "private":
            if not isinstance(value, bool):
                raise BadRequest(name, "must be true or false")
        elif name == "_id":
            raise BadRequest(name, "the key of a note is called id")


def _keyword(value: Any) -> bool:
    return isinstance(value, str) and 0 < len(value) <= KEYWORD_MAX


def _too_many(data: bytes) -> bool:
    """Whether a JSON text holds more than VALUES_MAX keys and values. It is asked before the text is read: a megabyte
    of `[0,…]` would keep everybody else waiting meanwhile."""
    if _separators(data) < VALUES_MAX:
        return False
    if data.count(b'"') - data.count(b'\\"') > 4 * VALUES_MAX:
        return True
    return _separators(_outside(data)) >= VALUES_MAX


def _outside(data: bytes) -> bytes:
    """JSON without the texts in it."""
    return b"".join(data.replace(b"\\\\", b"").replace(b'\\"', b"").split(b'"')[::2])


def _separators(data: bytes) -> int:
    return sum(map(data.count, (b",", b"[", b"{", b":")))


def _too_deep(data: bytes) -> bool:
    """Whether lists and objects are nested deeper than DEPTH_MAX in a JSON text. The values themselves would take
    twenty times as long to walk through."""
    if data.count(b"[") + data.count(b"{") <= DEPTH_MAX:
        return False
    brackets = _outside(data).translate(_AS_LISTS, _NO_BRACKETS)
    for _ in range(DEPTH_MAX):
        brackets = brackets.replace(b"[]", b"")  # the innermost
    return brackets != b""
