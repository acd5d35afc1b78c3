"""The address of who asks, behind proxies and not."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tornado.httputil import HTTPHeaders

from gorgond.http import addresses
from gorgond.http.addresses import UNKNOWN, client_address
from gorgond.validators import NETWORKS


@pytest.mark.parametrize(
    ("connection", "forwarded", "proxies", "expected"),
    [
        ("192.0.2.1", "203.0.113.1", "", "192.0.2.1"),
        ("::ffff:192.0.2.1", "", "", "192.0.2.1"),
        ("fe80::1%eth0", "", "", "fe80::1"),
        ("2001:DB8::0001", "", "", "2001:db8::1"),
        ("", "203.0.113.1", "127.0.0.1", ""),
        # one proxy: what it added counts, what the client said before does not
        ("127.0.0.1", "203.0.113.1", "127.0.0.1", "203.0.113.1"),
        ("127.0.0.1", "10.9.9.9, 203.0.113.1", "127.0.0.1", "203.0.113.1"),
        ("::ffff:127.0.0.1", "203.0.113.1", "127.0.0.1", "203.0.113.1"),
        # two of them
        ("127.0.0.1", "evil, 203.0.113.1,10.0.0.7", "127.0.0.1 10.0.0.0/8", "203.0.113.1"),
        # who is no proxy is not believed
        ("192.0.2.1", "203.0.113.1", "127.0.0.1", "192.0.2.1"),
        # the proxy itself asks, as for its checks
        ("127.0.0.1", "", "127.0.0.1", "127.0.0.1"),
        ("10.0.0.7", "10.0.0.1, 10.0.0.2", "10.0.0.0/8", "10.0.0.1"),
        ("::1", "2001:db8::5", "::1", "2001:db8::5"),
        # with a port, in brackets, in quotes, with commas too many: as RFC 7239 writes it and proxies do
        ("127.0.0.1", "203.0.113.1:50123", "127.0.0.1", "203.0.113.1"),
        ("127.0.0.1", "203.0.113.1:_port", "127.0.0.1", "203.0.113.1"),
        ("127.0.0.1", "[2001:db8::5]", "127.0.0.1", "2001:db8::5"),
        ("127.0.0.1", "[2001:DB8::5]:443", "127.0.0.1", "2001:db8::5"),
        ("127.0.0.1", '"[2001:db8::5]:443"', "127.0.0.1", "2001:db8::5"),
        ("127.0.0.1", '"203.0.113.1"', "127.0.0.1", "203.0.113.1"),
        ("127.0.0.1", "[::ffff:203.0.113.1]:1", "127.0.0.1", "203.0.113.1"),
        ("127.0.0.1", "10.9.9.9, 203.0.113.1 ,", "127.0.0.1", "203.0.113.1"),
        ("127.0.0.1", ",203.0.113.1,,\t10.0.0.7:80,", "127.0.0.1 10.0.0.0/8", "203.0.113.1"),
    ],
)
def test_client_address(connection: str, forwarded: str, proxies: str, expected: str) -> None:
    headers = HTTPHeaders({"X-Forwarded-For": forwarded} if forwarded else {})
    assert client_address(connection, headers, NETWORKS.parse(proxies)) == expected


@pytest.mark.parametrize(
    "forwarded", ["unknown", "203.0.113.1, _hidden", "203.0.113.1:x", "[::1", "[203.0.113]", "\x80", ",,,", " ,", ""]
)
def test_what_cannot_be_read_counts_apart_and_is_told_once(
    forwarded: str, caplog: pytest.LogCaptureFixture, expected_logs: Callable[[str], None]
) -> None:
    expected_logs("no address")
    addresses._told.clear()
    headers = HTTPHeaders({"X-Forwarded-For": forwarded})
    # given a proxy that says of each client what is no address, then they are not taken for the proxy itself
    for _ in range(3):
        assert client_address("127.0.0.1", headers, NETWORKS.parse("127.0.0.1")) == UNKNOWN
    # and the log says so once, with what it was
    [told] = caplog.messages
    assert repr(forwarded.split(", ")[-1]) in told
    assert "127.0.0.1" in told


def test_headers_that_are_there_twice_are_one_list() -> None:
    headers = HTTPHeaders()
    headers.add("X-Forwarded-For", "10.9.9.9")
    headers.add("X-Forwarded-For", "203.0.113.1")
    assert client_address("127.0.0.1", headers, NETWORKS.parse("127.0.0.1")) == "203.0.113.1"
