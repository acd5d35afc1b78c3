"""The users of Redis: who may do what, derived from what each role does."""

from __future__ import annotations

import hashlib
import re

from gorgond.redpill import script
from gorgond.roles import ROLES
from gorgond.service.access import USERS, acl_file

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
    pushed = {
        f"~gorgon:{{{queue}}}{part}" for queue in ("store_put", "provider_store_get") for part in ("", ":held", ":bell")
    }
    groups = {pattern for pattern in provider["+ltrim"] if pattern.startswith("~gorgon:{provider_data}/")}
    assert provider["+rpush"] == pushed | groups | {"~gorgon:{*}:replies", "~gorgon:{provider_data}/*:bell"}
    assert provider["+set"] == {
        *(f"~gorgon:{{{queue}}}:producer:provider@*" for queue in ("store_put", "provider_store_get")),
        *(f"~gorgon:{{{topic}}}:publisher:provider@*" for topic in ("stats", "provider_data")),
        *(f"~gorgon:{{{queue}}}:turn" for queue in ("store_put", "provider_store_get")),
        "~gorgon:{provider_data}/*:turn",
    }
    assert provider["+ltrim"] == groups  # nobody keeps the figures of the topic stats
    counted = {
        f"~gorgon:{{{queue}}}:{key}" for queue in ("store_put", "provider_store_get") for key in ("pushed", "memory")
    }
    assert provider["+hset"] - {"~gorgon:{provider:*}:lease"} == counted | {
        f"~gorgon:{{provider_data}}/*:{key}" for key in ("pushed", "memory")
    }
    assert provider["+blmove"] == set()
    assert provider["+blmpop"] == {"~gorgon:{cursor_data*}:replies"}
    assert not any("store_put" in pattern for each in selectors_of("store-read").values() for pattern in each)
    assert "&gorgon:{store_notify}:live" in selectors_of("store-write")["+publish"]
    assert selectors_of("web")["+subscribe"] == {
        "&gorgon:{store_notify}:live", "&gorgon:{notify_live}:live", "&gorgon:{job_live}:live"
    }  # fmt: skip


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


def test_each_script_says_which_commands_it_runs_on_which_keys_and_names_them() -> None:
    for each in script.ALL:
        found = re.findall(r"redis\.p?call\('(\w+)'(?:, '(USAGE)')?", each.text)
        called = {"|".join(filter(None, words)).lower() for words in found}
        assert {command for some in each.rights.values() for command in some} == called - {"time"}, each.name
        # and its first lines name its keys
        names = re.search(r"^local ([A-Z, ]+) = (?:unpack\(KEYS\)|KEYS\[1\])$", each.text, re.MULTILINE)
        assert names is not None, each.name
        listed = tuple(name.lower() for name in names[1].split(", "))
        several = {"rate", "slots", "line", "starts"}  # as many as there are limits
        assert listed == tuple(key for key in each.keys if key not in several), each.name


def test_no_group_of_a_topic_is_what_another_key_of_one_is_called() -> None:
    patterns = [pattern[1:] for pattern in selectors_of("store-write")["+rpush"] if "{store_notify}" in pattern]
    matching = [re.compile(re.escape(each).replace(r"\[\^:\]", "[^:]").replace(r"\*", ".*")) for each in patterns]
    for group in ("a", "journal", "my.application-with_a.long-name"):
        for suffix, allowed in (("", True), (":held", True), *((f":{key}", False) for key in KEPT)):
            key = f"gorgon:{{store_notify}}/{group}{suffix}"
            assert any(each.fullmatch(key) for each in matching) == allowed, key


KEPT = ("dead", "delayed", "lanes", "counts", "pushed", "paused", "memory", "watched", "epoch")
