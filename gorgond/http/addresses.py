"""Whose request it is: the address of the connection, or what a proxy that is trusted says of it."""

from __future__ import annotations

import functools
import ipaddress
from collections.abc import Mapping, Sequence

from gorgond.kinds import Network


def client_address(connection: str, headers: Mapping[str, str], proxies: Sequence[Network]) -> str:
    """The client's address. As long as it is a proxy's, the last entry of X-Forwarded-For which that one added counts;
    what stands before those is the client's own word, and does not. Empty for a unix socket."""
    address = _plain(connection)
    if proxies:
        told = headers.get("X-Forwarded-For", "").split(",")
        while told and address and any(ipaddress.ip_address(address) in network for network in proxies):
            before = _plain(told.pop().strip())
            if not before:
                break
            address = before
    return address


@functools.lru_cache(1024)
def _plain(text: str) -> str:
    """An IP address in its one form; empty for what is none."""
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return ""
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(mapped or address)
