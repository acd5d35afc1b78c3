"""The network between the roles and the brokers is slow, breaks off, or swallows everything."""

from __future__ import annotations

from collections.abc import Callable

from gorgond.chaos.drill import Drill, Run
from gorgond.chaos.drills.broker import AWAY
from gorgond.chaos.proxy import Proxy
from gorgond.chaos.verdict import Limits

DELAY = 0.02  # seconds that each chunk waits, each way


def _slow(run: Run) -> None:
    proxies = {name: Proxy(server.socket) for name, server in run.servers.items()}
    for name, proxy in proxies.items():
        run.faults.begin("proxy", name, proxy.start, "rename", str(proxy.real), str(proxy.path))
        if not run.options.dry:
            run.servers[name].drop_clients()  # all connections go through it from now on
    run.sleep(2)
    for name, proxy in proxies.items():
        run.faults.begin("latency", name, _set(proxy, DELAY))
    run.sleep(run.seconds(8, 2))
    for name, proxy in proxies.items():
        run.faults.end("latency", name, _set(proxy, 0.0))
    for _ in range(run.times(20)):
        name = run.chance.choice(run.brokers)
        run.faults.begin("reset", name, proxies[name].reset)
        run.faults.end("reset", name, lambda: None)
        run.sleep(run.chance.uniform(0.1, 0.6))
    for name, proxy in proxies.items():
        run.faults.begin("half-open", name, lambda proxy=proxy: proxy.freeze(True))  # type: ignore[misc]
    run.sleep(run.seconds(12, 3))
    for name, proxy in proxies.items():
        run.faults.end("half-open", name, lambda proxy=proxy: proxy.freeze(False))  # type: ignore[misc]
    run.sleep(run.seconds(5, 2))
    for name, proxy in proxies.items():
        run.faults.end("proxy", name, proxy.stop)


def _set(proxy: Proxy, delay: float) -> Callable[[], None]:
    def act() -> None:
        proxy.delay = delay

    return act


DRILLS = (
    Drill(
        "slow-network",
        "latency, resets and half-open connections between roles and brokers, by a proxy in between",
        _slow,
        Limits(expected=AWAY),
    ),
)
