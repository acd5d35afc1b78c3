"""Whose request it is: the address of the connection, or what a proxy that is trusted says of it."""

from __future__ import annotations

import functools
import ipaddress
import logging
import re
from collections.abc import Mapping, Sequence

from gorgond.validators import Network

UNKNOWN = "unknown"
"""In place of an address: a proxy says something of its client that cannot be read. A count by address counts all of
these together, apart from clients on the proxy's own host."""

# A node of RFC 7239, 6: an address, of IPv6 in brackets, perhaps with a port and in quotes.
_NODE = re.compile(r'"?(?:\[(?P<six>[^]]+)\]|(?P<four>[\d.]+))(?::(?:\d{1,5}|_[\w.-]+))?"?', re.ASCII)

_told: set[str] = set()  # the proxies about which the log has been told

log = logging.getLogger("gorgond.http")


def client_address(connection: str, headers: Mapping[str, str], proxies: Sequence[Network]) -> str:
    """The client's address. As long as it is a proxy's, the last entry of X-Forwarded-For which that one added counts;
    what stands before those is the client's own word, and does not. UNKNOWN where that entry cannot be read, as
    `unknown`, `_hidden`. Empty for a unix socket."""
    address = _plain(connection)
    forwarded = headers.get("X-Forwarded-For") if proxies else None
    if forwarded is not None:
        told = [each for each in map(str.strip, forwarded.split(",")) if each] or [forwarded]
        while told and address and any(ipaddress.ip_address(address) in network for network in proxies):
            entry = told.pop()
            before = _plain(entry)
            if not before:
                _tell(address, entry)
                return UNKNOWN
            address = before
    return address


def came_by_tls(connection: str, headers: Mapping[str, str], proxies: Sequence[Network]) -> bool:
    """Whether a proxy that is trusted says so, in X-Forwarded-Proto."""
    https = headers.get("X-Forwarded-Proto", "").partition(",")[0].strip().lower() == "https"
    return https and is_trusted(connection, proxies)


def is_trusted(connection: str, proxies: Sequence[Network]) -> bool:
    """Whether a connection is one of these proxies'."""
    address = _plain(connection)
    return bool(address) and any(ipaddress.ip_address(address) in network for network in proxies)


@functools.lru_cache(1024)
def _plain(text: str) -> str:
    """An IP address in its one form; empty for what is none."""
    node = _NODE.fullmatch(text)
    found = (node["six"] or node["four"]) if node else text.strip('"')
    try:
        address = ipaddress.ip_address(found.partition("%")[0])
    except ValueError:
        return ""
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(mapped or address)


def _tell(proxy: str, entry: str) -> None:
    """Once for each proxy: its operator can mend that."""
    if proxy not in _told:
        _told.add(proxy)
        log.warning(
            "the proxy %s says %.100r in X-Forwarded-For, which is no address: such clients count as one for what is "
            "limited by address",
            proxy, entry,
        )  # fmt: skip
