"""The address of a Redis that Sentinels watch over: where they are, and what their set is called.

    sentinel://user:password@10.0.0.1,10.0.0.2:26379,10.0.0.3/gorgon?copies=1

`user` and `password` are those of the Redis. Sentinels let anybody ask, as docs/redpill.md shows. `sentinels://` is
the same over TLS, to the Sentinels and to the Redis. Options are `copies`, `db`, and the driver's of TLS, as
`ssl_ca_certs`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import ip_address
from socket import inet_aton, inet_ntoa
from urllib.parse import parse_qsl, urlencode, urlsplit

PORT = 26379
LEAST = 3  # Sentinels, of which one may be away
COPIES_MAX = 9
HOST = re.compile(r"[\w.:%-]+")  # a name or an address, without the brackets of URLs
EXAMPLE = "sentinel://10.0.0.1,10.0.0.2,10.0.0.3/gorgon?copies=1"

Place = tuple[str, int]


def shown(place: Place) -> str:
    """A host and its port, as an address has them."""
    host, port = place
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def told_place(host: bytes, port: bytes) -> Place:
    """One that a server has told. Raises ValueError for what is no host or no port, TypeError for what is no text."""
    place = host.decode(), int(port)
    if not HOST.fullmatch(place[0]) or not 0 < place[1] < 1 << 16:
        raise ValueError(f"no place: {place}")
    return place


def place_of(about: Mapping[bytes, bytes]) -> Place:
    """Where a server is that a Sentinel describes. Raises KeyError, too."""
    return told_place(about[b"ip"], about[b"port"])


def is_own(host: str) -> bool:
    """Whether each host takes this name or address for itself."""
    try:
        address = ip_address(host)
    except ValueError:
        with suppress(OSError):
            return is_own(inet_ntoa(inet_aton(host)))  # one that is written short: 127.1, 0
        return host.lower().rstrip(".").partition(".")[0] in ("localhost", "ip6-localhost", "ip6-loopback")
    address = getattr(address, "ipv4_mapped", None) or address
    return address.is_loopback or address.is_unspecified


@dataclass(frozen=True, slots=True)
class SentinelAddress:
    """Where the Sentinels are, the name of the set that they watch, how many of its replicas must have what counts;
    and how a Redis there is met: `scheme`, `user` with its password, and `options`."""

    sentinels: tuple[Place, ...]
    name: str
    copies: int
    scheme: str
    user: str
    options: str

    @classmethod
    def of(cls, url: str) -> SentinelAddress:
        """Raises ValueError, which says what to do and holds no password."""
        scheme, _, rest = url.partition("://")
        where, _, query = rest.partition("?")
        hosts, _, name = where.partition("/")
        user, at, hosts = hosts.rpartition("@")
        if not re.fullmatch(r"[\w.-]+", name):
            raise ValueError(f"its address must end with the name of the set, as in {EXAMPLE}")
        sentinels = tuple(map(_place, hosts.split(",")))
        _check(sentinels)
        given = parse_qsl(query, keep_blank_values=True)
        options = dict(given)
        if len(given) > len(options):
            raise ValueError("its address gives an option more than once")
        copies = options.pop("copies", "0")
        if not copies.isdecimal() or int(copies) > COPIES_MAX:
            raise ValueError(
                f"copies= must be a number from 0 to {COPIES_MAX}: how many replicas must have what counts"
            )
        if unknown := [each for each in options if each != "db" and not each.startswith("ssl_")]:
            raise ValueError(f"its address has unknown options: {' '.join(unknown)}; there are copies, db and ssl_…")
        redis = "rediss" if scheme == "sentinels" else "redis"
        return cls(sentinels, name, int(copies), redis, user + at, urlencode(options))

    @property
    def database(self) -> str:
        """That of each Redis of the set."""
        return dict(parse_qsl(self.options)).get("db", "0")

    def redis(self, place: Place) -> str:
        """The URL of a Redis of the set."""
        return f"{self.scheme}://{self.user}{shown(place)}" + (f"?{self.options}" if self.options else "")

    def sentinel(self, place: Place, login: str = "") -> str:
        """The URL of a Sentinel, which speaks as a Redis does and has no databases; as nobody, or as `login`, which is
        `user:password`."""
        options = urlencode([each for each in parse_qsl(self.options) if each[0] != "db"])
        return f"{self.scheme}://{login}{'@' * bool(login)}{shown(place)}" + (f"?{options}" if options else "")


def _place(text: str) -> Place:
    try:
        parts = urlsplit(f"//{text}")
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if host is None or not HOST.fullmatch(host) or parts.path or parts.username is not None:
        raise ValueError(f"its address must name the hosts of Sentinels with commas between them, as in {EXAMPLE}")
    return host, port or PORT


def _check(sentinels: tuple[Place, ...]) -> None:
    """Refuse Sentinels that could not agree on a master, or not be the same ones for each host."""
    count = len(set(sentinels))
    if count < LEAST or count % 2 == 0:
        raise ValueError(
            f"its address names {count} Sentinel{'s' * (count != 1)}: name {LEAST}, or another odd number, each on a "
            f"host of its own, so that a majority of them is left when a host dies"
        )
    for host, _ in sentinels:
        if is_own(host):
            raise ValueError(
                f"its address names {host} as the host of a Sentinel, which is another one on each host: write the "
                "address by which the other hosts reach it"
            )
