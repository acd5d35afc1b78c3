"""HAProxy before the web servers of three hosts, as examples/haproxy/haproxy.cfg has it."""

from __future__ import annotations

import contextlib
import json
import signal
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.client import HTTPConnection, HTTPResponse
from typing import Any

import pytest

from gorgond.chaos.hosts.lab import Hosts, Lab
from gorgond.chaos.hosts.network import OURS, SWITCH, ip
from gorgond.chaos.servers import servers_of
from tests.hosts.conftest import standing
from tests.system.traffic import Client, notes_of
from tests.waiting import eventually

OTHER = "10.0.0.253"  # of another balancer, which is as good
LOGIN = {"email": "ada@example.org", "password": "a guess that is wrong"}


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """With two balancers that web servers trust."""
    yield from standing(Hosts(environ={"GORGOND_WEB_TRUSTED_PROXIES": f"{OTHER} {OURS}"}))


@contextmanager
def asked(
    method: str, path: str, body: Any = None, to: str = OURS, source: str = OURS, **headers: str
) -> Iterator[HTTPResponse]:
    """The answer to a request that comes from the address `source`."""
    connection = HTTPConnection(to, timeout=60, source_address=(source, 0))
    sent = {name.replace("_", "-"): text for name, text in headers.items()}
    text = None if body is None else json.dumps(body)
    try:
        connection.request(method, path, text, {"Content-Type": "application/json", **sent} if text else sent)
        yield connection.getresponse()
    finally:
        connection.close()


@contextmanager
def clients(number: int) -> Iterator[list[Client]]:
    """Clients of the balancer, half of which keep their connection; what they were not answered fails the test."""
    asking = [Client(OURS, notes_of("17"), bool(each % 2), 0.01) for each in range(number)]
    stop = threading.Event()
    threads = [threading.Thread(target=client.run, args=(stop,)) for client in asking]
    for thread in threads:
        thread.start()
    try:
        yield asking
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert [failure for client in asking for failure in client.failures] == []


def test_a_web_server_that_stops_fails_no_request(lab: Lab) -> None:
    with clients(6) as asking:

        def goes_on() -> None:
            before = [client.attempts for client in asking]
            eventually(lambda: all(now.attempts > then + 5 for now, then in zip(asking, before, strict=True)))

        # when the web servers are ended, one after another, and started again
        for host in lab.hosts:
            goes_on()
            host.ask("stop", "web@1")
            goes_on()
            host.ask("start", "web@1")
            eventually(host.is_up)
            eventually(lambda host=host: is_asked(host.address))  # type: ignore[misc]
    # then every request was answered well, and what was stored is there
    stored = {note for client in asking for note in client.stored}
    assert stored
    with asked("GET", "/info/17?lim=1") as answer:
        assert json.load(answer)["items"][0]["id"] in stored


@pytest.mark.parametrize(
    ("method", "told"),
    [
        pytest.param("POST", {201, 504}, id="what may have been done is not asked again, and told"),
        pytest.param("GET", {200}, id="what changes nothing is asked again of another"),
    ],
)
def test_a_request_is_answered_though_the_server_that_has_it_dies(lab: Lab, method: str, told: set[int]) -> None:
    """HAProxy ends the connection of a client that had an answer on it before, where it has no other one."""
    queue = "store_put" if method == "POST" else "store_get"
    body = json.dumps({"title": "a"}) if method == "POST" else None
    broker, first = servers_of(lab.target.config)["broker"], lab.hosts[0]
    with ExitStack() as closing:
        closing.callback(broker.close)
        # given requests on connections that had one before, which all web servers have and no store handles
        kept = [closing.enter_context(contextlib.closing(HTTPConnection(OURS, timeout=60))) for _ in range(6)]
        for connection in kept:
            connection.request("GET", "/healthz")
            assert connection.getresponse().read()
        eventually(lambda: all(host.is_up() for host in lab.hosts))
        standing_still = closing.enter_context(ExitStack())
        for host in lab.hosts:
            host.signal("store@1", signal.SIGSTOP)
            standing_still.callback(host.signal, "store@1", signal.SIGCONT)
        before = broker.count_accepted(queue)
        for connection in kept:
            connection.request(method, "/info/9", body, {"Content-Type": "application/json"} if body else {})
        eventually(lambda: broker.count_accepted(queue) >= before + len(kept))
        # when one of the web servers dies, and the stores go on
        first.signal("web@1", signal.SIGKILL)
        standing_still.close()
        # then each is answered
        assert {connection.getresponse().status for connection in kept} == told
    eventually(first.is_up)


def is_asked(address: str) -> bool:
    """Whether the web server there answers, as the balancer asks it."""
    with asked("OPTIONS", "/", to=f"{address}:3000") as answer:
        return answer.status == 204


@pytest.mark.usefixtures("lab")
def test_a_page_that_is_open_hears_of_a_change_at_once_though_it_was_quiet_for_long() -> None:
    # given an open page that has heard nothing for so long that a comment was sent
    with asked("GET", "/live?since=1") as stream:
        assert stream.getheader("content-type") == "text/event-stream"
        eventually(lambda: stream.readline() == b": quiet\n")
        # when a note is stored
        with asked("POST", "/info/7", {"title": "news of today"}) as answer:
            assert answer.status == 201
        # then it comes, though the answer has no end
        eventually(lambda: b"news of today" in stream.readline())


def test_a_client_has_its_own_address_behind_either_balancer(lab: Lab) -> None:
    def attempt(client: str, balancer: str) -> int:
        """Log in wrongly by the other balancer, which says for whom, at one of the web servers."""
        with asked(
            "POST", "/auth/login", LOGIN, to=f"{lab.hosts[0].address}:3000", source=balancer, X_Forwarded_For=client
        ) as answer:
            return answer.status

    with ExitStack() as closing:
        for address in (OTHER, "10.0.0.250", "10.0.0.251"):
            ip(f"addr add {address}/32 dev {SWITCH}")
            closing.callback(ip, f"addr del {address}/32 dev {SWITCH}")
        # given somebody who has guessed for too long
        for _ in range(5):
            with asked("POST", "/auth/login", LOGIN, source="10.0.0.250") as answer:
                assert answer.status == 401
        with asked("POST", "/auth/login", LOGIN, source="10.0.0.250") as answer:
            assert answer.status == 429
        # then that one has to wait behind the other balancer too, and others behind neither
        assert attempt("10.0.0.250", OTHER) == 429
        assert attempt("10.0.0.251", OTHER) == 401
        with asked("POST", "/auth/login", LOGIN, source="10.0.0.251") as answer:
            assert answer.status == 401
        # and what somebody says who is no balancer does not count
        assert attempt("10.0.0.249", "10.0.0.250") == 429


def test_what_a_client_says_of_itself_does_not_count(lab: Lab) -> None:
    # HAProxy takes away what says that a client came by https, which it did not
    with asked("GET", "/healthz", X_Forwarded_Proto="https") as answer:
        assert answer.status == 200
        assert answer.getheader("strict-transport-security") is None
    # and a balancer that says so is believed
    with asked("GET", "/healthz", to=f"{lab.hosts[0].address}:3000", X_Forwarded_Proto="https") as answer:
        assert answer.getheader("strict-transport-security")
