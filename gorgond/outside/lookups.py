"""From a name to addresses, each of them judged: the connection is made to exactly the addresses that were, so it does
not matter what the name leads to a moment later.

A name server may hang, and the library's call cannot be broken off. So each lookup has a thread of its own, which
nobody waits for when the process ends; who asks for the same name meanwhile waits for the same one.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from tornado.netutil import Resolver

from gorgond.errors import PrivateAddress, Unreachable
from gorgond.outside.addresses import is_public
from gorgond.validators import Network

LOOKUPS_MAX = 64  # under way

Found = list[tuple[int, Any]]
"""Families of addresses, with the addresses as sockets take them."""
LookUp = Callable[[str, int, int], Found]

log = logging.getLogger("gorgond.outside")


def look_up(host: str, port: int, family: int) -> Found:
    """The addresses of a name, by this host's configuration; waits for them. Raises OSError."""
    found = socket.getaddrinfo(host, port, family, socket.SOCK_STREAM)
    return list(dict.fromkeys((int(each[0]), each[4]) for each in found))


class JudgedAddresses(Resolver):
    """Finds the addresses that a connection may be made to. Networks that are `allowed` count as public; `look_up` asks
    for a name's addresses, which may take `seconds`."""

    def initialize(self, allowed: Sequence[Network], look_up: LookUp, seconds: float) -> None:
        self._allowed = allowed
        self._seconds = seconds
        self._look_up = look_up
        self._under_way: dict[tuple[str, int, int], asyncio.Future[Found]] = {}

    async def resolve(self, host: str, port: int, family: socket.AddressFamily = socket.AF_UNSPEC) -> Found:
        """Raises Unreachable for a name that leads nowhere, and PrivateAddress for one that leads, with any of its
        addresses, to what is none of the public's."""
        try:
            async with asyncio.timeout(self._seconds):
                found = await asyncio.shield(self._looked_up((host, port, int(family))))
        except TimeoutError:
            raise Unreachable("its name server does not answer") from None
        except (OSError, UnicodeError, ValueError) as error:
            raise Unreachable(f"its name leads nowhere: {error}") from None
        for _, address in found:
            if not is_public(address[0], self._allowed):
                # What it is stays here: who names a URL is not to learn what names of ours lead to.
                log.info("nobody is asked at %s, which leads to %s", host, address[0])
                raise PrivateAddress("it leads to a private address")
        return found

    def _looked_up(self, name: tuple[str, int, int]) -> asyncio.Future[Found]:
        if name in self._under_way:
            return self._under_way[name]
        if len(self._under_way) >= LOOKUPS_MAX:
            raise Unreachable("too many names are being looked up")
        loop = asyncio.get_running_loop()
        future = self._under_way[name] = loop.create_future()

        def tell(found: Found, error: Exception | None) -> None:
            del self._under_way[name]
            if future.cancelled():
                return
            if error is None:
                future.set_result(found)
            else:
                future.set_exception(error)
                future.exception()  # perhaps nobody waits for it any more

        def work() -> None:
            found: Found = []
            failed = None
            try:
                found = self._look_up(*name)
            except Exception as error:  # noqa: BLE001 - whoever waits for it is told
                failed = error
            with suppress(RuntimeError):  # the loop has ended meanwhile
                loop.call_soon_threadsafe(tell, found, failed)

        threading.Thread(target=work, name=f"look up {name[0]}", daemon=True).start()
        return future
