"""What each instance did between two snapshots, through restarts, upgrades, silence and ends; the figures of queues."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest

from gorgond.redpill import Counts
from gorgond.service.metrics import Histogram, Metrics, Operation
from gorgond.stats.brokers import BrokerHealth, durability
from gorgond.stats.instances import FORGOTTEN, SILENT, Instances
from gorgond.stats.marks import KEPT, SHOWN, Marks
from gorgond.stats.queues import Queues, ledger, together


class Process:
    """A web server that answers, as far as its snapshots tell."""

    def __init__(self, name: str = "web@1.host", pid: int = 1, version: str = "1", uptime: float = 0.0) -> None:
        self.name, self.pid, self.version, self.uptime = name, pid, version, uptime
        self.metrics = Metrics()
        self.cpu = 0.0
        self.run = f"{pid} of {version}"
        self.done = False

    def answer(self, count: int, seconds: float = 0.001, status: int = 200) -> None:
        self.metrics.measure("GET /", count, count * (status >= 500), 10 * count, seconds)
        self.metrics.count(f"http {status}", count)

    def snapshot(self, seconds: float = 1.0, state: str = "up") -> dict[str, Any]:
        self.uptime += seconds
        return {
            "name": self.name, "role": "web", "instance": "1", "host": "host", "pid": self.pid,
            "version": self.version, "uptime": self.uptime, "state": state, "status": "serving", "silent": 0.0,
            "lag": 0.0, "clock": -0.25, "run": self.run, "done": self.done, "rss": 1, "cpu": self.cpu, "queues": {},
            "counters": dict(self.metrics.counters), "operations": self.metrics.operations(),
        }  # fmt: skip


def hear(instances: Instances, snapshot: dict[str, Any], now: float) -> Operation:
    done = instances.hear(snapshot, now)
    assert done is not None
    return done.operations.get("GET /", Operation())


def test_what_was_done_is_the_difference() -> None:
    # given a process that begins while we listen
    instances, process = Instances(100.0), Process()
    process.answer(5)
    assert hear(instances, process.snapshot(), 101.0).count == 5
    # when it goes on, then only what it did since is counted, with its rates
    process.answer(7, 0.002)
    process.answer(3, 0.5, status=503)
    process.cpu += 0.25
    done = hear(instances, process.snapshot(), 102.0)
    assert (done.count, done.errors, done.bytes, done.latency.highest) == (10, 3, 100, 500_000)
    assert instances.all[process.name].rates == {"in": 10.0, "out": 7.0, "errors": 3.0, "cpu": 0.25}
    # and the highest of a second is no more than that of its own bucket
    process.answer(1, 0.002)
    assert 2000 <= hear(instances, process.snapshot(), 103.0).latency.highest <= 2200
    # and a second in which it did nothing counts nothing
    assert hear(instances, process.snapshot(), 104.0).count == 0


def test_differences_add_up_to_the_whole() -> None:
    chance, sum = random.Random(1), Histogram()
    instances, process = Instances(0.0), Process()
    for second in range(1, 30):
        for _ in range(chance.randrange(20)):
            process.answer(chance.randrange(1, 5), chance.lognormvariate(-6, 2))
        sum.merge(hear(instances, process.snapshot(), float(second)).latency)
    whole = Operation.of(process.metrics.operations()["GET /"]).latency
    assert sum.snapshot() == whole.snapshot()


def test_of_a_process_that_was_there_before_us_we_count_what_we_heard() -> None:
    instances, process = Instances(100.0), Process(uptime=1000.0)
    process.answer(1000)
    assert hear(instances, process.snapshot(), 101.0).count == 0
    process.answer(1)
    assert hear(instances, process.snapshot(), 102.0).count == 1
    assert instances.take_events() == []


def test_what_was_missed_is_counted_with_the_next() -> None:
    instances, process = Instances(0.0), Process()
    hear(instances, process.snapshot(), 1.0)
    process.answer(4)
    process.snapshot()
    process.answer(4)
    assert hear(instances, process.snapshot(), 3.0).count == 8


def test_starts_restarts_upgrades_and_ends_are_told() -> None:
    instances = Instances(0.0)
    first, second, third = Process(pid=1), Process(pid=2), Process(pid=3, version="2")
    hear(instances, first.snapshot(), 1.0)
    # a successor is counted from its start
    second.answer(9)
    assert hear(instances, second.snapshot(), 5.0).count == 9
    hear(instances, third.snapshot(), 9.0)
    hear(instances, third.snapshot(state="draining"), 10.0)
    assert instances.all[first.name].state == "draining"
    hear(instances, third.snapshot(state="gone"), 11.0)
    assert [(event.kind, event.at, event.text) for event in instances.take_events()] == [
        ("start", 0.0, "web@1.host started"), ("restart", 4.0, "web@1.host restarted"),
        ("upgrade", 8.0, "web@1.host upgraded from 1 to 2"), ("stop", 11.0, "web@1.host stopped"),
    ]  # fmt: skip
    assert instances.all[first.name].restarts == 2
    # and who is gone is forgotten in the end
    instances.look(11.0 + FORGOTTEN + 1, True)
    assert instances.all == {}


def test_silence_is_seen_unless_nobody_can_be_heard() -> None:
    instances, process = Instances(0.0), Process()
    hear(instances, process.snapshot(), 1.0)
    instances.look(1.0 + SILENT, True)
    assert instances.all[process.name].state == "up"
    instances.look(1.1 + SILENT, True)
    assert instances.all[process.name].state == "silent"
    hear(instances, process.snapshot(), 5.0)
    assert instances.all[process.name].state == "up"
    # while the broker is away nobody is silent, and each gets time to be heard when it is back
    instances.look(500.0, False)
    instances.look(500.5, True)
    assert instances.all[process.name].state == "up"
    # and one that is silent is missed for as long as it is
    instances.look(501.0 + 10 * FORGOTTEN, True)
    assert instances.all[process.name].state == "silent"
    # until the operator says that it will not come back
    instances.forget(process.name)
    assert instances.all == {}


def test_one_that_is_done_has_not_stopped() -> None:
    instances, process = Instances(0.0), Process()
    hear(instances, process.snapshot(), 1.0)
    process.done = True
    hear(instances, process.snapshot(state="draining"), 2.0)
    assert instances.all[process.name].state == "draining"
    hear(instances, process.snapshot(state="gone"), 3.0)
    instances.look(100.0, True)
    assert instances.all[process.name].state == "done"
    assert instances.take_events()[-1].text == "web@1.host is done"


def test_a_group_that_was_made_again_is_told_once() -> None:
    def told(instances: Instances, rejoined: int | None, now: float, process: Process) -> list[str]:
        row = {"handled": 0, "failed": 0, "expired": 0} | ({} if rejoined is None else {"rejoined": rejoined})
        done = instances.hear({**process.snapshot(), "queues": {"t/g": row, "q": {**row, "rejoined": 0}}}, now)
        assert done is not None
        return list(done.rejoined)

    instances, process = Instances(0.0), Process()
    assert [told(instances, *each, process) for each in ((0, 1.0), (1, 2.0), (1, 3.0), (2, 4.0))] == [
        [], ["t/g"], [], ["t/g"],
    ]  # fmt: skip
    # what happened before we listened was told then, and an earlier gorgond tells of none
    assert told(Instances(100.0), 3, 101.0, Process(uptime=1000.0)) == []
    assert told(Instances(0.0), None, 1.0, Process()) == []


def test_two_processes_of_one_name_are_told_from_a_successor() -> None:
    # given a process and its successor
    instances, first, second = Instances(0.0), Process(pid=7), Process(pid=7)
    second.run = "another host's"
    hear(instances, first.snapshot(), 1.0)
    hear(instances, second.snapshot(), 2.0)
    [row] = instances.all.values()
    assert row.doubled < 0
    # when the first is heard again, then two have the name, and its end is not that of the other
    assert instances.hear(first.snapshot(state="gone"), 3.0) is None
    assert (row.doubled, row.state, row.restarts) == (3.0, "up", 1)
    # and when the second is silent, then the first has it
    instances.look(9.0, True)
    hear(instances, first.snapshot(), 10.0)
    assert (row.doubled, row.state, row.restarts) == (3.0, "up", 2)


def test_one_that_cannot_run_is_missed_and_not_taken_for_stopped() -> None:
    # given one that was stopped, whose successor cannot run
    instances, process = Instances(0.0), Process()
    hear(instances, process.snapshot(), 1.0)
    hear(instances, process.snapshot(state="gone"), 2.0)
    instances.note_failure(process.name, "its successor", "shop.py:3: NameError", 3.0)
    instances.look(3.0 + 2 * FORGOTTEN, True)
    row = instances.all[process.name]
    assert (row.state, row.why) == ("failed", "shop.py:3: NameError")
    # when it runs, then that is over; and a failure of others under its name is not its own
    hear(instances, process.snapshot(), 9.0)
    instances.note_failure(process.name, "another host's", "superseded", 9.5)
    assert row.state == "up"
    instances.note_failure("web@9.host", "unknown", "x", 9.5)
    assert list(instances.all) == [process.name]


@pytest.mark.parametrize(
    "broken", [{}, {"name": "x"}, {**Process().snapshot(), "lag": "much"}, {**Process().snapshot(), "queues": []}]
)
def test_what_is_no_snapshot_is_left_out(broken: dict[str, Any], expected_logs: Any) -> None:
    expected_logs("is not understood")
    assert Instances(0.0).hear(broken, 1.0) is None


def test_a_queue_on_two_brokers_is_one() -> None:
    one = Counts(queued=2, oldest=1.5, accepted=10, done=8)
    other = Counts(queued=1, oldest=4.0, accepted=3, done=2, paused=True)
    assert together([one, other]) == Counts(queued=3, oldest=4.0, accepted=13, done=10, paused=True)


def test_rates_and_new_dead_letters_of_queues() -> None:
    queues = Queues()
    queues.know(["store_notify/journal"])
    assert "store_notify/journal" in queues.names
    queues.look({"q": Counts(accepted=100, done=90, dead=10), "unused": Counts()}, 10.0)
    queues.look({"q": Counts(accepted=150, done=130, dead=11, requeued=1, queued=8), "unused": Counts()}, 12.0)
    (row,) = queues.rows()
    assert (row["in"], row["out"], row["died"], row["queued"]) == (25.0, 20.0, 2, 8)
    assert queues.growth["q"] == (50, 40, 0)
    # those that were dropped or put back since are new no more
    queues.look(
        {"q": Counts(accepted=150, done=130, dead=1, requeued=5, dropped=6, queued=8), "unused": Counts()}, 13.0
    )
    (row,) = queues.rows()
    assert (row["died"], row["dead"]) == (1, 1)
    # a broker that has forgotten everything begins anew
    queues.look({"q": Counts(accepted=5, done=5)}, 13.0)
    assert queues.growth["q"] == (5, 5, 0)


def test_the_ledger_says_where_everything_is() -> None:
    queues = Queues()
    queues.look({"a": Counts(1, 2, 3, 4, 0.0, 26, done=5, expired=6, dropped=2, overflow=3)}, 0.0)
    books = ledger(queues.rows())
    assert books["text"] == "Every message is accounted for"
    places = ("stored", "queued", "in_flight", "delayed", "dead", "expired", "dropped", "overflow", "difference")
    assert books["accepted"] == 26 == sum(books[place] for place in places)
    queues.look({"a": Counts(accepted=1002)}, 0.0)
    assert ledger(queues.rows())["text"] == "The broker has lost 1,002 accepted messages"
    queues.look({"a": Counts(accepted=1, done=2)}, 0.0)
    assert ledger(queues.rows())["text"] == "The broker was set back: it has 1 message more than it had accepted"


def test_what_a_broker_says_of_itself() -> None:
    health = BrokerHealth("durable", "/run/broker.sock")
    assert durability([health.row()]) == "unknown"
    about = {"redis_version": "7", "aof_enabled": "1", "appendfsync": "always", "rejected_connections": "3"}
    health.take_answer({**about, "used_memory": "10", "maxmemory": "20"})
    health.take_answer({**about, "rejected_connections": "5"})
    row = health.row()
    assert (row["rejected"], row["refused"], row["fsync"], durability([row])) == (5, 2, "always", "always")
    health.take_answer({**about, "appendfsync": "no"})
    assert durability([health.row()]) == "none"
    health.take_answer({**about, "aof_enabled": "0"})
    assert (health.row()["fsync"], durability([health.row()])) == ("", "none")
    # one that does not let us ask
    health.take_answer({"redis_version": "7", "aof_enabled": "1"})
    assert durability([health.row()]) == "unknown"


def test_marks_are_kept_once_and_in_order() -> None:
    marks = Marks()
    marks.add(2000, "restart", "b restarted")
    marks.add(1000, "drill", "kill store")
    marks.add(3000, "restart", "b restarted")  # as another stats server saw it
    assert [mark["at"] for mark in marks.newest()] == [1000, 2000]
    marks.add(3950, "restart", "b restarted")  # and this is the next time
    assert [mark["at"] for mark in marks.newest()] == [1000, 2000, 3950]
    (document,) = marks.unsaved()
    assert marks.unsaved() == []
    again = Marks()
    again.restore(document)
    assert again.newest() == marks.newest()
    for at in range(KEPT + 10):
        marks.add(10_000 * (at + 1), "start", "x" * 1000)
    assert len(marks.newest()) == SHOWN
    assert len(marks.unsaved()[0]["marks"]) == KEPT
    with pytest.raises(ValueError, match="no kind of mark"):
        marks.add(1, "party", "")


def twin(process: Process, machine: str) -> dict[str, Any]:
    """What it says on that machine."""
    return process.snapshot() | {"machine": machine}


def test_hosts_of_one_name_are_told_apart_by_their_machines(expected_logs: Callable[[str], None]) -> None:
    expected_logs("two hosts are called host: web@1.host is also on machine")
    # given a process, and then another one of that name on another machine: it may have been started in its place
    instances, first, second = Instances(0.0), Process(pid=1), Process(pid=2)
    hear(instances, twin(first, "aaaaaaaa"), 1.0)
    hear(instances, twin(second, "bbbbbbbb"), 1.1)
    assert list(instances.all) == ["web@1.host"]
    # when the first speaks again, there are two, and what each does counts
    for second_of_time in range(2, 10):
        for process, machine in ((first, "aaaaaaaa"), (second, "bbbbbbbb")):
            process.answer(1)
            assert instances.hear(twin(process, machine), float(second_of_time)) is not None
    assert list(instances.all) == ["web@1.host", "web@1.host:aaaaaaaa"]
    assert [each.last["machine"] for each in instances.all.values()] == ["bbbbbbbb", "aaaaaaaa"]
    assert all(each.doubled < 0 and each.state == "up" for each in instances.all.values())
    # then so they are for the next stats server, whichever it hears first, and nobody is missed
    after = Instances(20.0)
    after.expect(instances.expected(10.0, 1000.0), 20.0, 1010.0)
    for process, machine in ((first, "aaaaaaaa"), (second, "bbbbbbbb")):
        after.hear(twin(process, machine), 21.0)
    after.look(22.0, True)
    assert {name: each.state for name, each in after.all.items()} == {"web@1.host": "up", "web@1.host:aaaaaaaa": "up"}


def test_one_that_is_upgraded_to_tell_its_machine_is_the_same() -> None:
    instances, old, new = Instances(0.0), Process(pid=1), Process(pid=2, version="2")
    hear(instances, old.snapshot(), 1.0)
    instances.hear(old.snapshot(state="gone"), 2.0)
    hear(instances, twin(new, "aaaaaaaa"), 3.0)
    instances.look(4.0, True)
    assert {name: each.state for name, each in instances.all.items()} == {"web@1.host": "up"}
    assert [event.kind for event in instances.take_events()] == ["start", "stop", "upgrade"]
