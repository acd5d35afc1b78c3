"""The verdict: each thing that can hurt is told in words, and nothing else is."""

from __future__ import annotations

from typing import Any

import pytest

from gorgond.redpill import Counts
from gorgond.redpill.broker import IDLE
from gorgond.stats.brokers import BrokerHealth
from gorgond.stats.picture import database_row
from gorgond.stats.queues import Queues, ledger
from gorgond.stats.verdict import STUCK, verdict

QUEUE = {"queued": 0, "oldest": 0.0, "in": 0.0, "out": 0.0, "died": 0, "dead": 0, "paused": False}


def instance(name: str, **changes: Any) -> dict[str, Any]:
    role = name.partition("@")[0]
    queues = {"store": ["store_get", "store_put"]}.get(role, [])
    well = {"name": name, "role": role, "state": "up", "silent": 0.5, "stuck": 0.1, "lag": 0.0, "status": "at work",
            "host": "db1", "machine": "4d1f08aa", "clock": 0.004, "failed": "", "doubled": False,
            "set": "", "route": ""}  # fmt: skip
    return {**well, "queues": queues, **changes}


def broker(**changes: Any) -> dict[str, Any]:
    return {**BrokerHealth("durable", "b.sock").row(), **changes}


CHANNEL = {
    "name": "email", "stalled": 0.0, "waiting": 3, "in_flight": 1, "delayed": 340,
    "reason": "mail server 127.0.0.1: Connection refused",
}  # fmt: skip


def apart(**changes: Any) -> dict[str, Any]:
    return {**BrokerHealth("a:1", "a:1", ["topic", "jobs"]).row(), **changes}


WEB, STORE = instance("web@1"), instance("store@1")


def judged(**parts: Any) -> dict[str, Any]:
    """The verdict on a fabric that is well but for these parts."""
    well = {
        "instances": [WEB, STORE], "queues": [], "channels": [], "redis": [broker()],
        "database": database_row({}, 0.0, 0.0, ""), "ledger": ledger([]), "lately": [],
    }  # fmt: skip
    return verdict(**{**well, **parts})


