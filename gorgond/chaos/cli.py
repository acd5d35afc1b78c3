"""gorgon-chaos: kill, stop and hang gorgond's processes, and drill what must survive it.

Exit codes: 0 passed, 1 deviated, 2 aborted and cleaned up (or not understood), 3 refused: nothing was done,
74 the output cannot be written.
"""

from __future__ import annotations

import argparse
import logging
import os
import random
import re
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from gorgond import __version__
from gorgond.chaos import junit, report
from gorgond.chaos.actions import Again, Hand
from gorgond.chaos.drill import Drill, Options, Result, run_drill
from gorgond.chaos.drills import DRILLS
from gorgond.chaos.errors import Aborted, Refused
from gorgond.chaos.faults import perform
from gorgond.chaos.local import LocalTarget
from gorgond.chaos.rails import MOST, permit
from gorgond.chaos.target import Target, signal_of
from gorgond.chaos.undo import UndoLog
from gorgond.chaos.units import SystemdTarget
from gorgond.errors import GorgonError
from gorgond.service.output import run_command
from gorgond.service.plain import plain_lines

DEVIATED, ABORTED, REFUSED = 1, 2, 3
VERBS = {
    "kill": "send SIGKILL, or another signal",
    "stop": "end in good order, to stay so",
    "start": "start what was stopped",
    "restart": "end in good order and start again",
    "pause": "SIGSTOP: keeps its connections and does nothing",
    "resume": "SIGCONT",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; its exit code."""
    return run_command("gorgon-chaos", lambda: _run(argv))


def _run(argv: Sequence[str] | None) -> int:
    arguments = _parser().parse_args(argv)
    logging.getLogger("gorgond.redpill").setLevel(logging.ERROR)  # that a broker is away is our own doing
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that all is made good
    signal.signal(signal.SIGHUP, signal.default_int_handler)
    try:
        code: int = arguments.command(arguments)
        return code
    except KeyboardInterrupt:
        _complain("aborted: interrupted")
        return ABORTED
    except GorgonError as error:
        _complain(f"refused: {error}")
        return REFUSED


def _complain(text: str) -> None:
    print(plain_lines(f"gorgon-chaos: {text}"), file=sys.stderr)


def _say(line: str) -> None:
    print(plain_lines(line), file=sys.stderr, flush=True)


# ---- what is understood


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="gorgon-chaos",
        description="Kills, stops and hangs gorgond's processes, and proves that nothing is lost by it.",
        epilog="gorgon-chaos COMMAND --help says what a command takes; docs/chaos.md explains the drills.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"gorgon-chaos {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    common = _common()

    def command(name: str, help: str) -> argparse.ArgumentParser:
        text = help[0].upper() + help[1:] + "."
        return commands.add_parser(name, help=help, description=text, parents=[common], allow_abbrev=False)

    command("list", "what can be hurt").set_defaults(command=_list)
    for verb, help in VERBS.items():
        made = command(verb, help)
        made.add_argument("pattern", metavar="VICTIM", nargs="+", help="store@2, 'store@*', store, broker")
        if verb == "kill":
            made.add_argument("--signal", metavar="SIGNAL", default="KILL", help="another signal")
        if verb in ("kill", "restart"):
            made.add_argument(
                "--random", metavar="N", type=_whole, help="only so many of them at random, again and again"
            )
            made.add_argument("--every", metavar="TIME", type=_time, default=5.0, help="the time between (5s)")
            made.add_argument("--for", metavar="TIME", type=_time, default=60.0, dest="seconds", help="how long (1m)")
        made.set_defaults(command=_act, verb=verb)
    made = command("drill", "run drills, and judge")
    made.add_argument("drill", metavar="DRILL", nargs="*", help="which; --list names them")
    made.add_argument("--all", action="store_true", help="every drill but the soak")
    made.add_argument("--list", action="store_true", help="name them and what they do")
    made.add_argument("--short", action="store_true", help="some seconds each: whether the drills themselves work")
    made.add_argument("--for", metavar="TIME", type=_time, default=300.0, dest="seconds", help="of a soak (5m)")
    made.add_argument("--json", metavar="FILE", type=Path, help="write the figures there")
    made.add_argument("--junit", metavar="FILE", type=Path, help="write the checks there as JUnit XML")
    made.add_argument("--svg", metavar="DIR", type=Path, help="draw each drill there as DRILL.svg (needs matplotlib)")
    made.add_argument("--books", metavar="DIR", type=Path, help="keep what the clients wrote down there")
    made.set_defaults(command=_drill)
    command("undo", "make good what a run has left that was killed").set_defaults(command=_undo)
    return parser


def _common() -> argparse.ArgumentParser:
    common = argparse.ArgumentParser(add_help=False)
    units = Path("/run/systemd/system").exists() and any(Path("/lib/systemd/system").glob("gorgon-*"))
    default = "systemd" if units else "local"
    common.add_argument("--target", choices=("local", "systemd"), default=default, help=f"whose processes ({default})")
    common.add_argument(
        "--data", metavar="DIR", help="of the gorgond up that is meant (your state directory; drills: one of their own)"
    )
    common.add_argument("--host", metavar="NAME", help="this host's name, to show that it is meant")
    common.add_argument("--max", metavar="N", type=_whole, default=MOST, help=f"victims at once ({MOST})")
    common.add_argument("--seed", metavar="S", type=int, help="the same seed makes the same choices")
    common.add_argument("--dry-run", action="store_true", help="only say what would be done")
    return common


def _whole(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError("must be a whole number above 0")
    return int(text)


def _time(text: str) -> float:
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h)?", text)
    if match is None:
        raise argparse.ArgumentTypeError("must be a time, as 30, 30s, 500ms, 2m, 1h")
    return float(match[1]) * {"ms": 0.001, "s": 1, None: 1, "m": 60, "h": 3600}[match[2]]


# ---- what is done


def _journal(leftovers: bool = False) -> UndoLog:
    """The undo journal: of root in a place that is empty after a reboot, as what it would undo is gone then."""
    return UndoLog((Path("/run/gorgon-chaos") if _of_host() else _state()) / "undo", leftovers)


def _books() -> Path:
    """Where the clients' books are: on a disk, and of root where nobody else can make the directory before."""
    return (Path("/var/lib/gorgon-chaos") if _of_host() else _state()) / "books"


def _of_host() -> bool:
    return os.geteuid() == 0 and Path("/run/systemd/system").exists()


def _state() -> Path:
    base = os.environ.get("XDG_STATE_HOME", "")
    return (Path(base) if base.startswith("/") else Path.home() / ".local/state") / "gorgond/chaos"


def _target(arguments: argparse.Namespace) -> Target:
    """Whose processes are meant; where they are a host's units, it must be allowed."""
    if arguments.target == "local":
        return LocalTarget(arguments.data)
    units = SystemdTarget()
    if not arguments.dry_run:
        permit(units.config, arguments.host)
    return units


def _seed(arguments: argparse.Namespace) -> int:
    return arguments.seed if arguments.seed is not None else random.SystemRandom().randrange(10**6)


def _list(arguments: argparse.Namespace) -> int:
    target = LocalTarget(arguments.data) if arguments.target == "local" else SystemdTarget()
    print(f"{target.place}, web at {target.url}")
    for victim in target.victims():
        print(f"{victim.name:20}{victim.pid or '':>8}  {victim.state:10}{victim.restarts:>4} restarts")
    return 0


def _act(arguments: argparse.Namespace) -> int:
    again = None
    if getattr(arguments, "random", None):
        again = Again(arguments.random, arguments.every, arguments.seconds)
    number = signal_of(getattr(arguments, "signal", "KILL"))
    with _journal(leftovers=True) as journal:
        hand = Hand(_target(arguments), journal, arguments.max, _seed(arguments), _say, arguments.dry_run)
        hand.act(arguments.verb, arguments.pattern, number, again)
    return 0


def _undo(arguments: argparse.Namespace) -> int:
    with _journal(leftovers=True) as journal:
        if arguments.dry_run:
            for step in journal.pending:
                _say(f"would {' '.join(step)}")
            return 0
        # A host's permission is asked for once. Of what is local some steps can be done though nothing runs there.
        units = _target(arguments) if arguments.target == "systemd" and journal.pending else None
        failures = journal.undo(lambda step: perform(step, lambda: units or _target(arguments)))
    for failure in failures:
        _complain(failure)
    return DEVIATED if failures else 0


def _drill(arguments: argparse.Namespace) -> int:
    if arguments.list:
        for drill in DRILLS.values():
            print(f"{drill.name:16} {drill.what}")
        return 0
    chosen = _choose(arguments)
    if arguments.svg:
        from gorgond.chaos.chart import draw  # now, so that a missing library shows before the drills

        arguments.svg.mkdir(parents=True, exist_ok=True)
    seed = _seed(arguments)
    books = arguments.books or _books()
    books.mkdir(parents=True, exist_ok=True)
    options = Options(seed, arguments.max, books, arguments.short, arguments.dry_run, arguments.seconds)
    results: list[Result] = []
    own = arguments.target == "local" and arguments.data is None
    with _journal() as journal:
        target = None if own else _target(arguments)
        try:
            for drill in chosen:
                result = run_drill(drill, target, options, journal, _say)
                results.append(result)
                print(plain_lines(report.text(result)), flush=True)
                if arguments.svg and result.judged:
                    draw(result, arguments.svg / f"{drill.name}.svg")
        finally:  # those that were finished are told, also when the next one is interrupted
            if arguments.junit:
                junit.write(results, arguments.junit)
            if arguments.json:
                arguments.json.write_text(report.as_json(results))
    return min(filter(None, map(_code, results)), default=0)


def _code(result: Result) -> int:
    """How a drill ended."""
    match result.error:
        case Refused():
            return REFUSED
        case Aborted():
            return ABORTED
    return 0 if result.skipped or result.verdict.passed else DEVIATED


def _choose(arguments: argparse.Namespace) -> list[Drill]:
    if arguments.all:
        return [drill for drill in DRILLS.values() if drill.name != "soak"]
    if unknown := [name for name in arguments.drill if name not in DRILLS]:
        raise Refused(f"there is no drill {' '.join(unknown)}; there are {' '.join(DRILLS)}")
    if not arguments.drill:
        raise Refused("name a drill, or --all; --list names them")
    return [DRILLS[name] for name in arguments.drill]


if __name__ == "__main__":
    sys.exit(main())
