"""The brokers die, are away, hang."""

from __future__ import annotations

from gorgond.chaos.drill import Drill, Run
from gorgond.chaos.stage import Cast
from gorgond.chaos.verdict import Limits

# The answers that clients get while a broker is away for longer than they may wait.
AWAY = frozenset({"503", "504", "BrokerAway", "DeadlineExceeded", "broker away", "error 504"})
AMONG = 0.2  # of the times, another broker is killed first
LEAKED = 4  # connections more than before that are no leak: one may just be made anew
GROWN = 1.5  # times the memory of before, that web servers may have while their broker is away


def _kill(run: Run) -> None:
    for _ in range(run.times(50)):
        run.sleep(run.chance.uniform(0.05, 0.8))
        run.kill(run.chance.choice(run.brokers))


def _kill_routed(run: Run) -> None:
    routed = run.stage.routed
    if routed is None:
        return
    for _ in range(run.times(50)):
        run.sleep(run.chance.uniform(0.05, 0.8))
        if run.chance.random() < AMONG:
            run.kill(run.chance.choice(run.brokers))
        run.faults.begin("kill", "routed", routed.kill)
        run.faults.end("kill", "routed", routed.start)


def _down(run: Run) -> None:
    before, largest = run.memory("web"), 0
    for name in run.brokers:
        run.faults.stop(name)
    for _ in range(int(run.seconds(30, 13))):
        run.sleep(1)
        largest = max(largest, run.memory("web"))
    for name in run.brokers:
        run.faults.start(name)
    for name in run.brokers:
        run.until(run.servers[name].answers, 20, f"{name} is back")
    limit = before * GROWN
    run.check("memory", largest <= limit, f"a web server had {largest / 1e6:.0f} MB at most (≤ {limit / 1e6:.0f})")
    run.sleep(2)
    # Stopped it stays so; killed it is started again, without help.
    for name in run.brokers:
        run.kill(name, within=10, hurry=False)


def _hang(run: Run) -> None:
    before = _connections(run)
    for name in run.brokers:
        run.faults.pause(name)
    run.sleep(run.seconds(15, 6))
    for name in run.brokers:
        run.faults.resume(name)
    run.sleep(3)
    after = _connections(run)
    run.check("connections", after <= before + LEAKED, f"{before} before, {after} after (≤ {LEAKED} more)")


def _connections(run: Run) -> int:
    return sum(server.info("connected_clients") for server in run.servers.values())


DRILLS = (
    Drill("redis-kill", "SIGKILL of the brokers 50 times at random moments", _kill, Limits(recovery=1.0)),
    Drill(
        "route-kill",
        "SIGKILL of a Redis that queues are routed to, 50 times at random moments, and of the others among them",
        _kill_routed,
        cast=Cast(routed=("store_put", "store_notify")),
        alone=True,
    ),
    Drill(
        "redis-down",
        "the brokers stopped for 30 s, longer than any deadline, then killed",
        _down,
        Limits(expected=AWAY),
    ),
    Drill("redis-hang", "SIGSTOP of the brokers for 15 s", _hang, Limits(expected=AWAY)),
)
