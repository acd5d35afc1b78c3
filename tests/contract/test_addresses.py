"""Every address that `connect` takes, with a real Redis behind it: TLS, unix socket, user, password, database."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import pytest

from gorgond.redpill import BrokerAway, BrokerError, BrokerRefused, Message, Producer, connect
from tests.conftest import RedisServer
from tests.waiting import HANGS
from tools.speed.ports import free_port

PASSWORD = "p@ss:w/rd?#%"
USER = f"app:{quote(PASSWORD, safe='')}"


@pytest.fixture
def guarded(redis_factory: Callable[..., RedisServer]) -> Callable[..., RedisServer]:
    """Start a Redis that lets only the user `app` in."""

    def make(**options: str) -> RedisServer:
        server = redis_factory(appendonly="yes", **options)
        server.cli("ACL", "SETUSER", "app", "on", f">{PASSWORD}", "~*", "&*", "+@all")
        server.cli("ACL", "SETUSER", "default", "off")
        return server

    return make


async def pushed(url: str, server: RedisServer, database: int) -> None:
    """A message pushed to `url` is in that database of the server."""
    async with Producer(connect(url), "test") as producer:
        await producer.push("q", Message("op"))
    found = await asyncio.to_thread(
        server.cli, "--no-auth-warning", "--user", "app", "--pass", PASSWORD, "-n", f"{database}", "LLEN", "gorgon:{q}"
    )
    assert found == "1"


async def refused(url: str) -> BrokerError:
    """Why a push to `url` fails."""
    link = connect(url).link("test")
    try:
        with pytest.raises(BrokerError) as found:
            await link.ping()
        return found.value
    finally:
        await link.close()


@pytest.mark.parametrize(
    "url",
    ["redis://host:port", "redis://host/queue", "redis://host?nosuch=1", "unix:///run/redis.sock?db=x", "http://host"],
)
def test_what_is_no_address_is_told_before_anything_is_connected(url: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        connect(url)


async def test_a_unix_socket(guarded: Callable[..., RedisServer]) -> None:
    server = guarded()
    await pushed(f"unix://{USER}@{server.socket}?db=3", server, 3)
    # the password may also stand behind, as redis-py has it
    await pushed(f"unix://{server.socket}?db=4&username=app&password={quote(PASSWORD, safe='')}", server, 4)
    assert isinstance(await refused(f"unix://app:wrong@{server.socket}"), BrokerRefused)
    assert isinstance(await refused(server.url), BrokerRefused)


async def test_tcp(guarded: Callable[..., RedisServer]) -> None:
    port = free_port()
    server = guarded(port=f"{port}")
    await pushed(f"redis://{USER}@localhost:{port}/2", server, 2)
    assert isinstance(await refused(f"redis://app:wrong@localhost:{port}"), BrokerRefused)


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """Of localhost, signed by nobody else, with its key beside it."""
    path = tmp_path / "localhost.pem"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost"
    command += f" -addext subjectAltName=DNS:localhost -out {path} -keyout {path.with_suffix('.key')}"
    subprocess.run(command.split(), check=True, capture_output=True, timeout=HANGS)
    return path


async def test_tls(guarded: Callable[..., RedisServer], certificate: Path) -> None:
    port = free_port()
    server = guarded(
        tls_port=f"{port}",
        tls_cert_file=f"{certificate}",
        tls_key_file=f"{certificate.with_suffix('.key')}",
        tls_ca_cert_file=f"{certificate}",
        tls_auth_clients="no",
    )
    await pushed(f"rediss://{USER}@localhost:{port}/1?ssl_ca_certs={certificate}", server, 1)
    # a certificate that nobody vouches for is not taken
    assert isinstance(await refused(f"rediss://{USER}@localhost:{port}"), BrokerAway)
