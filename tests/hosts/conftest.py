"""Three hosts on this machine, for all tests of a module: they need root, HAProxy and mongod."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from gorgond.chaos.errors import Refused
from gorgond.chaos.hosts.lab import Hosts, Lab
from tests.conftest import left_out


def standing(cast: Hosts) -> Iterator[Lab]:
    """The hosts, as a fixture has them."""
    lab = Lab(cast)
    try:
        lab.__enter__()
    except Refused as refused:
        left_out(str(refused))
    try:
        yield lab
    finally:
        lab.__exit__()


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """As they are in production."""
    yield from standing(Hosts())
