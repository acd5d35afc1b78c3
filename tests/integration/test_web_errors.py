"""Answers are about what the client sent, whatever that is: never a 500, never a silence, and no line in the log."""

from __future__ import annotations

import random
from typing import Any

import pytest

from gorgond.http import server
from tests.integration.website import Answer, Website

pytestmark = pytest.mark.usefixtures("parser")

NOTE = b'{"title": "t"}'


def refused(answer: Answer, status: int, field: str | None = None) -> str:
    """The message of this error."""
    assert answer.status == status, answer.body
    assert answer.error.get("field") == field
    assert answer.error["message"].startswith(f"{field}: " if field else "")
    return str(answer.error["message"])


# ---- paths and parameters


@pytest.mark.parametrize(
    ("target", "field"),
    [
        ("/info/x", "uid"), ("/info/-1", "uid"), ("/info/1.5", "uid"), ("/info/%20", "uid"),
        ("/info/9007199254740992", "uid"),
        ("/info/" + "9" * 5000, "uid"), ("/info/%D9%A3", "uid"), ("/info/%C2%B2", "uid"), ("/info/%FF", "uid"),
        ("/info/1/0", "lim"), ("/info/1/1001", "lim"), ("/info/1?lim=", "lim"), ("/info/1?lim=+5", "lim"),
        ("/info/1/5/1000001", "off"), ("/info/1?off=-1", "off"), ("/info/1?lim=5&lim=5", "lim"),
        ("/info/1?limit=5", "limit"), ("/info/1/5?lim=5", "lim"), ("/info/1/5/5?off=5", "off"),
        ("/info/1?%FF=1", "query"),
        ("/items?q=", "q"), ("/items?q=!!!", "q"), ("/items?q=%00", "q"), ("/items?q=%C3", "query"),
        ("/items?q=" + "x" * 1001, "q"),
        ("/items?keyword=" + "x" * 201, "keyword"), ("/items?userid=x", "userid"), ("/items?since=yesterday", "since"),
        ("/items?title=t", "title"), ("/items/%00", "id"), ("/items/" + "x" * 129, "id"), ("/items/x?lim=1", "lim"),
        ("/items/%ED%A0%80", "id"), ("/healthz?x=1", "x"),
        ("/healthz?=1", "query"), ("/readyz?x", "x"), ("/openapi.json?x=", "x"),
    ],
)  # fmt: skip
def test_a_bad_parameter_is_400_with_its_name_and_what_is_allowed(site: Website, target: str, field: str) -> None:
    message = refused(site.ask("GET", target), 400, field)
    assert any(word in message for word in ("must ", "allowed are ", "given twice")), message


@pytest.mark.parametrize(
    "target", ["/none", "/info", "/info/1/2/3/4", "//info/1", "/INFO/1", "/items/a/b", "*", "/none?x=1"]
)
def test_404(site: Website, target: str) -> None:
    assert "there is nothing at" in refused(site.ask("GET", target), 404)


@pytest.mark.parametrize(
    ("target", "allow"),
    [
        ("/info/1", "GET, HEAD, OPTIONS, POST"), ("/info/1/2", "GET, HEAD, OPTIONS"), ("/items", "GET, HEAD, OPTIONS"),
        ("/healthz", "GET, HEAD, OPTIONS"), ("/items/a", "DELETE, GET, HEAD, OPTIONS, PATCH, PUT"),
        ("/openapi.json", "GET, HEAD, OPTIONS"),
    ],
)  # fmt: skip
def test_405_says_what_is_allowed(site: Website, target: str, allow: str) -> None:
    for method in ("TRACE", "BREW", "get", *(each for each in ("PUT", "POST", "GET") if each not in allow)):
        answer = site.ask(method, target)
        refused(answer, 405)
        assert answer.headers["allow"] == allow


def test_a_target_in_absolute_form_is_the_same(site: Website) -> None:
    assert site.ask("GET", "http://example.org/info/1?lim=1").json["lim"] == 1
    assert site.ask("GET", "HTTP://example.org:80/healthz").status == 200
    assert site.ask("GET", "http://example.org").headers["content-type"].startswith("text/html")
    refused(site.ask("GET", "http://example.org?x=/info/1"), 400, "x")
    for target in ("http://example.org/none", "ftp://example.org/healthz", "healthz"):
        refused(site.ask("GET", target), 404)


