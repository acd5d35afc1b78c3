"""The secrets in a question to the auth server travel sealed, so that the broker, its files and all who look into
them hold ciphertext.

    args  {"email": …, "password": "a violin in the attic", …}   →   {"email": …, "sealed": "gAAAAAB…", …}

The web server takes the secret arguments out and puts them back as one, a Fernet token of their JSON
(https://github.com/fernet/spec: AES-128-CBC, HMAC-SHA256); the auth server undoes that. Both have the key from [auth]
key. There are several while it is changed: the first of them seals, and all open.
"""

from __future__ import annotations

import logging
from dataclasses import replace

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from gorgond.redpill import CallFailed, Message, dumps, loads

SECRETS = {
    "auth.register": ("password",),
    "auth.login": ("password",),
    "auth.password": ("old", "new"),
    "auth.delete": ("password",),
    "auth.confirm": ("token",),
    "auth.address.ask": ("password",),
    "auth.address": ("token",),
    "auth.reset": ("token", "new"),
    "auth.oauth2.login": ("code", "verifier"),
    "auth.oauth2.link": ("code", "verifier"),
}
"""The arguments of each operation that are secret."""

log = logging.getLogger("gorgond.auth")


class Sealing:
    """Seals and opens messages with these keys, which have blanks between them; without any all stays as it is."""

    def __init__(self, keys: str) -> None:
        self._fernet = MultiFernet([Fernet(key) for key in keys.split()]) if keys else None

    def sealed(self, message: Message) -> Message:
        """The message with what is secret in it sealed, if it is a question to the auth server."""
        if message.op not in SECRETS or message.next or self._fernet is None:  # with `next` it is an application's
            return message
        args = dict(message.args)
        secrets = {name: args.pop(name) for name in SECRETS[message.op] if name in args}
        return replace(message, args={**args, "sealed": self._fernet.encrypt(dumps(secrets)).decode()})

    def opened(self, message: Message) -> Message:
        """The message as it was before; one that is not sealed, as a web server without a key sends it, stays as it is.

        Raises CallFailed 503 when it was sealed with another key.
        """
        sealed = message.args.get("sealed")
        if sealed is None:
            return message
        try:
            if self._fernet is None:
                raise InvalidToken
            secrets = loads(self._fernet.decrypt(str(sealed).encode()))
        except InvalidToken:
            log.error(
                "%s cannot be opened: web and auth servers must have the same [auth] key, on every host that of "
                "/etc/credstore/gorgond.auth.key; then: gorgonctl restart auth web", message.op,
            )  # fmt: skip
            raise CallFailed(503, "the auth server has another key than the web server; its log says more") from None
        args = {name: value for name, value in message.args.items() if name != "sealed"}
        return replace(message, args={**args, **secrets})


def new_key() -> str:
    """A key for all web and auth servers of a fabric."""
    return Fernet.generate_key().decode()
