"""From a message to its handler and back. `gorgond.service.answering` says what the end of a handler means."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from gorgond.app.application import App, Endpoint
from gorgond.app.backend import AppBackend
from gorgond.app.context import Context, User, log
from gorgond.app.response import outcome_of
from gorgond.errors import Forbidden
from gorgond.redpill import DONE, CallFailed, Done, Message, Outcome, Retry, contained
from gorgond.service.answering import UNASKED_SECONDS, answer, job_deadline


class Dispatcher:
    """Runs the handlers of these applications."""

    def __init__(self, apps: Sequence[App], backend: AppBackend) -> None:
        self._backend = backend
        self._endpoints = {op: endpoint for app in apps for op, endpoint in app.endpoints.items()}
        self._folders = {op: app.folder for app in apps for op in app.endpoints}
        self._names = {op: endpoint.names for op, endpoint in self._endpoints.items()}
        self._topics = {f"{topic}/{app.name}": handler for app in apps for topic, handler in app.topics.items()}

    async def answer(self, message: Message) -> Outcome:
        """The outcome of a request."""
        _begin(message.op)
        endpoint = self._endpoints.get(message.op)
        if endpoint is None or not self._names[message.op].issuperset(message.args):  # a newer web server's
            return Done(error=CallFailed(503, f"no application here knows {message.op:.100} so; is it being changed?"))
        message.deadline = message.deadline or job_deadline()
        return await answer(message, self._handle(endpoint, message), log)

    async def _handle(self, endpoint: Endpoint, message: Message) -> Done:
        """All that is the application's: it reads the values, handles them, and gives back what is written."""
        values = endpoint.values(message.args)
        context = Context(self._backend, message)
        _check(endpoint, context.user, values)
        value = await endpoint.handler(context, **values)

        def render(template: str, names: Mapping[str, Any]) -> bytes:
            return self._folders[endpoint.op].render(template, {"user": context.user, **names})

        return outcome_of(value, render)

    async def hear(self, queue: str, event: Message) -> Outcome:
        """The outcome of an event in a group, which is tried again when its handler failed."""
        _begin(queue)
        event.deadline = job_deadline()
        handler = self._topics.get(queue)
        if handler is None:
            return Retry("no application here listens to it")
        try:
            async with asyncio.timeout(UNASKED_SECONDS):
                await contained(handler(Context(self._backend, event), event))
        except Exception as error:  # noqa: BLE001 - a handler may fail as it likes
            log.exception("the handler of %s failed", queue)
            return Retry(f"{type(error).__name__}: {error}")
        return DONE


def _check(endpoint: Endpoint, user: User | None, values: Mapping[str, Any]) -> None:
    """Refuse what did not come by way of an auth server that asked for what this endpoint needs: during an upgrade web
    servers still know it as it was declared before. Raises CallFailed 401 and 403."""
    if user is None:
        if endpoint.user == "required":
            raise CallFailed(401, "this needs a user: log in", headers={"WWW-Authenticate": "Bearer"})
    elif endpoint.rights and endpoint.rights not in user.roles:
        raise Forbidden(f"this needs the role {endpoint.rights}")
    elif endpoint.own and str(values[endpoint.own]) != user.id:
        raise Forbidden


def _begin(name: str) -> None:
    """Give the task its name, by which it is known when it blocks the event loop."""
    task = asyncio.current_task()
    if task is not None:
        task.set_name(name)
