"""The picture of the fabric: the stats server's, or one of our own where none answers."""

from __future__ import annotations

import asyncio
import json
from http.client import HTTPConnection, HTTPException
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

from gorgond.commands.operator.installation import Installation
from gorgond.redpill import BrokerAway, now_ms

if TYPE_CHECKING:
    from gorgond.commands.operator.observer import Observer

PATIENCE = 2.0  # seconds that the stats server may take to answer
STALE = 5.0  # seconds after which its picture is none any more

Picture = dict[str, Any]


class Watch:
    """Pictures, as often as one is asked for."""

    def __init__(self, installation: Installation) -> None:
        self._installation = installation
        self._url, self._password = installation.stats_url(), installation.stats_password()
        self._observer: Observer | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._observer is not None:
            await self._observer.close()

    async def picture(self) -> Picture:
        """The picture as it is known now. Without a stats server the first one takes a few seconds, in which we listen
        ourselves. Raises GorgonError when we may not."""
        found = await asyncio.to_thread(_from_server, self._url, self._password) if self._url else None
        if found is not None:
            return found
        if self._observer is None:
            from gorgond.commands.operator.observer import Observer

            self._observer = Observer(self._installation.connect())
        return await self._observer.picture()


def look(data: str | None) -> Picture:
    """The picture of the fabric of this directory, or of that which is here. Raises GorgonError."""

    async def ask() -> Picture:
        async with Watch(Installation.of(data)) as watch:
            return await watch.picture()

    return asyncio.run(ask())


def look_at_living(data: str | None) -> Picture:
    """The same, whose figures are old unless the brokers answer: then it raises BrokerAway."""
    found = look(data)
    for broker in found["redis"]:
        if broker["away"]:
            raise BrokerAway(f"the broker {broker['where']} does not answer: {broker['reason']}")
    return found


def _from_server(url: str, password: str) -> Picture | None:
    """The picture of the stats server at `url`, for the operator's password, empty without one; None when it gives us
    none, or an old one."""
    where = urlsplit(url)
    connection = HTTPConnection(where.hostname or "", where.port, timeout=PATIENCE)
    try:
        connection.request(
            "GET", "/api/stats.json", headers={"Authorization": f"Bearer {password}"} if password else {}
        )
        answer = connection.getresponse()
        found: Picture = json.loads(answer.read()) if answer.status == 200 else {}
    except (OSError, HTTPException, ValueError):
        return None
    finally:
        connection.close()
    return found if found and now_ms() - found["at"] < STALE * 1000 else None
