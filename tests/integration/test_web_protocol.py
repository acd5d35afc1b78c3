"""HTTP itself, byte by byte: order, framing, limits, timeouts, and clients that read nothing or go away."""

from __future__ import annotations

import asyncio
import gc
import json
import socket
import struct
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from gorgond.http import server, stream
from tests.conftest import RedisServer
from tests.integration.website import Connection, Website
from tests.waiting import eventually

pytestmark = pytest.mark.usefixtures("parser")

NOTE = b'{"title": "t"}'
POST = b"POST /info/%d HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"


@pytest.fixture
def connection(site: Website) -> Iterator[Connection]:
    with site.connection() as connection:
        yield connection


# ---- order and framing


def test_pipelined_requests_are_answered_in_their_order(site: Website, connection: Connection, uid: int) -> None:
    # given a hundred requests sent at once, some of which need the database, some not, some wrong
    site.ask("POST", f"/info/{uid}", json.loads(NOTE))
    targets = [(f"/info/{uid}?lim={number}", "/healthz", "/none", "/info/x")[number % 4] for number in range(1, 101)]
    connection.send(b"".join(b"GET %s HTTP/1.1\r\nHost: x\r\n\r\n" % target.encode() for target in targets))
    # then the answers are to them, one after the other
    for number, target in enumerate(targets, 1):
        answer = connection.read()
        assert answer.status == {"/healthz": 200, "/none": 404, "/info/x": 400}.get(target, 200)
        if answer.status == 200:
            assert answer.json.get("lim", number) == number


