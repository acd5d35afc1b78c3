"""Servers outside: which addresses are the public's, which URLs anybody may have us ask, and that we ask
nobody else."""

from __future__ import annotations

import asyncio
import socket
import ssl
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from ipaddress import ip_network
from typing import Any

import pytest

from gorgond.errors import BadRequest, PrivateAddress, Unreachable
from gorgond.outside.addresses import is_public, written
from gorgond.outside.http import HttpClient
from gorgond.outside.lookups import Found
from gorgond.outside.urls import check_url

_PRIVATE = """
127.0.0.1 127.1 127.0.1 127.255.255.254 2130706433 0x7f000001 0x7f.1 0x7f.0.0.1 0177.0.0.1 017700000001 127.0x0.0.1
127.0.0.1. 127.1. 2130706433. 169.254.169.254. 0xa9fea9fe.
0.0.0.0 0 0.1.2.3 10.0.0.1 10.255.255.255 0xa000001 012.0.0.1 167772161
100.64.0.1 100.127.255.254 169.254.169.254 0xa9fea9fe 2852039166 169.254.43518 0251.0376.0251.0376 169.254.0.1
172.16.0.1 172.31.255.255 0xac100001 192.168.0.1 192.168.257 3232235521
192.0.0.1 192.0.0.170 192.0.2.1 192.88.99.1 198.18.0.1 198.19.255.255 198.51.100.1 203.0.113.1
224.0.0.1 239.255.255.255 240.0.0.1 255.255.255.255
[::] [::1] [0:0:0:0:0:0:0:1] [::ffff:127.0.0.1] [::ffff:7f00:1] [::ffff:10.0.0.1] [::ffff:a9fe:a9fe] [::127.0.0.1]
[64:ff9b::127.0.0.1] [64:ff9b::a9fe:a9fe] [64:ff9b:1::1] [2002:7f00:1::] [2002:a9fe:a9fe::1] [2001:0:7f00:1::1]
[2001:db8::1] [3fff::1] [fc00::1] [fd00:ec2::254] [fe80::1] [fec0::1] [ff02::1] [100::1] [5f00::1] [2001:20::1]
"""
PRIVATE = _PRIVATE.split()
_NAMES = "localhost LOCALHOST localhost. a.localhost printer host.local metadata.google.internal x.home.arpa"
PUBLIC = "93.184.216.34 8.8.8.8 100.63.255.255 100.128.0.1 172.15.0.1 172.32.0.1 [2606:2800:220:1::1] [::ffff:8.8.8.8]"


def test_there_are_sixty_forms_of_private_addresses() -> None:
    assert len(PRIVATE) == len({*PRIVATE}) >= 60


@pytest.mark.parametrize("host", PRIVATE)
def test_what_is_private_is_so_in_each_form(host: str) -> None:
    assert not is_public(written(host))
    with pytest.raises(BadRequest, match="url: must lead to an address of the public Internet"):
        check_url(f"https://{host}/hook")


@pytest.mark.parametrize("host", _NAMES.split())
def test_names_that_mean_nothing_outside_are_refused(host: str) -> None:
    with pytest.raises(BadRequest, match="url: must lead to an address of the public Internet"):
        check_url(f"https://{host}:8443/hook")


@pytest.mark.parametrize("host", [*PUBLIC.split(), "example.org", "a-b.example", "xn--bcher-kva.example"])
def test_what_is_public_may_be_asked(host: str) -> None:
    assert not written(host) or is_public(written(host))
    for rest in ("", "/", "/a?b=c@d&e=%20", ":8443/a:b@c", "?x"):
        check_url(f"https://{host}{rest}")


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("http://example.org/", "must begin with https://"),
        ("ftp://example.org/", "must begin with https://"),
        ("//example.org/", "must begin with https://"),
        ("", "must begin with https://"),
        (" https://example.org/", "must begin with https://"),
        ("https://user@example.org/", "must have no user and no password"),
        ("https://user:secret@example.org/", "must have no user and no password"),
        ("https://example.org@127.0.0.1/", "must have no user and no password"),
        ("https://example.org\\@127.0.0.1/", "must be as https://"),
        ("https://127.0.0.1\\.example.org/", "must be as https://"),
        ("https://example.org/a\\b", "must be as https://"),
        ("https://example.org/#127.0.0.1", "must be as https://"),
        ("https://example.org:0/", "must be as https://"),
        ("https://example.org:65536/", "must be as https://"),
        ("https://example.org:x/", "must be as https://"),
        ("https://", "must be as https://"),
        ("https:///path", "must be as https://"),
        ("https://[::1", "must be as https://"),
        ("https://[fe80::1%25lo]/", "must be as https://"),
        ("https://[1.2.3]/", "must be as https://"),
        ("https://example.org/a b", "must be of ASCII's characters"),
        ("https://example.org/\r\nHost: x", "must be of ASCII's characters"),
        ("https://exam\tple.org/", "must be of ASCII's characters"),
        ("https://①②⑦.⓪.⓪.①/", "must be of ASCII's characters"),
        ("https://bücher.example/", "must be of ASCII's characters"),
        ("https://example.org/" + "x" * 2000, "must have at most 2000 characters"),
    ],
)
def test_a_url_that_may_be_read_in_two_ways_is_refused(url: str, message: str) -> None:
    with pytest.raises(BadRequest, match=f"url: {message}"):
        check_url(url)