# ---- bodies


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b"", "body"), (b"{", "body"), (b"nonsense", "body"), (b"5", "body"), (b'"text"', "body"), (b"null", "body"),
        (b"[]", "body"), (b"[1]", "body"), (b'[{"title": "a"}, []]', "body"), (b'{"a": 1} x', "body"),
        (b'\xef\xbb\xbf{"title": "BOM"}', "body"), (b'{"title": "\xff"}', "body"),
        ('{"title": "t"}'.encode("utf-16"), "body"),
        (b'{"title": "\xed\xa0\x80"}', "body"), (b'{"title": "\\ud800"}', "body"), (b'{"\\udfff": 1}', "body"),
        (b'{"a": "\\x"}', "body"),
        (b'{"a": NaN}', "body"), (b'{"a": Infinity}', "body"), (b'{"a": -Infinity}', "body"), (b'{"a": 1e999}', "body"),
        (b'{"a": 01}', "body"), (b'{"a": 9223372036854775808}', "body"), (b'{"a": -9223372036854775809}', "body"),
        (b'{"a": ' + b"9" * 10_000 + b"}", "body"), (b'{"a": 1, "b": 2, "a": 1}', "body"),
        (b'{"a": {"\\ud800": 1, "\\ud800": 2}}', "body"),
        (b'{"a": ' + b"[" * 32 + b"]" * 32 + b"}", "body"), (b"[" * 400_000, "body"), (b'{"a":' * 100_000, "body"),
        (b'{"_id": "x"}', "_id"), (b'{"id": ""}', "id"), (b'{"id": 5}', "id"), (b'{"id": "a\\u0000"}', "id"),
        (b'{"id": "' + b"x" * 129 + b'"}', "id"), (b'{"ts": -1}', "ts"), (b'{"ts": 1.5}', "ts"),
        (b'{"ts": true}', "ts"),
        (b'{"ts": null}', "ts"), (b'{"ts": 9007199254740992}', "ts"), (b'{"userid": 2}', "userid"),
        (b'{"userid": "1"}', "userid"),
        (b'{"title": 5}', "title"), (b'{"title": "' + b"x" * 1001 + b'"}', "title"), (b'{"url": []}', "url"),
        (b'{"body": {}}', "body"),
        (b'{"location": null}', "location"), (b'{"keywords": "a"}', "keywords"), (b'{"keywords": [""]}', "keywords"),
        (b'{"ts": 9007199254740991}', "ts"),
        (b'{"keywords": [5]}', "keywords"), (b'{"keywords": [' + b'"a",' * 100 + b'"b"]}', "keywords"),
    ],
)  # fmt: skip
def test_a_bad_body_is_400_with_the_field(site: Website, body: bytes, field: str) -> None:
    refused(site.ask("POST", "/info/1", body), 400, field)
    # and the same for an item, but for what only notes of a user must have
    if body not in (b"[]", b'{"userid": 2}'):
        refused(site.ask("PUT", "/items/bad", body), 400, field)


def test_a_list_with_one_id_twice_is_400_with_the_field(site: Website) -> None:
    twice = [{"id": "twice", "title": title} for title in "ab"]
    for headers in ({}, {"Prefer": "respond-async"}):
        refused(site.ask("POST", "/info/1", twice, **headers), 400, "id")
    assert site.ask("GET", "/items/twice").status == 404


def test_what_json_allows_is_taken(site: Website, uid: int) -> None:
    body = b' \n{"a": "\\ud83c\\udf4f \\\\ud800 \\/", "": 1e-999, "big": 9223372036854775807, "f": 1E400e'.replace(
        b"E400e", b"E30"
    )
    refused(site.ask("POST", f"/info/{uid}", body + b"}"), 422, "document")  # but an empty key
    body = body.replace(b'"":', b'"b":')
    [id] = site.ask("POST", f"/info/{uid}", body + b"}").json["ids"]
    item = site.ask("GET", f"/items/{id}").json
    assert (item["a"], item["b"], item["big"], item["f"]) == ("🍏 \\ud800 /", 0, 2**63 - 1, 1e30)


def test_the_id_is_the_one_in_the_path(site: Website) -> None:
    for method in ("PUT", "PATCH"):
        refused(site.ask(method, "/items/a", {"id": "b", "title": "t"}), 400, "id")


@pytest.mark.parametrize("changes", [{}, {"id": "a"}, {"id": None}, {"ts": None}, {"_id": 1}, {"title": 5}, [], 5])
def test_a_bad_patch_is_400(site: Website, changes: Any) -> None:
    answer = site.ask("PATCH", "/items/a", changes)
    assert (answer.status, "field" in answer.error) == (400, True)


@pytest.mark.parametrize("kind", ["", "text/plain", "application/x-www-form-urlencoded", "application/jsonx", "ä;="])
def test_415(site: Website, kind: str) -> None:
    for method, target in (("POST", "/info/1"), ("PUT", "/items/a"), ("PATCH", "/items/a")):
        refused(site.ask(method, target, NOTE, Content_Type=kind), 415)


