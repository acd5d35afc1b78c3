"""Which URLs anybody may have us ask. One that is refused here could be asked as little: its address is judged again
whenever it is asked, for a name may lead elsewhere by then. So what is looked at here is what can be seen without
asking a name server.

A URL is of the few characters that nobody reads otherwise than we do: no backslash, no blank, no name of other letters
than ASCII's, which different programs make different addresses of.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from gorgond.errors import BadRequest
from gorgond.outside.addresses import is_public, written
from gorgond.validators import Network

LENGTH_MAX = 2000  # characters

_URL = re.compile(r"https://(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_.-]+)(?::([0-9]{1,5}))?(?:[/?][^#\\]*)?")
_PLAIN = re.compile("[!-~]*")
_OURS = re.compile(r"([^.]*|.*\.(localhost|local|internal|home\.arpa))\.?")  # names that mean nothing outside


def check_url(url: str, allowed: Sequence[Network] = (), field: str = "url") -> None:
    """Raises BadRequest, naming `field`, unless we may be had to ask there; networks that are `allowed` count as
    public."""

    def refuse(message: str) -> BadRequest:
        return BadRequest(field, message)

    if not url.startswith("https://"):
        raise refuse("must begin with https://")
    if len(url) > LENGTH_MAX:
        raise refuse(f"must have at most {LENGTH_MAX} characters")
    if not _PLAIN.fullmatch(url):
        raise refuse("must be of ASCII's characters without blanks: a name in its xn-- form, all else as %XX")
    if "@" in re.split(r"[/?#\\]", url.removeprefix("https://"), maxsplit=1)[0]:
        raise refuse("must have no user and no password in it")
    match = _URL.fullmatch(url)
    if match is None or not 0 < int(match[2] or 443) < 65536:
        raise refuse("must be as https://example.org/path")
    host = match[1].lower()
    address = written(host)
    if host.startswith("[") and not address:
        raise refuse("must be as https://example.org/path")
    if not is_public(address, allowed) if address else not allowed and _OURS.fullmatch(host):
        raise refuse("must lead to an address of the public Internet, not to a private one")
