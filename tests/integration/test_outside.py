"""Servers outside, asked over TLS: what they answer, wherever they want to send us, however they misbehave."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from ipaddress import ip_network

import pytest

from gorgond.errors import Unreachable
from gorgond.outside.http import BODY_MAX, HttpClient
from tests.integration.receiver import Receiver, Script, drips, floods, hangs, says, status
from tests.unit.test_outside import PRIVATE, connected

__all__ = ["connected"]

SECONDS = 2.0
HERE = [ip_network("127.0.0.1/32")]


@pytest.fixture(scope="module")
def receiver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Receiver]:
    with Receiver(tmp_path_factory.mktemp("receiver")).running() as receiver:
        yield receiver


Make = Callable[[], HttpClient]


@pytest.fixture
def make(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    """Makes a client that trusts the receiver."""
    monkeypatch.setenv("SSL_CERT_FILE", str(receiver.trusted))
    made: list[HttpClient] = []

    def make() -> HttpClient:
        made.append(HttpClient(HERE, SECONDS))
        return made[-1]

    yield make
    for each in made:
        each.close()
    receiver.received.clear()


async def test_the_name_is_who_is_asked_and_the_address_where(receiver: Receiver, make: Make) -> None:
    receiver.answer = lambda _: says("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-A: b\r\n\r\n{}")
    answer = await make().ask("POST", receiver.url("/a?b", "127.0.0.1"), {"X-Who": "me"}, b"[]")
    assert (answer.status, answer.headers["X-A"], answer.body, answer.whole) == (200, "b", b"{}", True)
    [asked] = receiver.received
    assert asked.headers["host"] == f"127.0.0.1:{receiver.port}"
    assert (asked.method, asked.path, asked.body, asked.headers["x-who"]) == ("POST", "/a?b", b"[]", "me")
    assert "accept-encoding" not in asked.headers


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
async def test_no_redirect_is_followed(receiver: Receiver, make: Make, connected: list[object], code: int) -> None:
    for host in PRIVATE:
        receiver.answer = lambda _, host=host: status(code, f"Location: https://{host}/")  # type: ignore[misc]
        answer = await make().ask("POST", receiver.url(host="127.0.0.1"), body=b"{}")
        assert answer.status == code
    # then all connections were to whom was asked
    assert {*connected} == {("127.0.0.1", receiver.port)}
    assert len(connected) == len(PRIVATE)


@pytest.mark.parametrize(
    "script",
    [
        floods("HTTP/1.1 200 OK\r\nContent-Length: 1073741824\r\n\r\n"),
        floods("HTTP/1.1 200 OK\r\n\r\n"),
        floods("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n40000000\r\n"),
        says("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort"),
        says("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}"),
        says("HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n{}"),
        says("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n"),
        drips("HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n"),
        drips("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"),
    ],
    ids=["gigabyte", "endless", "chunk", "short", "two lengths", "negative", "no chunk", "drips", "drips fitting"],
)
async def test_what_an_answer_means_is_known_by_its_headers(receiver: Receiver, make: Make, script: Script) -> None:
    receiver.answer = lambda _: script
    answer = await make().ask("POST", receiver.url(host="127.0.0.1"), body=b"{}")
    assert answer.status == 200
    assert not answer.whole
    assert len(answer.body) <= BODY_MAX


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        (hangs, "it has not answered within 2 s"),
        (drips("HTTP/1.1 200 OK\r\nX-"), "it has not answered within 2 s"),
        (floods("HTTP/1.1 200 OK\r\nX-"), "it has closed the connection|it cannot be reached"),
        (drips("HTTP/1.1 100 Continue\r\n\r\n"), "it has not answered within 2 s"),
        (says("HTTP/1.1 100 Continue\r\n\r\n" * 100), "it has closed the connection|it cannot be reached"),
        (says(""), "it has closed the connection|it cannot be reached"),
        (says("SSH-2.0-OpenSSH_9.2\r\n\r\n"), "it has closed the connection|it cannot be reached"),
        (says("HTTP/1.1 two hundred\r\n\r\n"), "it has closed the connection|it cannot be reached"),
    ],
    ids=["hangs", "slowloris", "endless header", "wait", "waits", "nothing", "ssh", "no number"],
)
async def test_what_is_no_answer_ends_in_time_and_says_why(
    receiver: Receiver, make: Make, script: Script, reason: str
) -> None:
    receiver.answer = lambda _: script
    with pytest.raises(Unreachable, match=reason):
        await make().ask("POST", receiver.url(host="127.0.0.1"), body=b"{}")


async def test_one_that_hangs_delays_no_other(receiver: Receiver, make: Make) -> None:
    client = make()
    receiver.answer = lambda asked: hangs if asked.path == "/hangs" else status(204)
    hanging = [
        asyncio.create_task(client.ask("POST", receiver.url("/hangs", "127.0.0.1"), body=b"{}")) for _ in range(50)
    ]
    began = time.monotonic()
    for _ in range(10):
        assert (await client.ask("POST", receiver.url("/good", "127.0.0.1"), body=b"{}")).status == 204
    done = time.monotonic() - began
    found = await asyncio.gather(*hanging, return_exceptions=True)
    assert all(isinstance(each, Unreachable) for each in found)
    assert done < time.monotonic() - began  # they had their answers before the others had none


async def test_a_certificate_that_nobody_vouches_for_is_not_good(
    receiver: Receiver,
) -> None:
    stranger = HttpClient(HERE, SECONDS)
    try:
        with pytest.raises(Unreachable, match="its certificate is not good: self-signed certificate"):
            await stranger.ask("POST", receiver.url(host="127.0.0.1"), body=b"{}")
    finally:
        stranger.close()
    assert receiver.received == []


async def test_a_certificate_of_another_name_is_not_good(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(receiver.trusted))
    here = [(2, ("127.0.0.1", receiver.port))]
    client = HttpClient(HERE, SECONDS, look_up=lambda *_: here)
    try:
        receiver.answer = lambda _: status(204)
        assert (await client.ask("POST", receiver.url(host="hook.example"), body=b"{}")).status == 204
        [asked] = receiver.received
        assert asked.headers["host"] == f"hook.example:{receiver.port}"
        with pytest.raises(Unreachable, match="its certificate is not good: Hostname mismatch"):
            await client.ask("POST", receiver.url(host="other.example"), body=b"{}")
    finally:
        client.close()
        receiver.received.clear()