def test_other_ways_to_say_json(site: Website, uid: int) -> None:
    for kind in ("Application/JSON", "application/json; charset=utf-8", "application/json ;x"):
        assert site.ask("POST", f"/info/{uid}", NOTE, Content_Type=kind).status == 201


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"$set": 1}, "$set"), ({"a.b": 1}, "a.b"), ({"": 1}, "document"), ({"a": {"$where": "x"}}, "a"),
        ({"title": "\0"}, "title"), ({"a": ["\0"]}, "a"),
    ],
)  # fmt: skip
def test_what_the_database_cannot_store_is_422_also_when_it_is_queued(
    site: Website, uid: int, body: Any, field: str
) -> None:
    refused(site.ask("POST", f"/info/{uid}", body), 422, field)
    refused(site.ask("POST", f"/info/{uid}", body, Prefer="respond-async"), 422, field)
    refused(site.ask("PUT", f"/items/{uid}", body), 422, field)


@pytest.mark.parametrize("key", ["", "x" * 256])
def test_a_bad_idempotency_key_is_400(site: Website, key: str) -> None:
    refused(site.ask("POST", "/info/1", NOTE, Idempotency_Key=key), 400, "Idempotency-Key")


# ---- anything


def garbage(chance: random.Random) -> bytes:
    """A request that is more or less wrong."""
    method = chance.choice(
        [b"GET", b"POST", b"PUT", b"PATCH", b"DELETE", b"HEAD", b"TRACE", b"\xff", b"G E T", b"{}", b""]
    )
    target = b"".join(
        chance.choice([b"/info", b"/items", b"/1", b"/", b"//", b"%", b"%00", b"%ff", b"%zz", b"?", b"q=a", b"&",
        b"lim=5", b"=",
                       b"\xc3\xa4", b"\xff", b"#", b"http://x", b"\x00", b"\x7f", b"\t", b"..", b"*", b"9" * 30,
                       b"'\"<>"])
        for _ in range(chance.randrange(7))
    )  # fmt: skip
    version = chance.choices(
        [b"HTTP/1.1", b"HTTP/1.0", b"HTTP/2.0", b"HTTP/1.9", b"", b"HTTP/1.1 x"], [20, 2, 1, 1, 1, 1]
    )[0]
    body = b"".join(
        chance.choice([b"{", b"}", b"[", b"]", b'"', b",", b":", b"1", b"-", b"NaN", b'"id":', b'"ts":', b'{"a":1}',
        b"null", b"\xff",
                       b"\\ud800", b"\0", b'{"title":"\\u0000"}', b'{"$a":1}', b"1e999", b'{"ts":1e5}', NOTE, b" "])
        for _ in range(chance.choice([0, 1, 1, 2, 5]))
    )  # fmt: skip
    headers = [
        b"Host: x", b"Content-Type: application/json", b"Content-Length: %d" % len(body), b"Connection: close",
        *chance.sample(
            [b"Prefer: respond-async", b"Idempotency-Key: \xe9", b"Idempotency-Key:", b"Expect: 100-continue",
            b"Expect: x", b"X", b": x",
             b" folded", b"Content-Length: 1", b"Content-Length: -1", b"Content-Length: \xb2",
             b"Content-Length: 9999999999999999999999",
             b"Content-Length: " + b"1" * 5000, b"Transfer-Encoding: chunked", b"Transfer-Encoding: gzip",
             b"Content-Length : 5",
             b"traceparent: \xff\x01", b"X: \x00", b"Content-Type: \xff", b"X: " + b"y" * 20_000],
            chance.choice([0, 0, 1, 1, 2, 3]),
        ),
    ]  # fmt: skip
    return b" ".join([method, target, version]) + b"\r\n" + b"\r\n".join(headers) + b"\r\n\r\n" + body


@pytest.mark.parametrize("seed", range(4))
def test_nothing_that_is_sent_makes_it_fail(site: Website, seed: int) -> None:
    chance = random.Random(seed)
    for _ in range(250):
        request = garbage(chance)
        with site.connection() as connection:
            # given whatever a client sends, and then no more
            connection.send(request)
            connection.socket.shutdown(1)
            answers = []
            while True:
                try:
                    answer = connection.read(head=request.startswith(b"HEAD"))
                except (EOFError, ConnectionResetError):
                    break
                answers.append(answer)
                if answer.status != 100:
                    break
            # then there is at most one answer besides 100, which is no 5xx
            assert [each.status for each in answers if each.status >= 500] == [], request
            # and an error is told as such
            for answer in answers:
                if answer.status >= 400 and answer.body:
                    assert answer.error["message"]
    assert site.ask("GET", "/healthz").status == 200
    assert site.web.server.exchanges == set()
    assert site.web.server.waiting_bytes == 0
    assert "http 500" not in site.web.metrics.counters


def test_the_largest_body_and_one_byte_more(site: Website, uid: int) -> None:
    body = b'{"a": "' + b"x" * (server.BODY_MAX - 9) + b'"}'
    assert len(body) == server.BODY_MAX
    assert site.ask("POST", f"/info/{uid}", body).status == 201
    answer = site.ask("POST", f"/info/{uid}", body + b" ")
    assert str(server.BODY_MAX) in refused(answer, 413)
    assert answer.headers["connection"] == "close"
