"""The command line: `gorgond --help` lists the commands, `gorgond COMMAND --help` what each takes.

Settings of the configuration are flags of the commands they matter to, with the names, defaults and texts of
`gorgond.config`. What a command needs is imported when it is called: a restart must be quick.

Exit codes: 0 well, 1 failed, 2 not understood, 78 the configuration is wrong, 130 interrupted.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from gorgond import __version__
from gorgond.config import DEFAULT_PATH, Config, load
from gorgond.errors import ConfigError, GorgonError
from gorgond.service.plain import plain_lines
from gorgond.settings import DEFAULT_PROVIDER, SECTIONS, Provider, flag, keys

if TYPE_CHECKING:
    from gorgond.service.fabric import Fabric
    from gorgond.service.life import Service

INSTANCE = r"[A-Za-z0-9_-]{1,32}"
INTERRUPTED = 130

Command = Callable[[argparse.Namespace], int]


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; its exit code."""
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

    def service(name: str, run: Command, help: str) -> argparse.ArgumentParser:
        made = command(name, run, help)
        _config(made)
        _settings(made, "broker", "url", "calls", "queue_limit", "queue_bytes")
        _settings(made, "log", "level", "format")
        return made

    up = command("up", _up, "everything on this machine, brokers included; Ctrl-C ends it")
    up.add_argument("--data", metavar="DIR", help="where its files are (your state directory)")
    up.add_argument("--web", metavar="N", type=_whole, default=2, help="web servers (2)")
    up.add_argument("--apps", metavar="N", type=_natural, help="app servers (2 if there is an application)")
    up.add_argument("--stores", metavar="N", type=_whole, default=2, help="store servers (2)")
    up.add_argument("--no-provider", action="store_true", help="no made-up notes")
    _config(up)
    _settings(up, "store", "url")
    _settings(up, "web", "address", "port")
    _settings(up, "app", "module", "directory")
    _stats_port(up)
    _settings(up, "provider", "rate", "count", "users", "size", "seed")
    _settings(up, "log", "level", "format")

    web = service("web", _web, "run a web server")
    _instance(web)
    _settings(web, "web", "address", "port", "deadline")
    _settings(web, "app", "module", "directory")
    store = service("store", _store, "run a store server: queries and changes of the database")
    _instance(store)
    store.add_argument("--mode", choices=("both", "read", "write"), default="both", help="store_get, store_put or both")
    _settings(store, "store", "url", "lanes", "batch")
    auth = service("auth", _auth, "run an auth server: who users are")
    _instance(auth)
    _settings(auth, "auth", "idle", "lifetime", "attempts", "address_attempts")
    app = service("app", _app, "run an app server: the handlers of applications")
    _instance(app)
    _settings(app, "app", "module", "directory", "requests")
    journal = service("journal", _journal, "run a journal, which writes every change to the system log")
    _instance(journal)
    _settings(journal, "journal", "file")
    stats = service("stats", _stats, "run a stats server: how everything fares, on port 3001")
    _instance(stats)
    _settings(stats, "stats", "address", "port", "open")
    provider = service("provider", _provider, "run a provider, which brings items in from outside")
    provider.add_argument("name", metavar="NAME", nargs="?", default="random", help="that of [provider.NAME] (random)")
    _settings(provider, "provider", "rate", "count", "users", "size", "seed")

    watch = command("watch", _watch, "keep watch over the broker of this host")
    _config(watch)
    _settings(watch, "broker", "url")
    _settings(watch, "log", "level", "format")

    filler = command("load", _load, "fill the database with made-up notes; may be interrupted")
    filler.add_argument("--users", metavar="N", type=_whole, default=10_000, help="users they belong to (10000)")
    filler.add_argument("--items", metavar="N", type=_whole, default=1_000_000, help="notes in all (1000000)")
    filler.add_argument("--size", metavar="BYTES", type=_natural, default=1800, help="bytes in each body (1800)")
    filler.add_argument("--seed", metavar="N", type=_natural, default=0, help="the same seed makes the same notes (0)")
    _config(filler)
    _settings(filler, "store", "url")

    client = command("client", _client, "ask a web server with many clients, and measure its answers")
    client.add_argument("--url", default="http://localhost:3000", help="where (http://localhost:3000)")
    client.add_argument("--clients", metavar="N", type=_whole, default=1000, help="connections (1000)")
    client.add_argument("--duration", metavar="S", type=_number, default=30.0, help="seconds (30)")
    client.add_argument("--rate", metavar="R", type=_number, help="requests a second in all (as many as are answered)")
    client.add_argument("--users", metavar="N", type=_whole, default=10_000, help="users to ask about (10000)")
    client.add_argument("--lim", metavar="N", type=_whole, default=10, help="notes to ask for (10)")
    client.add_argument("--json", action="store_true", help="print the figures as JSON")
    client.add_argument("--png", metavar="FILE", help="draw them (needs matplotlib)")

    simulate = command("simulate", _simulate, "every role as a task of one process, to see the whole thing move")
    simulate.add_argument("--duration", metavar="S", type=_number, help="seconds (until Ctrl-C)")
    simulate.add_argument(
        "--without", metavar="ROLE", action="append", default=[],
        choices=("web", "auth", "app", "store", "stats", "provider"),
        help="leave a role out, so that a real process takes its place: web, auth, app, store, stats or provider",
    )  # fmt: skip
    _config(simulate)
    _settings(simulate, "broker", "url")
    _settings(simulate, "store", "url")
    _settings(simulate, "web", "address", "port")
    _settings(simulate, "app", "module", "directory")
    _stats_port(simulate)
    _settings(simulate, "provider", "rate", "count", "users", "size", "seed")

    new = command("new", _new, "write a small working application with a test, to begin with")
    new.add_argument("name", metavar="NAME", help="its name, and that of the directory it is written to")

    config = command("config", _configuration, "check or show the configuration")
    _config(config)
    what = config.add_mutually_exclusive_group(required=True)
    what.add_argument("--check", action="store_true", help="say whether all is well")
    what.add_argument("--show", action="store_true", help="what is in force, and where each value comes from")
    return parser


