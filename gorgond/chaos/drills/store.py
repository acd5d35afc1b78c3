"""A store hangs; its database dies; a message kills whoever handles it."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from contextlib import suppress

from gorgond.chaos.drill import Drill, Run
from gorgond.chaos.load import Plan
from gorgond.chaos.servers import Server
from gorgond.chaos.stage import ROOT, Cast
from gorgond.chaos.target import Victim
from gorgond.chaos.verdict import Limits
from gorgond.redpill import Message, Producer, connect

SILENCE = 60.0  # seconds: after 20 of silence others may take what is on a desk, and they look every few
STUCK = frozenset(
    {"504", "error 504", "DeadlineExceeded"}
)  # what becomes of the requests on the desk of a store that hangs
POISONED = "chaos_poison"  # a queue of the drill's own
POISON = frozenset({7, 23})  # which of the messages kill


def _hang(run: Run) -> None:
    victim = run.victims("store")[0]
    broker = run.servers["broker"]
    before = broker.counts("store_put").get("recovered", 0)
    # Caught with a batch in its hands; else there is nothing that others could take.
    consumer = ""
    for _ in range(200):
        run.faults.pause(victim.name)
        run.sleep(0.05)  # what it had sent before arrives at the broker
        consumer = "" if run.options.dry else _with_a_batch(broker, victim.name)
        if run.options.dry or (consumer and _others_work(run)):
            break
        run.faults.resume(victim.name)
        run.sleep(run.chance.uniform(0, 0.05))
    run.until(lambda: broker.counts("store_put").get("recovered", 0) > before, SILENCE, "taken over")
    _continue(run, victim, consumer)
    run.sleep(3)


def _continue(run: Run, victim: Victim, consumer: str) -> None:
    """SIGCONT: it goes on with what others have taken over, and wants to settle it. Refused, it takes its desk anew,
    with another token; one whose claim was accepted would go on with the token that it had."""
    broker = run.servers["broker"]
    before = {} if run.options.dry else broker.tokens("store_put")
    run.faults.resume(victim.name)
    run.until(lambda: run.target.victim(victim.name).up, 30, f"{victim.name} works again")
    refused = run.within(lambda: broker.tokens("store_put").get(consumer, 0) > before.get(consumer, 0), 5)
    # Under systemd the watchdog may have replaced it, a process that has nothing to settle.
    same = run.options.dry or run.target.victim(victim.name).pid == victim.pid
    text = (
        f"{consumer} was refused and took its desk anew"
        if refused
        else f"{consumer} settled what others had taken over"
    )
    run.check("late settle", bool(refused) and same, text if same else f"{victim.name} was replaced before it went on")


def _with_a_batch(broker: Server, name: str) -> str:
    """The consumer of this store that has jobs on its desk, if any. A single one may have been put there while it
    waited: then it would take its desk anew without having wanted to settle anything."""
    found = (
        consumer
        for consumer, length in broker.desks("store_put").items()
        if consumer.startswith(f"{name}.") and length > 1
    )
    return next(found, "")


def _others_work(run: Run) -> bool:
    """Whether jobs are done all the same. Stopped in the middle of a transaction a store holds the lock of the embedded
    database, and nobody writes until its watchdog ends it; that is another drill than this."""
    before = run.servers["broker"].counts("store_put")["done"]
    run.sleep(1.5)
    return run.servers["broker"].counts("store_put")["done"] > before + 1


def _database(run: Run) -> None:
    mongod = run.stage.mongod
    if mongod is None:
        return
    for _ in range(run.times(8)):
        run.sleep(run.chance.uniform(0.5, 3))
        run.faults.begin("kill", "mongod", mongod.kill)
        run.faults.end("kill", "mongod", mongod.start)


def _poison(run: Run) -> None:
    server = run.servers["broker"]
    count = 40
    if run.options.dry:
        return
    asyncio.run(_push(server, count))
    deaths = 0
    consumer = _consumer(server)
    try:

        def all_are_handled() -> bool:
            nonlocal consumer, deaths
            if consumer.poll() is not None:
                deaths += 1
                consumer = _consumer(server)
            figures = server.counts(POISONED)
            return figures.get("done", 0) + figures.get("dead", 0) >= count

        run.until(all_are_handled, 300, "all are handled")
        figures = server.counts(POISONED)
    finally:
        consumer.terminate()
        consumer.wait()
        server.forget(POISONED)
    neighbours = figures.get("done", 0)
    run.check("dead letters", figures.get("dead") == len(POISON), f"{figures.get('dead', 0)} of {len(POISON)} poisoned")
    run.check("neighbours", neighbours == count - len(POISON), f"{neighbours} of {count - len(POISON)} are done")
    run.check("deaths", deaths <= 3 * len(POISON), f"{deaths} consumers died (≤ 3 of each poisoned message)")


async def _push(server: Server, count: int) -> None:
    async with Producer(connect(server.url), "chaos-poison") as producer:
        messages = [Message("chaos.poison", {"poison": number in POISON}) for number in range(count)]
        await producer.push(POISONED, *messages)


def _consumer(server: Server) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(  # noqa: S603
        [sys.executable, "-m", "gorgond.chaos.consumer", POISONED, "chaos@poison"],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    if process.stdin is not None:
        with suppress(BrokenPipeError):
            process.stdin.write(server.url.encode() + b"\n")
            process.stdin.close()
    return process


DRILLS = (
    Drill(
        "store-hang",
        "SIGSTOP of a store with a batch in hand, until others have taken it over, then SIGCONT",
        _hang,
        Limits(expected=STUCK),
        Plan(clients=12, queuers=8, ways=("post", "async", "get")),
        roles=("store",),
    ),
    Drill(
        "mongod-kill",
        "SIGKILL of a mongod of its own in the middle of bulk writes",
        _database,
        Limits(expected=STUCK, recovery=10.0),  # where it takes longer than a deadline to be back
        cast=Cast(flags=("--rate", "300", "--count", "10000000"), mongod=True),
        alone=True,
    ),
    Drill("poison", "messages that kill their consumer, among others", _poison),
)
