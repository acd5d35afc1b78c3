"""The command line: `gorgond --help` lists the commands, `gorgond COMMAND --help` what each takes.

Settings of the configuration are flags of the commands they matter to, with the names, defaults and texts of
`gorgond.config`. A command imports its modules when it is called: a restart must be quick.

Exit codes: 0 well, 1 failed, 2 not understood, 74 the output cannot be written, 75 the host's clock is off, 78 the
configuration is wrong, 130 interrupted.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence

from gorgond import __version__
from gorgond.commands.flags import add_config, add_ports, add_settings, natural, number, settings_of, whole
from gorgond.commands.serving import serve
from gorgond.config import load
from gorgond.errors import ConfigError, GorgonError
from gorgond.roles import COMMANDS, ROLES
from gorgond.roles.row import Role
from gorgond.service.output import run_command
from gorgond.service.plain import plain_lines
from gorgond.settings import DEFAULT_PROVIDER

INTERRUPTED = 130

Command = Callable[[argparse.Namespace], int]


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; its exit code."""
    return run_command("gorgond", lambda: _run(argv))


def _run(argv: Sequence[str] | None) -> int:
    arguments = _parser().parse_args(argv)
    command: Command = arguments.command
    try:
        return command(arguments)
    except ConfigError as error:
        print(plain_lines(f"gorgond: {error}"), file=sys.stderr)
        return os.EX_CONFIG
    except GorgonError as error:
        print(plain_lines(f"gorgond: {error}"), file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return INTERRUPTED


# ---- what is understood


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="gorgond",
        description="A message fabric for web applications. COMMAND --help says what it takes.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"gorgond {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    def command(name: str, run: Command, help: str) -> argparse.ArgumentParser:
        made = commands.add_parser(name, help=help, description=help[0].upper() + help[1:] + ".", allow_abbrev=False)
        made.set_defaults(command=run)
        return made

    _add_up(command("up", _up, "everything on this machine, brokers included; Ctrl-C ends it"))

    for role in COMMANDS.values():
        _add_role(command(role.name, serve, role.help), role)

    watch = command("watch", _watch, "keep watch over the broker of this host")
    add_config(watch)
    add_settings(watch, "broker", "url")
    add_settings(watch, "log", "level", "format")

    _add_load(command("load", _load, "fill the database with made-up notes; may be interrupted"))

    _add_copy(command("copy", _copy, "move the store to another database, while the fabric runs"))

    _add_client(command("client", _client, "ask a web server with many clients, and measure its answers"))

    _add_simulate(command("simulate", _simulate, "every role as a task of one process, to see the whole thing move"))

    new = command("new", _new, "write a small working application with a test, to begin with")
    new.add_argument("name", metavar="NAME", help="its name, and that of the directory it is written to")

    _add_enqueue(command("enqueue", _enqueue, "have a job of an application done in the background"))

    config = command("config", _configuration, "check or show the configuration")
    add_config(config)
    what = config.add_mutually_exclusive_group(required=True)
    what.add_argument("--check", action="store_true", help="say whether all is well")
    what.add_argument("--show", action="store_true", help="what is in force, and where each value comes from")
    return parser


def _add_up(parser: argparse.ArgumentParser) -> None:
    """What `gorgond up` takes."""
    parser.add_argument("--data", metavar="DIR", help="where its files are (your state directory)")
    parser.add_argument("--web", metavar="N", type=whole, default=ROLES["web"].up, help="web servers (2)")
    parser.add_argument("--apps", metavar="N", type=natural, help="app servers (2 if there is an application)")
    parser.add_argument("--stores", metavar="N", type=whole, default=ROLES["store"].up, help="store servers (2)")
    parser.add_argument(
        "--no-provider", dest="provider", action="store_const", const=0, default=1, help="no made-up notes"
    )
    parser.add_argument("--reload", action="store_true", help="read applications anew when their files are saved")
    add_config(parser)
    add_settings(parser, "store", "url")
    add_ports(parser)
    add_settings(parser, "app", "module", "directory")
    add_settings(parser, "provider", "rate", "count", "users", "size", "seed")
    add_settings(parser, "log", "level", "format")


def _add_enqueue(parser: argparse.ArgumentParser) -> None:
    """What `gorgond enqueue` takes."""
    parser.add_argument("job", metavar="APP.JOB", help="its name, as in shop.resize")
    parser.add_argument("arguments", metavar="KEY=VALUE", nargs="*", help="its arguments: photo=p1 width=320")
    parser.add_argument("--delay", metavar="TIME", default="", help="as 10s or 2h: begin it after so long (at once)")
    parser.add_argument("--unique", metavar="KEY", default="", help="only if none waits or runs under this key")
    parser.add_argument(
        "--mode", choices=("keep", "replace", "again"), default="keep",
        help="what becomes of one that is there: kept, its arguments replaced, or run once more (keep)",
    )  # fmt: skip
    parser.add_argument("--data", metavar="DIR", help="of the gorgond up in this directory, not of this host's units")
    add_config(parser)
    add_settings(parser, "app", "module", "directory")


def _add_load(parser: argparse.ArgumentParser) -> None:
    """What `gorgond load` takes."""
    parser.add_argument("--users", metavar="N", type=whole, default=10_000, help="users they belong to (10000)")
    parser.add_argument("--items", metavar="N", type=whole, default=1_000_000, help="notes in all (1000000)")
    parser.add_argument("--size", metavar="BYTES", type=natural, default=1800, help="bytes in each body (1800)")
    parser.add_argument("--seed", metavar="N", type=natural, default=0, help="the same seed makes the same notes (0)")
    add_config(parser)
    add_settings(parser, "store", "url")


def _add_copy(parser: argparse.ArgumentParser) -> None:
    """What `gorgond copy` takes."""
    parser.add_argument("--from", dest="here", metavar="URL", required=True, help="the database that the stores have")
    parser.add_argument("--to", dest="there", metavar="URL", required=True, help="an empty one, or where this began")
    parser.add_argument(
        "--finish", action="store_true", help="then let the stores write nothing until they are on the new one"
    )
    parser.add_argument("--data", metavar="DIR", help="of the gorgond up in this directory, not of this host's units")


def _add_client(parser: argparse.ArgumentParser) -> None:
    """What `gorgond client` takes."""
    parser.add_argument("--url", default="http://localhost:3000", help="where (http://localhost:3000)")
    parser.add_argument("--clients", metavar="N", type=whole, default=1000, help="connections (1000)")
    parser.add_argument("--duration", metavar="S", type=number, default=30.0, help="seconds (30)")
    parser.add_argument("--rate", metavar="R", type=number, help="requests a second in all (as many as are answered)")
    parser.add_argument("--users", metavar="N", type=whole, default=10_000, help="users to ask about (10000)")
    parser.add_argument("--lim", metavar="N", type=whole, default=10, help="notes to ask for (10)")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    parser.add_argument("--png", metavar="FILE", help="draw them (needs matplotlib)")


def _add_simulate(parser: argparse.ArgumentParser) -> None:
    """What `gorgond simulate` takes."""
    parser.add_argument("--duration", metavar="S", type=number, help="seconds (until Ctrl-C)")
    real = [role.name for role in COMMANDS.values() if role.up and not role.sink]
    parser.add_argument(
        "--without", metavar="ROLE", action="append", default=[], choices=real,
        help=f"leave a role out, so that a real process takes its place: {', '.join(real[:-1])} or {real[-1]}",
    )  # fmt: skip
    add_config(parser)
    add_settings(parser, "broker", "url")
    add_settings(parser, "store", "url")
    add_ports(parser)
    add_settings(parser, "app", "module", "directory")
    add_settings(parser, "provider", "rate", "count", "users", "size", "seed")


def _add_role(parser: argparse.ArgumentParser, role: Role) -> None:
    """Add the command of a role, with its arguments."""
    add_config(parser)
    add_settings(parser, "broker", "url", "calls", "queue_limit", "queue_bytes")
    add_settings(parser, "log", "level", "format")
    if role.section:
        default = DEFAULT_PROVIDER.partition(".")[2]
        help = f"that of [{role.section}.NAME] ({default})"
        parser.add_argument("name", metavar="NAME", nargs="?", default=default, help=help)
    else:
        help = "which instance of its role this is (GORGOND_INSTANCE, or 1)"
        parser.add_argument("--instance", metavar="N", help=help)
    if modes := [each.mode for each in ROLES.values() if each.command == role.name and each.mode]:
        parser.add_argument(
            "--mode", choices=("both", *modes), default="both", help="all that it does, or a part of it"
        )
    for section, names in role.flags.items():
        add_settings(parser, section, *names)
    parser.set_defaults(role=role.name)
    if role.database:
        parser.add_argument(
            "--check", action="store_true", help="say how the database is set up, and whether it is safe"
        )
        parser.set_defaults(command=_store)


# ---- what is done


def _watch(arguments: argparse.Namespace) -> int:
    from gorgond.commands.watching import watch
    from gorgond.service.process import report_refusal

    try:
        return watch(load(arguments.config, os.environ, settings_of(arguments)))
    except ConfigError as error:
        return report_refusal(error)


def _store(arguments: argparse.Namespace) -> int:
    if not arguments.check:
        return serve(arguments)
    from gorgond.commands.database import check

    return check(load(arguments.config, os.environ, settings_of(arguments)))


def _up(arguments: argparse.Namespace) -> int:
    from gorgond.commands.up import up

    numbers = {"web": arguments.web, "app": arguments.apps, "store": arguments.stores, "provider": arguments.provider}
    return up(arguments.config, settings_of(arguments), arguments.data, numbers, arguments.reload)


def _load(arguments: argparse.Namespace) -> int:
    from gorgond.commands.load import fill

    config = load(arguments.config, os.environ, settings_of(arguments))
    return fill(config, arguments.seed, arguments.users, arguments.size, arguments.items)


def _copy(arguments: argparse.Namespace) -> int:
    from gorgond.commands.copying.command import copy
    from gorgond.commands.operator.installation import Installation

    return copy(Installation.of(arguments.data), arguments.here, arguments.there, arguments.finish)


def _enqueue(arguments: argparse.Namespace) -> int:
    import asyncio

    from gorgond.commands.jobs.enqueuing import enqueue_one
    from gorgond.commands.operator.installation import Installation

    config = load(arguments.config, os.environ, settings_of(arguments))
    chosen = (arguments.job, arguments.arguments, arguments.delay, arguments.unique, arguments.mode)
    print(asyncio.run(enqueue_one(Installation.of(arguments.data), config, *chosen)))
    return 0


def _client(arguments: argparse.Namespace) -> int:
    from gorgond.commands.client import Load, client

    asked = Load(
        arguments.url, arguments.clients, arguments.duration, arguments.rate, arguments.users, arguments.lim
    )  # fmt: skip
    return client(asked, arguments.json, arguments.png)


def _simulate(arguments: argparse.Namespace) -> int:
    from gorgond.commands.simulate import simulate

    return simulate(arguments.config, settings_of(arguments), frozenset(arguments.without), arguments.duration)


def _new(arguments: argparse.Namespace) -> int:
    from gorgond.commands.new import new

    directory = new(arguments.name)
    print(f"{directory}/ is written; {directory}/README.md says how to run it")
    return 0


def _configuration(arguments: argparse.Namespace) -> int:
    if arguments.show:
        print(load(arguments.config, os.environ, {}).show())
    else:
        from gorgond.commands.checking import check

        check(arguments.config, os.environ)
        print("the configuration is well")
    return 0
