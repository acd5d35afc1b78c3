"""A user's endpoints as routes of an application: addresses to which notifications are sent by HTTP.

The application that comes with gorgond has them. Another one that runs in its place has them by `add_endpoints(app)`.
"""

from __future__ import annotations

from typing import Any, TypedDict, cast

from gorgond.app.application import App
from gorgond.app.context import Context, User
from gorgond.app.notifying import DELIVERIES, SEND, check_kind, notification_id, own_filter, send_args
from gorgond.app.response import Response
from gorgond.app.webhooks import (
    BY_USER,
    ENDPOINTS,
    ENDPOINTS_MAX,
    OFF,
    ON,
    REPLAY,
    TEST,
    TEST_TITLE,
    WELL,
    new_secret,
    visible_endpoint,
)
from gorgond.bounds import WHOLE_MAX
from gorgond.errors import BadRequest, Conflict, NotFound
from gorgond.outside.urls import check_url
from gorgond.redpill import now_ms

ID_LENGTH = 12
KINDS_MAX = 100  # that an endpoint names
SHOWN = 20  # deliveries to an endpoint that are told, the newest


class Wanted(TypedDict, total=False):
    """An endpoint, as its user wants it."""

    url: str
    kinds: list[str]
    state: str


def add_endpoints(app: App) -> None:
    """Give an application the routes of endpoints."""
    place = "/me/notifications/endpoints"
    app.get(place, user="required")(endpoints)
    app.post(place, user="required")(add_endpoint)
    app.get(place + "/{id}", user="required")(endpoint)
    app.patch(place + "/{id}", user="required")(change_endpoint)
    app.delete(place + "/{id}", user="required")(delete_endpoint)
    app.post(place + "/{id}/secret", user="required")(new_endpoint_secret)
    app.post(place + "/{id}/test", user="required")(test_endpoint)
    app.post(place + "/{id}/replay", user="required")(replay)


async def endpoints(ctx: Context) -> dict[str, Any]:
    """The endpoints of the user who asks."""
    _channel(ctx)
    found = await ctx.store.find(ENDPOINTS, own_filter(_user(ctx)), sort="id", limit=ENDPOINTS_MAX)
    shown = [visible_endpoint(each, now_ms()) for each in found]
    return {"endpoints": sorted(shown, key=lambda each: int(each["created"]))}


async def add_endpoint(ctx: Context, wanted: Wanted) -> Response:
    """Add an endpoint. Its secret is in this answer alone."""
    _channel(ctx)
    if "url" not in wanted:
        raise BadRequest("url", "is missing")
    _check(ctx, wanted)
    user = _user(ctx)
    if await ctx.store.count(ENDPOINTS, own_filter(user)) >= ENDPOINTS_MAX:
        raise Conflict(f"you have {ENDPOINTS_MAX} endpoints, which are as many as there may be: delete one first")
    made: dict[str, Any] = {
        "id": f"{user}:{notification_id(ctx.id)[:ID_LENGTH]}", "userid": user, "url": wanted["url"],
        "kinds": wanted.get("kinds", []), "secrets": [new_secret()], "rotated": 0, "created": now_ms(),
        "state": wanted.get("state", ON),
    }  # fmt: skip
    try:
        await ctx.store.insert(ENDPOINTS, made)
    except Conflict:  # this very request has made it before, on an instance that died
        made = await ctx.store.get(ENDPOINTS, made["id"])
    return Response({**visible_endpoint(made, now_ms()), "secret": made["secrets"][0]}, 201)


async def endpoint(ctx: Context, id: str) -> dict[str, Any]:
    """An endpoint of the user who asks, and what became of what was sent there last."""
    found = await _own(ctx, id)
    listed = await ctx.store.find(
        DELIVERIES, {"target": id, "userid": _user(ctx)}, sort="-ts", limit=SHOWN,
        fields=["id", "kind", "state", "reason", "code", "tries", "next", "ts"],
    )  # fmt: skip
    told = [
        {
            "id": each["id"].split(":")[1],
            **{name: each.get(name) for name in ("kind", "state", "reason", "code", "tries", "next", "ts")},
        }
        for each in listed
    ]
    return {**visible_endpoint(found, now_ms()), "deliveries": told}


