"""What e-mails say: Tornado's templates, for each kind of notification those of the operator, or else ours.

    /etc/gorgond/notify.d/comment.new/subject.txt body.txt body.html

A file that is not there is ours. In them are `title`, `data`, `name` of the user, `kind`, `site`, the website's
address, and `unsubscribe`, an address or nothing. body.html is escaped, the others are text.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from tornado.template import Template

from gorgond.errors import ConfigError, Undeliverable

OURS = Path(__file__).parent / "texts"
FILES = ("subject.txt", "body.txt", "body.html")


class Texts(NamedTuple):
    """The texts of one e-mail."""

    subject: str
    text: str
    html: str


class Templates:
    """Those in `directory`, which need not be there. All are read now. Raises ConfigError for one that is wrong."""

    def __init__(self, directory: Path) -> None:
        self._ours = _read(OURS)
        kinds = sorted(each for each in directory.iterdir() if each.is_dir()) if directory.is_dir() else []
        self._by_kind = {each.name: {**self._ours, **_read(each)} for each in kinds}

    def texts(self, kind: str, values: Mapping[str, Any]) -> Texts:
        """The texts for a notification. Raises Undeliverable when its template cannot be filled in with it."""
        subject, text, html = (filled(self._by_kind.get(kind, self._ours)[name], values) for name in FILES)
        return Texts(" ".join(subject.split()), text, html)


def compiled(text: str, name: str, escape: str | None) -> Template:
    """A template, which calls itself `name` where it is wrong; what stands in it goes through the function of the name
    `escape`. Raises ConfigError."""
    try:
        return Template(text, name, autoescape=escape)
    except Exception as error:
        raise ConfigError(f"{name}: is no template: {error}") from error


def filled(template: Template, values: Mapping[str, Any]) -> str:
    """What a template says with these values. Raises Undeliverable when they do not fit it."""
    try:
        return template.generate(**values).decode()
    except Exception as error:
        raise Undeliverable(f"{template.name}: {type(error).__name__}: {error}") from error


def _read(directory: Path) -> dict[str, Template]:
    found = {}
    for name in FILES:
        file = directory / name
        if not file.exists():
            continue
        try:
            text = file.read_text()
        except (OSError, ValueError) as error:
            raise ConfigError(f"{file}: is no template: {error}") from error
        found[name] = compiled(text, str(file), "xhtml_escape" if name.endswith(".html") else None)
    return found
