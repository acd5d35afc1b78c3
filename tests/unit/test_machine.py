"""Which machine this is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from gorgond.service import machine
from gorgond.service.machine import machine_id


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What is known of it: `installed` and `booted`."""
    monkeypatch.delenv(machine.BOOT, raising=False)
    for name in ("installed", "booted"):
        (tmp_path / name).write_text(f"{name}\n")
        monkeypatch.setattr(machine, f"_{name.upper()}", tmp_path / name)
    return tmp_path


@pytest.mark.usefixtures("files")
def test_it_stays_the_same_and_tells_nothing() -> None:
    assert re.fullmatch("[0-9a-f]{8}", machine_id())
    assert machine_id() == machine_id()


@pytest.mark.parametrize("changed", ["installed", "booted"])
def test_each_of_what_it_is_made_of_tells_machines_apart(files: Path, changed: str) -> None:
    before = machine_id()
    (files / changed).write_text("another\n")
    assert machine_id() != before


def test_a_container_may_lack_all_of_it(files: Path) -> None:
    for name in ("installed", "booted"):
        (files / name).unlink()
    assert re.fullmatch("[0-9a-f]{8}", machine_id())


def test_the_unit_says_which_boot_it_is_where_no_file_does(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (files / "booted").write_text("01234567-89ab-cdef-0123-456789abcdef\n")
    seen = machine_id()
    (files / "booted").unlink()
    monkeypatch.setenv(machine.BOOT, "0123456789abcdef0123456789abcdef")  # as systemd writes it
    assert machine_id() == seen
