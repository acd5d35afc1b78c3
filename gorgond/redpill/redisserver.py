"""A Redis by its address: what the driver is told, and what is known of it, shared by all connections to it."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit
from weakref import WeakKeyDictionary

from redis.asyncio import ConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from gorgond.redpill.broker import Broker
from gorgond.redpill.meaning import ROUND_TIMEOUT
from gorgond.redpill.redisprotocol import RedisProtocol

DRIVER_ERRORS = (RedisError, OSError, TimeoutError)
NONSENSE = (AttributeError, LookupError, TypeError, ValueError)  # what reading the answer of another server may raise
TRUSTING = ("ssl_check_hostname=false", "ssl_cert_reqs=none", "ssl_cert_reqs=optional")
"""What makes clients take others for the broker; `optional` is that without a certificate for the other side."""
READ_SIZE = 1 << 20  # bytes taken from the socket at a time: a batch of replies may be large


def driver(url: str) -> ConnectionPool:
    """What makes the driver's connections to the Redis at this URL. Raises ValueError for one that it cannot read."""
    # One timeout a round, here; the driver's own are off, and so are its repeats.
    options: dict[str, Any] = {"socket_timeout": None, "socket_connect_timeout": ROUND_TIMEOUT}
    options |= {"socket_read_size": READ_SIZE, "retry": Retry(NoBackoff(), 0), "health_check_interval": 0}
    known = inspect.signature(Redis.__init__).parameters
    if "protocol" in known:
        options["protocol"] = 2
    # Newer drivers introduce themselves with CLIENT SETINFO, which Redis 7.0 does not know nor our users there may.
    silent = {"driver_info"} & set(known) or {"lib_name", "lib_version"} & set(known)
    options |= dict.fromkeys(silent)
    if not url.startswith("unix:") and urlsplit(url).path.strip("/0123456789"):
        raise ValueError("the database in its address must be a number, as in redis://host/0")
    if url.startswith("rediss:") and "ssl_cert_reqs=none" not in url:
        options["ssl_check_hostname"] = True  # older drivers take a certificate for any name
    try:
        pool = ConnectionPool.from_url(url, **options)
        made: Any = pool.make_connection()  # type: ignore[no-untyped-call] # it takes all that the address says
        if url.startswith("rediss:"):
            made.ssl_context.get()  # it reads the files
    except OSError as error:
        raise ValueError(f"a file of TLS that its address names cannot be used: {error.strerror or error}") from None
    except (TypeError, ValueError, RedisError):  # whose words may hold part of a password that was not quoted
        raise ValueError("its address is not understood, or an option of it; quote passwords: / is %2F") from None
    return pool


async def dial(pool: ConnectionPool) -> RedisProtocol:
    """A connection of the driver's, made, logged in and taken over. Raises its errors."""
    made: Any = pool.make_connection()  # type: ignore[no-untyped-call]
    for name in ("host", "port"):  # redis 4.3.4 tells of a unix socket's errors with what only others have
        if not hasattr(made, name):
            setattr(made, name, "")
    try:
        await made.connect()
        return RedisProtocol(made)
    except BaseException:
        with contextlib.suppress(*DRIVER_ERRORS):
            await made.disconnect()
        raise


def fields(infos: Sequence[bytes]) -> dict[str, str]:
    """The fields in answers to INFO."""
    return dict(line.split(":", 1) for line in b"\n".join(infos).decode().splitlines() if ":" in line)


def pairs(row: Sequence[bytes]) -> dict[bytes, bytes]:
    """What is told as a name and its value, another name, … Raises one of NONSENSE."""
    return dict(zip(row[::2], row[1::2], strict=True))


class RedisServer(Broker, ABC):
    """A Redis, or several of which one is the master. `checked` says that it is one we can use, `may_load` that we were
    never refused to load a script. What was promised counts when `copies` replicas have it. `role` is its answer to
    ROLE when a connection was made last. `trusting` is an option of its address by which others may pass for it."""

    def __init__(self, url: str, shown: str, durable: bool, copies: int = 0) -> None:
        super().__init__(url, shown)
        self.durable, self.checked, self.may_load = durable, False, True
        self.copies = copies
        self.role: Sequence[Any] = (b"master", 0, ())
        query = url.partition("?")[2].lower().split("&")
        self.trusting = next((each for each in TRUSTING if each in query), "")
        self._loading: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock] = WeakKeyDictionary()

    @abstractmethod
    async def open(self) -> RedisProtocol:
        """A connection to it, logged in. Raises BrokerAway, BrokerRefused, and the driver's errors."""

    def loading(self) -> asyncio.Lock:
        """Held by the connection of this event loop that loads scripts: all of them meet a new Redis at once, and one
        is enough."""
        return self._loading.setdefault(asyncio.get_running_loop(), asyncio.Lock())
