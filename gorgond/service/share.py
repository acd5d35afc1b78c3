"""How much of something dear each client may have under way in one process, so that none takes the share of others."""

from __future__ import annotations

import ipaddress
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from gorgond.redpill import CallFailed


class Share:
    """`most` at a time for each client; `what` it is of, in words."""

    def __init__(self, most: int, what: str) -> None:
        self._most = most
        self._what = what
        self._under_way: Counter[str] = Counter()

    @contextmanager
    def take(self, address: str) -> Iterator[None]:
        """For as long as the client at this address has one more. Raises CallFailed 429."""
        client = customer(address)
        if self._under_way[client] >= self._most:
            raise CallFailed(
                429, f"more than {self._most} {self._what} of yours are under way: try again when they are done",
                headers={"Retry-After": "1"},
            )  # fmt: skip
        self._under_way[client] += 1
        try:
            yield
        finally:
            self._under_way[client] -= 1
            if not self._under_way[client]:
                del self._under_way[client]


def customer(address: str) -> str:
    """By what an address is counted: of IPv6 the network that one customer has, a /64; empty for what is none."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return ""
    if found.version == 6:
        return str(ipaddress.ip_network((found, 64), strict=False))
    return str(found)
