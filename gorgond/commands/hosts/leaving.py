"""A host leaves those that have a copy of the broker: its processes go on, with the copies of the others."""

from __future__ import annotations

import asyncio
import time

from gorgond.commands.hosts.asking import broker_at, following, known_by, master_by, replicas_by, sentinel_at
from gorgond.commands.hosts.failover import fail_over
from gorgond.commands.hosts.files import NAME, OWN, SENTINEL_BEGINS, SENTINEL_KEEPS, own_address
from gorgond.commands.hosts.joining import LOOK
from gorgond.commands.operator.installation import Installation
from gorgond.commands.units import BROKER, FILES, SENTINEL_UNIT, Say, systemctl
from gorgond.errors import GorgonError

PATIENCE = 60.0  # seconds until a Sentinel has found the others again


def leave(installation: Installation, say: Say) -> None:
    """Take the Redis and the Sentinel of this host out of the set. Raises GorgonError when no copy would be left, or
    when the set is not whole enough for it; then all is as it was, or the same again goes on."""
    if not OWN.exists():
        raise GorgonError("this host is none of several: it has not joined others")
    own = own_address()
    with sentinel_at(own) as sentinel:
        master, others = master_by(sentinel), known_by(sentinel)
    with broker_at(master) as broker:
        copies = {master, *following(broker.info("replication"))}
    if len(copies - {own}) < 2 or len(others) < 2:
        raise GorgonError(
            f"without this host there would be {len(copies - {own})} copies and {len(others)} Sentinels, and nobody "
            "to take over: have another host join first; docs/hosts.md says how to go back to one host"
        )
    if master == own:
        _, now = asyncio.run(fail_over(installation))
        say(f"the master is {now} now")
        master = now.rpartition(":")[0].strip("[]")
    for file in (OWN, SENTINEL_BEGINS, SENTINEL_KEEPS):
        file.unlink(missing_ok=True)
    systemctl("daemon-reload")
    for unit in (SENTINEL_UNIT, *BROKER):
        say(f"stopping {unit}")
        systemctl("stop", unit)
    for each in sorted(others):
        _forget(each, others - {each}, copies - {own, master}, say)
    say(f"the old copy in {FILES} must be deleted before a broker runs here again: rm -r {FILES}/appendonlydir")


def _forget(address: str, sentinels: set[str], replicas: set[str], say: Say) -> None:
    """Have the Sentinel there forget who is gone, and wait until it has found the others again: one after another, or
    none of them could name a new master meanwhile."""
    with sentinel_at(address, may_order=True) as sentinel:
        sentinel.execute_command("SENTINEL RESET", NAME)
        end = time.monotonic() + PATIENCE
        while not (sentinels <= known_by(sentinel) and replicas <= replicas_by(sentinel)):
            if time.monotonic() > end:
                raise GorgonError(f"the Sentinel of {address} does not find the others: gorgonctl broker status")
            time.sleep(LOOK)
    say(f"the Sentinel of {address} has forgotten this host")
