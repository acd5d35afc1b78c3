"""What the durable broker had accepted and does not know any more."""

from __future__ import annotations

from gorgond.redpill import Counts
from gorgond.stats.losses import Losses


def accepted(**queues: int) -> dict[str, Counts]:
    return {name.replace("__", "/"): Counts(accepted=count, done=count) for name, count in queues.items()}


def test_counts_that_only_grow_are_no_loss() -> None:
    losses = Losses("durable", "b.sock")
    assert not losses.look(accepted(store_put=3, jobs=0))
    assert not losses.look(accepted(store_put=3, jobs=7))
    assert losses.lost == {}


def test_an_emptied_broker_has_lost_all_that_it_does_not_know_until_somebody_takes_note() -> None:
    losses = Losses("durable", "b.sock")
    losses.look(accepted(store_put=1000, jobs=7))
    # when it is emptied, and goes on from nothing
    assert losses.look(accepted(store_put=4, jobs=0))
    assert losses.lost == {"store_put": 996, "jobs": 7}
    # then that stays, and a second time is told, too
    assert not losses.look(accepted(store_put=10, jobs=0))
    assert losses.look(accepted(store_put=0))
    assert losses.lost == {"store_put": 1006, "jobs": 7}
    # until the operator has taken note of it, of this one
    losses.forget("calls")
    assert losses.lost
    losses.forget("durable")
    assert losses.lost == {}


def test_a_group_that_was_dropped_is_no_loss() -> None:
    losses = Losses("durable", "b.sock")
    losses.look(accepted(store_notify__shop=50, store_put=1))
    assert not losses.look(accepted(store_notify__shop=0, store_put=1))
    # but one that has less is
    losses.look(accepted(store_notify__shop=50))
    assert losses.look(accepted(store_notify__shop=20))
    assert losses.lost == {"store_notify/shop": 30}


def test_a_group_that_was_deleted_is_told_until_somebody_takes_note_by_the_next_stats_server_too() -> None:
    first = Losses("durable", "b.sock")
    first.note_rejoin("store_notify/journal")
    [document] = first.unsaved()
    # a second time is no news
    first.note_rejoin("store_notify/journal")
    assert first.unsaved() == []
    second = Losses("durable", "b.sock")
    second.restore(document)
    assert second.deaf == {"store_notify/journal"}
    second.forget("durable")
    assert second.deaf == set()
    assert second.unsaved()[0]["deaf"] == []
    # one of an earlier gorgond knows of none
    del document["deaf"]
    second.restore(document)
    assert second.deaf == set()


def test_the_next_stats_server_knows_what_was_there_and_what_was_lost() -> None:
    # given one that has seen a loss, and saved it
    first = Losses("durable", "b.sock")
    first.look(accepted(store_put=9))
    first.look(accepted(store_put=5))
    [document] = first.unsaved()
    assert first.unsaved() == []
    # when another looks, also before it has loaded it, and more is lost meanwhile
    second = Losses("durable", "b.sock")
    second.look(accepted(store_put=2))
    second.restore(document)
    assert second.queues == ["store_put"]
    assert second.look(accepted(store_put=2))
    assert second.lost == {"store_put": 7}
    # and what is said of another broker is not of ours
    other = Losses("durable", "elsewhere.sock")
    other.restore(document)
    assert (other.queues, other.lost) == ([], {})
