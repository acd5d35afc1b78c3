"""A drill: what it is, what it may use while it runs, and how one is run.

steady state → load → the drill's body hurts the fabric → all is made good → load goes on for a moment → the queues
settle → what is stored is read back → verdict.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar
from urllib.request import urlopen

import psutil
from redis.exceptions import RedisError

from gorgond.chaos import witness
from gorgond.chaos.attempts import Attempt, Book, read
from gorgond.chaos.errors import Aborted, Refused
from gorgond.chaos.faults import Fault, Faults
from gorgond.chaos.gauges import Gauges, Sample
from gorgond.chaos.hosts.lab import Hosts, Lab
from gorgond.chaos.load import Load, Plan
from gorgond.chaos.marks import mark
from gorgond.chaos.outside import Outside
from gorgond.chaos.servers import Server, servers_of
from gorgond.chaos.stage import Cast, Stage
from gorgond.chaos.target import BROKERS, Target, Victim
from gorgond.chaos.undo import UndoLog
from gorgond.chaos.verdict import Check, Limits, Verdict, judge
from gorgond.config import Config
from gorgond.errors import GorgonError

T = TypeVar("T")
Say = Callable[[str], None]

POLL = 0.05  # seconds between two looks at a condition
BESIDES = 2.0  # seconds of load before the first fault and after the last is made good
SETTLE = 60.0  # seconds until nothing of ours may be under way any more
STEADY = 20.0  # seconds until all is well before a drill; the one before it may have hurt it just now
HURRY = 0.15  # seconds after which what was killed is started at once: how long others wait is not what is measured


@dataclass(frozen=True, slots=True)
class Options:
    """How drills are run: the seed of all chance, victims at once, short ones, only said, how long a soak takes, and
    where the books are kept."""

    seed: int
    most: int
    books: Path
    short: bool = False
    dry: bool = False
    soak: float = 300.0


@dataclass(frozen=True, slots=True)
class Drill:
    """`body` does the faults. `cast` is the fabric of its own that it runs on, on this host or on three; `alone` says
    that it can run on no other. `roles` must be there. `lacks` says what another fabric lacks for it, by its
    configuration, if it lacks anything. `most` seconds it may take."""

    name: str
    what: str
    body: Callable[[Run], None]
    limits: Limits = field(default_factory=Limits)
    plan: Plan = field(default_factory=Plan)
    cast: Cast | Hosts = field(default_factory=Cast)
    alone: bool = False
    roles: tuple[str, ...] = ()
    lacks: Callable[[Config], str] = lambda _: ""
    most: float = 240.0


class Stopwatch:
    """Where the time goes: the seconds of each part of a drill, one after another."""

    def __init__(self) -> None:
        self.parts: dict[str, float] = {}
        self._last = time.monotonic()

    def end(self, part: str) -> None:
        """This part is over, the next begins."""
        now = time.monotonic()
        self.parts[part], self._last = round(now - self._last, 2), now


@dataclass(slots=True)
class Result:
    """The outcome of a drill. There is no verdict where `skipped` says why it had nothing to do here, or where `error`
    kept it from beginning or broke it off; `parts` are the seconds that each part took. `short` was one with few
    faults."""

    drill: Drill
    seed: int
    verdict: Verdict = field(default_factory=Verdict)
    attempts: list[Attempt] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    parts: dict[str, float] = field(default_factory=dict)
    skipped: str = ""
    error: Refused | Aborted | None = None
    short: bool = False

    @property
    def what(self) -> str:
        """What was done. The drill says it of a whole one; of a short one its faults say it."""
        if not self.short:
            return self.drill.what
        kinds = Counter(fault.kind for fault in self.faults)
        return f"a short one ({', '.join(f'{kind}: {number}' for kind, number in kinds.items()) or 'no fault'})"

    @property
    def judged(self) -> bool:
        """Whether there is a verdict."""
        return not self.skipped and self.error is None

    @property
    def seconds(self) -> float:
        return sum(self.parts.values())


class Run:
    """The tools that a drill's body has in its hands."""

    def __init__(
        self,
        target: Target,
        faults: Faults,
        servers: dict[str, Server],
        load: Load,
        book: Book,
        options: Options,
        most: float,
        stage: Stage | Lab | None,
    ) -> None:
        self.target, self.faults, self.servers, self.load = target, faults, servers, load
        self._own = stage
        self.chance = random.Random(options.seed)
        self.options = options
        self.book = book
        self.checks: list[Check] = []
        self.given_up: set[str] = set()  # marks of effects that the drill itself takes away
        self._end = time.monotonic() + most

    def times(self, number: int) -> int:
        """So many repetitions; few in a short run."""
        return min(number, 3) if self.options.short else number

    def seconds(self, seconds: float, short: float) -> float:
        """So long, or `short` in a short run."""
        return short if self.options.short else seconds

    def sleep(self, seconds: float) -> None:
        """Let time pass. Raises Aborted when the drill takes too long."""
        if not self.options.dry:
            self._in_time()
            time.sleep(seconds)

    def until(self, condition: Callable[[], T], within: float, what: str) -> T | None:
        """Wait for a true value; when it does not come in time, that is a deviation and the drill goes on. A short run
        is for a busy machine too, and waits as long as it must."""
        if self.options.short:
            within = max(within, SETTLE)
        value = self.within(condition, within)
        if not value:
            self.check(what, False, f"not within {within:g} s")
        return value

    def within(self, condition: Callable[[], T], seconds: float) -> T | None:
        """Wait for a true value, which may not come in time."""
        if self.options.dry:
            return None
        end = time.monotonic() + seconds
        while not (value := _value_of(condition)) and time.monotonic() < end:
            self._in_time()
            time.sleep(POLL)
        return value

    def check(self, name: str, passed: bool, text: str) -> None:
        """Something that this drill wants besides the verdict."""
        if not self.options.dry:
            self.checks.append(Check(name, passed, text))

    def _in_time(self) -> None:
        if time.monotonic() > self._end:
            raise Aborted("the drill takes longer than it may")

    @property
    def stage(self) -> Stage:
        """The fabric of the drill's own. Raises Refused."""
        if not isinstance(self._own, Stage):
            raise Refused("it needs a fabric of its own: --target local without --data")
        return self._own

    @property
    def lab(self) -> Lab:
        """The hosts of a drill that has some. Raises Refused."""
        if not isinstance(self._own, Lab):
            raise Refused("it needs hosts of its own: --target local without --data")
        return self._own

    @contextmanager
    def outside(self, kind: type[Outside]) -> Iterator[Outside]:
        """A server of the drill's own of this kind, to which the fabric sends notifications. Raises Refused."""
        own = self._own.outside if isinstance(self._own, Stage) else []
        found = next((each for each in own if isinstance(each, kind)), None)
        if found is not None or self.options.dry:
            yield found or kind()
            return
        server = kind.of(self.target.config).start()
        try:
            yield server
        finally:
            server.stop()

    def others(self, server: Outside) -> list[Outside]:
        """The other ones of a fabric of the drill's own."""
        return [each for each in self._own.outside if each is not server] if isinstance(self._own, Stage) else []

    # ---- victims

    def victims(self, *roles: str) -> list[Victim]:
        """The processes of these roles; without any, all but the brokers."""
        return [each for each in self.target.victims() if (each.role in roles if roles else each.role not in BROKERS)]

    @property
    def brokers(self) -> list[str]:
        """Those that may be hurt; one that queues are routed to runs elsewhere."""
        return [name for name in self.servers if name in BROKERS]

    def back(self, victim: Victim) -> bool:
        """Whether another process than `victim` runs under its name and works."""
        now = self.target.victim(victim.name)
        if now.pid in (0, victim.pid):
            return False
        return self.servers[now.name].answers() if now.name in self.servers else now.up

    def kill(self, name: str, within: float = 20.0, hurry: bool = True) -> None:
        """SIGKILL, and wait until it is back."""
        victim = self.target.victim(name)
        self.faults.kill(name)
        if hurry and not self.options.dry and not self.within(lambda: self.back(victim), HURRY):
            self.hurry(name)
        self.until(lambda: self.back(victim), within, f"{name} is back")
        self.faults.over("kill", name)

    def hurry(self, name: str) -> None:
        """Start it at once if it waits to be started again: the wait grows with each death, a drill must not."""
        if not self.target.victim(name).pid:
            self.target.hurry(name)

    def wait_for_refusals(self, within: float, times: int = 3) -> None:
        """Wait until so many more attempts were refused with 503."""
        before = self.book.kinds["503"]
        self.until(lambda: self.book.kinds["503"] >= before + times, within, "503")

    def wait_until_drained(self, name: str, queue: str = "store_put", within: float = 60.0) -> None:
        """Wait until a queue has done with as much as it has accepted by now. It need not be empty at any moment, since
        the load goes on."""
        server = self.servers[name]
        accepted = server.count_accepted(queue)
        self.until(lambda: server.count_settled(queue) >= accepted, within, f"{queue} is drained")

    def memory(self, role: str) -> int:
        """Bytes that the largest process of a role has."""
        sizes = []
        for victim in self.victims(role):
            try:
                sizes.append(psutil.Process(victim.pid).memory_info().rss if victim.pid else 0)
            except psutil.Error:
                continue
        return max(sizes, default=0)


