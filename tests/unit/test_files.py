"""Files of root: whole or as they were, and nowhere else than named."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gorgond.commands.files import write_whole
from gorgond.errors import GorgonError


@pytest.fixture
def others(tmp_path: Path) -> Path:
    """A file that is none of ours to write, and links to it under names that might be used."""
    others = tmp_path / "passwd"
    others.write_text("as it was")
    for name in ("acl", ".acl.new", "acl.new"):
        (tmp_path / name).symlink_to(others)
    return others


def test_a_link_is_replaced_and_what_it_points_to_stays(tmp_path: Path, others: Path) -> None:
    write_whole(tmp_path / "acl", "ours", 0o640)
    assert (tmp_path / "acl").read_text() == "ours"
    assert not (tmp_path / "acl").is_symlink()
    assert (tmp_path / "acl").stat().st_mode & 0o7777 == 0o640
    assert others.read_text() == "as it was"


def test_a_directory_into_which_others_write_is_refused(tmp_path: Path, others: Path) -> None:
    for mode in (0o777, 0o770):
        tmp_path.chmod(mode)
        with pytest.raises(GorgonError, match="others may write there"):
            write_whole(tmp_path / "acl", "ours", 0o640)
    tmp_path.chmod(0o700)
    if os.geteuid() == 0:
        os.chown(tmp_path, 65534, 65534)
        with pytest.raises(GorgonError, match="others may write there"):
            write_whole(tmp_path / "acl", "ours", 0o640)
    assert others.read_text() == "as it was"


def test_what_cannot_be_written_leaves_what_was_there_and_nothing_else(tmp_path: Path) -> None:
    file = tmp_path / "acl"
    write_whole(file, "first", 0o600)
    with pytest.raises(UnicodeEncodeError):
        write_whole(file, "second \ud800", 0o600)
    assert (file.read_text(), list(tmp_path.iterdir())) == ("first", [file])
