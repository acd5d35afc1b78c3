"""The HTTP API of the fabric: notes of a user, single items, health.

Reads go to store_get, writes to store_put, both as calls; a write that need not be waited for goes to store_put as a
job and is answered 202 once the broker that lasts has it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Protocol

from gorgond.errors import BadRequest
from gorgond.http.answers import Answer, Problem, made, ok
from gorgond.http.bodies import check_item, items, json_body
from gorgond.http.openapi import describe
from gorgond.http.routes import Parameter, Request, Route, Routes
from gorgond.redpill import CallFailed, Message, Reply
from gorgond.redpill.codec import dumps, loads

LIM_MAX = 1000
OFF_MAX = 1_000_000
UID_MAX = 2**53 - 1

_NEWEST = [["ts", -1]]
_UID = Parameter("uid", "the user's number", int, 0, UID_MAX)
_LIM = Parameter("lim", "how many at most", int, 1, LIM_MAX, 20)
_OFF = Parameter("off", "how many of the newest to leave out", int, 0, OFF_MAX, 0)
_ID = Parameter("id", "the item's id", str, high=128)


class Backend(Protocol):
    """What the API asks of the server it runs in."""

    async def call(self, queue: str, message: Message) -> Reply:
        """Push a request and wait for the reply; its errors are raised."""

    async def push(self, queue: str, message: Message) -> None:
        """Push a job; back when it is kept."""

    def unready(self) -> str:
        """Why no requests should be sent here; empty when all is well."""


class Api:
    """The handlers; `routes` says which is for what."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        paging = (_LIM, _OFF)
        read = {200: "the notes, newest first"}
        write = {201: "stored", 202: "queued: kept, and stored soon"}
        self.routes = Routes(
            [
                Route("GET", "/info/{uid}", self.info, "The newest notes of a user", (_UID,), paging, answers=read),
                Route("GET", "/info/{uid}/{lim}", self.info, "The same", (_UID, _LIM), (_OFF,), answers=read),
                Route("GET", "/info/{uid}/{lim}/{off}", self.info, "The same", (_UID, _LIM, _OFF), answers=read),
                Route("POST", "/info/{uid}", self.add, "Add a note or a list of up to 1000 notes. An Idempotency-Key "
                      "header, or the note's own id, makes a repeat harmless; with Prefer: respond-async it is queued",
                      (_UID,), body="Items", answers=write),
                Route("GET", "/items", self.search, "Items by keyword, words, user and time, newest first", (), (
                      Parameter("keyword", "one of the item's keywords", str, high=200),
                      Parameter("q", "words in title or body", str, high=1000),
                      Parameter("userid", "the owner's number", int, 0, UID_MAX),
                      Parameter("since", "not older than this, ms since 1970", int, 0, UID_MAX),
                      *paging), answers={200: "the items"}),
                Route("GET", "/items/{id}", self.item, "One item", (_ID,), answers={200: "the item", 404: "none"}),
                Route("PUT", "/items/{id}", self.put, "Store an item as it is given, unless there is a newer one",
                      (_ID,), body="Item", answers={200: "stored", 409: "there is a newer one"}),
                Route("PATCH", "/items/{id}", self.patch, "Set the given fields of an item; null removes one",
                      (_ID,), body="Item", answers={200: "stored", 404: "none", 409: "there is a newer one"}),
                Route("DELETE", "/items/{id}", self.delete, "Delete an item", (_ID,),
                      answers={204: "deleted", 404: "none", 409: "there is a newer one"}),
                Route("GET", "/healthz", self.healthz, "Whether this process lives", answers={200: "it does"}),
                Route("GET", "/readyz", self.readyz, "Whether it can serve", answers={200: "yes", 503: "no, and why"}),
                Route("GET", "/openapi.json", self.openapi, "This description", answers={200: "OpenAPI 3.1"}),
            ]
        )  # fmt: skip
        self._description = dumps(describe(self.routes))

    async def info(self, request: Request) -> Answer:
        values = request.parameters
        uid, lim, off = values["uid"], values["lim"], values["off"]
        args = {"filter": {"userid": uid}, "sort": _NEWEST, "limit": lim, "skip": off}
        reply = await self._call(request, "store_get", "items.find", args)
        return ok(b'{"items":%s,"uid":%d,"lim":%d,"off":%d}' % (reply.body, uid, lim, off))

    async def search(self, request: Request) -> Answer:
        values = request.parameters
        filter: dict[str, Any] = {}
        if "keyword" in values:
            filter["keywords"] = values["keyword"]
        if "userid" in values:
            filter["userid"] = values["userid"]
        if "since" in values:
            filter["ts"] = {"$gte": values["since"]}
        args = {"filter": filter, "sort": _NEWEST, "limit": values["lim"], "skip": values["off"]}
        if "q" in values:
            args["search"] = values["q"]
        reply = await self._call(request, "store_get", "items.find", args)
        return ok(b'{"items":%s,"lim":%d,"off":%d}' % (reply.body, values["lim"], values["off"]))

    async def item(self, request: Request) -> Answer:
        id = request.parameters["id"]
        reply = await self._call(request, "store_get", "items.find", {"filter": {"id": id}, "limit": 1})
        if reply.body == b"[]":
            raise _no_item(id)
        return ok(reply.body[1:-1])

    async def add(self, request: Request) -> Answer:
        uid = request.parameters["uid"]
        notes = items(json_body(request), uid)
        message = self._message(request, "items.insert", {"documents": notes})
        key = request.headers.get("Idempotency-Key")
        if key is not None:
            if not 0 < len(key) <= 255:
                raise BadRequest("Idempotency-Key", "must be 1 to 255 characters")
            # The ids of the notes are made of the message's: a repeat makes the same.
            message = replace(message, id=hashlib.sha256(f"{uid} {key}".encode()).hexdigest()[:32])
        for index, note in enumerate(notes):
            note.setdefault("id", f"{message.id}-{index}" if index else message.id)
        ids = [note["id"] for note in notes]
        if _respond_async(request):
            await self._backend.push("store_put", message)
            return made({"ids": ids, "uid": uid, "state": "queued"}, 202, {"Preference-Applied": "respond-async"})
        await self._write(message)
        headers = {"Location": f"/items/{ids[0]}"} if len(ids) == 1 and ids[0].isalnum() else {}
        return made({"ids": ids, "uid": uid, "state": "stored"}, 201, headers)

    async def put(self, request: Request) -> Answer:
        item = json_body(request)
        check_item(item)
        return await self._change(request, "items.replace", self._whole(request, item))

    async def patch(self, request: Request) -> Answer:
        changes = json_body(request)
        check_item(changes, removable=True)
        id = request.parameters["id"]
        if changes.pop("id", id) != id:
            raise BadRequest("id", "must be the one in the path, or left out")
        if not changes:
            raise BadRequest("body", "must hold at least one field to change")
        args: dict[str, Any] = {"id": id, "changes": changes}
        if "ts" in changes:
            args["ts"] = changes.pop("ts")
        return await self._change(request, "items.patch", args)

    async def delete(self, request: Request) -> Answer:
        await self._change(request, "items.delete", {"id": request.parameters["id"]})
        return Answer(204)

    async def healthz(self, request: Request) -> Answer:
        return made({"alive": True})

    async def readyz(self, request: Request) -> Answer:
        why = self._backend.unready()
        if why:
            raise Problem(503, why, {"Retry-After": "1"})
        return made({"ready": True})

    async def openapi(self, request: Request) -> Answer:
        return ok(self._description)

    def _whole(self, request: Request, item: dict[str, Any]) -> dict[str, Any]:
        id = request.parameters["id"]
        if item.setdefault("id", id) != id:
            raise BadRequest("id", "must be the one in the path, or left out")
        return {"documents": [item]}

    def _message(self, request: Request, op: str, args: dict[str, Any]) -> Message:
        trace = request.headers.get("traceparent", "")
        return Message(op, args, request.id, deadline=request.deadline, trace=trace[:100])

    async def _call(self, request: Request, queue: str, op: str, args: dict[str, Any]) -> Reply:
        return await self._backend.call(queue, self._message(request, op, args))

    async def _change(self, request: Request, op: str, args: dict[str, Any]) -> Answer:
        effect = (await self._write(self._message(request, op, args)))[0]["effect"]
        id = request.parameters["id"]
        if effect == "missing":
            raise _no_item(id)
        if effect == "stale":
            raise Problem(409, f"there is a newer version of item {id}")
        return made({"id": id, "state": effect})

    async def _write(self, message: Message) -> list[dict[str, str]]:
        """Have it stored: each document's id and effect."""
        try:
            reply = await self._backend.call("store_put", message)
        except CallFailed as failed:
            raise Problem(422 if failed.code == 400 else failed.code, failed.message) from None
        results: list[dict[str, str]] = loads(reply.body)["results"]
        return results


def _no_item(id: str) -> Problem:
    return Problem(404, f"there is no item {id}")


def _respond_async(request: Request) -> bool:
    prefer = request.headers.get("Prefer", "")
    return any(each.strip().lower() == "respond-async" for each in prefer.split(","))


