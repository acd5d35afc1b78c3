"""A Redis behind TLS: queues work over it, and nobody else is taken for it."""

from __future__ import annotations

import asyncio
import re
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from gorgond.redpill import (
    Caller,
    Consumer,
    Done,
    Message,
    Outcome,
    Producer,
    connect,
    now_ms,
)
from tests.conftest import RedisServer
from tests.contract.stage import refused
from tests.programs import gorgond, started
from tests.waiting import eventually
from tools.speed.ports import free_port


@dataclass(frozen=True)
class Certificates:
    """Files of a CA, of what it signed for localhost, and of a CA that signed nothing here."""

    ca: Path
    certificate: Path
    key: Path
    other: Path


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    directory = tmp_path_factory.mktemp("tls")

    def openssl(*arguments: str) -> None:
        done = subprocess.run(
            ["openssl", *arguments], cwd=directory, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, done.stderr

    new = ("-newkey", "rsa:2048", "-nodes")
    for name in ("ca", "other"):
        openssl("req", "-x509", *new, "-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.pem")
    openssl("req", *new, "-subj", "/CN=localhost", "-keyout", "server.key", "-out", "server.csr")
    (directory / "names").write_text("subjectAltName=DNS:localhost")
    signed = ("-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-extfile", "names", "-out", "server.pem")
    openssl("x509", "-req", "-in", "server.csr", *signed)
    return Certificates(*(directory / name for name in ("ca.pem", "server.pem", "server.key", "other.pem")))


@dataclass(frozen=True)
class Served:
    """The ports of a Redis, over TLS and without, and the option that names its CA."""

    tls: int
    plain: int
    ca: str


@pytest.fixture
def served(redis_factory: Callable[..., RedisServer], certificates: Certificates) -> Served:
    tls, plain = free_port(), free_port()
    files = {"cert": certificates.certificate, "key": certificates.key, "ca_cert": certificates.ca}
    options = {f"tls_{name}_file": str(file) for name, file in files.items()}
    redis_factory(port=str(plain), tls_port=str(tls), tls_auth_clients="no", **options)
    return Served(tls, plain, f"ssl_ca_certs={certificates.ca}")


async def test_jobs_and_calls_go_over_it(served: Served) -> None:
    broker = connect(f"rediss://localhost:{served.tls}?{served.ca}", durable=False)

    async def shout(messages: Sequence[Message]) -> Sequence[Outcome]:
        return [Done(message.op.upper().encode()) for message in messages]

    consumer = Consumer(broker, "q", "consumer", shout)
    running = asyncio.create_task(consumer.run())
    async with Producer(broker, "test") as producer:
        await producer.push("q", *(Message("job") for _ in range(100)))
        caller = Caller(broker, producer, "answers", "test")
        caller.start()
        reply = await caller.call("q", Message("call", deadline=now_ms() + 60_000))
        await caller.stop()
    consumer.stop()
    await running
    link = broker.link("test")
    (counts,) = await link.counts(["q"])
    await link.close()
    assert reply.body == b"CALL"
    assert (counts.accepted, counts.done) == (101, 101)


@pytest.mark.parametrize("more", ["", "&ssl_check_hostname=true"])
async def test_a_certificate_of_another_name_is_refused(served: Served, more: str) -> None:
    told = await refused(f"rediss://127.0.0.1:{served.tls}?{served.ca}{more}")
    assert re.match(r"BrokerAway: its certificate is not accepted: .*127\.0\.0\.1", told)
    assert "perhaps" not in told


async def test_a_certificate_of_an_unknown_authority_is_refused(served: Served, certificates: Certificates) -> None:
    for options in ("", f"?ssl_ca_certs={certificates.other}"):
        told = await refused(f"rediss://localhost:{served.tls}{options}")
        assert re.match(r"BrokerAway: its certificate is not accepted: .*certificate.*ssl_ca_certs=", told)


async def test_whoever_asks_for_less_gets_less_and_is_told(
    served: Served, caplog: pytest.LogCaptureFixture, expected_logs: Callable[[str], None]
) -> None:
    expected_logs("others in the network may pass for the broker")
    for less in ("ssl_cert_reqs=none", "ssl_check_hostname=false"):
        options = less if "none" in less else f"{served.ca}&{less}"
        assert await refused(f"rediss://127.0.0.1:{served.tls}?{options}") == "nothing is wrong"
        assert f"others in the network may pass for the broker: leave {less} out of its address" in caplog.text


async def test_who_speaks_plain_there_or_tls_elsewhere_is_told(served: Served) -> None:
    told = await refused(f"redis://localhost:{served.tls}")
    assert re.fullmatch(r"BrokerAway: .+ \(perhaps it speaks TLS: rediss://\)", told)
    told = await refused(f"rediss://localhost:{served.plain}?{served.ca}")
    assert re.fullmatch(r"BrokerAway: .+ \(perhaps it speaks no TLS: redis://\)", told)
    # and where nobody listens, that is all there is to say
    told = await refused(f"rediss://localhost:{free_port()}?{served.ca}")
    assert told.startswith("BrokerAway: ")
    assert "perhaps" not in told


def test_a_process_says_why_it_waits_and_ends_where_a_file_is_not_there(
    served: Served, certificates: Certificates, tmp_path: Path
) -> None:
    def url(ca: Path) -> str:
        return f"rediss://localhost:{served.tls}?ssl_ca_certs={ca}"

    output = tmp_path / "store"
    with started(
        "store", "--store", f"sqlite:///{tmp_path}/db", output=output, GORGOND_BROKER_URL=url(certificates.other)
    ):
        away = f"broker localhost:{served.tls} is away, waiting for it: its certificate is not accepted"
        eventually(lambda: away in output.read_text())
    done = gorgond("store", GORGOND_BROKER_URL=url(Path("/nowhere/ca.pem")))
    assert done.returncode == 78
    assert "[broker] url: a file of TLS that its address names cannot be used: No such file" in done.stderr
