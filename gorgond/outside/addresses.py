"""Which addresses are the public's. Whoever names a URL for us to ask could else have us ask what only we can reach:
this host, others of its network, the service that tells a cloud's machines their passwords (169.254.169.254).

Of IPv4 all is public that no registry of IANA's sets apart, of IPv6 what was given out (2000::/3) and is not set apart.
An address of IPv6 that stands for one of IPv4, mapped or by NAT64, is what that one is. The older ways from one to the
other, 6to4 and Teredo, lead nowhere that we would go.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

from gorgond.validators import Network

# IANA's registries of special-purpose addresses, multicast, and what is reserved.
_APART_4 = tuple(
    map(
        IPv4Network,
        (
            "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12",
            "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24",
            "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4",
        ),
    )
)  # fmt: skip
_GIVEN_OUT = IPv6Network("2000::/3")
_APART_6 = tuple(map(IPv6Network, ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20")))
_NAT64 = IPv6Network("64:ff9b::/96")


def is_public(text: str, allowed: Sequence[Network] = ()) -> bool:
    """Whether an address, as a name server gives it, is the public's, or in one of the networks that are `allowed`
    besides."""
    address = _meant(ip_address(text.partition("%")[0]))
    if any(address in network for network in allowed):
        return True
    if isinstance(address, IPv4Address):
        return not any(address in network for network in _APART_4)
    return address in _GIVEN_OUT and not any(address in network for network in _APART_6)


def _meant(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """The address of IPv4 that one of IPv6 stands for; else itself."""
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return address.ipv4_mapped
        if address in _NAT64:
            return IPv4Address(int(address) & 0xFFFF_FFFF)
    return address


def written(host: str) -> str:
    """The address that a URL's host is, in the usual form, as also 0x7f000001, 2130706433, 127.1, 0177.0.0.1 and
    127.0.0.1. are one; nothing for a name."""
    host = host.removesuffix(".")
    try:
        return str(ip_address(host.removeprefix("[").removesuffix("]")))
    except ValueError:
        pass
    try:
        return str(IPv4Address(socket.inet_aton(host)))
    except (OSError, ValueError):
        return ""