def _value_of(condition: Callable[[], T]) -> T | None:
    """A condition's value; while the fabric cannot tell, none."""
    try:
        return condition()
    except (RedisError, OSError, GorgonError):
        return None


# ---- running one


def run_drill(drill: Drill, target: Target | None, options: Options, journal: UndoLog, say: Say) -> Result:
    """Run a drill on `target`, or on a fabric of its own when there is none. One that is not to be begun, or is broken
    off, has an error; in each case the fabric is as it was."""
    say(f"== {drill.name}: {'fewer and shorter faults than: ' * options.short}{drill.what}")
    watch = Stopwatch()
    try:
        if target is None:
            with Stage(journal, drill.cast) if isinstance(drill.cast, Cast) else Lab(drill.cast) as stage:
                watch.end("build")
                result = _play(drill, stage.target, stage, options, journal, say, watch)
            watch.end("clear")
            return result
        if drill.alone:
            return Result(drill, options.seed, skipped="it needs a fabric of its own: --target local without --data")
        return _play(drill, target, None, options, journal, say, watch)
    except (Refused, Aborted) as error:
        return Result(drill, options.seed, error=error)
    except (GorgonError, RedisError, OSError) as error:
        return Result(drill, options.seed, error=Aborted(str(error)))


def _play(
    drill: Drill,
    target: Target,
    stage: Stage | Lab | None,
    options: Options,
    journal: UndoLog,
    say: Say,
    watch: Stopwatch,
) -> Result:
    present = {victim.role for victim in target.victims()}
    if missing := set(drill.roles) - present:
        return Result(drill, options.seed, skipped=f"there is no {' '.join(sorted(missing))} at {target.place}")
    if stage is None and (lacks := drill.lacks(target.config)):
        return Result(drill, options.seed, skipped=lacks)
    servers = servers_of(target.config)
    _see_steady(target, servers)
    if options.dry:
        return _perform(drill, target, servers, stage, options, journal, say, watch)
    mark(target.config, f"drill {drill.name} begins")
    end = "broken off"
    try:
        result = _perform(drill, target, servers, stage, options, journal, say, watch)
        end = "passed" if result.verdict.passed else "deviated"
    finally:
        mark(target.config, f"drill {drill.name}: {end}")
    return result


