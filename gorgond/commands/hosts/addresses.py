"""Which hosts have a copy of the broker, and which of them is this one."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Self

from gorgond.commands.hosts.files import COPIES, NAME, TLS, shown
from gorgond.commands.tls import own_addresses
from gorgond.errors import GorgonError
from gorgond.redpill import connect


@dataclass(frozen=True, slots=True)
class Hosts:
    """The addresses of all hosts, of which `own` is this one's. The first had what exists before there were several."""

    addresses: tuple[str, ...]
    own: str

    @classmethod
    def of(cls, words: Sequence[str], mine: Collection[str] | None = None) -> Self:
        """By what an operator wrote; `mine` are the addresses of this host. Raises GorgonError, which says what to
        write."""
        addresses = tuple(map(_address, words))
        found = cls(addresses, "")
        try:
            connect(found.url)  # it refuses those who could not agree, or would be another one on each host
        except ValueError as error:
            raise GorgonError(str(error).replace("its address names", "that is", 1)) from None
        here = mine if mine is not None else set(own_addresses())
        own = [each for each in addresses if each in here]
        if len(own) != 1:
            raise GorgonError(
                f"{'none' if not own else 'more than one'} of {' '.join(addresses)} is an address of this host, which "
                f"has {' '.join(sorted(here))}: write one address of each host, as in gorgonctl join 10.0.0.1 10.0.0.2 "
                "10.0.0.3"
            )
        return cls(addresses, own[0])

    @property
    def url(self) -> str:
        """What [broker] url is on each of them."""
        scheme, options = ("sentinels", f"&ssl_ca_certs={TLS.ca}") if TLS.there() else ("sentinel", "")
        return f"{scheme}://{','.join(map(shown, self.addresses))}/{NAME}?copies={COPIES}{options}"

    @property
    def first(self) -> bool:
        """Whether this host is the one that had what exists."""
        return self.own == self.addresses[0]

    @property
    def others(self) -> tuple[str, ...]:
        """All but this one."""
        return tuple(each for each in self.addresses if each != self.own)

    @property
    def line(self) -> str:
        """The command that is the same on each."""
        return f"gorgonctl join {' '.join(self.addresses)}"

    def invited_line(self, by: str) -> str:
        """The same for a host that is new, with the secrets of the host `by`, or of the first."""
        return f"ssh {by or self.addresses[0]} gorgonctl invite | gorgonctl join --invited {' '.join(self.addresses)}"


def _address(word: str) -> str:
    try:
        return str(ip_address(word.strip("[]")))
    except ValueError:
        raise GorgonError(
            f"{word} is no address: write that by which the other hosts reach this one, as 10.0.0.1; Sentinels name "
            "the master by its address"
        ) from None
