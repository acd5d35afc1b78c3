"""What is large: lists without room for all, answers that nobody reads, bodies that are dear to read."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any
from urllib.parse import unquote

import pytest

from gorgond.http import bodies, server
from gorgond.redpill import Message
from gorgond.redpill.codec import loads_strictly
from tests.conftest import RedisServer
from tests.integration.website import Answer, Connection, Website
from tests.waiting import eventually

UID = 7
APPLICATION = """
from gorgond import App

app = App("plain")


@app.get("/plain")
async def plain(ctx, lim: int = 25):
    return await ctx.store.find("items", sort="-ts", limit=lim)
"""
LARGE = "x" * 900_000


@pytest.fixture(scope="module")
def site(module_redis: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Website]:
    """A site whose newest notes are twenty of 0.9 MB, and five small ones before them; with another application."""
    apps = tmp_path_factory.mktemp("apps")
    (apps / "plain.py").write_text(APPLICATION)
    # A busy machine takes long for what is large.
    with Website(
        module_redis.url, tmp_path_factory.mktemp("site"), app__directory=str(apps), web__deadline="60s"
    ) as site:
        for number in range(25):
            body = LARGE if number >= 5 else "small"
            note = {"id": f"note {number}", "ts": 1000 + number, "title": "wordy", "body": body}
            assert site.ask("POST", f"/info/{UID}", note).status == 201
        yield site


# ---- lists


@pytest.mark.parametrize("target", [f"/info/{UID}?lim=25", "/items?lim=25", "/items?q=wordy&lim=25"])
def test_a_list_without_room_for_all_says_so(site: Website, target: str) -> None:
    # given a list that is asked for, then it has as many as there is room for
    first = site.ask("GET", target).json
    assert (first["more"], 10 < len(first["items"]) < 20) == (True, True)
    # and the others come after them
    rest = site.ask("GET", f"{target}&off={len(first['items'])}").json
    assert "more" not in rest
    assert [note["ts"] for note in first["items"] + rest["items"]] == [1000 + n for n in reversed(range(25))]


@pytest.mark.parametrize("target", ["/", f"/by/{UID}", "/?q=wordy"])
def test_pages_always_come_and_lead_to_all(site: Website, target: str) -> None:
    found: list[str] = []
    pages = 0
    while target:
        answer = site.ask("GET", target)
        assert answer.status == 200
        page = answer.body.decode()
        found += re.findall(r'id="note-note (\d+)"', page)
        older = re.search(r'rel="next" href="([^"]+)"', page)
        target = unquote(older[1]).replace("&amp;", "&") if older else ""
        pages += 1
    assert found == [str(number) for number in reversed(range(25))]
    assert pages > 1


def test_an_applications_list_says_it_in_a_header(site: Website) -> None:
    cut, whole = site.ask("GET", "/plain"), site.ask("GET", "/plain?lim=3")
    assert (cut.headers.get("x-more"), whole.headers.get("x-more")) == ("true", None)
    assert (10 < len(cut.json) < 20, len(whole.json)) == (True, 3)


# ---- answers that nobody takes


def unsent(site: Website) -> int:
    return sum(stream.unsent for stream in list(site.web.server.streams))


def unread(site: Website, stack: ExitStack) -> Connection:
    """A client that asks for a large answer and takes nothing of it."""
    connection = stack.enter_context(site.connection())
    connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.request("GET", f"/info/{UID}?lim=5")
    return connection


def test_answers_that_wait_for_their_clients_are_bounded(site: Website, monkeypatch: pytest.MonkeyPatch) -> None:
    # given room for some answers of 4.5 MB, and clients that take nothing of theirs
    monkeypatch.setattr(server, "HELD_MAX", 14_000_000)
    monkeypatch.setattr(server, "PATIENCE", 1000.0)
    most = 0
    with ExitStack() as stack:

        def refused() -> Answer | None:
            nonlocal most
            unread(site, stack)
            most = max(most, unsent(site))
            answer = site.ask("GET", f"/info/{UID}?lim=5")
            return answer if answer.status != 200 else None

        # then those wait, and who asks for more is refused, in words; what is small is not
        answer = eventually(refused)
        assert answer is not None
        assert (answer.status, answer.error["reason"], answer.headers["retry-after"]) == (503, "no_room", "1")
        assert 4_500_000 < most <= 14_000_000
        assert site.ask("GET", f"/info/{UID}?off=20").status == site.ask("GET", "/").status == 200
        # when they have had their time, then they make room
        monkeypatch.setattr(server, "PATIENCE", 0.0)
        assert len(site.ask("GET", f"/info/{UID}?lim=5").json["items"]) == 5
    eventually(lambda: not site.web.server.slow)


@pytest.mark.parametrize("count", [1, 2])
def test_a_large_answer_comes_whole_to_who_sends_no_more(site: Website, count: int) -> None:
    with site.connection() as connection:
        connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 300_000)
        for _ in range(count):
            connection.request("GET", f"/info/{UID}?lim=10")  # more than twice of what the kernel takes for us
        connection.socket.shutdown(socket.SHUT_WR)
        eventually(lambda: site.web.server.slow)
        assert [len(connection.read().json["items"]) for _ in range(count)] == [10] * count
        assert connection.closed()


# ---- bodies that are dear to read

ZEROS = b'{"title": "t", "x": [' + b"0," * 500_000 + b"0]}"
HEAVY = b'{"title": "t", "x": [' + b"0," * 20_000 + b"0]}"


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (ZEROS, 400), (b"[" + b"[]," * 300_000 + b"0]", 400), (b"[" + b'"",' * 300_000 + b"0]", 400),
        (b'{"a":{' + b",".join(b'"%d":0' % n for n in range(30_000)) + b"}}", 400),
        (b'{"a":{' + b",".join(b'"%d":0' % n for n in range(29_900)) + b"}}", 201),
        (json.dumps({"title": "t", "body": "1,[{" * 200_000}).encode(), 201),
        (json.dumps({"title": "t", "body": '"a","b",' * 60_000}).encode(), 201),
        (json.dumps({"title": "t", "body": '\\"[{\\' * 90_000}).encode(), 201),
        (json.dumps([{"title": "t", "keywords": [f"{n}" for n in range(50)]}] * 1000).encode(), 201),
    ],
)  # fmt: skip
def test_a_body_holds_no_more_values_than_can_be_read_soon(site: Website, body: bytes, status: int) -> None:
    answer = site.ask("POST", "/info/8", body)
    assert answer.status == status
    if status == 400:
        assert (answer.error["field"], str(bodies.VALUES_MAX) in answer.error["message"]) == ("body", True)


def test_heavy_bodies_are_read_one_in_a_turn_of_the_loop(site: Website, monkeypatch: pytest.MonkeyPatch) -> None:
    # given a loop whose turns are counted, and a note of the turn in which each body is read
    turn = 0
    ended = threading.Event()
    read: list[int] = []

    async def count() -> None:
        nonlocal turn
        while not ended.is_set():
            turn += 1
            await asyncio.sleep(0)

    def noted(data: bytes) -> Any:
        read.append(turn)
        return loads_strictly(data)

    monkeypatch.setattr(bodies, "loads_strictly", noted)
    asyncio.run_coroutine_threadsafe(count(), site._loop)
    # when many of them come at once
    with ExitStack() as stack:
        connections = [stack.enter_context(site.connection()) for _ in range(20)]
        for connection in connections:
            connection.request("POST", "/info/8", HEAVY)
        assert [connection.read().status for connection in connections] == [201] * 20
    ended.set()
    # then others have their turn between any two
    assert len(set(read)) == len(read) == 20


@pytest.mark.parametrize("prefer", ["", "respond-async"])
def test_each_step_of_a_heavy_request_has_a_turn_of_its_own(
    site: Website, monkeypatch: pytest.MonkeyPatch, prefer: str
) -> None:
    # given a loop whose turns are counted, and a note of the turn in which each step is first done
    turn = 0
    ended = threading.Event()
    done: dict[str, int] = {}

    async def count() -> None:
        nonlocal turn
        while not ended.is_set():
            turn += 1
            await asyncio.sleep(0)

    def noted(name: str, step: Callable[..., Any]) -> Callable[..., Any]:
        def run(given: Any, *args: Any, **options: Any) -> Any:
            if not isinstance(given, Message) or given.op == "items.insert":  # figures are sent meanwhile
                done.setdefault(name, turn)
            return step(given, *args, **options)

        return run

    monkeypatch.setattr(bodies, "loads_strictly", noted("read", loads_strictly))
    monkeypatch.setattr("gorgond.http.api.json.dumps", noted("told from others", json.dumps))
    encode, sent = (
        Message.encode,
        noted("sent", Message.encode),
    )  # of this request: others are sent in this process, too

    def encoded(message: Message, reply: str = "") -> bytes:
        found: bytes = (sent if message.op == "items.insert" else encode)(message, reply)
        return found

    monkeypatch.setattr(Message, "encode", encoded)
    asyncio.run_coroutine_threadsafe(count(), site._loop)
    # when one comes under a key
    with site.connection() as connection:
        connection.request("POST", "/info/8", HEAVY, Prefer=prefer, Idempotency_Key=f"heavy {prefer}")
        assert connection.read().status == (202 if prefer else 201)
    ended.set()
    # then others have their turn between any two steps
    assert sorted(done, key=lambda name: done[name]) == ["read", "told from others", "sent"]
    assert len(set(done.values())) == 3


def test_nobody_waits_while_megabytes_of_zeros_are_refused(site: Website) -> None:
    def longest_wait() -> float:
        """The longest wait of somebody who asks meanwhile, in times of what it takes to read such a body once."""
        once, waits, over = (
            max(seconds_of(lambda: loads_strictly(ZEROS)) for _ in range(5)),
            list[float](),
            threading.Event(),
        )

        def watch() -> None:
            with site.connection() as connection:
                while not over.is_set():
                    waits.append(seconds_of(lambda: connection.ask("GET", "/healthz")))

        watching = threading.Thread(target=watch)
        watching.start()
        # when eight come at once, again and again
        with ExitStack() as stack:
            connections = [stack.enter_context(site.connection()) for _ in range(8)]
            for _ in range(5):
                for connection in connections:
                    connection.request("POST", "/info/8", ZEROS)
                assert {connection.read().status for connection in connections} == {400}
        over.set()
        watching.join()
        return max(waits) / once

    # then nobody waits as long as the eight would take; the machine may do other things meanwhile, but not each time
    found = list[float]()
    while not found or (found[-1] >= 4 and len(found) < 5):
        found.append(longest_wait())
    assert min(found) < 4, found


def seconds_of(work: Callable[[], object]) -> float:
    """Seconds that it takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began
