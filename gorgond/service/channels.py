"""The words in which notification servers tell how their channels fare, among what every instance tells once a second
(`service.metrics`).

    counters     NAME_sent, NAME_later (it could not be sent, and is tried again), NAME_dead (given up), NAME_off (its
                 user does not want it), NAME_gone (where it was to go, there is nothing any more), NAME_quiet (it
                 waits until quiet hours end), NAME_gathered (for a digest)
    operations   "channel NAME": how long it was from a notification's being accepted to its being sent
    reasons      why one could not be sent, the last time, by NAME
    queues       notify_put:NAME, which such a server consumes

And the states of a delivery in the store, `gorgond.notifiers.delivering`.
"""

from __future__ import annotations

QUEUE = "notify_put"
OPERATION = "channel "
OUTCOMES = ("sent", "later", "dead", "off", "gone", "quiet", "gathered")

UNSETTLED = ("sending", "waiting")
SETTLED = ("sent", "dead", "off", "gathered")


def counter_of(channel: str, outcome: str) -> str:
    """What the counter of a channel's outcome is called."""
    return f"{channel}_{outcome}"


def outcome_of(counter: str) -> tuple[str, str] | None:
    """The channel and the outcome that a counter of this name counts; None for what is none of these."""
    channel, _, outcome = counter.rpartition("_")
    return (channel, outcome) if channel and outcome in OUTCOMES else None


def channel_of(queue: str) -> str:
    """The channel whose queue this is; empty for another one."""
    beginning, _, channel = queue.partition(":")
    return channel if beginning == QUEUE else ""
