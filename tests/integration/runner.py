"""`python -m tests.integration.runner ARGUMENTS` is `gorgond ARGUMENTS` with the weaknesses that a test asks for:

TEST_SILENCE    seconds after which consumers take each other for dead
TEST_LEASE      seconds for which who runs what runs every so often, or polls, has the right to
TEST_SOON       seconds until a notification that could not be sent is sent again
TEST_WINDOW     seconds from one digest to the next, for everybody
TEST_DRAIN      seconds that draining may take
TEST_SLOW       seconds that each batch of writes takes, half of them before it is in the database, half after
TEST_POISON     the process dies when it is to write an item with this id
TEST_HANG       it hangs then
TEST_JOURNALD   the socket that is taken for journald's
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from gorgond.app import schedule
from gorgond.cli import main
from gorgond.errors import StoreRefused
from gorgond.notifiers import digests, smtp
from gorgond.notifiers.webhook import WebhookNotifier
from gorgond.redpill import Attempts, broker, concurrent, session
from gorgond.roles import notify
from gorgond.service import leading, life
from gorgond.sinks import journald
from gorgond.stores.contract import Write, Written
from gorgond.stores.sqlite import SqliteStore

change = SqliteStore.change


def weak_change(self: SqliteStore, writes: Sequence[Write]) -> list[Written | StoreRefused]:
    """The store's `change`, with the weaknesses."""
    ids = {each.id for each in writes}
    if os.environ.get("TEST_POISON") in ids:
        os.kill(os.getpid(), signal.SIGKILL)
    while os.environ.get("TEST_HANG") in ids:
        time.sleep(1)
    slow = float(os.environ.get("TEST_SLOW", "0"))
    time.sleep(slow / 2)
    done = change(self, writes)
    time.sleep(slow / 2)
    return done


if __name__ == "__main__":
    schedule.LEASE = float(os.environ.get("TEST_LEASE", schedule.LEASE))
    leading.LEASE = float(os.environ.get("TEST_LEASE", leading.LEASE))
    vars(session)["SILENCE"] = silence = float(os.environ.get("TEST_SILENCE", broker.SILENCE))
    for module in (session, concurrent):
        vars(module)["BLOCK"] = min(broker.BLOCK, silence / 8)  # they look for the silent more often than that
    vars(session)["IDLE"] = min(broker.IDLE, silence / 8)
    if soon := os.environ.get("TEST_SOON"):
        vars(notify)["PATIENT"] = Attempts(most=1_000_000, first=float(soon), longest=float(soon))
        WebhookNotifier.schedule = (float(soon),) * 100
    smtp.ANSWER = float(os.environ.get("TEST_MAIL", smtp.ANSWER))
    if window := int(float(os.environ.get("TEST_WINDOW", "0")) * 1000):
        vars(digests)["next_digest"] = lambda times, now: now - now % window + window
    life.DRAIN_MAX = float(os.environ.get("TEST_DRAIN", life.DRAIN_MAX))
    vars(journald)["SOCKET"] = Path(os.environ.get("TEST_JOURNALD", journald.SOCKET))
    SqliteStore.change = weak_change  # type: ignore[method-assign]
    sys.exit(main())
