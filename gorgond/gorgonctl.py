"""gorgonctl: the operator's command for the units of this host.

Exit codes: 0 well, 1 failed, 2 not understood, 78 the configuration is wrong.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from gorgond import __version__
from gorgond.commands.units import SCALED, apply, restart, scale
from gorgond.errors import ConfigError, GorgonError


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; its exit code."""
    arguments = _parser().parse_args(argv)
    try:
        arguments.command(arguments)
    except ConfigError as error:
        print(f"gorgonctl: {error}", file=sys.stderr)
        return os.EX_CONFIG
    except GorgonError as error:
        print(f"gorgonctl: {error}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="gorgonctl",
        description="Operates gorgond's units on this host.",
        epilog="gorgonctl COMMAND --help says what a command takes.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"gorgonctl {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    def command(name: str, help: str) -> argparse.ArgumentParser:
        return commands.add_parser(name, help=help, description=help[0].upper() + help[1:] + ".", allow_abbrev=False)

    made = command("scale", "set how many instances of a role run on this host, for good and at once")
    made.add_argument("role", choices=SCALED, metavar="ROLE", help=", ".join(SCALED))
    made.add_argument("number", metavar="N", help='a number, or "1 per core"')
    made.set_defaults(command=lambda arguments: scale(arguments.role, arguments.number, print))

    made = command("apply", "start and stop instances until those run that [instances] of the configuration names")
    made.set_defaults(command=lambda arguments: apply(print))

    made = command("restart", "restart instances one after another, each when the one before is ready")
    made.add_argument("instance", metavar="INSTANCE", nargs="*", help="a role or an instance: store, store@2 (all)")
    made.set_defaults(command=lambda arguments: restart(print, arguments.instance))

    made = command("secrets", "make the passwords and rights of the broker's users where they are missing")
    made.set_defaults(command=_secrets)
    return parser


def _secrets(_: argparse.Namespace) -> None:
    from gorgond.commands.secrets import make_secrets

    make_secrets(print)
