"""The users of Redis: who may do what, derived from what each role does."""

from __future__ import annotations

import hashlib

from gorgond.service.access import OPERATOR, ROLES, acl_file

PASSWORDS = {user: f"secret of {user}" for user in (*ROLES, OPERATOR)}


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


def test_a_role_has_the_keys_of_its_queues_and_no_others() -> None:
    assert {rule for rule in rules_of("provider") if "store_" in rule} == {
        "~gorgon:{store_put}", "~gorgon:{store_put}:producer:*", "~gorgon:{store_put}:counts",
        "~gorgon:{store_put}:held", "~gorgon:{store_put}:memory",
    }  # fmt: skip
    assert not any("store_put" in rule for rule in rules_of("store-read"))
    assert "&gorgon:{store_notify}:live" in rules_of("store-write")


def test_a_role_has_the_commands_of_its_scripts_and_no_others() -> None:
    # given what push.lua and publish.lua call, and what a connection begins with
    assert {"+rpush", "+llen", "+evalsha", "+script|load"} <= set(rules_of("provider"))
    # then what only consumers, callers or operators need is not there
    assert not {"+blmove", "+blmpop", "+flushall", "+config", "+keys"} & set(rules_of("provider"))
    assert "-@all" in rules_of("provider")