def _config(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", metavar="FILE", help=f"the configuration ({DEFAULT_PATH})")


def _instance(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--instance", metavar="N", help="which instance of its role this is (GORGOND_INSTANCE, or 1)")


def _settings(parser: argparse.ArgumentParser, section: str, *names: str) -> None:
    """Flags for these settings of a section; those of a provider get its name later."""
    declared = keys(SECTIONS.get(section, Provider))
    for name in names:
        key, place = declared[name], f"{section}.{name}"
        default = f" ({key.default})" if key.default else ""
        parser.add_argument(
            flag(place), dest=place, metavar=name.upper(), default=argparse.SUPPRESS, help=key.doc + default
        )


def _stats_port(parser: argparse.ArgumentParser) -> None:
    """The flag for the port of the stats server, beside that of the web server."""
    parser.add_argument(
        "--stats-port", dest="stats.port", metavar="PORT", default=argparse.SUPPRESS, help="the stats server's (3001)"
    )


def _flags(arguments: argparse.Namespace, provider: str = DEFAULT_PROVIDER) -> dict[str, str]:
    """The settings among the arguments, as `config.load` takes them."""
    given = {place: text for place, text in vars(arguments).items() if "." in place}
    return {
        f"{provider}.{place.partition('.')[2]}" if place.startswith("provider.") else place: text
        for place, text in given.items()
    }


def _natural(text: str) -> int:
    if not re.fullmatch("[0-9]{1,18}", text):
        raise argparse.ArgumentTypeError("must be a whole number")
    return int(text)


def _whole(text: str) -> int:
    if _natural(text) == 0:
        raise argparse.ArgumentTypeError("must be at least 1")
    return int(text)


def _number(text: str) -> float:
    if not re.fullmatch(r"[0-9]{1,9}(\.[0-9]+)?", text) or float(text) == 0:
        raise argparse.ArgumentTypeError("must be a number above 0")
    return float(text)


# ---- what is done


def _web(arguments: argparse.Namespace) -> int:
    from gorgond.roles.web import WebServer

    return _serve(arguments, "web", _chosen_instance(arguments), WebServer)


def _store(arguments: argparse.Namespace) -> int:
    from gorgond.roles.store import DataStore

    def make(config: Config, fabric: Fabric, instance: str) -> Service:
        return DataStore(config, fabric, instance, arguments.mode)

    role = "store" if arguments.mode == "both" else f"store-{arguments.mode}"
    return _serve(arguments, role, _chosen_instance(arguments), make)


def _auth(arguments: argparse.Namespace) -> int:
    from gorgond.roles.auth import AuthServer

    return _serve(arguments, "auth", _chosen_instance(arguments), AuthServer)


def _app(arguments: argparse.Namespace) -> int:
    from gorgond.roles.app import AppServer

    return _serve(arguments, "app", _chosen_instance(arguments), AppServer)


def _journal(arguments: argparse.Namespace) -> int:
    from gorgond.roles.journal import Journal

    return _serve(arguments, "journal", _chosen_instance(arguments), Journal)


def _stats(arguments: argparse.Namespace) -> int:
    from gorgond.roles.stats import StatsMonitor

    return _serve(arguments, "stats", _chosen_instance(arguments), StatsMonitor)


def _provider(arguments: argparse.Namespace) -> int:
    from gorgond.commands.progress import Bar
    from gorgond.roles.provider import DataProvider

    def make(config: Config, fabric: Fabric, instance: str) -> Service:
        provider = DataProvider(config, fabric, instance)
        if sys.stderr.isatty():
            provider.progress = Bar("pushed").show
        return provider

    return _serve(arguments, "provider", arguments.name, make)


def _chosen_instance(arguments: argparse.Namespace) -> str:
    origin, instance = "--instance", arguments.instance
    if instance is None:
        origin, instance = "GORGOND_INSTANCE", os.environ.get("GORGOND_INSTANCE", "1")
    if not re.fullmatch(INSTANCE, instance):
        raise ConfigError(f"{origin} cannot be {instance!r}; allowed: 1 to 32 letters, digits, _ and -")
    return str(instance)


def _serve(
    arguments: argparse.Namespace, role: str, instance: str, make: Callable[[Config, Fabric, str], Service]
) -> int:
    """Run one service as this process."""
    from gorgond.service.fabric import connect_fabric
    from gorgond.service.log import set_up
    from gorgond.service.process import refused, run_process

    flags = _flags(arguments, f"provider.{instance}")

    def read() -> Config:
        return load(arguments.config, os.environ, flags)

    try:
        config = read()
    except ConfigError as error:
        return refused(error)
    set_up(config.log.level, config.log.format, f"{role}@{instance}")
    return run_process(lambda: make(config, connect_fabric(config), instance), read)


def _watch(arguments: argparse.Namespace) -> int:
    from gorgond.commands.watching import watch
    from gorgond.service.process import refused

    try:
        return watch(load(arguments.config, os.environ, _flags(arguments)))
    except ConfigError as error:
        return refused(error)


def _up(arguments: argparse.Namespace) -> int:
    from gorgond.commands.up import up

    providers = not arguments.no_provider
    numbers = (arguments.web, arguments.apps, arguments.stores)
    return up(arguments.config, _flags(arguments), arguments.data, *numbers, providers)


def _load(arguments: argparse.Namespace) -> int:
    from gorgond.commands.load import fill

    config = load(arguments.config, os.environ, _flags(arguments))
    return fill(config, arguments.seed, arguments.users, arguments.size, arguments.items)


def _client(arguments: argparse.Namespace) -> int:
    from gorgond.commands.client import Load, client

    asked = Load(
        arguments.url, arguments.clients, arguments.duration, arguments.rate, arguments.users, arguments.lim
    )  # fmt: skip
    return client(asked, arguments.json, arguments.png)


def _simulate(arguments: argparse.Namespace) -> int:
    from gorgond.commands.simulate import simulate

    return simulate(arguments.config, _flags(arguments), frozenset(arguments.without), arguments.duration)


def _new(arguments: argparse.Namespace) -> int:
    from gorgond.commands.new import new

    directory = new(arguments.name)
    print(f"{directory}/ is written; {directory}/README.md says how to run it")
    return 0


def _configuration(arguments: argparse.Namespace) -> int:
    config = load(arguments.config, os.environ, {})
    if arguments.show:
        print(config.show())
    else:
        _try(config)
        print("the configuration is well")
    return 0


def _try(config: Config) -> None:
    """Have the drivers read the addresses, as each service does at its start; nothing is connected for it. The same
    for the names of providers."""
    from gorgond.service.fabric import connect_fabric
    from gorgond.stores import open_store

    connect_fabric(config)
    with config.blaming("store", "url"):
        open_store(config.store.url).close()
    with config.blaming("instances", "provider"):
        for name in config.instances.provider.split():
            config.provider(name)
