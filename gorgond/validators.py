"""The kinds of values that settings may have: a `Kind` reads it, and says in words what it takes."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Any


@dataclass(frozen=True, slots=True)
class Kind:
    """`parse` turns text into the value or raises ValueError, `allowed` says in words what it takes."""

    allowed: str
    parse: Callable[[str], Any]


def matching(allowed: str, regex: str) -> Kind:
    def parse(text: str) -> str:
        if not re.fullmatch(regex, text):
            raise ValueError
        return text

    return Kind(allowed, parse)


def one_of(*words: str) -> Kind:
    return matching(" ".join(words), "|".join(words))


def urls(*starts: str, empty: bool = False) -> Kind:
    needs_more = {start: r"\S*" if start == "memory://" else r"\S+" for start in starts}
    regex = "|".join(re.escape(start) + rest for start, rest in needs_more.items())
    allowed = "a URL that starts with " + " ".join(starts)
    return matching(allowed + ", or nothing", regex + "|") if empty else matching(allowed, regex)


def whole(low: int, high: int) -> Kind:
    def parse(text: str) -> int:
        if not re.fullmatch("[0-9]+", text) or not low <= int(text) <= high:
            raise ValueError
        return int(text)

    return Kind(f"a whole number from {low} to {high}", parse)


def duration(high: str, examples: str = "10, 10s, 500ms or 2m") -> Kind:
    units = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400, None: 1}

    def seconds(text: str) -> float:
        match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h|d)?", text)
        return float(match[1]) * units[match[2]] if match else 0

    def parse(text: str) -> float:
        if not 0 < seconds(text) <= seconds(high):
            raise ValueError
        return seconds(text)

    return Kind(f"a time above 0 and up to {high}, as {examples}", parse)


def size(low: str, high: str) -> Kind:
    units = {"kB": 10**3, "MB": 10**6, "GB": 10**9}

    def octets(text: str) -> int:
        match = re.fullmatch(r"([0-9]+)(kB|MB|GB)", text)
        return int(match[1]) * units[match[2]] if match else 0

    def parse(text: str) -> int:
        if not octets(low) <= octets(text) <= octets(high):
            raise ValueError
        return octets(text)

    return Kind(f"a size from {low} to {high}, as 256MB or 1GB", parse)


Network = IPv4Network | IPv6Network


def _networks(text: str) -> tuple[Network, ...]:
    return tuple(map(ip_network, text.split()))


_ORIGIN = r"https?://[\w.:\[\]-]+"
_ORIGINS = rf"({_ORIGIN}( +{_ORIGIN})*)?"
NETWORKS = Kind("IP networks with blanks between them, as 127.0.0.1 10.0.0.0/8, or nothing", _networks)
ORIGINS = matching("addresses as https://notes.example with blanks between them, or nothing", _ORIGINS)
COUNT = matching("a number up to 999, or a number per core, as in 1 per core", "[0-9]{1,3}( per core)?")
_KEY = "[A-Za-z0-9_-]{43}="  # 32 bytes in base64url
KEYS = matching("keys of 44 characters with blanks between them, or nothing", f"({_KEY}( +{_KEY})*)?")
