"""gorgonctl: the operator's command, for the units of this host or for a `gorgond up`.

Exit codes: 0 well, 1 failed, 2 not understood, 69 a broker does not answer, 74 the output cannot be written, 78 the
configuration is wrong. Those of `status` say how the fabric is: 0 well, 1 degraded, 2 down, 3 when that is not known.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

from gorgond import __version__
from gorgond.commands.hosts.parser import add_hosts
from gorgond.commands.jobs.parser import add_jobs
from gorgond.commands.operator.answering import act, as_json, ask, tell, tell_done
from gorgond.commands.operator.installation import Installation
from gorgond.commands.operator.notifications import add_notifications
from gorgond.errors import ConfigError, GorgonError
from gorgond.redpill import BrokerAway
from gorgond.roles import SCALED
from gorgond.service.log import silence
from gorgond.service.output import run_command
from gorgond.service.plain import plain, plain_lines

UNKNOWN = 3  # of status
Command = Callable[[argparse.Namespace], int]
Wider = Callable[[argparse.ArgumentParser], argparse.ArgumentParser]


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; its exit code."""
    return run_command("gorgonctl", lambda: _run(argv))


def _run(argv: Sequence[str] | None) -> int:
    arguments = _parser().parse_args(argv)
    command: Command = arguments.command
    silence()  # what a broker's loops would log is told as the answer
    try:
        return command(arguments)
    except GorgonError as error:
        print(plain_lines(f"gorgonctl: {error}"), file=sys.stderr)
        return _code(error) if command is not _status else UNKNOWN
    except KeyboardInterrupt:
        return 130


def _code(error: GorgonError) -> int:
    if isinstance(error, ConfigError):
        return os.EX_CONFIG
    return os.EX_UNAVAILABLE if isinstance(error, BrokerAway) else 1


# ---- what is understood


