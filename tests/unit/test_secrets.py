"""The secrets of a host: made where they are missing, and an empty file is none."""

from __future__ import annotations

import grp
import os
from pathlib import Path

import pytest

from gorgond.commands import secrets
from gorgond.errors import GorgonError
from gorgond.service.access import USERS


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory in place of those of the host, and all secrets in it."""
    monkeypatch.setattr(secrets, "CREDENTIALS", tmp_path / "credstore")
    monkeypatch.setattr(secrets, "ACL", tmp_path / "broker/users.acl")
    monkeypatch.setattr(secrets, "SOCKET", tmp_path / "broker.sock")
    monkeypatch.setattr(secrets, "GROUP", grp.getgrgid(os.getegid()).gr_name)
    secrets.make_secrets(lambda _: None)
    return tmp_path / "credstore"


def test_each_user_has_a_password_and_nobody_else_reads_it(made: Path) -> None:
    names = {file.name for file in made.iterdir()}
    assert names == {"gorgond.auth.key", "gorgond.stats.password"} | {
        f"gorgond.broker.password.{user}" for user in USERS
    }
    assert made.stat().st_mode & 0o777 == 0o700
    assert {file.stat().st_mode & 0o777 for file in made.iterdir()} == {0o600}
    assert len({file.read_text() for file in made.iterdir()}) == len(names)


def test_a_secret_that_is_there_stays_and_an_empty_one_is_made(made: Path) -> None:
    # given what a crash between making and writing a file leaves
    key, password = made / "gorgond.auth.key", made / "gorgond.broker.password.web"
    before = (made / "gorgond.broker.password.app").read_text()
    rights = (made.parent / "broker/users.acl").read_text()
    key.write_text("\n")
    password.write_text("")
    # when the secrets are made
    secrets.make_secrets(lambda _: None)
    # then both are secrets again, the broker knows the password, and the others are as they were
    assert len(key.read_text().strip()) == 44
    assert password.read_text().strip()
    assert key.stat().st_mode & 0o777 == 0o600
    assert (made / "gorgond.broker.password.app").read_text() == before
    assert (made.parent / "broker/users.acl").read_text() != rights


def test_what_is_in_the_way_is_told_with_what_to_do(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # given a host on which no package has made the group
    with monkeypatch.context() as host:
        host.setattr(secrets, "GROUP", "nobodys-group")
        host.setattr(secrets, "CREDENTIALS", made.parent / "none")
        with pytest.raises(
            GorgonError, match="the group nobodys-group is missing, which comes with the Debian package"
        ):
            secrets.make_secrets(lambda _: None)
        # then nothing is left behind there
        assert not (made.parent / "none").exists()
    # given a secret that is no text
    (made / "gorgond.auth.key").write_bytes(b"\xff\xfe")
    with pytest.raises(GorgonError, match=r"gorgond\.auth\.key: is not text in UTF-8; delete it"):
        secrets.make_secrets(lambda _: None)


@pytest.mark.parametrize("text", ["[stats]\npassword = theirs\n", "what is no configuration\n"])
def test_the_operators_password_of_the_configuration_stays(
    made: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    # given that file, and no secret that would go before its password
    (made / "gorgond.stats.password").unlink()
    (made / "gorgond.conf").write_text(text)
    monkeypatch.setenv("GORGOND_CONFIG", str(made / "gorgond.conf"))
    # when the secrets are made, then none is made of it
    secrets.make_secrets(lambda _: None)
    assert not (made / "gorgond.stats.password").exists()
