"""Applications, which users of gorgond write: an application is a module with an `App` and its handlers.

    from gorgond import App

    app = App("notes")

    @app.get("/notes/{uid:int}", user="optional")
    async def notes(ctx, uid: int, lim: int = 20, off: int = 0):
        return await ctx.store.find("items", {"userid": uid}, sort="-ts", limit=lim, skip=off)

Web servers load the module for its routes and check what comes in; app servers run its handlers. docs/applications.md
is the manual.

    application   App, and what its decorators declare
    jobs          what is done in the background; `enqueuing` it, `jobstatus` what is told of it, `jobapp` by whom
    limits        how many of a job are done at the same time, and how often it is begun
    working       doing a job; `cancels` which are not to be done
    jobsearch     finding jobs; `jobretry` puts back what was given up
    telemetry     spans of them for OpenTelemetry
    cron          times by the clock of a place; `cronloop` enqueues jobs at them
    annotations   what those of a handler allow; `forms` makes values of a form by them
    loading       finding the module
    context       what a handler is given; `clients` are its store and provider
    response      what a handler gives back; `folder` has its templates, and static files
    dispatch      from a message to its handler and back
    arrays        a long JSON array, read so that others have their turns
    backend       the way from what runs in a server to the other servers
    notes         the application that comes with gorgond
    inbox         the routes of a user's notifications; `notifying` says what they are, `letters` which are ours,
                  `browsers` where they are shown
    times         when users are told: quiet hours, digests
    following     who watches an inbox, told of each as it comes
    endpoints     the routes of those to which they are sent by HTTP; `webhooks` says what they are
    schedule      what runs every so many seconds, on one instance at a time
"""

from gorgond.app.application import App
from gorgond.app.context import Context, User
from gorgond.app.response import Response
from gorgond.app.working import JobContext
from gorgond.errors import BadArgument, BadRequest, Conflict, Forbidden, NotFound, Refused, TryAgain
from gorgond.redpill import Message

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
