"""The commands of gorgonctl for notifications: the channels, what became of each notification, and sending again what
was given up."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from gorgond.commands.operator.answering import ask, tell, tell_done
from gorgond.commands.operator.installation import Installation
from gorgond.errors import GorgonError
from gorgond.service.channels import SETTLED, UNSETTLED

Add = Callable[..., argparse.ArgumentParser]
Wider = Callable[[argparse.ArgumentParser], argparse.ArgumentParser]

STATES = (*UNSETTLED, *SETTLED)
UNSENT = (*UNSETTLED, "dead")
MOST = 1000


def add_notifications(command: Add, anywhere: Wider) -> None:
    """Add them to a parser: `command` adds one, `anywhere` what those have that speak of any fabric."""
    made = anywhere(
        command("notifications", _channels, "every channel of notifications: what it has sent, what waits and why")
    )
    deeds = made.add_subparsers(title="commands", metavar="COMMAND")
    listed = anywhere(
        command(
            "list", _list, "list the notifications that are not sent yet or were given up, or those in other states",
            "notifications list --channel email", "notifications list --user ada@notes.example --state sent",
            within=deeds,
        )
    )  # fmt: skip
    listed.add_argument("--state", choices=STATES, nargs="+", default=UNSENT, metavar="STATE", help=", ".join(STATES))
    listed.add_argument("--most", metavar="N", type=_number, default=100, help="so many, the newest (100)")
    replayed = anywhere(
        command(
            "replay", _replay, "send again, under the same id, what was given up",
            "notifications replay 1000000007:5f1c…:email", "notifications replay --all --channel email", within=deeds,
        )
    )  # fmt: skip
    replayed.add_argument("ids", metavar="ID", nargs="*", help="as notifications list calls them")
    replayed.add_argument("--all", action="store_true", dest="every", help="all of the channel, of the user, or of all")
    for each in (listed, replayed):
        each.add_argument("--channel", metavar="NAME", default="", help="of this channel (all)")
        each.add_argument(
            "--user", metavar="USER", default="", help="of this user, by the id or the e-mail address (all)"
        )


def _number(word: str) -> int:
    if not word.isdecimal() or not 0 < int(word) <= MOST:
        raise argparse.ArgumentTypeError(f"must be a whole number from 1 to {MOST}")
    return int(word)


def _channels(arguments: argparse.Namespace) -> int:
    from gorgond.commands.operator.listing import channel_table
    from gorgond.commands.operator.watch import look_at_living

    channels = look_at_living(arguments.data).get("channels", [])  # an earlier stats server has none
    tell(arguments, channels, channel_table(channels) or ["no notification server is heard"])
    return 0


def _list(arguments: argparse.Namespace) -> int:
    from gorgond.commands.operator.deliveries import deliveries, delivery_table

    asked = deliveries(
        Installation.of(arguments.data), arguments.user, arguments.channel, arguments.state, arguments.most
    )
    found = ask(asked)
    tell(arguments, found, delivery_table(found))
    return 0


def _replay(arguments: argparse.Namespace) -> int:
    from gorgond.commands.operator.deliveries import replay

    if bool(arguments.ids) == arguments.every:
        raise GorgonError("which notifications? name them, or say --all")
    installation = Installation.of(arguments.data)
    said = ask(replay(installation, arguments.user, arguments.channel, arguments.ids))
    tell_done(arguments, installation, said)
    return 0
