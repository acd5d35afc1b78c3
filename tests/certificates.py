"""The files of gorgonctl tls in a test."""

from __future__ import annotations

import grp
import os
import pwd
from pathlib import Path

import pytest

from gorgond.commands import secrets, tls, units


def kept_in(directory: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Have gorgonctl tls make them there, for who runs this test: where those are that servers have."""
    monkeypatch.setattr(secrets, "CREDENTIALS", directory / "credstore")
    monkeypatch.setattr(secrets, "SOCKET", directory / "no.sock")
    monkeypatch.setattr(secrets, "GROUP", grp.getgrgid(os.getegid()).gr_name)
    monkeypatch.setattr(units, "SYSTEMD", directory / "no-systemd")
    monkeypatch.setattr(tls, "DIRECTORY", directory / "tls")
    monkeypatch.setattr(tls, "MONGOD", pwd.getpwuid(os.geteuid()).pw_name)
    return directory / "tls"
