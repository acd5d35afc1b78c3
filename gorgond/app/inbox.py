"""A user's inbox as routes of an application: reading it, and what is to be sent at all.

The application that comes with gorgond has it. Another one that runs in its place has it by `add_inbox(app)`.
"""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Mapping
from typing import Any, NotRequired, TypedDict, cast

from gorgond.app.application import App
from gorgond.app.browsers import add_browsers
from gorgond.app.context import Context, User
from gorgond.app.letters import DIGEST, LOGIN, TITLES
from gorgond.app.notifying import (
    INBOXES,
    NOTIFICATIONS,
    PREFERENCES,
    ROUNDS,
    TOPIC,
    change_preferences,
    check_kind,
    document_id,
    filter_after,
    newest_number,
    prefer,
    preference_word,
    visible_part,
)
from gorgond.app.times import checked_times
from gorgond.app.webhooks import DISABLED, DISABLED_TITLE
from gorgond.bounds import LIM_MAX, WHOLE_MAX
from gorgond.errors import BadRequest, Conflict, NotFound


class Preference(TypedDict):
    """Whether notifications of a kind are sent over a channel, and if so whether in a digest."""

    on: bool
    digest: NotRequired[bool]


class Times(TypedDict, total=False):
    """When notifications are sent, as `app.times` has it."""

    zone: str
    quiet: dict[str, str] | None
    digest: str


def add_inbox(app: App) -> None:
    """Give an application the routes of the inbox, and what accounts have their users told."""
    app.notification(LOGIN, TITLES[LOGIN])
    app.get("/me/notifications", user="required")(notifications)
    app.post("/me/notifications/read", user="required")(read_all)
    app.post("/me/notifications/{number:int}/read", user="required")(read)
    app.get("/me/notifications/preferences", user="required")(preferences)
    app.put("/me/notifications/preferences/{kind}/{channel}", user="required")(set_preference)
    app.put("/me/notifications/times", user="required")(set_times)
    app.post("/notifications/unsubscribe")(unsubscribe)
    add_browsers(app)


async def notifications(ctx: Context, lim: int = 20, before: int = 0) -> dict[str, Any]:
    """The notifications of the user who asks, newest first: those with a number below `before`, if it is given; how
    many are unread."""
    if not 1 <= lim <= LIM_MAX:
        raise BadRequest("lim", f"must be a whole number from 1 to {LIM_MAX}")
    if not 0 <= before <= WHOLE_MAX:
        raise BadRequest("before", f"must be a whole number from 0 to {WHOLE_MAX}")
    user = _id(ctx)
    filter = filter_after(user)
    if before:
        filter["id"]["$lt"] = document_id(user, before)
    found, until = await asyncio.gather(
        ctx.store.find(NOTIFICATIONS, filter, sort="-id", limit=lim), _read_until(ctx, user)
    )
    unread = await ctx.store.count(NOTIFICATIONS, filter_after(user, until) | {"read": False})
    listed = [visible_part(each, until) for each in found]
    return {"notifications": listed, "unread": unread} | ({"more": True} if found.more else {})


async def _read_until(ctx: Context, user: str) -> int:
    found = await ctx.store.find(INBOXES, {"id": user}, limit=1)
    return int(found[0]["read"]) if found else 0


async def read(ctx: Context, number: int) -> None:
    """Mark a notification as read."""
    user = _id(ctx)
    try:
        await ctx.store.patch(NOTIFICATIONS, document_id(user, number), {"read": True})
    except NotFound:
        raise NotFound(f"you have no notification {number}") from None
    await ctx.publish(TOPIC, "notify.read", {"user": user, "number": number})


