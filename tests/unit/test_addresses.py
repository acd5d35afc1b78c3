"""The address of who asks, behind proxies and not."""

from __future__ import annotations

import pytest
from tornado.httputil import HTTPHeaders

from gorgond.http.addresses import client_address
from gorgond.kinds import NETWORKS


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
        # what is no address is not taken for one
        ("127.0.0.1", "", "127.0.0.1", "127.0.0.1"),
        ("127.0.0.1", "unknown", "127.0.0.1", "127.0.0.1"),
        ("127.0.0.1", "203.0.113.1, _hidden", "127.0.0.1", "127.0.0.1"),
        ("10.0.0.7", "10.0.0.1, 10.0.0.2", "10.0.0.0/8", "10.0.0.1"),
        ("::1", "2001:db8::5", "::1", "2001:db8::5"),
    ],
)
def test_client_address(connection: str, forwarded: str, proxies: str, expected: str) -> None:
    headers = HTTPHeaders({"X-Forwarded-For": forwarded} if forwarded else {})
    assert client_address(connection, headers, NETWORKS.parse(proxies)) == expected


def test_headers_that_are_there_twice_are_one_list() -> None:
    headers = HTTPHeaders()
    headers.add("X-Forwarded-For", "10.9.9.9")
    headers.add("X-Forwarded-For", "203.0.113.1")
    assert client_address("127.0.0.1", headers, NETWORKS.parse("127.0.0.1")) == "203.0.113.1"
