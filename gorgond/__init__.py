"""gorgond: a message fabric for web applications on plain Debian hosts.

Many small server processes that talk only through persistent queues, so that any of them can be started, stopped,
killed or upgraded at any moment and nobody outside notices. `gorgond --help` lists the commands; `gorgond.redpill` is
the queue library and can be used alone; `from gorgond import App` begins an application, see `gorgond.app`.

    __main__    gorgond, and python -m gorgond: takes its signals before it imports the rest
    cli         the command line of gorgond
    gorgonctl   the operator's command
    config      the configuration; `settings` has the keys, `validators` says what their values may be
    bounds      how much may be given, where several parts check it
    errors      the error tree; redpill has the root and its own branch
    plugins     kinds of things that other packages may add
    blame       which line is to blame when foreign code fails as it is imported
    testing     tests of an application on a whole fabric in the test's own process
    redpill     the queue library
    service     what every server has in common
    roles       the servers themselves, and the table of them
    http        HTTP, the API, the website
    auth        users, sessions, rights
    app         what applications are written with
    stores      databases
    providers   what brings items in
    notifiers   how notifications reach people
    live        notifications and notes over Socket.IO
    outside     servers that somebody else names, asked at public addresses alone
    sinks       what events are handed to
    stats       figures, and what is made of them
    commands    the tools beside the roles
    chaos       gorgon-chaos
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gorgond.app import (
        App,
        BadArgument,
        BadRequest,
        Conflict,
        Context,
        Forbidden,
        JobContext,
        Message,
        NotFound,
        Refused,
        Response,
        TryAgain,
        User,
    )

__all__ = [
    "App",
    "BadArgument",
    "BadRequest",
    "Conflict",
    "Context",
    "Forbidden",
    "JobContext",
    "Message",
    "NotFound",
    "Refused",
    "Response",
    "TryAgain",
    "User",
]

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """Import the names that applications use when one is asked for: everything else imports this module too."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from gorgond import app

    return getattr(app, name)
