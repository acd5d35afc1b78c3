"""A MongoDB over TLS with the certificates of gorgonctl tls: notes are stored, and nobody else is taken for it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pymongo
import pytest

from gorgond.commands import tls
from gorgond.errors import StoreAway
from gorgond.stores import open_store
from gorgond.stores.contract import Write
from tests.certificates import kept_in
from tests.conftest import MongodServer
from tools.speed.ports import free_port


class Secure(MongodServer):
    """A mongod that others reach over TLS alone, with the files in a directory."""

    def __init__(self, binary: str, directory: Path, files: Path) -> None:
        secure = ["--tlsMode", "requireTLS", "--tlsAllowConnectionsWithoutCertificates"]
        secure += ["--tlsCertificateKeyFile", str(files / "mongod.pem"), "--tlsCAFile", str(files / "ca.pem")]
        self.port = free_port()
        super().__init__(binary, directory, "--port", str(self.port), *secure)
        self._files = files

    @property
    def bound(self) -> str:
        return "127.0.0.1"

    def address(self, host: str) -> str:
        return f"mongodb://{host}:{self.port}/notes?tls=true&tlsCAFile={self._files / 'ca.pem'}"

    def ready(self) -> bool:
        try:
            client: pymongo.MongoClient[dict[str, Any]]
            with pymongo.MongoClient(self.address("localhost"), serverSelectionTimeoutMS=200) as client:
                return bool(client.admin.command("ping")["ok"])
        except pymongo.errors.PyMongoError:
            return False


@pytest.fixture
def server(
    mongod_binary: str, tmp_path_factory: pytest.TempPathFactory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Secure]:
    kept_in(tmp_path, monkeypatch)
    tls.make_certificate(["localhost"], lambda _: None)
    server = Secure(mongod_binary, tmp_path_factory.mktemp("mongod"), tmp_path / "tls")
    try:
        server.start()
        yield server
    finally:
        server.close()


def test_notes_are_stored_over_tls_by_who_has_the_right_name(server: Secure) -> None:
    with closing(open_store(server.address("localhost"))) as store:
        assert store.write([Write("insert", "items", "a", 1, {"title": "x"})]) == ["stored"]
    with closing(open_store(server.address("127.0.0.1"))) as store, pytest.raises(StoreAway, match=r"127\.0\.0\.1"):
        store.write([Write("insert", "items", "b", 1, {"title": "x"})])