@pytest.mark.parametrize(
    "last",
    [
        b"GET /none HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", b"nonsense\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nX\r\n\r\n",
        b"POST /info/1 HTTP/1.1\r\nHost: x\r\nContent-Length: 9999999\r\n\r\n", b"GET /" + b"x" * 17_000,
    ],
)  # fmt: skip
def test_what_ends_the_connection_comes_after_the_answers_before_it(connection: Connection, last: bytes) -> None:
    connection.send(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n" * 3 + last)
    assert [connection.read().status for _ in range(3)] == [200] * 3
    answer = connection.read()
    assert answer.status in (400, 404, 413, 431)
    assert answer.error["message"]
    assert answer.headers["connection"] == "close"
    connection.socket.shutdown(socket.SHUT_WR)
    assert connection.closed()


@pytest.mark.parametrize(
    "head",
    [
        b"Content-Length: 14\r\nTransfer-Encoding: chunked", b"Transfer-Encoding: chunked\r\nContent-Length: 14",
        b"Transfer-Encoding: gzip, chunked", b"Transfer-Encoding: identity", b"Transfer-Encoding: xchunked",
        b"Transfer-Encoding:", b"Transfer-Encoding: \x0bchunked", b"Transfer-Encoding: chunked, chunked",
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", b"Content-Length: 14\r\nContent-Length: 14",
        b"Content-Length: 14, 14", b"Content-Length: 14\r\n folded", b"Content-Length: 14\nX: y",
        b"Content-Length: 14\r\nContent-Length: 15", b"Content-Length: +14", b"Content-Length: -1",
        b"Content-Length: 1_4",
        b"Content-Length: 0x0e", b"Content-Length: \xb2", b"Content-Length:", b"Content-Length : 14",
        b"X Y: z\r\nContent-Length: 14",
        b"Transfer-Encoding : chunked", b"Content-Length\r\n",
    ],
)  # fmt: skip
def test_when_it_is_not_clear_where_a_request_ends_it_is_refused(connection: Connection, uid: int, head: bytes) -> None:
    # given a request with a second one hidden in its body
    connection.send(POST % uid + head + b"\r\n\r\n" + b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
    connection.socket.shutdown(socket.SHUT_WR)
    # then there is one answer, and no other
    answer = connection.read()
    assert answer.status == 400
    assert answer.error["message"]
    assert connection.closed()


def test_a_chunked_body(connection: Connection, uid: int) -> None:
    head = POST % uid + b"Transfer-Encoding: chunked\r\n\r\n"
    connection.send(head + b"7\r\n" + NOTE[:7] + b"\r\n7\r\n" + NOTE[7:] + b"\r\n0\r\n\r\n")
    assert connection.read().status == 201


@pytest.mark.parametrize(
    "chunk",
    [
        b"x\r\n",
        b"-1\r\n",
        b"5\r\nabcdefgh",
        b"f" * 300,
        b"0x2\r\nab\r\n0\r\n\r\n",
        b"+2\r\nab\r\n0\r\n\r\n",
        b"0_2\r\nab\r\n0\r\n\r\n",
        b" 2\r\nab\r\n0\r\n\r\n",
        b"2 2\r\nab\r\n0\r\n\r\n",
        b"\r\nab\r\n0\r\n\r\n",
    ],
)
def test_a_bad_chunk_ends_it(connection: Connection, uid: int, chunk: bytes) -> None:
    connection.send(POST % uid + b"Transfer-Encoding: chunked\r\n\r\n" + chunk)
    connection.socket.shutdown(socket.SHUT_WR)
    answer = connection.read()
    assert answer.status == 400
    assert "field" not in answer.error  # it is not about what the body says
    assert connection.closed()


@pytest.mark.parametrize("lengths", [b"Content-Length: 24\r\n%s", b"%sContent-Length: 24\r\n", b"%s%s"])
def test_a_body_ends_in_one_way(connection: Connection, uid: int, lengths: bytes) -> None:
    # given a body in chunks that are good, and another word on where it ends
    chunked = b"Transfer-Encoding: chunked\r\n"
    head = POST % uid + lengths.replace(b"%s", chunked) + b"\r\n"
    connection.send(head + b"e\r\n" + NOTE + b"\r\n0\r\n\r\n")
    connection.socket.shutdown(socket.SHUT_WR)
    assert connection.read().status == 400
    assert connection.closed()


def test_chunks_are_not_for_http_1_0(connection: Connection, uid: int) -> None:
    head = (POST % uid).replace(b"HTTP/1.1", b"HTTP/1.0") + b"Transfer-Encoding: chunked\r\n\r\n"
    connection.send(head + b"e\r\n" + NOTE + b"\r\n0\r\n\r\n")
    connection.socket.shutdown(socket.SHUT_WR)
    assert connection.read().status == 400
    assert connection.closed()


def test_nobody_waits_for_a_body_in_very_many_chunks(site: Website, uid: int) -> None:
    # given a body of 300,000 chunks of a byte each
    body = b'{"title": "t", "body": "' + b"x" * 300_000 + b'"}'
    chunks = b"".join(b"1\r\n%c\r\n" % byte for byte in body)
    turns: list[float] = []
    over = threading.Event()

    async def watch() -> None:
        """Note how long each turn of the servers' loop takes, in seconds of the CPU of its thread."""
        while not over.is_set():
            began = time.thread_time()
            await asyncio.sleep(0)
            turns.append(time.thread_time() - began)

    gc.disable()  # this process holds all that the tests have ever made
    try:
        asyncio.run_coroutine_threadsafe(watch(), site._loop)
        with site.connection() as connection:
            connection.send(POST % uid + b"Transfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n")
            assert connection.read().status == 201
        over.set()
    finally:
        gc.enable()
    # then it is taken, and no turn of the loop was long
    assert len(site.ask("GET", f"/info/{uid}").json["items"][0]["body"]) == 300_000
    assert max(turns) < 0.05


def test_an_upgrade_that_nobody_asked_of_us_is_none(connection: Connection, uid: int) -> None:
    # given clients that would rather speak HTTP/2, with a body and without
    upgrade = {"Connection": "Upgrade, HTTP2-Settings", "Upgrade": "h2c", "HTTP2-Settings": "AAMAAABkAARAAAAAAAIAAAAA"}
    for _ in range(2):
        assert connection.ask("GET", "/healthz", **upgrade).status == 200
        assert connection.ask("POST", f"/info/{uid}", NOTE, **upgrade).status == 201


def test_blank_lines_before_a_request_are_passed_over(connection: Connection) -> None:
    connection.send(b"\r\n\r\nGET /healthz HTTP/1.1\r\nHost: x\r\n\r\n\r\nGET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
    assert [connection.read().status, connection.read().status] == [200, 200]


def test_http_1_0(site: Website) -> None:
    # given a client of old, then the answer ends with the connection
    with site.connection() as connection:
        connection.send(b"GET /healthz HTTP/1.0\r\n\r\n")
        assert connection.read().headers["connection"] == "close"
        assert connection.closed()
    # unless it asks to keep it, where we can
    for method, kept in ((b"GET", True), (b"HEAD", True), (b"DELETE", False), (b"OPTIONS", False)):
        with site.connection() as connection:
            connection.send(method + b" /healthz HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n")
            answer = connection.read(head=method == b"HEAD")
            assert answer.headers["connection"] == ("keep-alive" if kept else "close")
            if kept:
                assert connection.ask("GET", "/healthz").status == 200
            else:
                assert connection.closed()


@pytest.mark.parametrize("header", ["close", "Close", "keep-alive, close", "close, TE"])
def test_a_client_may_ask_to_close(connection: Connection, header: str) -> None:
    assert connection.ask("GET", "/healthz", Connection=header).headers["connection"] == "close"
    assert connection.closed()


@pytest.mark.parametrize("expects", [b"100-continue", b"100-Continue"])
def test_expect_100_continue(connection: Connection, uid: int, expects: bytes) -> None:
    # given a client that asks before it sends its body
    head = POST % uid + b"Expect: " + expects + b"\r\nContent-Length: %d\r\n\r\n"
    connection.send(head % len(NOTE))
    assert connection.read().status == 100
    connection.send(NOTE)
    assert connection.read().status == 201
    # then it is told when the body is too large, and nothing else
    connection.send(head % (server.BODY_MAX + 1))
    assert connection.read().status == 413
    connection.socket.shutdown(socket.SHUT_WR)
    assert connection.closed()


# ---- limits


@pytest.mark.parametrize("chunked", [False, True])
def test_a_client_that_sends_too_much_hears_of_it(connection: Connection, uid: int, chunked: bool) -> None:
    # given a client that sends all of its body before it listens
    body = b"x" * (5 * server.BODY_MAX)
    if chunked:
        connection.send(POST % uid + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n" % (len(body), body))
    else:
        connection.send(POST % uid + b"Content-Length: %d\r\n\r\n%s" % (len(body), body))
    # then it hears why it was refused
    answer = connection.read()
    assert answer.status == 413
    assert str(server.BODY_MAX) in answer.error["message"]
    assert connection.closed()


def test_a_body_without_end_is_cut_off(connection: Connection, uid: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "DISCARD_MAX", 3 * server.BODY_MAX)
    connection.send(POST % uid + b"Content-Length: 99999999999\r\n\r\n")
    sent = 0
    with suppress(ConnectionError):
        while sent < 100 * server.BODY_MAX:
            connection.send(b"x" * 65536)
            sent += 65536
    assert sent < 50 * server.BODY_MAX


def test_headers_of_16_kb_and_not_more(site: Website) -> None:
    for size, status in ((16_000, 200), (17_000, 431), (1_000_000, 431)):
        with site.connection() as connection:
            connection.send(b"GET /healthz HTTP/1.1\r\nHost: x\r\nX: ")
            try:
                connection.send(b"y" * size + b"\r\n\r\n")
                answer = connection.read()
            except ConnectionError:  # it was closed while we were sending
                assert size == 1_000_000
                continue
            assert answer.status == status
            if status == 431:
                assert "16384" in answer.error["message"]
                assert connection.closed()


@pytest.mark.parametrize(("limit", "count"), [("WAITING_MAX", 0), ("WAITING_BYTES_MAX", len(NOTE) - 1)])
def test_no_more_wait_than_there_is_room_for(
    connection: Connection, uid: int, limit: str, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, limit, count)
    answer = connection.ask("POST", f"/info/{uid}", NOTE)
    assert (answer.status, answer.headers["retry-after"]) == (503, "1")
    assert answer.error["message"]


# ---- patience


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Limits of time for some phases."""

    def set_limits(**limits: float) -> None:
        for phase, seconds in limits.items():
            assert phase in stream.LIMITS
            monkeypatch.setitem(stream.LIMITS, phase, seconds)

    return set_limits


@pytest.fixture(scope="module")
def wide(site: Website) -> str:
    """The target of an answer of 8 MB: more than sockets hold."""
    for number in range(10):
        many = [{"id": f"wide {number} {each}", "body": "x" * 8000} for each in range(100)]
        assert site.ask("POST", "/info/1", many).status == 201
    return "/info/1/1000"


def test_who_says_nothing_is_closed(site: Website, short: Callable[..., None]) -> None:
    short(idle=0.5, head=0.5)
    with site.connection() as connection:
        assert connection.closed()
    with site.connection() as connection:
        assert connection.ask("GET", "/healthz").status == 200
        assert connection.closed()


@pytest.mark.parametrize("before", [0, 1])
def test_headers_in_drops(connection: Connection, before: int, short: Callable[..., None]) -> None:
    short(head=0.2)
    for _ in range(before):
        connection.ask("GET", "/healthz")
    assert drip(connection, b"GET /healthz HTTP/1.1\r\nHost: x\r\n" + b"X: y\r\n" * 1000) == 408


def test_a_body_in_drops(site: Website, connection: Connection, short: Callable[..., None]) -> None:
    short(body=0.2)
    connection.send(POST % 1 + b"Content-Length: 1000\r\n\r\n")
    assert drip(connection, b"x" * 1000) == 408
    eventually(lambda: not site.web.server.exchanges)


def test_an_idle_connection_waits_longer_than_headers_may_take(site: Website, short: Callable[..., None]) -> None:
    short(head=0.5)
    with site.connection() as connection, site.connection() as other:
        assert connection.ask("GET", "/healthz").status == 200
        # when another one, on which there was nothing yet, has been closed
        assert other.closed()
        # then this one is still good
        assert connection.ask("GET", "/healthz").status == 200


def test_who_takes_nothing_of_an_answer_is_closed(site: Website, wide: str, short: Callable[..., None]) -> None:
    short(idle=0.3)
    with site.connection() as connection:
        connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.request("GET", wide)
        eventually(lambda: unsent(site) > 0)
        eventually(lambda: not streams(site))


def test_who_takes_it_slowly_gets_all_of_it(connection: Connection, wide: str, short: Callable[..., None]) -> None:
    connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 500_000)
    connection.request("GET", wide)
    short(idle=1.0)

    def slow_read(size: int) -> bytes:
        parts = []
        while size > 0:
            parts.append(connection._file.read(min(size, 250_000)))
            size -= 250_000
            time.sleep(0.1)  # that slowly: it takes three times the limit
        return b"".join(parts)

    answer = connection.read(read=slow_read)
    assert len(answer.json["items"]) == 1000


def test_when_unsent_answers_fill_the_memory_the_slowest_is_cut_off(
    site: Website, wide: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with site.connection() as slow, site.connection() as quiet:
        assert quiet.ask("GET", "/healthz").status == 200
        slow.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow.request("GET", wide)
        eventually(lambda: unsent(site) > 0)
        monkeypatch.setattr(server, "HELD_MAX", 1000)
        eventually(lambda: len(streams(site)) == 1)
        assert quiet.ask("GET", "/healthz").status == 200


def test_who_takes_no_answers_is_not_asked_for_more(site: Website, connection: Connection, wide: str) -> None:
    # given a client that sends a hundred requests and takes nothing
    eventually(lambda: unsent(site) == 0)  # clients of tests before this one are gone
    connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    answered = site.web.metrics.counters["http 200"]
    connection.send(b"GET %s HTTP/1.1\r\nHost: x\r\n\r\n" % wide.encode() * 100)
    eventually(lambda: unsent(site) > 0)
    # when others are served meanwhile
    for _ in range(20):
        assert site.ask("GET", "/healthz").status == 200
    # then its second is not even read and only its first was answered; the last of the others is counted after it is
    # sent
    eventually(lambda: site.web.metrics.counters["http 200"] >= answered + 21)
    eventually(lambda: not site.web.server.exchanges)
    assert site.web.metrics.counters["http 200"] == answered + 21
    # and when it goes, the others are not done for nobody
    connection.close()
    eventually(lambda: not streams(site))
    assert len(site.web.calls) == 0


def drip(connection: Connection, data: bytes) -> int:
    """Send byte by byte, until there is an answer; its status."""
    connection.socket.settimeout(0.01)
    for number in range(len(data)):
        connection.send(data[number : number + 1])
        try:
            if connection.socket.recv(1, socket.MSG_PEEK):
                break
        except TimeoutError:
            pass
    connection.socket.settimeout(60)
    return connection.read().status


def streams(site: Website) -> set[stream.Stream]:
    return site.web.server.streams


def unsent(site: Website) -> int:
    return sum(each.unsent for each in streams(site))


# ---- clients that go away


def break_off(connection: Connection) -> None:
    """Go away with a reset. A client that closes in peace looks like one that sends no more and waits for the
    answer."""
    connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def test_a_client_that_goes_away_is_not_waited_for(
    shared_redis: RedisServer, tmp_path: Path, expected_logs: Callable[[str], None]
) -> None:
    # given a site without a store, and clients that wait for an answer
    expected_logs("loses its messages")
    with Website(shared_redis.url, tmp_path, store=False) as site:
        connections = [site.connection() for _ in range(5)]
        for connection in connections:
            connection.request("GET", "/info/1")
        eventually(lambda: len(site.web.calls) == 5)
        # when they go, one after the other
        for left, connection in zip(reversed(range(5)), connections, strict=True):
            break_off(connection)
            # then nothing of theirs is left
            eventually(lambda left=left: len(site.web.calls) == left)  # type: ignore[misc]
            eventually(lambda left=left: len(site.web.server.exchanges) == left)  # type: ignore[misc]
        # nor of one that goes in the middle of its body
        with site.connection() as connection:
            connection.send(POST % 1 + b"Content-Length: 1000\r\n\r\n" + b"x" * 500)
            eventually(lambda: site.web.server.waiting_bytes == 500)
        eventually(lambda: (site.web.server.waiting_bytes, len(site.web.server.exchanges)) == (0, 0))
        eventually(lambda: not streams(site))


def test_a_connection_that_is_over_is_kept_by_nothing(site: Website, uid: int) -> None:
    # given nobody who looks for cycles
    gc.disable()
    try:
        with site.connection() as good, site.connection() as silent, site.connection() as bad:
            assert good.ask("GET", f"/info/{uid}").status == 200
            bad.send(b"nonsense\r\n\r\n")
            assert bad.read().status == 400
            eventually(lambda: len(streams(site)) == 3)
            kept = [weakref.ref(each) for each in streams(site)]
            # when their clients have gone
            silent.send(b"GET")
        # then nothing of them is left
        eventually(lambda: not any(each() for each in kept))
    finally:
        gc.enable()


def test_memory_does_not_grow_with_the_requests(site: Website) -> None:
    def many() -> int:
        for _ in range(30):
            with site.connection() as connection:
                connection.send(
                    b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n" * 20
                    + b"GET /none HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
                )
                while connection.read().status == 200:
                    pass
        return int(psutil.Process().memory_info().rss)

    many()
    before = many()
    assert many() - before < 2_000_000
    eventually(lambda: not streams(site))
