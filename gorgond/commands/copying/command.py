"""`gorgond copy`, as it is called."""

from __future__ import annotations

import asyncio
import sys
from contextlib import ExitStack, closing

from gorgond.commands.copying.copying import Copy
from gorgond.commands.copying.running import Running
from gorgond.commands.operator.installation import Installation
from gorgond.errors import ConfigError
from gorgond.settings import masked
from gorgond.stores import open_store
from gorgond.stores.contract import Store
from gorgond.stores.findings import ABSENT, demand_safe


def copy(installation: Installation, here: str, there: str, finish: bool) -> int:
    """Copy the store at URL `here` to that at `there`, beside the fabric of an installation; the exit code. Raises
    GorgonError."""
    with ExitStack() as closed:

        def opened(flag: str, url: str) -> Store:
            try:
                store = closed.enter_context(closing(open_store(url)))
                found = [*store.check()]
                if flag == "--from" and any(each.found == ABSENT for each in found):
                    raise ConfigError(f"{masked(url)} is not there")
                demand_safe(found)
            except ConfigError as error:
                raise ConfigError(f"{flag}: {error}") from error
            return store

        source, target = opened("--from", here), opened("--to", there)
        made = Copy(source, target, masked(here), masked(there))
        try:
            asyncio.run(Running(made, installation.connect(), masked(there), print).run(finish))
        except KeyboardInterrupt:
            print("interrupted; the same command goes on where this stopped", file=sys.stderr)
            raise
    return 0