async def read_all(ctx: Context, until: int = 0) -> dict[str, int]:
    """Mark all as read that there are now, or those up to the number `until`."""
    user = _id(ctx)
    last = await newest_number(ctx.store, user)
    until = min(until, last) if until else last
    for _ in range(ROUNDS):
        found = await ctx.store.find(INBOXES, {"id": user}, limit=1)
        if found and found[0]["read"] >= until:
            return {"until": found[0]["read"]}
        try:
            if found:
                await ctx.store.patch(INBOXES, user, {"read": until}, unchanged=found[0]["ts"])
            else:
                await ctx.store.insert(INBOXES, {"id": user, "read": until})
        except Conflict:
            continue  # another page does the same
        await ctx.publish(TOPIC, "notify.read", {"user": user, "until": until})
        return {"until": until}
    raise Conflict


async def preferences(ctx: Context) -> dict[str, Any]:
    """What the user who asks is sent: each kind of notification, with whether it is sent over each channel;
    and whether it may be sent to endpoints."""
    stored = await ctx.store.find(PREFERENCES, {"id": _id(ctx)}, limit=1)
    found = stored[0] if stored else {"off": []}
    gathering = _gathering(ctx)
    return {
        "kinds": [
            {
                "kind": kind,
                "title": title,
                "channels": {each: preference_word(kind, each) not in found["off"] for each in ctx.channels},
                "digest": [each for each in gathering if preference_word(kind, each) in found.get("digest", ())],
            }
            for kind, title in _kinds(ctx).items()
        ],
        "endpoints": bool(ctx.webhooks),
        "loud": list(ctx.loud),
        "digests": gathering,
        "times": checked_times(found.get("times") or {}),
    }


async def set_preference(ctx: Context, kind: str, channel: str, preference: Preference) -> dict[str, Any]:
    """Have notifications of a kind sent over a channel, alone or in a digest, or not: from the answer on, also those
    that wait already."""
    check_kind(kind, _kinds(ctx))
    _check_channel(ctx, channel)
    on, digest = preference["on"], preference.get("digest", False)
    if digest and channel not in (gathering := _gathering(ctx)):
        raise BadRequest("digest", f"is not sent over {channel}; it is over: {', '.join(gathering) or 'no channel'}")
    await prefer(ctx.store, _id(ctx), kind, channel, on, digest)
    return {"kind": kind, "channel": channel, **preference}


async def set_times(ctx: Context, times: Times) -> dict[str, Any]:
    """Have quiet hours, in which nothing is sent over a channel that is loud, but kept until they end; and say when
    digests are sent. What is left out is as if nothing had been said."""
    checked = checked_times(times)
    await change_preferences(ctx.store, _id(ctx), lambda _: {"times": checked})
    return checked


async def unsubscribe(
    ctx: Context, who: str = "", kind: str = "", channel: str = "", token: str = ""
) -> dict[str, Any]:
    """Send a user no more of a kind over a channel: the address in an e-mail's List-Unsubscribe (RFC 8058). The token
    in it is all that it needs."""
    found = await ctx.store.find(PREFERENCES, {"id": who}, limit=1)
    if not found or not hmac.compare_digest(found[0]["token"].encode(), token.encode()):
        raise NotFound("this link is not valid: log in, and say at /notifications/preferences what you want")
    check_kind(kind, {**_kinds(ctx), DIGEST: "what is sent together"})
    _check_channel(ctx, channel)
    await prefer(ctx.store, who, kind, channel, on=False)
    return {"kind": kind, "channel": channel, "on": False}


def _kinds(ctx: Context) -> Mapping[str, str]:
    """The kinds that the user may be sent: those of applications, and what is told of endpoints where there are any."""
    return {**ctx.kinds, DISABLED: DISABLED_TITLE} if ctx.webhooks else ctx.kinds


def _check_channel(ctx: Context, channel: str) -> None:
    if channel not in ctx.channels:
        raise NotFound(f"there is no channel {channel:.100}; there are {', '.join(ctx.channels)}")


def _gathering(ctx: Context) -> list[str]:
    """The channels over which digests are sent."""
    return [channel for channel, gathers in ctx.loud.items() if gathers]


def _id(ctx: Context) -> str:
    return cast("User", ctx.user).id  # the routes require one
