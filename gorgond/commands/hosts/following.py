"""The Redis of this host follows another master as soon as there is one.

    /usr/lib/gorgond/following      run by the Sentinel of each host when it hears of another master
    python3 -P -m gorgond.commands.hosts.following [ADDRESS]      the same of the host at this address

A Sentinel that names another master leaves out the replicas that it takes for down just then, and looks after them five
to ten seconds later. A master that nobody follows accepts nothing so long.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from gorgond.commands.hosts.asking import broker_at
from gorgond.commands.hosts.files import PORT, own_address
from gorgond.commands.hosts.role import AGAIN, master_of
from gorgond.errors import GorgonError
from gorgond.service.access import SENTINEL

PATIENCE = 20.0  # seconds in which the Sentinels have to agree; then one of them has looked after it


def follow(own: str, user: str, secret: str) -> str:
    """Have the replica here follow the master that the Sentinels name: what was done, empty for nothing. A master is
    left alone, which Sentinels make a replica when its turn is over. Raises GorgonError."""
    named = master_of(own)
    if named == own:
        return ""
    with broker_at(own, user, secret) as redis:
        role, *about = redis.execute_command("ROLE")
        if role != "slave" or (about[0], int(about[1])) == (named, PORT):
            return ""
        redis.execute_command("SLAVEOF", named, PORT)
    return f"the Redis of this host follows {named} instead of {about[0]}"


def main(own: str = "") -> int:
    """Do it as soon as the Sentinels agree; the exit code."""
    login = Path(os.environ.get("CREDENTIALS_DIRECTORY", "/nowhere")) / f"broker.password.{SENTINEL}"
    secret = login.read_text().strip() if login.exists() else ""
    end = time.monotonic() + PATIENCE
    while True:
        try:
            if done := follow(own or own_address(), SENTINEL if secret else "", secret):
                print(done, flush=True)
            return 0
        except GorgonError as error:
            if time.monotonic() > end:
                print(error, file=sys.stderr)
                return os.EX_TEMPFAIL
            time.sleep(AGAIN)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:2]))
