"""Three hosts on this machine, for all tests of a module: they need root, HAProxy and mongod."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import NoReturn

import pytest

from gorgond.chaos.errors import Refused
from gorgond.chaos.hosts.lab import Hosts, Lab


def left_out(refused: Refused) -> NoReturn:
    """They cannot be: the test is skipped, or fails if CI=true."""
    if os.environ.get("CI") == "true":
        raise refused
    pytest.skip(str(refused))


def standing(cast: Hosts) -> Iterator[Lab]:
    """The hosts, as a fixture has them."""
    lab = Lab(cast)
    try:
        lab.__enter__()
    except Refused as refused:
        left_out(refused)
    try:
        yield lab
    finally:
        lab.__exit__()


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """As they are in production."""
    yield from standing(Hosts())
