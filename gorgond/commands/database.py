"""`gorgond store --check`: how the database is set up, and whether it keeps what it confirms."""

from __future__ import annotations

from contextlib import closing

from gorgond.commands.operator.text import table
from gorgond.config import Config
from gorgond.settings import masked
from gorgond.stores import open_store
from gorgond.stores.findings import ABSENT, Finding
from gorgond.stores.moving import finding

WELL, WEAK, BROKEN = "well", "could be better", "NOT SAFE"


def check(config: Config) -> int:
    """Tell what is found; the exit code, 1 if no store would start. Raises ConfigError, StoreAway."""
    with config.blaming("store", "url"), closing(open_store(config.store.url)) as store:
        found = [*store.check()]
        if not any(each.found == ABSENT for each in found):
            found += finding(store)
    print(masked(config.store.url))
    for line in table(("", "", "", ""), [(_word(each), each.about, each.found, each.advice) for each in found])[1:]:
        print(line)
    return 1 if any(each.breaks for each in found) else 0


def _word(finding: Finding) -> str:
    return BROKEN if finding.breaks else WEAK if finding.advice else WELL
