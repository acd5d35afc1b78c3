"""What a host must have of the others to join them: the secrets and the configuration. It is one text, which goes from
one to the other over ssh, by a pipe: it never is an argument of a program, and nothing listens for it.
"""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from gorgond.commands.files import write_whole
from gorgond.commands.secrets import CREDENTIALS
from gorgond.commands.tls import AUTHORITY
from gorgond.config import DEFAULT_PATH, load, rewritten
from gorgond.errors import GorgonError

BEGIN, OWN_URL = "gorgond.", "gorgond.broker.url"
KEPT: dict[str, tuple[str, ...]] = {"instances": (), "web": ("address", "port"), "stats": ("address", "port")}
_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----\n?", re.DOTALL)
NONE = (
    "that is no invitation: on a host that has joined, or on the first one, gorgonctl invite writes it, as in "
    "ssh h1 gorgonctl invite | gorgonctl join --invited H1 H2 H3"
)


@dataclass(frozen=True, slots=True)
class Invitation:
    """`secrets` are the files of /etc/credstore by their names, `configuration` is the text of gorgond.conf."""

    secrets: dict[str, str]
    configuration: str

    @classmethod
    def of_this_host(cls) -> Self:
        """What this host has. Raises GorgonError where it cannot be read."""
        try:
            files = sorted(CREDENTIALS.glob(f"{BEGIN}*"))
            secrets = {file.name: file.read_text() for file in files if file.name != OWN_URL}
            configuration = Path(DEFAULT_PATH).read_text()
        except OSError as error:
            raise GorgonError(f"{error.filename}: {error.strerror}; are you root?") from None
        if f"{BEGIN}broker.password.operator" not in secrets:
            raise GorgonError(f"{CREDENTIALS} has no secrets of gorgond: gorgonctl secrets makes them")
        return cls(secrets, configuration)

    @classmethod
    def read(cls, text: str) -> Self:
        """The same from its text. Raises GorgonError for any other."""
        try:
            found = json.loads(text)
            secrets, configuration = dict(found["secrets"]), found["configuration"]
        except (ValueError, KeyError, TypeError):
            raise GorgonError(NONE) from None
        good = all(re.fullmatch(r"gorgond\.[A-Za-z0-9._-]+", name) for name in secrets) and OWN_URL not in secrets
        if not good or not all(isinstance(each, str) for each in (*secrets.values(), configuration)):
            raise GorgonError(NONE)
        return cls(secrets, configuration)

    @property
    def authority(self) -> str:
        """The certificate of the CA of the hosts that speak TLS; empty where they do not."""
        return "".join(_CERTIFICATE.findall(self.secrets.get(AUTHORITY, "")))

    def text(self) -> str:
        """What `read` reads."""
        return json.dumps({"secrets": self.secrets, "configuration": self.configuration})

    def accept(self) -> None:
        """Make it this host's own, which keeps how many instances of each role run on it, and where they listen; its
        configuration of before lies beside the new one. Raises GorgonError and OSError."""
        file = Path(DEFAULT_PATH)
        before = load(None, {}, {}).settings
        text = self.configuration
        for section, keys in KEPT.items():
            for key in keys or before[section]:
                text = rewritten(text, section, key, before[section][key].text)
        CREDENTIALS.mkdir(mode=0o700, exist_ok=True)
        for name, secret in self.secrets.items():
            write_whole(CREDENTIALS / name, secret, 0o600)
        if file.exists() and file.read_text() != text:
            shutil.copy2(file, f"{file}.before-join")
        write_whole(file, text, 0o644)
