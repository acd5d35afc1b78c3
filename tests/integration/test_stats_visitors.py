"""Who may look at a stats server of its own process: behind a proxy, with a session, after many wrong passwords."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from tests.conftest import RedisServer
from tests.integration.watched import PASSWORD, Fabric, fabric_in
from tests.programs import asked, ended, gorgonctl
from tests.waiting import eventually
from tools.speed.ports import free_port


@pytest.fixture
def fabric(tmp_path: Path, redis_factory: Callable[..., RedisServer]) -> Iterator[Fabric]:
    with fabric_in(tmp_path, redis_factory) as fabric:
        yield fabric


def begin(fabric: Fabric, *arguments: str, **variables: str) -> None:
    """A stats server with these settings."""
    fabric.start("stats", *arguments, **variables)
    eventually(lambda: asked(f"{fabric.stats}/healthz"))


def answer(fabric: Fabric, path: str, password: str = "", port: str = "", **headers: str) -> tuple[int, str]:
    """The status, and the cookie that is given; with a password the page logs in."""
    named = {"X-Gorgond": "stats", "Content-Type": "application/json"}
    named |= {name.replace("_", "-"): text for name, text in headers.items()}
    body = json.dumps({"password": password}).encode() if password else None
    url = f"http://127.0.0.1:{port}" if port else fabric.stats
    method = "POST" if password or path.endswith("logout") else "GET"
    try:
        with urlopen(Request(f"{url}{path}", body, named, method=method), timeout=60) as found:
            return found.status, found.headers.get("Set-Cookie", "")
    except HTTPError as error:
        return error.code, ""


def proxied(fabric: Fabric) -> bytes:
    """The status line of what nginx passes on by its default `proxy_pass http://127.0.0.1:PORT`."""
    port = int(fabric.stats.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), 60) as connection:
        connection.sendall(b"GET /api/stats.json HTTP/1.0\r\nHost: 127.0.0.1:%d\r\nConnection: close\r\n\r\n" % port)
        return connection.makefile("rb").readline()


def test_nobody_looks_without_the_password_unless_that_is_chosen(fabric: Fabric) -> None:
    # given a stats server of which nothing was said
    begin(fabric, GORGOND_STATS_OPEN="no")
    # then who is on this host may not look, nor who comes by a proxy that says nothing
    assert answer(fabric, "/api/stats.json") == (401, "")
    assert b" 401 " in proxied(fabric)
    for path in ("/metrics", "/api/events", "/api/heat.json", "/api/history.json"):
        assert answer(fabric, path) == (401, "")
    # but with the password
    assert answer(fabric, "/api/stats.json", Authorization=f"Bearer {PASSWORD}")[0] == 200
    assert answer(fabric, "/healthz")[0] == 200


def test_gorgonctl_shows_what_the_stats_server_tells_the_operator(fabric: Fabric) -> None:
    # given a stats server that knows what was, unlike a picture that gorgonctl makes itself
    begin(fabric, GORGOND_STATS_OPEN="no")

    def marks(password: str) -> list[str]:
        """What happened, by gorgonctl with this password in its configuration."""
        settings = {
            "GORGOND_BROKER_URL": fabric.durable.url,
            "GORGOND_BROKER_CALLS": fabric.calls.url,
            "GORGOND_STATS_PORT": fabric.stats.rpartition(":")[2],
            "GORGOND_STATS_PASSWORD": password,
        }
        return [mark["text"] for mark in json.loads(gorgonctl("status", "--json", **settings).stdout)["marks"]]

    def told() -> bool:
        fabric.mark("kill store@1")  # again: it may not listen yet
        return "kill store@1" in marks(PASSWORD)

    eventually(told)
    assert marks("") == []


def test_the_log_says_when_nobody_may_look(fabric: Fabric) -> None:
    begin(fabric, GORGOND_STATS_OPEN="no", GORGOND_STATS_PASSWORD="")
    assert answer(fabric, "/api/stats.json") == (403, "")
    (log,) = fabric.directory.glob("stats-*")
    assert "nobody may look: set [stats] password, or [stats] open = local" in log.read_text()


def test_a_session_is_known_to_all_servers_of_a_host_outlives_them_and_ends_by_logging_out(fabric: Fabric) -> None:
    # given two stats servers, as systemd starts them, and one who has logged in at one of them
    sessions, port = fabric.directory / "sessions", str(free_port())
    sessions.mkdir()
    settings = {"GORGOND_STATS_OPEN": "no", "STATE_DIRECTORY": str(sessions)}
    first = fabric.start("stats", **settings)
    fabric.start("stats", "--instance", "2", **settings, GORGOND_STATS_PORT=port)
    eventually(lambda: asked(f"{fabric.stats}/healthz") and asked(f"http://127.0.0.1:{port}/healthz"))
    mine = answer(fabric, "/api/login", PASSWORD)[1].partition(";")[0]
    # then both know it, and so does the successor of one
    assert answer(fabric, "/api/stats.json", Cookie=mine)[0] == 200
    assert answer(fabric, "/api/stats.json", port=port, Cookie=mine)[0] == 200
    assert ended(first) == 0
    begin(fabric, **settings)
    assert answer(fabric, "/api/stats.json", Cookie=mine)[0] == 200
    # and when it logs out, nobody does, and who looked by it sees no more
    with urlopen(Request(f"{fabric.stats}/api/events", headers={"Cookie": mine}), timeout=60) as stream:
        assert stream.readline()
        assert answer(fabric, "/api/logout", port=port, Cookie=mine)[0] == 204
        stream.read()
    assert answer(fabric, "/api/stats.json", Cookie=mine) == (401, "")
    assert answer(fabric, "/api/stats.json", port=port, Cookie=mine) == (401, "")


def test_behind_a_proxy_each_client_counts_for_itself_and_the_cookie_is_secure(fabric: Fabric) -> None:
    # given a proxy that is trusted
    begin(fabric, GORGOND_STATS_TRUSTED_PROXIES="127.0.0.1")
    guesser, other = {"X_Forwarded_For": "192.0.2.7"}, {"X_Forwarded_For": "192.0.2.8", "X_Forwarded_Proto": "https"}
    # when somebody guesses through it
    statuses = [answer(fabric, "/api/login", "guess", **guesser)[0] for _ in range(11)]
    assert statuses == [403] * 10 + [429]
    # then others are not kept waiting, nor is who has the password kept out, wherever they are
    assert answer(fabric, "/api/stats.json", Authorization="Bearer wrong", **other)[0] == 403
    status, cookie = answer(fabric, "/api/login", PASSWORD, **other)
    assert (status, cookie.partition("=")[0]) == (204, "__Host-gorgon_stats")
    assert cookie.endswith("; Secure")
    began = time.monotonic()
    assert answer(fabric, "/api/stats.json", Authorization=f"Bearer {PASSWORD}", **guesser)[0] == 200
    assert time.monotonic() - began > 1
    # and a request of its own, or of somebody it does not tell of, is not one from this host, although that is open
    assert answer(fabric, "/api/stats.json") == (401, "")
    assert b" 401 " in proxied(fabric)
