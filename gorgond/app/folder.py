"""The folder of an application, that of its module: what is in it besides Python.

    templates/   pages, which `Response(…, template="shop.html")` fills in: Tornado's templates, all values escaped
    static/      files that browsers get as they are, at /static/APPLICATION/…

All of it is read when the application is loaded, so a page never shows half of a change, and what cannot be read is
told then. A file whose name begins with a dot is none of them.
"""

from __future__ import annotations

import hashlib
import mimetypes
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from tornado.template import BaseLoader, DictLoader, Loader, ParseError

from gorgond.errors import ConfigError

STATIC = "/static"
STATIC_MAX = 16 * 1024 * 1024  # bytes of an application's static files, which each web server holds in memory

_DIRECTORY = re.compile("[A-Za-z0-9._~-]+")


@dataclass(frozen=True, slots=True)
class StaticFile:
    """A file that browsers get as it is; `version` is a digest of it."""

    content: bytes = field(repr=False)
    content_type: str
    version: str


class Folder:
    """The templates and static files of the application `name` in the directory `path`; without one there are none.
    Raises ConfigError for what cannot be used."""

    def __init__(self, name: str, path: Path | None = None) -> None:
        self._address = f"{STATIC}/{name}"
        self.static: Mapping[str, StaticFile] = {}
        """The static files, by their paths within static/."""
        self._loader: BaseLoader = DictLoader({})
        if path is not None:
            self.static = dict(_static_files(path / "static"))
            self._loader = _loader(path / "templates", {"static": self.address})

    @property
    def directories(self) -> Mapping[str, Mapping[str, StaticFile]]:
        """The static files by the address of their directory, and by their names."""
        found: dict[str, dict[str, StaticFile]] = {}
        for path, file in self.static.items():
            directory, _, name = path.rpartition("/")
            found.setdefault(f"{self._address}/{directory}".rstrip("/"), {})[name] = file
        return found

    def address(self, path: str) -> str:
        """Where browsers find a static file: with its version, so that they may keep it for good. Raises KeyError."""
        return f"{self._address}/{quote(path)}?v={self.static[path].version}"

    def render(self, template: str, values: Mapping[str, Any]) -> bytes:
        """The page of a template with these values. Raises KeyError for one that was not there: whatever a name leads
        to, it is read as no template later."""
        return self._loader.templates[template].generate(**values)


def _static_files(top: Path) -> Iterator[tuple[str, StaticFile]]:
    left = STATIC_MAX
    for path in _files(top):
        if wrong := [each for each in path.relative_to(top).parent.parts if not _DIRECTORY.fullmatch(each)]:
            raise ConfigError(
                f"{path}: the directory {wrong[0]!r} cannot be in an address; allowed: A-Z a-z 0-9 . _ ~ -"
            )
        try:
            content = path.read_bytes()
        except OSError as error:
            raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
        left -= len(content)
        if left < 0:
            raise ConfigError(
                f"{top}: has more than {STATIC_MAX >> 20} MB; let the proxy before the web servers have it"
            )
        kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
        if kind.startswith("text/"):
            kind += "; charset=utf-8"
        yield path.relative_to(top).as_posix(), StaticFile(content, kind, hashlib.sha256(content).hexdigest()[:16])


def _loader(top: Path, names: Mapping[str, Any]) -> Loader:
    """The templates, each of which was read."""
    loader = Loader(str(top), namespace=dict(names))
    for path in _files(top):
        try:
            loader.load(path.relative_to(top).as_posix())
        except ParseError as error:
            raise ConfigError(f"{top / (error.filename or '')}:{error.lineno}: {error.message}") from None
        except SyntaxError as error:
            raise ConfigError(f"{path}: {error.msg}: {(error.text or '').strip()}") from None
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"{path}: cannot be read: {error}") from None
    return loader


def _files(top: Path) -> Iterator[Path]:
    """All files in a directory and those within it, but those that begin with a dot. Raises ConfigError for one that
    leads out of it."""
    for directory, inner, names in os.walk(top):
        inner[:] = sorted(each for each in inner if not each.startswith("."))
        for name in sorted(names):
            path = Path(directory, name)
            if name.startswith("."):
                continue
            if not path.resolve().is_relative_to(top.resolve()):
                raise ConfigError(f"{path}: leads out of {top}; put the file itself there")
            yield path