async def change_endpoint(ctx: Context, id: str, wanted: Wanted) -> dict[str, Any]:
    """Change an endpoint: what is left out stays. Nothing is known against it after that, if it is `on` or has another
    URL."""
    found = await _own(ctx, id)
    _check(ctx, wanted)
    changes: dict[str, Any] = dict(wanted)
    if wanted.get("state") == OFF:
        changes["reason"] = BY_USER
    elif wanted.get("state") == ON or wanted.get("url", found["url"]) != found["url"]:
        changes |= WELL
    if not changes:
        raise BadRequest("body", "must have a url, kinds, or a state")
    await ctx.store.patch(ENDPOINTS, found["id"], changes)
    return visible_endpoint(await _own(ctx, id), now_ms())


async def delete_endpoint(ctx: Context, id: str) -> None:
    """Delete an endpoint; what waits for it is not sent."""
    await ctx.store.delete(ENDPOINTS, (await _own(ctx, id))["id"])


async def new_endpoint_secret(ctx: Context, id: str) -> dict[str, Any]:
    """Make another secret, which is in this answer alone. For a day the one before it signs too."""
    found = await _own(ctx, id)
    if found.get("rotated_by") == ctx.id:  # this very request has made it before, on an instance that died
        return {"secret": found["secrets"][0]}
    changes: dict[str, Any] = {
        "secrets": [new_secret(), found["secrets"][0]],
        "rotated": now_ms(),
        "rotated_by": ctx.id,
    }
    await ctx.store.patch(ENDPOINTS, found["id"], changes, unchanged=found["ts"])
    return {"secret": changes["secrets"][0]}


async def test_endpoint(ctx: Context, id: str) -> Response:
    """Have a test sent to an endpoint, now: its id, by which it stands among the deliveries."""
    await _on(ctx, id)
    nid = notification_id(ctx.id, id)
    data = {"title": TEST_TITLE, "text": "It is sent to this endpoint alone, since its user has asked for it."}
    args = send_args(nid, _user(ctx), TEST, TEST_TITLE, data, now_ms())
    await ctx.have_sent(_channel(ctx), SEND, {**args, "target": id})
    return Response({"id": nid}, 202)


async def replay(ctx: Context, id: str, since: int = 0) -> Response:
    """Have all sent again to an endpoint that was given up at the time `since` or later, ms since 1970."""
    if not 0 <= since <= WHOLE_MAX:
        raise BadRequest("since", f"must be a whole number from 0 to {WHOLE_MAX}")
    await _on(ctx, id)
    await ctx.have_sent(_channel(ctx), REPLAY, {"user": _user(ctx), "target": id, "since": since})
    return Response({"since": since}, 202)


def _channel(ctx: Context) -> str:
    for channel in ctx.webhooks:
        return channel
    raise NotFound("nothing is sent to endpoints here: [notify.webhook] kind = webhook has it sent")


def _check(ctx: Context, wanted: Wanted) -> None:
    if "url" in wanted:
        check_url(wanted["url"], ctx.webhooks[_channel(ctx)])
    kinds = wanted.get("kinds", [])
    if len(kinds) > KINDS_MAX:
        raise BadRequest("kinds", f"must be at most {KINDS_MAX}")
    for kind in kinds:
        check_kind(kind, ctx.kinds)
    if wanted.get("state", ON) not in (ON, OFF):
        raise BadRequest("state", f"must be {ON} or {OFF}")


async def _own(ctx: Context, id: str) -> dict[str, Any]:
    """The endpoint, if it is the user's."""
    _channel(ctx)
    found = await ctx.store.find(ENDPOINTS, {"id": f"{_user(ctx)}:{id}"[:128]}, limit=1)
    if not found:
        raise NotFound(f"you have no endpoint {id:.100}")
    return found[0]


async def _on(ctx: Context, id: str) -> None:
    if (await _own(ctx, id))["state"] != ON:
        raise Conflict("it is off: turn it on first")


def _user(ctx: Context) -> str:
    return cast("User", ctx.user).id  # the routes require one
