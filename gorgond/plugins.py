"""Kinds of things to which others may add: a table of ours, and the entry points of other packages.

The table says where the object of each name is, "package.module:Object"; it is imported when it is asked for. A package
that brings one of its own names it in its metadata, in the same group:

    [project.entry-points."gorgond.providers"]
    mail = "my_mail.source:MailSource"
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple

from gorgond.blame import line_of
from gorgond.errors import ConfigError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoints


class Kinds(NamedTuple):
    """The kinds of one group of entry points, and the table of our own. It is data alone: everybody may read it."""

    group: str
    table: Mapping[str, str]

    def names(self) -> list[str]:
        """The names of all that there are, ours first."""
        return list(dict.fromkeys([*self.table, *sorted(each.name for each in _points(self.group))]))

    def load(self, name: str) -> Any:
        """The object of that name. Raises KeyError when there is none, and ConfigError when it cannot be imported,
        whatever its module raises."""
        place = self.table.get(name) or next((each.value for each in _points(self.group) if each.name == name), "")
        if not place:
            raise KeyError(name)
        module, _, attribute = place.partition(":")
        try:
            return getattr(import_module(module), attribute)
        except ConfigError:  # it says what to do
            raise
        except Exception as error:
            line = f" ({where})" if (where := line_of(error)) else ""
            raise ConfigError(f"{name}, which is {place}: {type(error).__name__}: {error}{line}") from error


def _points(group: str) -> EntryPoints:
    from importlib.metadata import entry_points  # slow to import, and not needed by most commands

    return entry_points(group=group)