def _perform(
    drill: Drill,
    target: Target,
    servers: dict[str, Server],
    stage: Stage | Lab | None,
    options: Options,
    journal: UndoLog,
    say: Say,
    watch: Stopwatch,
) -> Result:
    path = options.books / f"{drill.name}.attempts"
    path.unlink(missing_ok=True)
    with Book(path) as book:

        def tell(line: str) -> None:
            say(f"{book.now:7.2f} s  {line}")

        # A fabric of the drill's own may be hurt all at once.
        most = options.most if stage is None else len(target.victims())
        faults = Faults(target, journal, most, tell, lambda: book.now, options.dry)
        load = Load(drill.plan, target.url, target.config, book, options.seed)
        gauges = Gauges(list(servers.values()), lambda: book.now)
        run = Run(target, faults, servers, load, book, options, drill.most, stage)
        if options.dry:
            drill.body(run)
            return Result(drill, options.seed, skipped="it was only said what it would do")
        try:
            with _make_good(faults, say):
                try:
                    load.start()
                    gauges.start()
                    run.sleep(run.seconds(BESIDES, 0.5))
                    watch.end("load before")
                    drill.body(run)
                    faults.undo()
                    watch.end("faults")
                    _see_up(run)
                    run.sleep(run.seconds(BESIDES, 0.5))
                    watch.end("load after")
                finally:
                    load.stop()
                    gauges.stop()
            found = _settle(run)
            _see_up(run)  # who was only about to notice an outage has noticed it by now
            watch.end("settle")
            witness.look_at_store(target.config, load.uids, load.told, found)
        finally:
            if stage is None:
                _clean(run)
            for server in servers.values():
                server.close()
    attempts = read(path)
    # A short run is for a busy machine too: it shows that all is kept, not how soon it is back.
    limits = replace(drill.limits, recovery=SETTLE) if options.short else drill.limits
    verdict = judge(attempts, found, gauges.samples, faults.done, limits, run.given_up)
    verdict.check("Retry-After", not load.without_retry_after, f"{load.without_retry_after} answers 503 without it")
    verdict.checks += run.checks
    watch.end("read back")
    return Result(
        drill, options.seed, verdict, attempts, gauges.samples, faults.done, watch.parts, short=options.short
    )  # fmt: skip


