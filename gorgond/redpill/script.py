"""The scripts that change or read what Redis keeps; each file of `scripts/` says in its head what it does."""

from __future__ import annotations

import hashlib
from pathlib import Path

_FOLDER = Path(__file__).parent / "scripts"


class Script:
    """A file of `scripts/`, with the files that its `--!` line asks for put after its first line."""

    def __init__(self, name: str) -> None:
        shebang, _, body = (_FOLDER / f"{name}.lua").read_text().partition("\n")
        if body.startswith("--! "):
            wanted, _, body = body[4:].partition("\n")
            body = "".join((_FOLDER / f"{each}.lua").read_text() for each in wanted.split()) + body
        self.text = f"{shebang}\n{body}"
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
    COUNTS := Script("counts"),
    REQUEUE := Script("requeue"),
    DROP := Script("drop"),
    FIND := Script("find"),
    PAUSE := Script("pause"),
    RESUME := Script("resume"),
)