def test_all_is_well() -> None:
    busy = {"name": "store_put", **QUEUE, "queued": 900, "oldest": 0.8, "in": 9000.0, "out": 8000.0}
    lately = [{"count": 1000, "errors": 4}]
    assert judged(queues=[busy], lately=lately) == {
        "state": "well", "text": "All is well", "reasons": [], "notes": [],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("parts", "state", "text"),
    [
        ({"redis": [broker(away=3.2, reason="refused")]}, "down", "broker b.sock has been away for 3 s: refused"),
        # one that queues are routed to: all others are heard
        ({"redis": [broker(), apart(away=3.2, reason="refused")], "instances": [WEB]}, "down",
         "no store server is up that reads; no store server is up that writes; broker a:1 of jobs, topic has been away "
         "for 3 s: refused"),
        ({"redis": [broker(), apart(away=3.2)]}, "degraded", "broker a:1 of jobs, topic has been away for 3 s"),
        ({"redis": [broker(route="jobs=a:1"), apart()]}, "degraded",
         "2 instances of db1 do not route queues as agreed (jobs=a:1): give db1 the [broker] route of the others, then "
         "gorgonctl restart there"),
        ({"redis": [broker(route="")], "instances": [WEB, STORE, instance("web@1.h2", host="h2", route="jobs=a:1")]},
         "degraded", "1 instance of h2 does not route queues as agreed (no routes): give h2 the [broker] route of the "
         "others, then gorgonctl restart there"),
        ({"instances": [STORE]}, "down", "no web server is up"),
        ({"instances": [WEB]}, "down", "no store server is up that reads; no store server is up that writes"),
        ({"instances": [WEB, instance("store-read@1")]}, "down", "no store server is up that writes"),
        ({"instances": [WEB, instance("store@1", status="waiting for database m for 4 s: refused")]}, "down",
         "database m has been away for 4 s: refused; "
         "instance store@1 has been waiting for database m for 4 s: refused"),
        ({"instances": [WEB, STORE, instance("store@2", state="silent", silent=4.0)]}, "degraded",
         "instance store@2 has been silent for 4 s"),
        ({"instances": [WEB, STORE, instance("store@2", state="silent", silent=4000.0)]}, "degraded",
         "instance store@2 has been silent for 4000 s (gorgonctl forget store@2, if it is not to come back)"),
        ({"instances": [WEB, STORE, instance("store@2", state="failed", failed="shop.py:3: NameError", stuck=7.0)]},
         "degraded", "instance store@2 cannot run: shop.py:3: NameError"),
        ({"instances": [WEB, STORE, instance("store@2", doubled=True)]}, "degraded",
         "two processes have the name store@2: end one, or give its host another name"),
        ({"instances": [WEB, STORE, instance("store@1:ae06cc10", machine="ae06cc10")]}, "degraded",
         "2 hosts are called db1 (machines 4d1f08aa, ae06cc10): give each its own name, with hostnamectl"),
        ({"instances": [WEB, STORE, instance("store@2", machine="")]}, "well", ""),
        ({"instances": [WEB, STORE, instance("provider@x", state="done", silent=99.0, stuck=9.0)]}, "well", ""),
        ({"channels": [CHANNEL, {**CHANNEL, "stalled": 720.0}]}, "degraded",
         "channel email has sent nothing for 12 min, and 344 wait: mail server 127.0.0.1: Connection refused; when "
         "what [notify.email] names works again, they are sent by themselves"),
        ({"redis": [broker(lost={"store_put": 1204, "q": 1})]}, "degraded",
         "broker b.sock has less than it had accepted: 1 of q, 1,204 of store_put; once you know why, gorgonctl forget "
         "durable"),
        ({"redis": [broker(deaf=["store_notify/journal", "t/g"])]}, "degraded",
         "somebody has deleted groups of broker b.sock: store_notify/journal, t/g; they are made again, and never get "
         "the events of up to a minute before that; once you know why, gorgonctl forget durable"),
        ({"instances": [WEB, STORE, instance("store@2", stuck=7.0)]}, "degraded",
         "instance store@2 hangs: a loop has not turned for 7 s"),
        ({"instances": [WEB, STORE, instance("store@2", state="gone", silent=99.0)]}, "well", ""),
        ({"instances": [WEB, STORE, instance("journal@1", status="waiting for /log for 2 s: full")]}, "degraded",
         "instance journal@1 has been waiting for /log for 2 s: full"),
        ({"instances": [WEB, instance("store@1", lag=1.26)]}, "degraded", "the event loop of store@1 is 1.3 s late"),
        ({"instances": [WEB, instance("store@1", host="db2", clock=11.2)]}, "degraded",
         "the clock of db2 is 11.2 s ahead of the broker's: mend it, with timedatectl or chrony"),
        ({"instances": [instance("web@1", host="web1", clock=-1.0), STORE]}, "degraded",
         "the clock of web1 is 1.0 s behind the broker's: mend it, with timedatectl or chrony"),
        ({"instances": [WEB, instance("store@1", host="db2", clock=0.24)]}, "well", ""),
        ({"instances": [WEB, instance("store@1", host="db2", clock=-0.3)]}, "degraded",
         "the clock of db2 is 0.3 s behind the broker's: mend it, with timedatectl or chrony"),
        ({"instances": [WEB, STORE, instance("auth@1", state="gone", host="db2", clock=11.0)]}, "well", ""),
        ({"instances": [WEB, STORE, instance("auth@1", host="old", clock=None)]}, "well", ""),
        ({"instances": [instance("web@1", host="web1", clock=3600.2), instance("store@1", clock=3600.1)]}, "degraded",
         "the clock of broker b.sock is 3,600.1 s behind that of every host: mend it, with timedatectl or chrony"),
        ({"instances": [instance("web@1", host="a", clock=-15.0), instance("store@1", host="b", clock=-15.1),
                        instance("store@2", host="c", clock=0.0), instance("web@2", host="d", clock=-15.0),
                        instance("web@3", host="e", clock=4.0)]}, "degraded",
         "the clock of broker b.sock is 15.0 s ahead of that of most hosts: mend it, with timedatectl or chrony; "
         "the clock of e is 4.0 s ahead of the broker's: mend it, with timedatectl or chrony"),
        # a set of three hosts, of which the one of the master is wrong
        ({"instances": [instance("web@1", host="a"), instance("store@1", host="b", clock=-15.0),
                        instance("store@2", host="c", clock=-15.1)],
          "redis": [broker(replication={**broker()["replication"], "named": "h1:6379"})]}, "degraded",
         "the clock of broker h1:6379 is 15.0 s ahead of that of most hosts: mend it, with timedatectl or chrony"),
        ({"instances": [WEB, STORE, *(instance(f"{role}@1.h2", host="h2", state="silent", silent=12.0 + number)
                                      for number, role in enumerate(("web", "store", "app")))]}, "degraded",
         "host h2 is gone: its 3 instances have been silent for 12 s"),
        ({"instances": [WEB, STORE, *(instance(f"{role}@1.h2", host="h2", state="silent", silent=99.0)
                                      for role in ("web", "store")), instance("app@1.h3", host="h3", state="silent")]},
         "degraded", "host h2 is gone: its 2 instances have been silent for 99 s (gorgonctl forget h2, if it is not to "
         "come back); instance app@1.h3 has been silent for 0 s"),
        ({"instances": [WEB, instance("store@1.h2", host="h2"), instance("app@1.h2", host="h2", state="silent"),
                        instance("app@2.h2", host="h2", state="silent")]}, "degraded",
         "instance app@1.h2 has been silent for 0 s; instance app@2.h2 has been silent for 0 s"),
        ({"instances": [instance("web@1.h1", host="h1", set="gorgon"), instance("web@1.h2", host="h2"),
                        instance("store@1.h2", host="h2"), instance("app@1.h3", host="h3", state="gone")]}, "degraded",
         "2 instances of h2 know one Redis alone, and not that it is of gorgon: nothing works there while another one "
         "is the master; give h2 the [broker] url of the others, then gorgonctl restart there"),
        ({"queues": [{"name": "store_get", **QUEUE, "queued": 4210, "oldest": 38.2}]}, "degraded",
         "queue store_get backlog 4,210, oldest 38 s"),
        ({"queues": [{"name": "store_get", **QUEUE, "queued": 1500, "in": 5.0}]}, "degraded",
         "queue store_get backlog 1,500 and growing"),
        ({"queues": [{"name": "web_get", **QUEUE, "queued": 1}]}, "degraded",
         "queue web_get backlog 1, oldest 0 s: nobody consumes it"),
        ({"queues": [{"name": "store_put", **QUEUE, "queued": 12, "paused": True}]}, "degraded",
         "queue store_put is paused, with 12 messages waiting"),
        ({"queues": [{"name": "store_put", **QUEUE, "died": 3}]}, "degraded",
         "queue store_put: 3 new dead letters in the last minute"),
        ({"redis": [broker(maxmemory=100, memory=95)]}, "degraded", "broker b.sock has filled 95% of its memory"),
        ({"queues": [{"name": "store_put", **QUEUE, "queued": 1, "paused": True, "died": 1}]}, "degraded",
         "queue store_put is paused, with 1 message waiting; queue store_put: 1 new dead letter in the last minute"),
        ({"redis": [broker(refused=7)]}, "degraded", "broker b.sock has refused 7 connections in the last minute"),
        ({"redis": [broker(refused=1)]}, "degraded", "broker b.sock has refused 1 connection in the last minute"),
        ({"instances": [WEB, instance("store@1", status="waiting for database m since 1 s: refused")]}, "down",
         "database m has been away for 1 s: refused; "
         "instance store@1 has been waiting for database m since 1 s: refused"),
        ({"redis": [broker(slow_fsyncs=1)]}, "degraded", "broker b.sock waits for its disk"),
        ({"database": database_row({}, 0.0, 5.0, "no answer")}, "degraded",
         "no store server has answered for 5 s: no answer"),
        ({"lately": [{"count": 100, "errors": 7}]}, "degraded", "7% of the requests fail"),
    ],
)  # fmt: skip
def test_what_hurts_is_said(parts: dict[str, Any], state: str, text: str) -> None:
    found = judged(**parts)
    assert (found["state"], found["text"]) == (state, f"{state.capitalize()}: {text}" if text else "All is well")


