"""The scripts that change or read what Redis keeps; each file of `scripts/` says in its head what it does."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path

_FOLDER = Path(__file__).parent / "scripts"


_KEY = re.compile(r"^-- (KEY|MAKES) (\w+): (.*)$", re.MULTILINE)


_INCLUDE = re.compile(r"^ *--! (.*)\n", re.MULTILINE)


def _text_of(name: str) -> str:
    text = (_FOLDER / f"{name}.lua").read_text()
    return _INCLUDE.sub(lambda wanted: "".join(map(_text_of, wanted[1].split())), text)


class Script:
    """A file of `scripts/`, each line `--! seen held` of it replaced by the files of these names.

    keys     the keys that it is given, in their order, by the names of `keys.NAMED`
    rights   the commands that it runs on each of these, and on each kind of key whose name it makes itself
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.text = _text_of(name)
        declared = _KEY.findall(self.text)
        self.keys = tuple(key for how, key, _ in declared if how == "KEY")
        self.rights: Mapping[str, tuple[str, ...]] = {key: tuple(some.split()) for _, key, some in declared}
        self.sha = hashlib.sha1(self.text.encode(), usedforsecurity=False).hexdigest()


ALL = (
    PUSH := Script("push"),
    REFUSE := Script("refuse"),
    PUBLISH := Script("publish"),
    JOIN := Script("join"),
    PART := Script("part"),
    TAKE := Script("take"),
    CLAIM := Script("claim"),
    LEAVE := Script("leave"),
    RECOVER := Script("recover"),
    REPLY := Script("reply"),
    ADMIT := Script("admit"),
    LEASE := Script("lease"),
    UNIQUE := Script("unique"),
    ENTER := Script("enter"),
    EXIT := Script("exit"),
    COUNTS := Script("counts"),
    REQUEUE := Script("requeue"),
    DROP := Script("drop"),
    FIND := Script("find"),
    PAUSE := Script("pause"),
    RESUME := Script("resume"),
    FORGET := Script("forget"),
)
