"""A Redis or a Sentinel of one of the hosts, as an operator asks it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from gorgond.commands.hosts.files import NAME, PORT, SENTINEL_PORT, TLS
from gorgond.commands.secrets import password
from gorgond.errors import GorgonError
from gorgond.service.access import OPERATOR, SENTINEL

ANSWER = 2.0  # seconds that one may take


@contextmanager
def broker_at(address: str, user: str = OPERATOR, secret: str | None = None) -> Iterator[Any]:
    """The Redis of a host, where we may do everything, or are this user with this password. Raises GorgonError when it
    does not answer."""
    with _client(address, PORT, user or None, password(user) if secret is None else secret, "Redis") as client:
        yield client


@contextmanager
def sentinel_at(address: str, may_order: bool = False, authority: str = "") -> Iterator[Any]:
    """The Sentinel of a host: to ask which Redis is the master, or where we may do everything. `authority` is the
    certificate of our CA where this host has none of its own yet. Raises the same."""
    user, secret = (SENTINEL, password(SENTINEL)) if may_order else (None, None)
    with _client(address, SENTINEL_PORT, user, secret, "Sentinel", authority) as client:
        yield client


@contextmanager
def _client(
    address: str, port: int, user: str | None, secret: str | None, what: str, authority: str = ""
) -> Iterator[Any]:
    options: dict[str, Any] = {"ssl": True, "ssl_check_hostname": True}
    options |= {"ssl_ca_data": authority} if authority else {"ssl_ca_certs": str(TLS.ca)}
    client = redis.Redis(
        address, port, username=user, password=secret, decode_responses=True, socket_timeout=ANSWER,
        socket_connect_timeout=ANSWER, retry=Retry(NoBackoff(), 0), **(options if authority or TLS.there() else {}),
    )  # fmt: skip
    try:
        with client:
            yield client
    except redis.RedisError as error:
        raise GorgonError(f"the {what} at {address}: {error}") from None


def master_by(sentinel: Any) -> str:
    """The address of the master that a Sentinel names; empty when it knows none."""
    named = sentinel.execute_command("SENTINEL GET-MASTER-ADDR-BY-NAME", NAME)
    return str(named[0]) if named else ""


def known_by(sentinel: Any) -> set[str]:
    """The addresses of the other Sentinels that one knows."""
    return {str(_about(row)["ip"]) for row in sentinel.execute_command("SENTINEL SENTINELS", NAME)}


def replicas_by(sentinel: Any) -> set[str]:
    """The addresses of the replicas that one knows, those that are away among them."""
    return {str(_about(row)["ip"]) for row in sentinel.execute_command("SENTINEL REPLICAS", NAME)}


def _about(row: Any) -> Mapping[str, Any]:
    """A row of what a Sentinel tells: redis-py reads it, or does not."""
    return row if isinstance(row, Mapping) else dict(zip(row[::2], row[1::2], strict=True))


def named_by(addresses: Collection[str], authority: str = "") -> str:
    """The master that most of those Sentinels name that answer; empty when none does. `authority` as for one."""
    found: Counter[str] = Counter()
    for address in addresses:
        try:
            with sentinel_at(address, authority=authority) as sentinel:
                found[master_by(sentinel)] += 1
        except GorgonError:
            continue
    del found[""]
    return found.most_common(1)[0][0] if found else ""


def following(replication: Mapping[str, Any]) -> set[str]:
    """The addresses of the replicas that a master has now, by its INFO."""
    rows = [each for key, each in replication.items() if key.startswith("slave") and isinstance(each, dict)]
    return {str(row["ip"]) for row in rows if row["state"] == "online"}