def test_dead_letters_are_told_until_somebody_puts_them_back_or_deletes_them() -> None:
    # given some that died long ago, then all is well, but they are told
    old = [{"name": "store_put", **QUEUE, "dead": 1200}, {"name": "web_get", **QUEUE, "dead": 1}]
    told = "; dead letters to put back or delete: 1,200 in store_put, 1 in web_get"
    assert judged(queues=old) == {
        "state": "well", "text": f"All is well{told}", "reasons": [], "notes": [told.removeprefix("; ")],
    }  # fmt: skip
    # and when something hurts, beside it
    assert judged(queues=old, instances=[STORE])["text"] == f"Down: no web server is up{told}"
    # when they are gone, then they are told no more
    assert judged(queues=[{**each, "dead": 0} for each in old])["text"] == "All is well"


def test_a_reason_may_begin_a_sentence() -> None:
    # given whatever can be said of a queue and an instance of these names, then no reason begins with them
    backlog = {"name": "a_queue", **QUEUE, "queued": 5000, "in": 5.0, "died": 1, "oldest": 3.0}
    ill: list[dict[str, Any]] = [
        {"state": "silent"},
        {"state": "failed"},
        {"stuck": 9.0},
        {"status": "waiting for x"},
        {"lag": 9.0},
    ]
    found = judged(
        instances=[WEB, STORE, *(instance("a_name@1", doubled=True, **changes) for changes in ill)],
        queues=[backlog, {**backlog, "paused": True}, {**backlog, "queued": 1}, {**backlog, "oldest": 0.0}],
    )
    assert len(found["reasons"]) >= 12
    assert [each for each in found["reasons"] if each.startswith("a_")] == []


