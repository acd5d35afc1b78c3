"""Each deed of an operator is a line in the system's log."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from gorgond.auth.sealing import new_key
from gorgond.commands import secrets
from gorgond.commands.operator import noted
from gorgond.commands.operator.installation import Installation
from gorgond.commands.operator.noted import note
from gorgond.commands.operator.roles import describe_change
from gorgond.service.pseudonyms import Pseudonyms


@pytest.fixture
def system_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """The receiving end of /dev/log."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(str(tmp_path / "log"))
        server.settimeout(60)
        monkeypatch.setattr(noted, "SYSTEM_LOG", tmp_path / "log")
        yield server


@pytest.fixture
def installation() -> Installation:
    """The fabric of this host's units."""
    return Installation.of(None, {"GORGOND_BROKER_URL": "memory://noted"})


def test_each_thing_is_a_line_with_who_did_it(
    system_log: socket.socket, installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SUDO_USER", "grace")
    note(installation, ["q is paused", "r is \x1b]0;paused\x07\u202e"])
    lines = [system_log.recv(1000).decode().rstrip("\0") for _ in range(2)]
    for line, what in zip(lines, ("q is paused", r"r is \u001b]0;paused\u0007\u202e"), strict=True):
        assert line.startswith("<30>gorgonctl[")
        assert line.endswith(f"]: the operator (grace): {what}")


def test_roles_are_given_to_an_account_by_its_pseudonym() -> None:
    key = new_key()
    installation = Installation.of(
        None, {"GORGOND_BROKER_URL": "memory://noted", "GORGOND_AUTH_KEY": f"{key} {new_key()}"}
    )
    account = Pseudonyms(key.encode()).of("account", "u@bücher.example")
    assert (
        describe_change(installation, "U@xn--bcher-kva.example", ["admin", "editor"])
        == f"{account} has the roles admin editor now"
    )
    assert describe_change(installation, "u@bücher.example", []) == f"{account} has the roles none now"


def test_without_a_key_it_is_an_account(
    installation: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(secrets, "CREDENTIALS", tmp_path)
    assert describe_change(installation, "ada@notes.example", ["admin"]) == "an account has the roles admin now"


def test_without_a_log_it_is_done_all_the_same(
    installation: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(noted, "SYSTEM_LOG", tmp_path / "none")
    note(installation, ["q is paused"])