def _text(word: str) -> str:
    """A word that messages can hold. Raises ArgumentTypeError for an empty one, and one that is not UTF-8."""
    if not word.strip():
        raise argparse.ArgumentTypeError("must not be empty")
    try:
        word.encode()
    except UnicodeEncodeError:
        raise argparse.ArgumentTypeError(f"must be UTF-8, which {plain(word)} is not") from None
    return word


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="gorgonctl",
        description="Shows and operates gorgond: its units on this host, or a gorgond up.",
        epilog="gorgonctl COMMAND --help says what a command takes, and gives examples.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"gorgonctl {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    def command(name: str, run: Command, help: str, *examples: str, within: Any = commands) -> argparse.ArgumentParser:
        made: argparse.ArgumentParser = within.add_parser(
            name,
            help=help,
            description=help[0].upper() + help[1:] + ".",
            epilog="\n".join(["examples:", *(f"  gorgonctl {each}" for each in examples)]) if examples else None,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        made.set_defaults(command=run)
        made.add_argument("--json", action="store_true", help="answer in JSON")
        return made

    def anywhere(made: argparse.ArgumentParser) -> argparse.ArgumentParser:
        made.add_argument("--data", metavar="DIR", help="of the gorgond up in this directory, not of this host's units")
        return made

    anywhere(command("status", _status, "how everything is; exit code 0 well, 1 degraded, 2 down, 3 not known"))
    anywhere(command("top", _top, "the same live, with every instance; q quits"))
    anywhere(command("queues", _queues, "every queue: what waits, what moves"))
    anywhere(command("instances", _instances, "every instance of every role, and what it does"))

    _add_dead(commands, command, anywhere)

    add_notifications(command, anywhere)
    add_jobs(commands, command, anywhere, _text)

    groups = anywhere(command("groups", _groups, "every durable group of a topic: what it keeps, who consumes it"))
    deeds = groups.add_subparsers(title="commands", metavar="COMMAND")
    made = anywhere(
        command(
            "drop", _groups_drop, "delete groups that nobody consumes any more, and all that they keep",
            "groups drop store_notify/shop", within=deeds,
        )
    )  # fmt: skip
    made.add_argument("groups", metavar="TOPIC/GROUP", type=_text, nargs="+", help="as groups calls them")

    route = anywhere(command("route", _route, "which queues have a broker of their own, and what lies where"))
    deeds = route.add_subparsers(title="commands", metavar="COMMAND")
    anywhere(
        command(
            "agree", _route_agree, "have all hosts agree on [broker] route as it is in this host's configuration",
            within=deeds,
        )
    )  # fmt: skip

    for made in (
        anywhere(command("pause", _pause, "let nothing more be taken from queues; pushes go on", "pause store_put")),
        anywhere(command("resume", _resume, "undo a pause", "resume store_put")),
    ):
        made.add_argument("queues", metavar="QUEUE", type=_text, nargs="+")

    made = anywhere(
        command(
            "forget", _forget, "miss no more what will not come back: an instance, a host, or what a broker has lost",
            "forget store@2.db1", "forget db1", "forget durable",
        )
    )  # fmt: skip
    made.add_argument(
        "names", metavar="NAME", type=_text, nargs="+", help="as the verdict calls it: store@2.db1, db1, durable"
    )
    made = anywhere(command("trace", _trace, "where a request or an item is, or what became of it"))
    made.add_argument("id", metavar="ID", type=_text, help="its id; that of a request is its answer's X-Request-Id")

    made = anywhere(
        command(
            "roles", _roles, "show or set the roles of a user, felt within half a minute",
            "roles ada@notes.example", "roles ada@notes.example admin",
        )
    )  # fmt: skip
    made.add_argument("email", metavar="ADDRESS", type=_text, help="the user's e-mail address")
    chosen = made.add_mutually_exclusive_group()
    chosen.add_argument(
        "roles", metavar="ROLE", type=_text, nargs="*", default=[], help="all that they have from now on"
    )
    chosen.add_argument("--none", action="store_true", help="take all of them away")

    made = anywhere(command("drain", _drain, "let an instance finish what it has begun, and end", "drain store@2"))
    made.add_argument("instance", metavar="INSTANCE", type=_text, help="store@2")
    made = anywhere(
        command(
            "scale", _scale, "set how many instances of a role run on this host, for good and at once",
            "scale store 4", 'scale web "1 per core"',
        )
    )  # fmt: skip
    made.add_argument("role", choices=SCALED, metavar="ROLE", help=", ".join(SCALED))
    made.add_argument("number", metavar="N", type=_text, help='a number, or "1 per core"')
    command("apply", _apply, "start and stop instances until those run that [instances] of the configuration names")
    made = anywhere(
        command(
            "restart", _restart, "restart instances one after another, each when the one before is ready",
            "restart", "restart store web@1",
        )
    )  # fmt: skip
    made.add_argument(
        "instance", metavar="INSTANCE", type=_text, nargs="*", help="a role or an instance: store, store@2 (all)"
    )
    add_hosts(command, anywhere)
    made = command("secrets", _secrets, "make the passwords, rights and keys of what runs here where they are missing")
    made.add_argument("--keep", action="store_true", help="leave what is allowed besides until the next time: upgrades")
    made = command(
        "tls", _tls, "make or renew this host's certificate for TLS between hosts, and a CA where there is none yet",
        "tls", "tls db1.example",
    )  # fmt: skip
    made.add_argument(
        "names",
        metavar="NAME",
        type=_text,
        nargs="*",
        help="by which others reach it, beside its addresses and its own",
    )
    return parser


def _add_dead(commands: Any, command: Callable[..., argparse.ArgumentParser], anywhere: Wider) -> None:
    """The commands for dead letters."""
    dead = commands.add_parser("dead", help="dead letters: list, show, requeue or drop them", allow_abbrev=False)
    deeds = dead.add_subparsers(title="commands", metavar="COMMAND", required=True)
    made = anywhere(command("list", _dead_list, "list dead letters", "dead list store_put", within=deeds))
    made.add_argument("queue", metavar="QUEUE", type=_text, nargs="?", help="of this queue (all)")
    made.add_argument("--id", metavar="ID", type=_text, help="those that speak of this request or item")
    made = anywhere(command("show", _dead_show, "show a dead letter whole", "dead show store_put 3", within=deeds))
    made.add_argument("queue", metavar="QUEUE", type=_text)
    made.add_argument("letter", metavar="LETTER", type=_text, help="as dead list calls it: 3, c3")
    for name, run, help in (
        ("requeue", _dead_requeue, "put dead letters back at the end of their queue, as new"),
        ("drop", _dead_drop, "delete dead letters for good"),
    ):
        examples = (f"dead {name} store_put 3 4", f"dead {name} store_put --all")
        made = anywhere(command(name, run, help, *examples, within=deeds))
        made.add_argument("queue", metavar="QUEUE", type=_text)
        made.add_argument("letters", metavar="LETTER", type=_text, nargs="*", help="as dead list calls them: 3, c3")
        made.add_argument("--all", action="store_true", dest="every", help="all of the queue")


# ---- what is shown


def _status(arguments: argparse.Namespace) -> int:
    from gorgond.commands.operator.overview import EXIT_CODES, overview
    from gorgond.commands.operator.text import coloured
    from gorgond.commands.operator.watch import look

    picture = look(arguments.data)
    if arguments.json:
        print(as_json(picture))
    else:
        print(*overview(picture, coloured()), sep="\n")
    return EXIT_CODES[picture["verdict"]["state"]]


def _top(arguments: argparse.Namespace) -> int:
    from gorgond.commands.operator.listing import instance_table
    from gorgond.commands.operator.live import live
    from gorgond.commands.operator.overview import overview
    from gorgond.commands.operator.text import coloured
    from gorgond.commands.operator.watch import Watch

    async def show() -> None:
        async with Watch(Installation.of(arguments.data)) as watch:
            if arguments.json:
                while True:
                    print(as_json(await watch.picture()), flush=True)
                    await asyncio.sleep(1)
            await live(
                watch, lambda picture: [*overview(picture, coloured()), "", *instance_table(picture["instances"])]
            )

    asyncio.run(show())
    return 0


def _queues(arguments: argparse.Namespace) -> int:
    from gorgond.commands.operator.listing import queue_table
    from gorgond.commands.operator.watch import look_at_living

    queues = look_at_living(arguments.data)["queues"]
    tell(arguments, queues, queue_table(queues))
    return 0


def _instances(arguments: argparse.Namespace) -> int:
    from gorgond.commands.operator.listing import instance_table
    from gorgond.commands.operator.watch import look_at_living

    instances = look_at_living(arguments.data)["instances"]
    tell(arguments, instances, instance_table(instances))
    return 0


def _dead_list(arguments: argparse.Namespace) -> int:
    from gorgond.commands.operator.letters import letter_table, letters

    found = ask(letters(Installation.of(arguments.data), arguments.queue, arguments.id or ""))
    tell(arguments, [each.row() for each in found], letter_table(found))
    return 0


def _dead_show(arguments: argparse.Namespace) -> int:
    from gorgond.commands.operator.letters import letter_lines, letters

    queue = arguments.queue
    found = ask(letters(Installation.of(arguments.data), queue))
    chosen = next((each for each in found if each.label == arguments.letter), None)
    if chosen is None:
        raise GorgonError(f"{queue} has no dead letter {arguments.letter}; gorgonctl dead list {queue}")
    tell(arguments, chosen.row(), letter_lines(chosen))
    return 0


def _dead_requeue(arguments: argparse.Namespace) -> int:
    return _settle(arguments, requeue=True)


def _dead_drop(arguments: argparse.Namespace) -> int:
    return _settle(arguments, requeue=False)


def _settle(arguments: argparse.Namespace, requeue: bool) -> int:
    from gorgond.commands.operator.letters import settle

    if bool(arguments.letters) == arguments.every:
        raise GorgonError("which dead letters? name them, or say --all")
    installation = Installation.of(arguments.data)
    said = ask(settle(installation, arguments.queue, arguments.letters, arguments.every, requeue))
    tell_done(arguments, installation, said)
    return 0


def _groups(arguments: argparse.Namespace) -> int:
    from gorgond.commands.operator.groups import group_rows, group_table, groups

    found = ask(groups(Installation.of(arguments.data)))
    tell(arguments, group_rows(found), group_table(found))
    return 0


def _groups_drop(arguments: argparse.Namespace) -> int:
    from gorgond.commands.operator.groups import drop

    installation = Installation.of(arguments.data)
    tell_done(arguments, installation, ask(drop(installation, arguments.groups)))
    return 0


def _route(arguments: argparse.Namespace) -> int:
    from gorgond.commands.operator.route import route, route_lines

    found = ask(route(Installation.of(arguments.data)))
    tell(arguments, found, route_lines(found))
    return 0 if found["route"] == found["agreed"] else 1


def _route_agree(arguments: argparse.Namespace) -> int:
    from gorgond.commands.operator.route import agree

    installation = Installation.of(arguments.data)
    tell_done(arguments, installation, ask(agree(installation)))
    return 0


def _trace(arguments: argparse.Namespace) -> int:
    from gorgond.commands.operator.tracing import is_known, trace, trace_lines

    found = ask(trace(Installation.of(arguments.data), arguments.id))
    tell(arguments, found, trace_lines(found))
    return 0 if is_known(found) else 1


# ---- what is done


def _pause(arguments: argparse.Namespace) -> int:
    return _pausing(arguments, undo=False)


def _resume(arguments: argparse.Namespace) -> int:
    return _pausing(arguments, undo=True)


def _pausing(arguments: argparse.Namespace, undo: bool) -> int:
    from gorgond.commands.operator.brokers import pause

    installation = Installation.of(arguments.data)
    tell_done(arguments, installation, ask(pause(installation, arguments.queues, undo)))
    return 0


def _forget(arguments: argparse.Namespace) -> int:
    from gorgond.commands.operator.missing import forget
    from gorgond.commands.operator.watch import look_at_living

    installation, picture = Installation.of(arguments.data), look_at_living(arguments.data)
    tell_done(arguments, installation, ask(forget(installation, picture, arguments.names)))
    return 0


def _roles(arguments: argparse.Namespace) -> int:
    from gorgond.commands.operator.roles import describe_change, roles_of

    change = [] if arguments.none else arguments.roles or None
    installation = Installation.of(arguments.data)
    found = ask(roles_of(installation, arguments.email, change))
    if change is not None:
        from gorgond.commands.operator.noted import note

        note(installation, [describe_change(installation, arguments.email, found)])
    tell(arguments, {"roles": found}, [f"{arguments.email} has {' '.join(found) or 'no role'}"])
    return 0


def _drain(arguments: argparse.Namespace) -> int:
    from gorgond.commands import units
    from gorgond.commands.operator import processes

    name = _here(arguments.instance)
    directory = Installation.of(arguments.data).directory
    if directory:
        return act(arguments, lambda say: processes.drain(directory.control, name, say))
    return act(arguments, lambda say: units.drain(name, say))


def _here(instance: str) -> str:
    """An instance of this host without the host: store@2 for store@2.db1. Raises GorgonError."""
    name, dot, host = instance.partition(".")
    if dot and host != os.uname().nodename:
        raise GorgonError(f"{instance} is not on this host; ask for it on {host}")
    return name


def _scale(arguments: argparse.Namespace) -> int:
    from gorgond.commands import units
    from gorgond.commands.operator import processes

    directory = Installation.of(arguments.data).directory
    if directory:
        return act(arguments, lambda say: processes.scale(directory.control, arguments.role, arguments.number, say))
    return act(arguments, lambda say: units.scale(arguments.role, arguments.number, say))


def _apply(arguments: argparse.Namespace) -> int:
    from gorgond.commands.units import apply

    return act(arguments, apply)


def _restart(arguments: argparse.Namespace) -> int:
    from gorgond.commands import units
    from gorgond.commands.operator import processes

    chosen = [_here(each) for each in arguments.instance]
    directory = Installation.of(arguments.data).directory
    if directory:
        return act(arguments, lambda say: processes.restart(directory.control, chosen, say))
    return act(arguments, lambda say: units.restart(say, chosen))


def _tls(arguments: argparse.Namespace) -> int:
    from gorgond.commands.tls import make_certificate

    return act(arguments, lambda say: make_certificate(arguments.names, say))


def _secrets(arguments: argparse.Namespace) -> int:
    from gorgond.commands.secrets import make_secrets

    return act(arguments, lambda say: make_secrets(say, arguments.keep))
