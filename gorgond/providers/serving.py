"""A source that is asked and told: what applications want of it, and what the outside pushes to it.

    provider_get:NAME    NAME.fetch: answered by the source's `get`
    provider_put:NAME    NAME.send: by its `put`
    provider_hook:NAME   NAME.hook: what was sent to /hooks/NAME, made into items by its `hook`

A hook has been answered 202 long ago, and anybody can send one. The provider counts and drops a hook that the source
refuses, as for a wrong signature. One that fails for another reason is tried again, and becomes a dead letter in the
end.
"""

from __future__ import annotations

import asyncio
import logging
from base64 import b64decode
from collections.abc import Awaitable, Callable
from typing import Any

from gorgond.errors import NotFound
from gorgond.providers.pushing import Pushing
from gorgond.providers.source import Pushed, Source
from gorgond.redpill import DONE, CallFailed, Done, Message, Outcome, Retry, contained, dumps
from gorgond.service.answering import UNASKED_SECONDS, answer, job_deadline
from gorgond.service.metrics import Metrics

GET, PUT, HOOK = "provider_get", "provider_put", "provider_hook"  # the queues of provider NAME are GET:NAME …
REFUSED = "hooks_refused"

log = logging.getLogger("gorgond.provider")


class Serving:
    """The provider's side of one source: it passes on questions and hooks."""

    def __init__(self, source: Source, pushing: Pushing, metrics: Metrics) -> None:
        self._source = source
        self._pushing = pushing
        self._metrics = metrics

    async def get(self, message: Message) -> Outcome:
        """The outcome of a message on provider_get."""
        return await self._answer(message, lambda op: self._source.get(op, message.args))

    async def put(self, message: Message) -> Outcome:
        """The outcome of a message on provider_put."""
        return await self._answer(message, lambda op: self._source.put(op, message.args, message.id))

    async def _answer(self, message: Message, ask: Callable[[str], Awaitable[Any]]) -> Outcome:
        async def asked() -> Done:
            name, _, op = message.op.partition(".")
            if name != self._source.name:
                raise NotFound(f"{message.op:.100}: this is provider {self._source.name}")
            return Done(dumps(await ask(op)))

        message.deadline = message.deadline or job_deadline()
        return await answer(message, asked(), log)

    async def hook(self, message: Message) -> Outcome:
        """The outcome of a message on provider_hook."""
        try:
            async with asyncio.timeout(UNASKED_SECONDS):
                items = await contained(self._source.hook(_push_of(message)))
            parts = self._pushing.parts(items)
        except CallFailed as refused:
            if refused.code >= 500:
                return Retry(str(refused))
            self._metrics.count(REFUSED)
            log.info("a hook of %s is refused: %s", self._source.name, refused)
            return DONE
        except Exception as error:
            log.exception("a hook of %s failed", self._source.name)
            return Retry(f"{type(error).__name__}: {error}")
        return DONE if await self._pushing.push(parts) else Retry("its provider ends", delay=0.0)


def _push_of(message: Message) -> Pushed:
    args = message.args
    return Pushed(message.id, args["headers"], args["query"], b64decode(args["body"]))
