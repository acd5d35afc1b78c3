"""HTTP/1.1 as its standard wants it: hosts, chunks, connections closed by halves, OPTIONS, and headers that protect."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import RedisServer
from tests.integration.website import Connection, Website
from tests.waiting import eventually

pytestmark = pytest.mark.usefixtures("parser")

NOTE = b'{"title": "t"}'
LOGIN = {"email": "nobody@x.example", "password": "no password of anybody's"}


@pytest.fixture
def connection(site: Website) -> Iterator[Connection]:
    with site.connection() as connection:
        yield connection


# ---- for whom it is, and what it holds


@pytest.mark.parametrize(
    ("version", "hosts", "status"),
    [
        (b"1.1", b"", 400), (b"1.1", b"Host: a\r\n", 200), (b"1.1", b"Host: a\r\nHost: b\r\n", 400),
        (b"1.1", b"host: a\r\nHOST: a\r\n", 400), (b"1.1", b"Host:\r\n", 200),
        (b"1.0", b"", 200), (b"1.0", b"Host: a\r\n", 200), (b"1.0", b"Host: a\r\nHost: a\r\n", 400),
        (b"1.1", b"Host: a b\r\n", 400), (b"1.1", b"Host: a/\\\r\n", 400), (b"1.1", b"Host: \xff\r\n", 400),
        (b"1.1", b"Host: user@a\r\n", 400), (b"1.1", b"Host: a:b\r\n", 400), (b"1.0", b"Host: a b\r\n", 400),
        (b"1.1", b"Host: [::1]:3000\r\n", 200), (b"1.1", b"Host: a-b.example.:3000\r\n", 200),
        (b"1.1", b"Host: my_host:\r\n", 200), (b"1.1", b"Host: 192.0.2.1\r\n", 200),
    ],
)  # fmt: skip
def test_a_request_says_once_for_which_host_it_is(
    connection: Connection, version: bytes, hosts: bytes, status: int
) -> None:
    connection.send(b"GET /healthz HTTP/" + version + b"\r\n" + hosts + b"\r\n")
    answer = connection.read()
    assert answer.status == status
    if status == 400:
        assert "Host" in answer.error["message"]
        connection.socket.shutdown(socket.SHUT_WR)
        assert connection.closed()


@pytest.mark.parametrize("coding", ["gzip", "br", "GZIP", "gzip, identity", "zstd"])
def test_a_compressed_body_is_not_taken(site: Website, uid: int, coding: str) -> None:
    answer = site.ask("POST", f"/info/{uid}", NOTE, Content_Encoding=coding)
    assert (answer.status, answer.headers["accept-encoding"]) == (415, "identity")
    assert answer.error["message"]
    assert site.ask("POST", f"/info/{uid}", NOTE, Content_Encoding="identity").status == 201


# ---- chunks


@pytest.mark.parametrize(
    "body",
    [
        b"e\r\n%s\r\n0\r\n\r\n", b"E;name=value\r\n%s\r\n0\r\n\r\n", b'e; a="b c";d\r\n%s\r\n0;last\r\n\r\n',
        b"e \r\n%s\r\n0 \r\n\r\n", b"e\t;x\r\n%s\r\n0\r\n\r\n", b"000e\r\n%s\r\n000\r\n\r\n",
        b"e\r\n%s\r\n0\r\nX: y\r\n\r\n", b"e\r\n%s\r\n0;z\r\nX: y\r\nX-Other:\r\n\r\n",
        b"e\r\n%s\r\n0\r\nContent-Length: 5\r\nHost: other\r\n\r\n",
    ],
)  # fmt: skip
@pytest.mark.parametrize("in_drops", [False, True])
def test_chunks_with_all_that_they_may_have(connection: Connection, uid: int, body: bytes, in_drops: bool) -> None:
    head = b"POST /info/%d HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    data = head % uid + body % NOTE
    # given a body in chunks, at once or byte by byte, and a request after it
    for number in range(len(head % uid), len(data)) if in_drops else ():
        connection.send(data[number - 1 : number] if number > len(head % uid) else data[:number])
    connection.send((data[-1:] if in_drops else data) + b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
    # then both are understood
    assert connection.read().status == 201
    assert connection.read().json == {"alive": True}


@pytest.mark.parametrize(
    "body",
    [
        b"e;\x01\r\n%s\r\n0\r\n\r\n", b"e\n%s\n0\n\n", b" e\r\n%s\r\n0\r\n\r\n", b"0xe\r\n%s\r\n0\r\n\r\n",
        b"+e\r\n%s\r\n0\r\n\r\n", b"e x\r\n%s\r\n0\r\n\r\n", b"\r\n%s\r\n0\r\n\r\n", b"e\r\n%s0\r\n\r\n",
        b"e\r\n%s\r\n0\r\nGET /healthz HTTP/1.1\r\nHost: x\r\n\r\n", b"e\r\n%s\r\n0\r\nX Y: z\r\n\r\n",
        b"e\r\n%s\r\n0\r\n folded\r\n\r\n", b"e\r\n%s\r\n0\r\nX: \0\r\n\r\n",
        b"e;" + b"x" * 300 + b"\r\n%s\r\n0\r\n\r\n", b"e\r\n%s\r\n0\r\n" + b"X: yyyy\r\n" * 3000 + b"\r\n",
    ],
)  # fmt: skip
def test_chunks_with_what_they_must_not_have(connection: Connection, uid: int, body: bytes) -> None:
    head = b"POST /info/%d HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    connection.send(head % uid + body % NOTE)
    connection.socket.shutdown(socket.SHUT_WR)
    assert connection.read().status == 400
    assert connection.closed()


# ---- by halves


def test_expect_means_nothing_to_http_1_0(connection: Connection, uid: int) -> None:
    head = b"POST /info/%d HTTP/1.0\r\nContent-Type: application/json\r\nExpect: 100-continue\r\n" % uid
    connection.send(head + b"Content-Length: %d\r\n\r\n" % len(NOTE) + NOTE)
    assert connection.read().status == 201
    assert connection.closed()


def test_who_sends_no_more_gets_the_answers(site: Website, uid: int) -> None:
    # given a client that asks for what takes a while, twice, and says that this was all
    with site.connection() as connection:
        connection.request("POST", f"/info/{uid}", NOTE)
        connection.request("GET", f"/info/{uid}")
        connection.socket.shutdown(socket.SHUT_WR)
        # then it is answered, and hung up on
        assert connection.read().status == 201
        assert len(connection.read().json["items"]) == 1
        assert connection.closed()
    eventually(lambda: not site.web.server.streams)


def test_who_sends_no_more_before_there_is_an_answer_gets_it(
    shared_redis: RedisServer, tmp_path: Path, expected_logs: Callable[[str], None]
) -> None:
    expected_logs("loses its messages")
    # given a server that cannot answer before its deadline, and a client that has said all
    with Website(shared_redis.url, tmp_path, store=False, web__deadline="1s") as site, site.connection() as connection:
        connection.request("GET", "/info/1")
        eventually(lambda: len(site.web.calls) == 1)
        connection.socket.shutdown(socket.SHUT_WR)
        # then it hears what became of it
        assert connection.read().status == 504
        assert connection.closed()


# ---- OPTIONS


@pytest.mark.parametrize(
    ("target", "allow"),
    [
        ("*", "DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT"), ("/", "DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT"),
        ("/info/1", "GET, HEAD, OPTIONS, POST"), ("/items/a", "DELETE, GET, HEAD, OPTIONS, PATCH, PUT"),
        ("/healthz?x=y", "GET, HEAD, OPTIONS"), ("/auth/login", "OPTIONS, POST"),
    ],
)  # fmt: skip
def test_options_says_what_is_allowed(site: Website, target: str, allow: str) -> None:
    answer = site.ask("OPTIONS", target)
    assert (answer.status, answer.headers["allow"], answer.body) == (204, allow, b"")
    assert "content-length" not in answer.headers


def test_the_check_of_a_load_balancer(site: Website) -> None:
    # HAProxy's `option httpchk` sends this and wants 2xx or 3xx
    with site.connection() as connection:
        connection.send(b"OPTIONS / HTTP/1.0\r\n\r\n")
        assert connection.read().status == 204
        assert connection.closed()
    assert site.ask("OPTIONS", "/nowhere").status == 404


# ---- what protects


@pytest.mark.parametrize(("method", "target"), [("POST", "/auth/login"), ("GET", "/auth/me"), ("GET", "/auth/oauth2")])
def test_what_is_private_is_kept_by_nobody(site: Website, method: str, target: str) -> None:
    answer = site.ask(method, target, LOGIN if method == "POST" else None)
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "strict-transport-security" not in answer.headers


def test_pages_are_alone_in_their_window(site: Website) -> None:
    assert site.ask("GET", "/login").headers["cross-origin-opener-policy"] == "same-origin"


def test_a_site_of_https_says_that_it_is_one(
    shared_redis: RedisServer, tmp_path: Path, expected_logs: Callable[[str], None]
) -> None:
    expected_logs("loses its messages")
    hsts = "strict-transport-security"
    # given a site whose address begins with https
    with Website(shared_redis.url, tmp_path, store=False, web__url="https://notes.example") as site:
        assert "max-age=" in site.ask("GET", "/healthz").headers[hsts]
        assert "max-age=" in site.ask("GET", "/nowhere").headers[hsts]
    # or a proxy that says by which way a client came
    with Website(shared_redis.url, tmp_path, store=False, web__trusted_proxies="127.0.0.1") as site:
        assert hsts in site.ask("GET", "/healthz", X_Forwarded_Proto="https").headers
        assert hsts not in site.ask("GET", "/healthz", X_Forwarded_Proto="http").headers
        assert hsts not in site.ask("GET", "/healthz").headers
    # who is no proxy is not believed
    with Website(shared_redis.url, tmp_path, store=False, web__trusted_proxies="10.0.0.1") as site:
        assert hsts not in site.ask("GET", "/healthz", X_Forwarded_Proto="https").headers
