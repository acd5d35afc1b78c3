"""The browsers in which a user is told what is new, by web push, as routes of an application.

    browsers    {"id": "USER:PLACE", "userid", "endpoint", "p256dh", "auth", "agent", "since"}

`endpoint` is an address at the push service of the browser's maker, and nobody else's; `p256dh` and `auth` are the
browser's key, and the secret that it shares with us (RFC 8291). Who knows an endpoint may as well be that browser: one
that is given to us again is its last user's alone.
"""

from __future__ import annotations

import hashlib
from base64 import urlsafe_b64decode
from contextlib import suppress
from typing import Any, TypedDict, cast

from gorgond.app.application import App
from gorgond.app.context import Context, User
from gorgond.app.notifying import own_filter
from gorgond.app.response import Response
from gorgond.bounds import AGENT_MAX
from gorgond.errors import BadRequest, Conflict, NotFound
from gorgond.outside.urls import check_url

BROWSERS = "browsers"
KIND = "push"  # of the channel
KEYS, KEY = "push_keys", "web"  # where the key is that browsers are told
MOST = 20  # of one user


class Keys(TypedDict):
    """What a browser gives along with its endpoint, in base64url."""

    p256dh: str
    auth: str


class Subscription(TypedDict, total=False):
    """What a browser's PushSubscription is as JSON; `agent` says what it is."""

    endpoint: str
    keys: Keys
    expirationTime: float | None
    agent: str


def add_browsers(app: App) -> None:
    """Give an application these routes."""
    app.get("/me/notifications/browsers", user="required")(browsers)
    app.post("/me/notifications/browsers", user="required")(add_browser)
    app.delete("/me/notifications/browsers/{id}", user="required")(remove_browser)


async def browsers(ctx: Context) -> dict[str, Any]:
    """The browsers in which the user who asks is told, oldest first; and the key with which another one subscribes,
    which is empty where nobody can."""
    found = await ctx.store.find(BROWSERS, own_filter(_id(ctx)), limit=MOST)
    listed = [{"id": each["id"].partition(":")[2], "agent": each["agent"], "since": each["since"]} for each in found]
    keys = await ctx.store.find(KEYS, {"id": KEY}, fields=["public"], limit=1) if _offered(ctx) else []
    return {"key": keys[0]["public"] if keys else "", "browsers": sorted(listed, key=lambda each: each["since"])}


async def add_browser(ctx: Context, subscription: Subscription) -> Response:
    """Have the user who asks told in this browser too."""
    if not _offered(ctx):
        raise NotFound("no browser is told here: the configuration has no section [notify.NAME] of kind push")
    user, endpoint, keys = _id(ctx), subscription.get("endpoint", ""), subscription.get("keys")
    check_url(endpoint, field="endpoint")
    if keys is None:
        raise BadRequest("keys", "must have p256dh and auth, as the browser gives them")
    if len(key := _unpacked(keys["p256dh"])) != 65 or key[0] != 4:
        raise BadRequest("keys", "p256dh must be a point on the curve P-256, uncompressed, in base64url")
    if len(_unpacked(keys["auth"])) != 16:
        raise BadRequest("keys", "auth must be 16 bytes in base64url")
    place = hashlib.sha256(endpoint.encode()).hexdigest()[:32]
    id = f"{user}:{place}"
    known = await ctx.store.find(BROWSERS, own_filter(user), fields=["since"], limit=MOST)
    if len(known) >= MOST and id not in [each["id"] for each in known]:
        raise Conflict(f"you are told in {MOST} browsers already: remove one first")
    agent = subscription.get("agent", "")[:AGENT_MAX]
    document = {
        "id": id, "userid": user, "endpoint": endpoint, "p256dh": keys["p256dh"], "auth": keys["auth"], "agent": agent,
        "since": ctx.sent,
    }  # fmt: skip
    await ctx.store.replace(BROWSERS, document)
    for each in await ctx.store.find(BROWSERS, {"endpoint": endpoint}, fields=["since"]):
        if each["id"] != id:
            with suppress(NotFound):
                await ctx.store.delete(BROWSERS, each["id"])
    return Response({"id": place}, 201)


async def remove_browser(ctx: Context, id: str) -> None:
    """Have the user who asks told in this browser no more."""
    try:
        await ctx.store.delete(BROWSERS, f"{_id(ctx)}:{id}")
    except NotFound:
        raise NotFound(f"you are told in no browser {id:.100}") from None


def _offered(ctx: Context) -> bool:
    return KIND in ctx.channels.values()


def _unpacked(text: str) -> bytes:
    """The bytes in a base64url; none for what is none."""
    try:
        return urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except ValueError:
        return b""


def _id(ctx: Context) -> str:
    return cast("User", ctx.user).id  # the routes require one
