"""The secrets of this host's units where systemd finds them, and the file that tells Redis what each user may do.

    /etc/credstore/gorgond.broker.password.ROLE   read by systemd for that role's units alone (LoadCredential=)
    /etc/credstore/gorgond.auth.key               for those of web and auth: gorgond.auth.sealing
    /etc/credstore/gorgond.stats.password         for those of stats: the operator's, unless the configuration has one
    /etc/gorgond/broker/users.acl                 the passwords' hashes, and what each may do: service.access

A secret that is there stays; an empty file is none. To change a password, delete its file, make the secrets anew, and
restart that role.
"""

from __future__ import annotations

import grp
import os
import secrets
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

from gorgond.commands.files import write_whole
from gorgond.config import load
from gorgond.errors import ConfigError, GorgonError
from gorgond.redpill import keys, protocol, script
from gorgond.roles import ROLES
from gorgond.service.access import OPERATOR, USERS, acl_file

CREDENTIALS = Path("/etc/credstore")
ACL = Path("/etc/gorgond/broker/users.acl")
SOCKET = Path("/run/gorgond/broker.sock")
GROUP = "gorgon-broker"  # who alone reads it
NOTHING = ("resetkeys", "resetchannels", "-@all")  # what a user's rules begin with


def make_secrets(say: Callable[[str], None], keep: bool = False) -> None:
    """Make the secrets that are missing and the ACL file; a broker that runs here takes it over at once, and is given
    the scripts of this version, which roles may not load. With `keep` its users keep what they may do besides, so that
    instances of an earlier version go on until they are restarted."""
    group = broker_group()  # first: without the package nothing is left behind
    try:
        CREDENTIALS.mkdir(mode=0o700, exist_ok=True)
        passwords = {user: _made(f"broker.password.{user}", _new_password) for user in USERS}
        for name in sorted({name for role in ROLES.values() for name in role.unit.credentials}):
            _made(name, _new_key)
        if not _has_own_password():
            _made("stats.password", _new_password)
        text = acl_file(passwords)
        if not ACL.exists() or ACL.read_bytes() != text.encode():
            ACL.parent.mkdir(mode=0o750, exist_ok=True)  # which the units of all others do not see
            os.chown(ACL.parent, -1, group)
            write_whole(ACL, text, 0o640, gid=group)
            say(f"{ACL} is made anew")
    except OSError as error:
        raise GorgonError(f"{error.filename}: {error.strerror}; are you root?") from None
    if SOCKET.exists():
        _load(passwords[OPERATOR], text, keep)


def secret(name: str) -> str:
    """The text in this file of systemd's credentials, gorgond.SECTION.KEY; empty when there is none. Raises
    GorgonError."""
    file = CREDENTIALS / name
    try:
        return file.read_text().strip()
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise GorgonError(f"{file}: {error.strerror}; are you root?") from None


def password(user: str) -> str:
    """That of one of the broker's users. Raises the same."""
    return secret(f"gorgond.broker.password.{user}")


def _made(name: str, make: Callable[[], str]) -> str:
    """The text in the file of this secret, which is made if it is missing."""
    file = CREDENTIALS / f"gorgond.{name}"
    try:
        known = file.read_text().strip() if file.exists() else ""
    except UnicodeDecodeError:
        raise GorgonError(f"{file}: is not text in UTF-8; delete it, and a new secret is made") from None
    if known:
        return known
    made = make()
    write_whole(file, f"{made}\n", 0o600)
    return made


def broker_group() -> int:
    """The number of the group that reads the ACL file."""
    try:
        return grp.getgrnam(GROUP).gr_gid
    except KeyError:
        raise GorgonError(
            "there are no units of gorgond on this host that need secrets: the group "
            f"{GROUP} is missing, which comes with the Debian package (apt install gorgond); a gorgond up makes its own"
        ) from None


def _has_own_password() -> bool:
    """Whether the configuration has an operator's password, which a secret would go before. One that cannot be read is
    left alone."""
    try:
        return bool(load(None, os.environ, {}).stats.password)
    except ConfigError:
        return True


def _additions(rules: Iterable[str]) -> Iterable[str]:
    """Of a user's rules those that give something."""
    return (rule for rule in rules if rule not in NOTHING)


def _new_password() -> str:
    return secrets.token_urlsafe(24)


def _new_key() -> str:
    from gorgond.auth.sealing import new_key  # slow to import, and rarely needed

    return new_key()


def _load(password: str, text: str, keep: bool) -> None:
    """Tell the broker that runs, also one that was started from another file, its users' rights; load the scripts."""
    import redis  # slow to import, and rarely needed

    try:
        with redis.Redis(
            unix_socket_path=str(SOCKET), username=OPERATOR, password=password, socket_timeout=10
        ) as broker:
            for user in text.splitlines():
                _, name, *rules = user.split()
                broker.execute_command("ACL", "SETUSER", name, *(_additions(rules) if keep else ("reset", *rules)))
            said = (broker.get(keys.PROTOCOL) or b"").decode(errors="replace")
            if why := protocol.refusal(said):
                raise GorgonError(f"the broker is not given our scripts: {why}")
            for each in script.ALL:
                broker.script_load(each.text)
            if protocol.is_outdated(said):
                with suppress(redis.ResponseError):  # it has no room: its watch notes it when it has
                    broker.set(keys.PROTOCOL, protocol.VERSION)
    except redis.ConnectionError:
        return  # it does not run; it reads the file when it starts
    except redis.RedisError as error:
        raise GorgonError(f"the broker did not take {ACL}: {error}; systemctl restart gorgon-broker") from None
