"""The users of Redis: who may do what, derived from what each role does."""

from __future__ import annotations

import hashlib
import re

from gorgond.roles import ROLES
from gorgond.service.access import ALWAYS, CHANNELED, TYPELESS, TYPES, USERS, _uses, acl_file, commands_of

PASSWORDS = {user: f"secret of {user}" for user in USERS}


def rules_of(user: str) -> list[str]:
    """The words of a user's line."""
    line = next(line for line in acl_file(PASSWORDS).splitlines() if line.startswith(f"user {user} "))
    return line.split()[2:]


def test_a_password_is_there_as_its_hash_alone() -> None:
    text = acl_file(PASSWORDS)
    for user, password in PASSWORDS.items():
        assert password not in text
        assert "#" + hashlib.sha256(password.encode()).hexdigest() in rules_of(user)


def test_nobody_gets_in_without_a_name() -> None:
    assert acl_file(PASSWORDS).splitlines()[0].startswith("user default off ")


def selectors_of(user: str) -> dict[str, set[str]]:
    """What a user may do on which keys and channels: each command of its selectors with their patterns."""
    line = next(line for line in acl_file(PASSWORDS).splitlines() if line.startswith(f"user {user} "))
    found: dict[str, set[str]] = {}
    for selector in re.findall(r"\((.*?)\)", line):
        words = selector.split()
        for command in (word for word in words if word.startswith("+")):
            found.setdefault(command, set()).update(word for word in words if not word.startswith("+"))
    return found


def test_a_command_is_allowed_on_the_keys_alone_on_which_the_scripts_use_it() -> None:
    # given a role that pushes, publishes and consumes queues of its own
    own = tuple(f"~gorgon:{{provider_{each}:*}}" for each in ("get", "put", "hook"))
    provider = {
        command: {pattern for pattern in patterns if not pattern.startswith(own)}
        for command, patterns in selectors_of("provider").items()
    }
    # then of others' it may do what its scripts do, on what they name
    pushed = {f"~gorgon:{{{queue}}}{part}" for queue in ("store_put", "store_get") for part in ("", ":held")}
    topics = {"~gorgon:{stats}/*", "~gorgon:{provider_data}/*"}
    assert provider["+rpush"] == pushed | topics | {"~gorgon:{*}:replies"}
    assert provider["+set"] == {
        *(f"~gorgon:{{{queue}}}:producer:provider@*" for queue in ("store_put", "store_get")),
        *(f"~gorgon:{{{topic}}}:publisher:provider@*" for topic in ("stats", "provider_data")),
    }
    assert provider["+ltrim"] == topics
    assert provider["+blmove"] == set()
    assert provider["+blmpop"] == {"~gorgon:{cursor_data*}:replies"}
    assert not any("store_put" in pattern for each in selectors_of("store-read").values() for pattern in each)
    assert "&gorgon:{store_notify}:live" in selectors_of("store-write")["+publish"]
    assert selectors_of("web")["+subscribe"] == {"&gorgon:{store_notify}:live"}


def test_only_the_auth_server_pushes_to_its_own_queues() -> None:
    for user in ROLES:
        private = any("{auth_store_put}" in pattern for pattern in selectors_of(user).get("+rpush", ()))
        assert private == (user in ("auth", "store", "store-write")), user  # these two take from it


def test_a_role_has_the_commands_of_its_scripts_and_no_others() -> None:
    # given what push.lua and publish.lua call, and what a connection begins with
    assert {"+rpush", "+llen", "+evalsha"} <= set(selectors_of("provider"))
    # then what only consumers, callers or operators need is not there
    assert not {"+blmove", "+flushall", "+config", "+keys"} & set(selectors_of("web"))
    assert not {"+subscribe", "+flushall", "+config", "+keys"} & set(selectors_of("provider"))
    for user in ROLES:
        assert "-@all" in rules_of(user)
        assert not {"+eval", "+script|load", "+script", "+fcall"} & {*rules_of(user), *selectors_of(user)}


def test_every_command_of_the_roles_scripts_has_its_type() -> None:
    known = {*" ".join(TYPES.values()).split(), *TYPELESS.split(), *CHANNELED, *ALWAYS}
    for role in ROLES.values():
        for use in _uses(role.name, role.access):
            assert commands_of(*use.scripts) <= known, (role.name, use)