def test_a_difference_in_the_books_is_said() -> None:
    queues = Queues()
    queues.look({"q": Counts(accepted=3)}, 0.0)
    found = judged(ledger=ledger(queues.rows()))
    assert found["text"] == "Degraded: the broker has lost 3 accepted messages"


def test_while_the_broker_is_away_nobody_else_is_blamed() -> None:
    found = judged(redis=[broker(away=9.0)], instances=[instance("web@1", state="silent")])
    assert found["reasons"] == ["broker b.sock has been away for 9 s"]


def test_who_has_only_begun_to_listen_misses_nobody() -> None:
    # nor does it know that all is well
    begun = judged(instances=[], settled=False)
    assert (begun["state"], begun["text"]) == ("unknown", "Not known yet: it has only begun to listen")
    # but what hurts it knows
    assert judged(redis=[broker(away=1.0)], settled=False)["state"] == "down"


def test_the_text_has_the_first_reasons_and_counts_the_others() -> None:
    silent = [instance(f"store@{number}", state="silent") for number in range(2, 8)]
    found = judged(instances=[WEB, STORE, *silent])
    assert len(found["reasons"]) == 6
    assert found["text"].endswith("; and 3 more")


def test_a_consumer_with_nothing_to_do_does_not_hang() -> None:
    # it gives a sign of life each IDLE seconds, and on a busy host somewhat later
    assert IDLE <= 0.6 * STUCK
