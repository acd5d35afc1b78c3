"""gorgond: a message fabric for web applications on plain Debian hosts.

Many small server processes that talk only through persistent queues, so that any of them can be started, stopped,
killed or upgraded at any moment and nobody outside notices. `gorgond --help` lists the commands; `gorgond.redpill` is
the queue library and can be used alone; `from gorgond import App` begins an application, see `gorgond.app`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gorgond.app import (
        App,
        BadRequest,
        Conflict,
        Context,
        Forbidden,
        Message,
        NotFound,
        Refused,
        Response,
        User,
    )

__all__ = [
    "App",
    "BadRequest",
    "Conflict",
    "Context",
    "Forbidden",
    "Message",
    "NotFound",
    "Refused",
    "Response",
    "User",
]

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """What applications use is imported when it is asked for: everything else imports this module too."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from gorgond import app

    return getattr(app, name)
