"""The version of keys and scripts, `<major>.<minor>`: `gorgon:protocol` says which one a broker's are of.

docs/protocol.md says what may change within one major version. Of another one nothing is sure to mean the same, so
nobody works with a broker whose keys are of another; one that says nothing is new, or of before there was this key.
"""

from __future__ import annotations

import re

from gorgond.redpill import keys

MAJOR, MINOR = 1, 1
VERSION = f"{MAJOR}.{MINOR}"

_VERSION = re.compile(r"([0-9]{1,9})\.([0-9]{1,9})")


def refusal(said: str) -> str:
    """Why we cannot work with a broker that says so, and what to upgrade; empty when we can."""
    found = _VERSION.fullmatch(said)
    if not said or (found and int(found[1]) == MAJOR):
        return ""
    if found is None:
        return f"its {keys.PROTOCOL} is {said[:100]!a}, which is no version: is it the Redis of another program?"
    who = "this gorgond" if int(found[1]) > MAJOR else "the gorgond of all others that use it"
    return f"its keys and scripts are of version {said}, and ours of {VERSION}: upgrade {who}"


def is_outdated(said: str) -> bool:
    """Whether a process that may is to put ours there: there is none, or it is of an earlier minor version."""
    found = _VERSION.fullmatch(said)
    return not said or (found is not None and int(found[1]) == MAJOR and int(found[2]) < MINOR)
