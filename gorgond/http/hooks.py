"""Hooks, by which others push something in: POST /hooks/NAME goes to the provider NAME as it came, and is answered when
it is kept.

Anybody may send one. The provider, which has the secret, finds out whether it is from whom it says: the web
server has no secrets but its own. A sender of too many fills the queue of that provider alone, and gets 503 then.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Collection

from gorgond.app.backend import Keeper
from gorgond.http.answers import Answer, Problem, json_answer
from gorgond.http.routes import Parameter, Request, Route
from gorgond.redpill import Message

_NAME = Parameter("name", "the provider's name", str, high=100)
_OURS = "cookie"  # of the headers: no provider's business


class Hooks:
    """The route for the `providers` that take hooks."""

    def __init__(self, backend: Keeper, providers: Collection[str]) -> None:
        self._backend = backend
        self._providers = providers
        kept = {202: ("kept, and handled soon", "Kept"), 404: ("no provider of that name takes hooks", "Error")}
        self.routes = [
            Route(
                "POST", "/hooks/{name}", self.take, "Tell a provider something: the body, of whatever type, is its own "
                "affair, and so is the query", (_NAME,), raw=True, lenient=True, answers=kept,
            )
        ]  # fmt: skip

    async def take(self, request: Request) -> Answer:
        """Keep it for the provider."""
        name = request.parameters["name"]
        if name not in self._providers:
            raise Problem(404, f"there is no provider {name} that takes hooks")
        args = {
            "headers": {each.lower(): text for each, text in request.headers.items() if each.lower() != _OURS},
            "query": request.path.partition("?")[2],
            "body": b64encode(request.body).decode(),
        }
        trace = request.headers.get("traceparent", "")[:100]
        await self._backend.push(f"provider_hook:{name}", Message(f"{name}.hook", args, request.id, trace=trace))
        return json_answer({"id": request.id}, 202)