def test_networks_of_ones_own_may_be_allowed() -> None:
    lan = [ip_network("10.0.0.0/8"), ip_network("fd00::/8")]
    for host in ("10.1.2.3", "0xa000001", "[::ffff:10.0.0.1]", "[fd00::1]", "receiver.internal"):
        check_url(f"https://{host}/", lan)
    for host in ("127.0.0.1", "169.254.169.254", "[fe80::1]"):
        with pytest.raises(BadRequest):
            check_url(f"https://{host}/", lan)


# ---- nobody else is asked

CONNECTED: list[Any] = []
WATCHING: list[bool] = []


def _hear(event: str, arguments: Any) -> None:
    if event == "socket.connect" and WATCHING:
        CONNECTED.append(arguments[1])


sys.addaudithook(_hear)  # of this process, for good


@pytest.fixture
def connected() -> Iterator[list[Any]]:
    """The addresses to which this process connects meanwhile."""
    CONNECTED.clear()
    WATCHING.append(True)
    yield CONNECTED
    WATCHING.clear()


@pytest.fixture
def tcp() -> Iterator[socket.socket]:
    """Somebody listens here, who says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


@pytest.mark.parametrize("host", [*PRIVATE, "localhost", "a.localhost"])
async def test_nobody_is_connected_to_at_a_private_address(host: str, connected: list[Any]) -> None:
    # given a URL that nobody looked at when it was registered
    client = HttpClient()
    try:
        for port in (443, 6379):
            with pytest.raises(Unreachable) as refused:
                await client.ask("POST", f"https://{host}:{port}/", body=b"{}")
            # then it leads to a private address, or nowhere, as to some resolvers a few of these forms do
            assert isinstance(refused.value, PrivateAddress) or "leads nowhere" in str(refused.value)
    finally:
        client.close()
    assert [each for each in connected if not _name_server(each)] == []


def _name_server(address: Any) -> bool:
    """Whether somebody is asked there for what a name leads to."""
    return isinstance(address, str) or address[1] in (0, 53)


async def test_a_name_is_judged_whenever_it_is_asked(connected: list[Any], tcp: socket.socket) -> None:
    # given a name that leads to a public address the first time, and then to others
    answers = iter([["127.0.0.1"], ["10.0.0.1"], ["127.0.0.1", "169.254.169.254"], ["::1"]])
    lookups: list[str] = []

    def look_up(host: str, port: int, _: int) -> Found:
        lookups.append(host)
        return [(int(socket.AF_INET6 if ":" in each else socket.AF_INET), (each, port)) for each in next(answers)]

    port = tcp.getsockname()[1]
    allowed = [ip_network("127.0.0.1/32")]
    with closing(HttpClient(allowed, seconds=0.5, look_up=look_up)) as hasty:
        with pytest.raises(Unreachable) as hangs:
            await hasty.ask("POST", f"https://hook.example:{port}/", body=b"{}")
        assert not isinstance(hangs.value, PrivateAddress)
        assert lookups == ["hook.example"]
    assert connected == [("127.0.0.1", port)]  # exactly where it led to
    with tcp.accept()[0] as hung:  # and it is left in the middle of its handshake
        hung.settimeout(60)
        while await asyncio.to_thread(hung.recv, 65536):
            pass
    with closing(HttpClient(allowed, seconds=60, look_up=look_up)) as client:
        for _ in range(3):
            with pytest.raises(PrivateAddress, match="it leads to a private address"):
                await client.ask("POST", f"https://hook.example:{port}/", body=b"{}")
    # then each time it was looked up once, and nobody else was connected to
    assert lookups == ["hook.example"] * 4
    assert connected == [("127.0.0.1", port)]


async def test_a_name_server_that_hangs_keeps_nobody_waiting(connected: list[Any]) -> None:
    hang = threading.Event()

    def look_up(host: str, *_: int) -> Found:
        if host == "hangs.example":
            hang.wait(60)
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    with closing(HttpClient(seconds=0.5, look_up=look_up)) as hasty, closing(HttpClient(look_up=look_up)) as client:
        try:
            with pytest.raises(Unreachable, match="its name server does not answer"):
                await hasty.ask("GET", "https://hangs.example/")
            with pytest.raises(Unreachable, match=r"its name leads nowhere: .*not known"):
                await client.ask("GET", "https://nowhere.example/")
        finally:
            hang.set()
    assert connected == []


async def test_it_verifies_whom_it_asks() -> None:
    with closing(HttpClient()) as client:
        assert client._tls.check_hostname
        assert client._tls.verify_mode == ssl.CERT_REQUIRED
