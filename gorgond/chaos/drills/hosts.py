"""Three hosts: the broker's master dies, hangs or is cut off; a host loses its power, or is rebooted."""

from __future__ import annotations

import shutil
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import psutil

from gorgond.chaos.drill import Drill, Run
from gorgond.chaos.drills.broker import AWAY
from gorgond.chaos.hosts.host import Host
from gorgond.chaos.hosts.lab import Hosts, Lab
from gorgond.chaos.load import Plan
from gorgond.chaos.verdict import Limits

LATER = 30.0  # seconds within which another master must be there
HEALED = 60.0  # seconds within which all must follow it, and every process be up
LASTS = 8.0  # seconds that a fault lasts at which nobody else becomes master
BEHIND = 1.5  # seconds of writes that the replicas do not hear of
LACKS = 0.3  # seconds of writes that one replica does not hear of
ALL_HAVE = 1.0  # seconds for which what counts waits for every replica
CLOCK_LIMIT = 2.0  # seconds by which a clock may be off where something works
JUMPS = (3600.0, 1.0, -3600.0, -1.0, 15.0, -15.0)  # seconds
PLAN = Plan(clients=12, queuers=12, rate=10.0)

Act = Callable[[Lab, Host], None]


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of fault, done to the host of the master, or to that of a replica; whether another one becomes master."""

    hurt: Act
    heal: Act
    moves: bool = True
    of_replica: bool = False


def _kill(host: Host, name: str) -> None:
    """SIGKILL; and it is not started again, or it would be the master still."""
    host.signal(name, signal.SIGKILL)
    host.ask("stop", name)


def _power_off_while_alone(lab: Lab, host: Host) -> None:
    """The power fails when for a moment nobody has heard what the master has written."""
    others = [each for each in lab.hosts if each is not host]
    for other in others:
        other.pull()
    time.sleep(BEHIND)
    host.off()
    for other in others:
        other.plug()


def _power_off_while_one_lacks(lab: Lab, host: Host) -> None:
    """The power fails when one replica lacks what the other one has, which hangs just then: the Sentinels can only
    choose the first. Where it took so long that what counts did not wait for it any more, the other one goes on."""
    lacking, having = (each for each in lab.hosts if each is not host)
    hanging = psutil.Process(having.pid("broker"))
    begun = time.monotonic()
    lacking.pull()
    time.sleep(LACKS)
    hanging.suspend()
    host.off()
    if time.monotonic() - begun > ALL_HAVE:
        hanging.resume()
    lacking.plug()


def _power_on(lab: Lab, host: Host) -> None:
    """It is back, and whoever hung goes on."""
    for each in lab.hosts:
        each.signal("broker", signal.SIGCONT)
    host.on()


def _wipe(_: Lab, host: Host) -> None:
    """Its disk is a new one when it comes back."""
    shutil.rmtree(host.fitting.path / "redis")
    host.on()


KINDS = {
    "killed": Kind(lambda _, host: _kill(host, "broker"), lambda _, host: host.ask("start", "broker")),
    "frozen": Kind(
        lambda _, host: host.signal("broker", signal.SIGSTOP), lambda _, host: host.signal("broker", signal.SIGCONT)
    ),
    "isolated": Kind(lambda _, host: host.pull(), lambda _, host: host.plug()),
    "deaf": Kind(lambda _, host: host.worsen(direction="deaf"), lambda _, host: host.plug()),
    "mute": Kind(lambda _, host: host.worsen(direction="mute"), lambda _, host: host.plug()),
    "slow": Kind(lambda _, host: host.worsen(delay=0.1, loss=0.05), lambda _, host: host.plug(), moves=False),
    "replica isolated": Kind(lambda _, host: host.pull(), lambda _, host: host.plug(), moves=False, of_replica=True),
    "off": Kind(lambda _, host: host.off(), lambda _, host: host.on()),
    "wiped": Kind(lambda _, host: host.off(), _wipe),
    "off while alone": Kind(_power_off_while_alone, lambda _, host: host.on()),
    "off while one lacks": Kind(_power_off_while_one_lacks, _power_on),
}


def failing(kinds: Sequence[str], times: int) -> Callable[[Run], None]:
    """The body of a drill that does so many faults of these kinds, in turns."""

    def body(run: Run) -> None:
        for number in range(times):
            if run.options.dry:
                continue
            _fail(run, kinds[number % len(kinds)])

    return body


def _fail(run: Run, kind: str) -> None:
    lab, how = run.lab, KINDS[kind]
    master = run.until(lab.sentinels.master, LATER, "there is a master")
    if master is None:
        return
    host = next(each for each in lab.hosts if each is not master) if how.of_replica else master
    run.faults.begin(kind, host.name, lambda: how.hurt(lab, host))
    if how.moves:
        run.until(lambda: lab.sentinels.master() not in (None, master), LATER, f"another master: {kind}")
    run.sleep(run.seconds(LASTS, 3) if not how.moves else 1.0)
    run.faults.end(kind, host.name, lambda: how.heal(lab, host))
    _healed(run, kind)


def _healed(run: Run, kind: str) -> None:
    run.until(run.lab.sentinels.in_step, HEALED, f"all follow one master again: {kind}")
    run.until(lambda: all(each.is_up() for each in run.lab.hosts), HEALED, f"all is up again: {kind}")


def _database(run: Run) -> None:
    """The primary of the database steps down, is killed, is cut off."""
    lab = run.lab
    for _ in range(1 if run.options.short else 3):
        run.faults.begin("step-down", "mongod", lab.database.step_down)
        run.until(lab.database.primary, LATER, "there is a primary")
        run.faults.end("step-down", "mongod", lambda: None)
        _fail_primary(
            run, "mongod killed", lambda host: _kill(host, "mongod"), lambda host: host.ask("start", "mongod")
        )
        _fail_primary(run, "mongod isolated", Host.pull, Host.plug)


def _fail_primary(run: Run, kind: str, hurt: Callable[[Host], None], heal: Callable[[Host], None]) -> None:
    lab = run.lab
    host = run.until(lab.database.primary, LATER, "there is a primary")
    if host is None:
        return
    run.faults.begin(kind, host.name, lambda: hurt(host))
    run.until(lambda: lab.database.primary() not in (None, host), LATER, f"another primary: {kind}")
    run.sleep(1.0)
    run.faults.end(kind, host.name, lambda: heal(host))
    _healed(run, kind)


def _reboot(run: Run) -> None:
    """Each host is shut down and booted, after what it is the master of was given to another."""
    lab = run.lab
    for host in lab.hosts:
        if lab.sentinels.master() is host:
            run.faults.begin("failover", "broker", lab.sentinels.fail_over)
            run.until(lambda: lab.sentinels.master() not in (None, host), LATER, "another master")  # noqa: B023
            run.until(lab.sentinels.in_step, HEALED, "all follow it")
            run.faults.end("failover", "broker", lambda: None)
        run.faults.begin("reboot", host.name, host.shut_down)
        run.sleep(1.0)
        run.faults.end("reboot", host.name, host.on)
        _healed(run, f"reboot of {host.name}")


def _clocks(run: Run) -> None:
    """The clock of one host after another is set: a little, or so far that nothing is to work there."""
    for number, seconds in enumerate(JUMPS[:2] if run.options.short else JUMPS):
        _set_clock(run, run.lab.hosts[number % len(run.lab.hosts)], seconds)


def _set_clock(run: Run, host: Host, seconds: float) -> None:
    kind, far = f"clock {seconds:+g} s", abs(seconds) > CLOCK_LIMIT
    run.faults.begin(kind, host.name, lambda: host.set_clock(seconds))
    if far:
        run.until(lambda: not _works(host), LATER, f"nothing works there: {kind}")
    run.sleep(run.seconds(LASTS, 3))
    run.check(kind, _works(host) is not far, f"{host.name} {'must not work' if far else 'must work on'}")
    run.faults.end(kind, host.name, lambda: host.set_clock(0))
    _healed(run, kind)


def _works(host: Host) -> bool:
    """Whether any process of gorgond there is ready."""
    return any(each["state"] == "up" for each in host.processes() if "@" in each["name"])


def _drill(
    name: str, what: str, body: Callable[[Run], None], expected: frozenset[str] = AWAY, clocks: bool = False
) -> Drill:
    limits = Limits(expected=expected, recovery=10.0)
    return Drill(name, what, body, limits, PLAN, Hosts(clocks=clocks), alone=True, most=600.0)


DRILLS = (
    _drill(
        "broker-failover",
        "three hosts: the broker's master killed, stopped, powered off, wiped, and slow",
        failing(("killed", "frozen", "off", "wiped", "slow", "off while alone", "off while one lacks"), 14),
    ),
    _drill(
        "partition",
        "three hosts: the master's host cut off, in one direction too, and a replica's",
        failing(("isolated", "deaf", "mute", "replica isolated"), 8),
    ),
    _drill("host-down", "three hosts: each powered off in turn while it is the master's", failing(("off",), 6)),
    _drill("primary-failover", "three hosts: the database's primary steps down, is killed, is cut off", _database),
    _drill("rolling-reboot", "three hosts: each shut down and booted, one after another", _reboot, frozenset()),
    _drill("clock-jump", "three hosts: the clock of one set, by up to an hour", _clocks, frozenset(), clocks=True),
)
