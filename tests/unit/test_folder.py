"""The folder of an application: what of it browsers get, and what is told when it cannot be used."""

from __future__ import annotations

from pathlib import Path

import pytest

from gorgond.app import folder as folder_module
from gorgond.app.folder import Folder
from gorgond.errors import ConfigError


def written(top: Path, **files: str) -> Path:
    """A folder with these files; in names __ stands for a slash."""
    for name, text in files.items():
        path = top / name.replace("__", "/").replace("_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return top


def test_its_files_are_those_below_static_but_those_with_a_dot(tmp_path: Path) -> None:
    # given files of all sorts
    top = written(tmp_path, static__site_css="a {}", static__img__logo_svg="<svg/>", shop_py="secret")
    for hidden in (".env", ".git/config", "img/.htaccess"):
        path = top / "static" / hidden
        path.parent.mkdir(exist_ok=True)
        path.write_text("secret")
    # then browsers get those, each under the address of its directory
    folder = Folder("shop", top)
    found = {address: sorted(files) for address, files in folder.directories.items()}
    assert found == {"/static/shop": ["site.css"], "/static/shop/img": ["logo.svg"]}
    assert folder.static["site.css"].content_type == "text/css; charset=utf-8"
    # and a page finds each with its version, which changes with it
    before = folder.address("img/logo.svg")
    assert before == f"/static/shop/img/logo.svg?v={folder.static['img/logo.svg'].version}"
    written(tmp_path, static__img__logo_svg="<svg></svg>")
    assert Folder("shop", top).address("img/logo.svg") != before


def test_without_a_folder_there_is_nothing(tmp_path: Path) -> None:
    assert (Folder("shop").directories, Folder("shop", tmp_path).directories) == ({}, {})


def test_all_that_a_page_shows_is_escaped(tmp_path: Path) -> None:
    top = written(tmp_path, templates__base_html="<h1>{% block it %}{% end %}</h1>")
    written(tmp_path, templates__shop_html='{% extends "base.html" %}{% block it %}{{ title }}{% end %}')
    assert Folder("shop", top).render("shop.html", {"title": "<b>"}) == b"<h1>&lt;b&gt;</h1>"


def test_what_cannot_be_used_is_told_when_it_is_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # given a template with a mistake, then its line is told
    wrong = written(tmp_path / "a", templates__shop_html="<p>\n{% if x %}\n")
    with pytest.raises(ConfigError, match=r"templates/shop\.html:2: "):
        Folder("shop", wrong)
    # and a file that leads out of the folder is no file of it
    (tmp_path / "secret").write_text("secret")
    (written(tmp_path / "b", static__a_css="") / "static/link").symlink_to(tmp_path / "secret")
    with pytest.raises(ConfigError, match="leads out"):
        Folder("shop", tmp_path / "b")
    with pytest.raises(ConfigError, match="cannot be in an address"):
        Folder("shop", written(tmp_path / "c", **{"static__my dir__a_css": ""}))
    monkeypatch.setattr(folder_module, "STATIC_MAX", 5)
    with pytest.raises(ConfigError, match="more than"):
        Folder("shop", written(tmp_path / "d", static__a_css="123", static__b_css="456"))


def test_a_page_is_made_of_no_other_file_than_those_that_were_there(tmp_path: Path) -> None:
    # given a folder, and others' files beside it and in it
    (tmp_path / "upload.html").write_text("{{ 6 * 7 }}")
    top = written(tmp_path / "shop", templates__shop_html="shop")
    folder = Folder("shop", top)
    written(top, templates__new_html="new")
    # then an application that takes a template's name from somebody else shows none of them
    for name in ("../../upload.html", str(tmp_path / "upload.html"), "new.html"):
        with pytest.raises(KeyError):
            folder.render(name, {})
    assert folder.render("shop.html", {}) == b"shop"
