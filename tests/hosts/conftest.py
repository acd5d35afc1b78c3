"""Three hosts on this machine, for all tests of a module: they need root, HAProxy and mongod."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from gorgond.chaos.errors import Refused
from gorgond.chaos.hosts.lab import Hosts, Lab


def standing(cast: Hosts) -> Iterator[Lab]:
    """The hosts, as a fixture has them; where they cannot be the tests are skipped, or fail if CI=true."""
    lab = Lab(cast)
    try:
        lab.__enter__()
    except Refused as refused:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(str(refused))
    try:
        yield lab
    finally:
        lab.__exit__()


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """As they are in production."""
    yield from standing(Hosts())
