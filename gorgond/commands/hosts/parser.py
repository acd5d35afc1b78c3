"""The commands of gorgonctl for several hosts."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable

from gorgond.commands.operator.answering import act, ask, tell
from gorgond.commands.operator.installation import Installation

Add = Callable[..., argparse.ArgumentParser]
Wider = Callable[[argparse.ArgumentParser], argparse.ArgumentParser]


def add_hosts(command: Add, anywhere: Wider) -> None:
    """Add them to a parser: `command` adds one, `anywhere` what those have that speak of any fabric."""
    made = command(
        "join", _join, "have the hosts at these addresses share one broker, of which each has a copy",
        "join 10.0.0.1 10.0.0.2 10.0.0.3",
        "join --invited 10.0.0.1 10.0.0.2 10.0.0.3     of a new host; reads the invitation",
    )  # fmt: skip
    made.add_argument("hosts", metavar="ADDRESS", nargs="+", help="of all hosts, the first the one that is in use")
    made.add_argument("--invited", action="store_true", help="read what gorgonctl invite wrote on one of the others")
    command("invite", _invite, "write the secrets and the configuration that a host needs to join, for join --invited")
    command("leave", _leave, "take this host's copy of the broker out of those of several hosts")
    made = command("broker", _broker_status, "the broker's copies on several hosts: status, failover")
    deeds = made.add_subparsers(title="commands", metavar="COMMAND", required=True)
    anywhere(
        command("status", _broker_status, "every copy, how far it is behind, and what the Sentinels say", within=deeds)
    )
    command("failover", _broker_failover, "have another host's copy be the master; no request fails", within=deeds)


def _join(arguments: argparse.Namespace) -> int:
    from gorgond.commands.hosts.addresses import Hosts
    from gorgond.commands.hosts.invitation import Invitation
    from gorgond.commands.hosts.joining import join

    hosts = Hosts.of(arguments.hosts)
    invitation = Invitation.read(_given()) if arguments.invited else None

    def do(say: Callable[[str], None]) -> None:
        join(hosts, invitation, say)
        _say_what_holds(say)

    return act(arguments, do)


def _given() -> str:
    """The text of the invitation; who sits there is told that it is waited for."""
    if sys.stdin.isatty():
        print("paste what gorgonctl invite has written on one of the others, then Ctrl-D:", file=sys.stderr, flush=True)
    return sys.stdin.read()


def _invite(_: argparse.Namespace) -> int:
    from gorgond.commands.hosts.invitation import Invitation

    print(Invitation.of_this_host().text())
    return 0


def _leave(arguments: argparse.Namespace) -> int:
    from gorgond.commands.hosts.leaving import leave

    def do(say: Callable[[str], None]) -> None:
        leave(Installation.of(None), say)
        _say_what_holds(say)

    return act(arguments, do)


def _say_what_holds(say: Callable[[str], None]) -> None:
    from gorgond.commands.hosts.status import holds, look

    for line in holds(ask(look(Installation.of(None)))):
        say(line)


def _broker_status(arguments: argparse.Namespace) -> int:
    from gorgond.commands.hosts.status import holds, lines, look

    found = ask(look(Installation.of(arguments.data)))
    tell(
        arguments,
        {**found, "says": holds(found)},
        lines(found) or ["one Redis by itself: what is accepted is on the disk of its host"],
    )
    return 0


def _broker_failover(arguments: argparse.Namespace) -> int:
    from gorgond.commands.hosts.failover import fail_over
    from gorgond.commands.operator.noted import note

    installation = Installation.of(None)
    before, now = ask(fail_over(installation))
    said = [f"the master of the broker is {now} now; it was {before}"]
    note(installation, said)
    tell(arguments, {"before": before, "now": now}, said)
    return 0
