"""Whether the broker of this host starts as the master of its set or as a replica of it.

    python3 -P -m gorgond.commands.hosts.role     before each start of gorgon-broker.service

No file says it for good: a host that was away would come back as the master that it was. The Sentinels say it, more
than half of those that the one of this host knows. While they do not the broker does not start; systemd tries again.

Nor does a master whose disk has nothing while others have a copy: they would take over that nothing. It waits until the
Sentinels name one of them.
"""

from __future__ import annotations

import os
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from gorgond.commands.hosts.asking import known_by, master_by, replicas_by, sentinel_at
from gorgond.commands.hosts.files import PORT, ROLE, own_address
from gorgond.commands.units import FILES
from gorgond.errors import GorgonError

MASTER = "# master\n"  # the text of a role.conf
AGAIN = 0.2  # seconds until they are asked again
PATIENCE = 5.0  # seconds in which they have to agree, so that a host that reaches no other is booted all the same

Ask = Callable[[str], tuple[str, set[str]]]


def ask_sentinel(address: str) -> tuple[str, set[str]]:
    """The master that the Sentinel there names, and the other Sentinels that it knows. Raises GorgonError."""
    with sentinel_at(address) as sentinel:
        return master_by(sentinel), known_by(sentinel)


def role_text(own: str, ask: Ask = ask_sentinel) -> str:
    """The text of role.conf. Raises the same as master_of."""
    master = master_of(own, ask)
    return MASTER if master == own else f"replicaof {master} {PORT}\n"


def master_of(own: str, ask: Ask = ask_sentinel) -> str:
    """The address of the master, by more than half of the Sentinels that the one of this host knows. Raises GorgonError
    while no majority of them names one."""
    master, others = ask(own)
    votes = Counter({master: 1})
    silent = []
    for each in sorted(others):
        try:
            votes[ask(each)[0]] += 1
        except GorgonError as error:
            silent.append(str(error))
    del votes[""]
    for named, number in votes.most_common(1):
        if number * 2 > len(others) + 1:
            return named
    why = "; ".join(silent) or "they differ"
    raise GorgonError(f"no majority of {len(others) + 1} Sentinels names a master: {why}")


def check_disk(own: str, text: str, files: Path = FILES) -> None:
    """Raises GorgonError for a master that would have the replicas delete what they have, and it has not."""
    if text != MASTER or any((files / "appendonlydir").glob("*.manifest")):
        return
    with sentinel_at(own) as sentinel:
        having = " and ".join(sorted(replicas_by(sentinel) - {own}))
    if having:
        raise GorgonError(f"{files} has nothing: it waits until {having} is the master, as the Sentinels will say")


def main() -> int:
    """Write it as soon as it is known; the exit code."""
    own, end = own_address(), time.monotonic() + PATIENCE
    while True:
        try:
            text = role_text(own)
            check_disk(own, text)
            break
        except GorgonError as error:
            if time.monotonic() > end:
                print(f"not started: {error}", file=sys.stderr)
                return os.EX_TEMPFAIL
            time.sleep(AGAIN)
    ROLE.write_text(text)
    print(text.removeprefix("# ").strip())
    return 0


if __name__ == "__main__":
    sys.exit(main())
