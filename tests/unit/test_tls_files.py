"""The certificates of a host: made, renewed for the same key, readable for nobody else; TLS takes them."""

from __future__ import annotations

import os
import socket
import ssl
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509

from gorgond.commands import secrets, tls, units
from gorgond.errors import GorgonError
from tests.certificates import kept_in


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory in place of those of the host."""
    kept_in(tmp_path, monkeypatch)
    return tmp_path


def make(*names: str) -> list[str]:
    """What is said."""
    said: list[str] = []
    tls.make_certificate(names, said.append)
    return said


def certificate(host: Path, name: str = "host.pem") -> x509.Certificate:
    return x509.load_pem_x509_certificate((host / "tls" / name).read_bytes())


def shakes_hands(host: Path, name: str, authority: Path | None = None) -> bool:
    """Whether a client that wants `name` takes a server with these files for it, by the strictest rules there are."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(host / "tls/host.pem", host / "tls/host.key")
    client = ssl.create_default_context(cafile=str(authority or host / "tls/ca.pem"))
    client.verify_flags |= ssl.VERIFY_X509_STRICT
    ours, theirs = socket.socketpair()

    def serve() -> None:
        try:
            server.wrap_socket(theirs, server_side=True).close()
        except (ssl.SSLError, OSError):
            theirs.close()

    serving = threading.Thread(target=serve)
    serving.start()
    try:
        client.wrap_socket(ours, server_hostname=name).close()
    except ssl.SSLCertVerificationError:
        return False
    finally:
        ours.close()
        serving.join()
    return True


def test_one_command_makes_all_that_a_host_needs(host: Path) -> None:
    # when it is given on the first host, by a root whose umask lets nobody read
    before = os.umask(0o077)
    try:
        said = make("db1.example")
    finally:
        os.umask(before)
    # then there is a CA, which root alone reads, and a key that is the broker's
    assert said[0].startswith(f"{host}/credstore/gorgond.tls.ca is a new CA: give it to the other hosts")
    assert said[1].startswith(f"{host}/tls/host.pem is good until ")
    modes = {file.name: file.stat().st_mode & 0o777 for file in (*host.glob("credstore/*"), *host.glob("tls/*"))}
    assert modes == {
        "gorgond.tls.ca": 0o600, "ca.pem": 0o644, "host.pem": 0o644, "host.key": 0o640, "mongod.pem": 0o600,
    }  # fmt: skip
    assert (host / "tls/host.key").stat().st_gid == os.getegid()
    assert (host / "tls").stat().st_mode & 0o777 == 0o755
    # and TLS takes the host for each of its names and addresses, and for no other
    assert shakes_hands(host, "db1.example")
    assert shakes_hands(host, socket.gethostname())
    for address in tls.own_addresses():
        assert shakes_hands(host, address)
    assert not shakes_hands(host, "db2.example")
    assert not shakes_hands(host, "192.0.2.77")
    # mongod reads both in one file
    assert (host / "tls/mongod.pem").read_text().count("BEGIN") == 2


def test_another_host_with_the_same_ca_is_trusted(host: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make("h1")
    first = host / "tls/ca.pem"
    # given another host, which was given the CA
    monkeypatch.setattr(tls, "DIRECTORY", host / "other/tls")
    (host / "other").mkdir()
    assert len(make("h2")) == 1
    # then each knows the other
    assert shakes_hands(host / "other", "h2", first)
    assert not shakes_hands(host / "other", "h1", first)
    # and one with a CA of its own nobody
    (host / "credstore/gorgond.tls.ca").unlink()
    monkeypatch.setattr(tls, "DIRECTORY", host / "stranger/tls")
    (host / "stranger").mkdir()
    make("h3")
    assert not shakes_hands(host / "stranger", "h3", first)


def test_the_same_command_renews(host: Path) -> None:
    make("db1.example")
    before, key, authority = certificate(host), (host / "tls/host.key").read_text(), certificate(host, "ca.pem")
    # when it is given again, without the name
    make()
    # then there is another certificate, for the same key and names, of the same CA
    after = certificate(host)
    assert after.serial_number != before.serial_number
    assert (host / "tls/host.key").read_text() == key
    assert certificate(host, "ca.pem") == authority
    assert shakes_hands(host, "db1.example")
    # two years from now, begun yesterday since another host's clock may be behind
    now = datetime.now(UTC)
    assert 700 < (tls._end(after) - now).days < 740
    assert ssl.create_default_context().cert_store_stats() is not None


def _other_key(host: Path) -> None:
    (host / "tls/host.pem").write_bytes((host / "tls/ca.pem").read_bytes().replace(b"CERT", b"DREC", 1))


def _another_ca(host: Path) -> None:
    (host / "credstore/gorgond.tls.ca").unlink()


def _no_key(host: Path) -> None:
    (host / "credstore/gorgond.tls.ca").write_bytes((host / "tls/ca.pem").read_bytes())


def _old_ca(host: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tls, "AUTHORITY_DAYS", 59)
        (host / "credstore/gorgond.tls.ca").unlink()
        (host / "tls/host.pem").unlink()
        make_quietly()


def make_quietly() -> None:
    with pytest.raises(GorgonError):
        make()


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (_other_key, "host.pem: cannot be read"),
        (_another_ca, "host.pem: another CA has signed it, so it is left alone; delete it"),
        (_no_key, "gorgond.tls.ca: cannot be read"),
        (_old_ca, "this CA ends on .*; delete it and .* on each host, and make another one"),
    ],
)
def test_what_is_in_the_way_is_told_with_what_to_do(host: Path, spoil: Callable[[Path], None], told: str) -> None:
    make("db1.example")
    spoil(host)
    before = (host / "tls/host.pem").read_bytes() if (host / "tls/host.pem").exists() else b""
    with pytest.raises(GorgonError, match=told):
        make()
    # and nothing was changed
    assert (host / "tls/host.pem").exists() == bool(before)
    assert not before or (host / "tls/host.pem").read_bytes() == before


@pytest.mark.parametrize("name", ["https://db1", "db 1", "-x", "*.example", "db1:6379", ".", "a" * 64])
def test_a_word_that_is_no_name_is_refused(host: Path, name: str) -> None:
    with pytest.raises(GorgonError, match="is no name and no address of a host"):
        make(name)
    assert not (host / "tls").exists()


def test_without_the_package_nothing_is_left_behind(host: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(secrets, "GROUP", "nobodys-group")
    with pytest.raises(GorgonError, match="apt install gorgond"):
        make()
    assert not list(host.iterdir())


@pytest.mark.parametrize("state", ["active", "inactive"])
def test_a_sentinel_that_runs_is_started_anew(host: Path, state: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # given a host with systemd, on which a Sentinel runs, or none does
    asked: list[tuple[str, ...]] = []
    monkeypatch.setattr(units, "SYSTEMD", host)
    monkeypatch.setattr(units, "state", lambda _: state)
    monkeypatch.setattr(units, "systemctl", lambda *words: asked.append(words))
    # when the certificate is made, then it is told to show that
    said = make()
    assert asked == [("restart", "gorgon-sentinel.service")] * (state == "active")
    assert ("so does the Sentinel that runs here, which was started anew for it" in said) == bool(asked)
