"""The certificates for TLS between hosts: a CA of our own, and what it has signed for this host.

    /etc/credstore/gorgond.tls.ca    the CA, its key and its certificate, the same on each host; for root alone
    /etc/gorgond/tls/ca.pem          its certificate, by which clients know servers
    /etc/gorgond/tls/host.pem        this host's certificate, with the names and addresses by which others reach it
    /etc/gorgond/tls/host.key        its key, for Redis and Sentinel, whose group reads it
    /etc/gorgond/tls/mongod.pem      both, for mongod, where there is one

A certificate is renewed for the key that is there: the two files fit together at any moment. Who wants another key
deletes host.key before that.
"""

from __future__ import annotations

import os
import pwd
import re
import socket
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any, TypeVar

import psutil
import redis
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from gorgond.commands import secrets, units
from gorgond.commands.files import write_whole
from gorgond.commands.hosts.files import TLS
from gorgond.errors import GorgonError
from gorgond.service.access import OPERATOR

DIRECTORY = TLS.directory
AUTHORITY = "gorgond.tls.ca"  # in the directory of secrets
BROKER_FILES = {"ca-cert": "ca.pem", "cert": "host.pem", "key": "host.key"}  # by the settings of Redis
MONGOD = "mongodb"  # the user of Debian's and MongoDB's own packages
AUTHORITY_DAYS = 20 * 365
HOST_DAYS = 730
EARLIER = timedelta(days=1)  # before now it begins: another host's clock may be behind
LEAST = timedelta(days=60)  # that a CA must have left

T = TypeVar("T")
Say = Callable[[str], None]
Key = ec.EllipticCurvePrivateKey
Names = tuple[str, ...]


def make_certificate(given: Sequence[str], say: Say) -> None:
    """Make this host's certificate, or a new one, for its addresses, its name, those `given`, and those that it had;
    first the CA, if there is none. The broker that runs here takes it over at once. Raises GorgonError."""
    for name in given:
        _check(name)
    group = secrets.broker_group()
    try:
        certificate, key = _authority(say)
        _write("ca.pem", _pem(certificate), 0o644)
        names = tuple(dict.fromkeys([*given, *_names_before(certificate), *_own_names()]))
        own = _own_key(group)
        made = _signed(names, own, certificate, key)
        _write("host.pem", _pem(made), 0o644)
        _for_mongod(_pem(made), own)
    except OSError as error:
        raise GorgonError(f"{error.filename}: {error.strerror}; are you root?") from None
    say(f"{DIRECTORY / 'host.pem'} is good until {_end(made):%Y-%m-%d}, for {' '.join(names)}")
    _take_over(say)


# ---- the names


def _check(name: str) -> None:
    with suppress(ValueError):
        ip_address(name)
        return
    if not re.fullmatch(r"(?=.{1,253}$)[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?(\.[A-Za-z0-9-]{1,63})*", name):
        raise GorgonError(f"{name} is no name and no address of a host: name those by which other hosts reach this one")


def _own_names() -> Iterable[str]:
    """The name of this host, and its addresses."""
    name = socket.gethostname()
    with suppress(GorgonError):
        _check(name)
        yield name
    yield from own_addresses()


def own_addresses() -> Iterator[str]:
    """Those of this host, but for those that each host has."""
    for some in psutil.net_if_addrs().values():
        for each in some:
            with suppress(ValueError):  # that of a network card
                address = ip_address(each.address)
                if not (address.is_loopback or address.is_link_local):
                    yield str(address)


def _names_before(authority: x509.Certificate) -> Names:
    """Those that its certificate has now. Raises GorgonError where that is of another CA."""
    file = DIRECTORY / "host.pem"
    if not file.exists():
        return ()
    found = _read(file, x509.load_pem_x509_certificate)
    if found.issuer != authority.subject:
        raise GorgonError(f"{file}: another CA has signed it, so it is left alone; delete it to have one of our own CA")
    names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return (*names.get_values_for_type(x509.DNSName), *map(str, names.get_values_for_type(x509.IPAddress)))


def _alternative(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)


# ---- the CA and what it signs


def _authority(say: Say) -> tuple[x509.Certificate, Key]:
    """The CA, which is made where there is none."""
    file = secrets.CREDENTIALS / AUTHORITY
    if not file.exists():
        key = ec.generate_private_key(ec.SECP256R1())
        name = _name(f"gorgond {os.urandom(4).hex()}")  # of two CAs each knows what is its own
        certificate = _certificate(name, name, key, key, AUTHORITY_DAYS, (), x509.BasicConstraints(True, 0))
        file.parent.mkdir(mode=0o700, exist_ok=True)
        write_whole(file, _pem(certificate) + _pem_of_key(key), 0o600)
        say(f"{file} is a new CA: give it to the other hosts, as gorgonctl invite does, then gorgonctl tls there")
    certificate = _read(file, x509.load_pem_x509_certificate)
    key = _read(file, _load_key)
    if _end(certificate) < datetime.now(UTC) + LEAST:
        raise GorgonError(
            f"{file}: this CA ends on {_end(certificate):%Y-%m-%d}; delete it and {DIRECTORY / 'host.pem'} on each "
            "host, and make another one"
        )
    return certificate, key