def _clean(run: Run) -> None:
    """Have what the drill stored deleted, however it ended, so that the next drill has its own work only."""
    found = _settle(run)
    told = run.load.told
    witness.look_at_store(run.target.config, run.load.uids, (), found)
    notes = (id for ids in found.stored.values() for id in ids)
    witness.clean(run.target.config, notes, (account.id for account in run.load.accounts), told)
    _settle(run)


@contextmanager
def _make_good(faults: Faults, say: Say) -> Iterator[None]:
    """Make good all faults, whatever happens."""
    try:
        yield
    except Refused as refused:  # on the way, not before it
        raise Aborted(str(refused)) from None
    finally:
        for failure in faults.undo():
            say(f"could not be undone: {failure}; gorgon-chaos undo tries again")


def _see_steady(target: Target, servers: dict[str, Server]) -> None:
    """Raise Refused unless all is well, or soon is, before anything is done to it."""
    end = time.monotonic() + STEADY
    while True:
        try:
            return _see_well(target, servers)
        except Refused:
            if time.monotonic() > end:
                raise
        time.sleep(POLL)


def _see_well(target: Target, servers: dict[str, Server]) -> None:
    """Raise Refused unless all is well."""
    for victim in target.victims():
        if not victim.up and victim.state != "done":
            raise Refused(f"{victim.name} is {victim.state}: drills begin with a fabric that is well")
    for name, server in servers.items():
        if not server.answers():
            raise Refused(f"{name} does not answer: drills begin with a fabric that is well")
    try:
        with urlopen(f"{target.url}/readyz", timeout=10):  # noqa: S310 - http, our own
            pass
    except OSError as error:
        raise Refused(f"the web servers are not ready: {error}") from None


def _see_up(run: Run) -> None:
    """Wait for all instances to be up."""
    run.until(lambda: all(each.up or each.state == "done" for each in run.victims()), 30, "all is up again")


def _settle(run: Run) -> witness.Found:
    """Where our messages lie when nothing more is to be done, or when that has not come."""
    end = time.monotonic() + SETTLE
    while True:
        found = witness.Found()
        try:
            witness.look_at_queues(run.servers.values(), found)
        except RedisError as error:  # so much lies there that it takes too long
            found.left = {f"not known: {error}"}
        if not found.left or time.monotonic() > end:
            return found
        time.sleep(POLL)
