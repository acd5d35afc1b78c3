"""The address of a MongoDB: one that says less than a majority's disks is refused, with what to say."""

from __future__ import annotations

import pytest

from gorgond.errors import ConfigError
from gorgond.stores import open_store

SET = "mongodb://user:hidden@10.0.0.1,10.0.0.2,10.0.0.3/notes?replicaSet=rs0"


@pytest.mark.parametrize(
    ("less", "says", "say"),
    [
        ("w=1", "w=1", "w=majority"),
        ("w=0", "w=0", "w=majority"),
        ("w=2", "w=2", "w=majority"),
        ("W=two-racks", "W=two-racks", "w=majority"),
        ("w=majority&journal=false", "journal=false", "journal=true"),
        ("j=0", "j=0", "journal=true"),
    ],
)
def test_one_that_says_less_is_refused(less: str, says: str, say: str) -> None:
    with pytest.raises(ConfigError) as refused:
        open_store(f"{SET}&{less}")
    told = str(refused.value)
    assert told.startswith(f"its address says {says}; what is stored counts when ")
    assert told.endswith(f"say {say}, or nothing of that")
    assert "hidden" not in told


@pytest.mark.parametrize("same", ["", "&w=majority", "&w=majority&journal=true", "&readPreference=primary"])
def test_one_that_says_the_same_or_nothing_is_taken(same: str) -> None:
    open_store(SET + same).close()