def _signed(names: Names, own: Key, authority: x509.Certificate, key: Key) -> x509.Certificate:
    days = min(HOST_DAYS, (_end(authority) - datetime.now(UTC)).days)
    return _certificate(_name(names[0]), authority.subject, own, key, days, names, x509.BasicConstraints(False, None))


def _certificate(
    subject: x509.Name, issuer: x509.Name, own: Key, key: Key, days: int, names: Names, kind: x509.BasicConstraints
) -> x509.Certificate:
    """That of `own`, signed with `key`; without names that of a CA."""
    now = datetime.now(UTC)
    usage = dict.fromkeys(
        ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "encipher_only",
         "decipher_only"), False,
    )  # fmt: skip
    made = (
        x509.CertificateBuilder(issuer, subject, own.public_key(), x509.random_serial_number())
        .not_valid_before(now - EARLIER)
        .not_valid_after(now + timedelta(days=days))
        .add_extension(kind, critical=True)
        .add_extension(
            x509.KeyUsage(digital_signature=not kind.ca, key_cert_sign=kind.ca, crl_sign=kind.ca, **usage),
            critical=True,
        )
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(own.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), critical=False)
    )
    if names:
        both = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]  # a replica is its master's client
        made = made.add_extension(x509.SubjectAlternativeName([*map(_alternative, names)]), critical=False)
        made = made.add_extension(x509.ExtendedKeyUsage(both), critical=False)
    return made.sign(key, hashes.SHA256())


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text[:64])])


def _end(certificate: x509.Certificate) -> datetime:
    with suppress(AttributeError):  # cryptography 38 has times without a zone
        return certificate.not_valid_after_utc
    return certificate.not_valid_after.replace(tzinfo=UTC)


# ---- files


def _own_key(group: int) -> Key:
    """The key of this host, which is made where there is none."""
    file = DIRECTORY / "host.key"
    if not file.exists():
        write_whole(file, _pem_of_key(ec.generate_private_key(ec.SECP256R1())), 0o640, gid=group)
    return _read(file, _load_key)


def _for_mongod(certificate: str, own: Key) -> None:
    """It reads both in one file, as the user that it is."""
    with suppress(KeyError):
        _write("mongod.pem", certificate + _pem_of_key(own), 0o600, pwd.getpwnam(MONGOD).pw_uid)


def _write(name: str, text: str, mode: int, uid: int = -1) -> None:
    if not DIRECTORY.exists():
        DIRECTORY.mkdir()
        DIRECTORY.chmod(0o755)  # whatever root's umask says: each role reads ca.pem
    write_whole(DIRECTORY / name, text, mode, uid)


def _read(file: Path, load: Callable[[bytes], T]) -> T:
    """What is in a file. Raises GorgonError where it is something else."""
    try:
        return load(file.read_bytes())
    except ValueError as error:
        raise GorgonError(f"{file}: cannot be read: {error}; delete it, and another one is made") from None


def _load_key(pem: bytes) -> Key:
    key = serialization.load_pem_private_key(pem, None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ValueError("it has a key of another kind")
    return key


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def _pem_of_key(key: Key) -> str:
    kinds = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, *kinds).decode()


# ---- who has it


def _take_over(say: Say) -> None:
    """Have those that run here show the certificate. A Sentinel reads it when it starts, which takes no second; those
    of the other hosts are a majority meanwhile."""
    if secrets.SOCKET.exists():
        password = (secrets.CREDENTIALS / f"gorgond.broker.password.{OPERATOR}").read_text().strip()
        try:
            with redis.Redis(
                unix_socket_path=str(secrets.SOCKET),
                username=OPERATOR,
                password=password,
                socket_timeout=10,
                decode_responses=True,
            ) as broker:
                reload_broker(broker, say)
        except redis.ConnectionError:
            pass  # it does not run; it reads the files when it starts
        except redis.RedisError as error:
            raise GorgonError(f"the broker did not take the certificate: {error}") from None
    if units.SYSTEMD.exists() and units.state(units.SENTINEL_UNIT) == "active":
        units.systemctl("restart", units.SENTINEL_UNIT)
        say("so does the Sentinel that runs here, which was started anew for it")


def reload_broker(broker: Any, say: Say) -> None:
    """Have this broker read the certificate anew, if it is ours; `say` is told what became of it."""
    ours = {f"tls-{what}-file": str(DIRECTORY / name) for what, name in BROKER_FILES.items()}
    if broker.config_get("tls-cert-file").get("tls-cert-file") != ours["tls-cert-file"]:
        say("the broker that runs here does not use it yet: docs/operations.md, «TLS between hosts», says how it does")
        return
    broker.execute_command("CONFIG", "SET", *(word for pair in ours.items() for word in pair))
    say("the broker that runs here shows it from now on")
