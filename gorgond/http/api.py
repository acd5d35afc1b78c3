"""The HTTP API of the fabric: notes of a user, single items, health.

Reads go to store_get, writes to store_put, both as calls; a write that need not be waited for goes to store_put as a
job and is answered 202 once the broker that lasts has it.

Anybody may write for users who are not registered. A registered user alone writes what belongs to that user: a write
says who asks, and the store refuses what is another one's.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import quote, urlencode

from gorgond.app.backend import WebBackend
from gorgond.bounds import CURSOR_MAX, DOCUMENT_ID_MAX, LIM_MAX, OFF_MAX, WHOLE_MAX
from gorgond.errors import BadRequest
from gorgond.http.accounts import Accounts
from gorgond.http.answers import Answer, Problem, json_answer, ok
from gorgond.http.asking import Asking, User, message_of
from gorgond.http.bodies import check_item, check_private, check_ts, items, json_body
from gorgond.http.credentials import credentials, unauthorized
from gorgond.http.openapi import describe
from gorgond.http.proving import Proving
from gorgond.http.routes import Parameter, Question, Request, Route, Routes
from gorgond.http.site_logins import SiteLogins
from gorgond.redpill import CallFailed, Message, Reply, dumps, loads

_NEWEST = [["ts", -1]]
_UID = Parameter("uid", "the user's number", int, 0, WHOLE_MAX)
_LIM = Parameter("lim", "how many at most", int, 1, LIM_MAX, 20)
_OFF = Parameter("off", "how many of the newest to leave out", int, 0, OFF_MAX, 0)
_AFTER = Parameter("after", "where to go on: as the answer before says it in `next`", str, high=CURSOR_MAX,
                   format="cursor")  # fmt: skip
_ID = Parameter("id", "the item's id", str, high=DOCUMENT_ID_MAX)
_TS = Parameter("ts", "the time of the change, ms since 1970; without it, it comes last", int, 0, WHOLE_MAX)
_KEY = Parameter("Idempotency-Key", "the same in a repeat, which then stores nothing anew", str, high=255)
_PREFER = Parameter("Prefer", "respond-async: answer as soon as the notes are kept", str, high=1000, empty=True)
_ASYNC = "respond-async"
_MISSING = {404: ("there is no such item", "Error")}
_NOT_THEIRS = {
    401: ("it is a registered user's, and nobody is logged in", "Error"),
    403: ("it is another registered user's", "Error"),
}


class Api:
    """The handlers; `routes` says which is for what, with the `others` that the server has. `access` to the
    notes is open, read or off."""

    def __init__(self, backend: WebBackend, others: Sequence[Route] = (), access: str = "open") -> None:
        self._backend = backend
        self._asking = asking = Asking(backend)
        notes = {"open": self._reads() + self._writes(), "read": self._reads(), "off": []}[access]
        self.routes = Routes(
            [
                *notes,
                Route("GET", "/healthz", self.healthz, "Whether this process lives",
                      answers={200: ("it does", "Alive")}),
                Route("GET", "/readyz", self.readyz, "Whether it can serve; if not, 503 says why",
                      answers={200: ("it can", "Ready")}),
                Route("GET", "/openapi.json", self.openapi, "This description", answers={200: ("OpenAPI 3.1", "Any")}),
                *Accounts(asking).routes,
                *Proving(asking).routes,
                *SiteLogins(asking).routes,
                *others,
            ]
        )  # fmt: skip
        self._description = dumps(describe(self.routes))

    def _reads(self) -> list[Route]:
        paging = (_LIM, _OFF, _AFTER)
        read = {200: ("the notes, newest first", "Notes")}
        return [
            Route("GET", "/info/{uid}", self.info, "The newest notes of a user", (_UID,), paging, answers=read),
            Route("GET", "/info/{uid}/{lim}", self.info, "The same", (_UID, _LIM), (_OFF, _AFTER), answers=read),
            Route("GET", "/info/{uid}/{lim}/{off}", self.info, "The same", (_UID, _LIM, _OFF), (_AFTER,),
                  answers=read),
            Route("GET", "/items", self.search, "Items by keyword, words, user and time, newest first", (), (
                  Parameter("keyword", "one of the item's keywords", str, high=200),
                  Parameter("q", "words in title or body", str, high=1000),
                  Parameter("userid", "the owner's number", int, 0, WHOLE_MAX),
                  Parameter("since", "not older than this, ms since 1970", int, 0, WHOLE_MAX),
                  *paging), answers={200: ("the items", "Found")}),
            Route("GET", "/items/{id}", self.item, "One item", (_ID,), answers={200: ("the item", "Item")} | _MISSING),
        ]  # fmt: skip

    def _writes(self) -> list[Route]:
        stale = {409: ("there is a newer version, or it was deleted since", "Error")} | _NOT_THEIRS
        add = {201: ("stored", "Added"), 202: ("queued: kept, and stored soon", "Added")} | stale
        change = {200: ("stored", "Changed")} | stale
        delete = {204: ("deleted", "")} | stale | _MISSING
        return [
            Route("POST", "/info/{uid}", self.add, "Add a note or a list of up to 1000 notes. An Idempotency-Key, "
                  "or the notes' own ids, make a repeat harmless",
                  (_UID,), headers=(_KEY, _PREFER), body="Items", answers=add, user="optional"),
            Route("PUT", "/items/{id}", self.put, "Store an item as it is given, unless there is a newer one",
                  (_ID,), body="Item", answers=change, user="optional"),
            Route("PATCH", "/items/{id}", self.patch, "Set the given fields of an item; null removes one",
                  (_ID,), body="Changes", answers=change | _MISSING, user="optional"),
            Route("DELETE", "/items/{id}", self.delete, "Delete an item", (_ID,), (_TS,), answers=delete,
                  user="optional"),
        ]  # fmt: skip

    def info(self, request: Request) -> Question:
        values = request.parameters
        uid, lim, off = values["uid"], values["lim"], values["off"]
        args = {"filter": {"userid": uid}, "sort": _NEWEST, "limit": lim, "skip": off} | _place(values)

        def answer(reply: Reply) -> Answer:
            rest = _rest(reply, f"/info/{uid}?lim={lim}")
            return ok(b'{"items":%s,"uid":%d,"lim":%d,"off":%d%s}' % (reply.body, uid, lim, off, rest))

        return Question(self._backend, "store_get", message_of(request, "items.find", args), answer)

    async def search(self, request: Request) -> Answer:
        values = request.parameters
        filter: dict[str, Any] = {}
        if "keyword" in values:
            filter["keywords"] = values["keyword"]
        if "userid" in values:
            filter["userid"] = values["userid"]
        if "since" in values:
            filter["ts"] = {"$gte": values["since"]}
        args = {"filter": filter, "sort": _NEWEST, "limit": values["lim"], "skip": values["off"]} | _place(values)
        if "q" in values:
            args["search"] = values["q"]
        reply = await self._asking.fetch(request, "items", args)
        lim, off = values["lim"], values["off"]
        asked = {name: value for name, value in values.items() if name not in ("off", "after")}
        rest = _rest(reply, f"/items?{urlencode(asked)}")
        return ok(b'{"items":%s,"lim":%d,"off":%d%s}' % (reply.body, lim, off, rest))

    def item(self, request: Request) -> Question:
        id = request.parameters["id"]

        def answer(reply: Reply) -> Answer:
            if reply.more:
                raise Problem(422, f"item {id} is too large to be sent")
            if reply.body == b"[]":
                raise _no_item(id)
            return ok(reply.body[1:-1])

        message = message_of(request, "items.find", {"filter": {"id": id}, "limit": 1})
        return Question(self._backend, "store_get", message, answer)

    async def add(self, request: Request) -> Answer:
        uid = request.parameters["uid"]
        notes = items(json_body(request), uid)
        message = await self._change(request, "items.insert", {"documents": notes})
        key, id, own = request.headers.get(_KEY.name), message.id, {note.get("id") for note in notes}
        if key is not None:
            # A repeat makes notes of the same ids, and a message that is known for the same if it has the same notes.
            id = _digest(f"{uid} {_KEY.read(key)}".encode())
            await request.turn()
            said = _digest(json.dumps(notes, sort_keys=True).encode())  # it writes floats alike whatever is installed
            message = replace(message, id=_digest(f"{id} {said}".encode()))
            asker = message.user or {}
            asker["once"] = {"key": _digest(f"{id} {asker['id']}".encode()), "said": said}
        for index, note in enumerate(notes):
            note.setdefault("id", f"{id}-{index}" if index else id)
        ids = [note["id"] for note in notes]
        await request.turn()
        if _respond_async(request):
            await self._backend.push("store_put", message)
            return json_answer({"ids": ids, "uid": uid, "state": "queued"}, 202, {"Preference-Applied": _ASYNC})
        try:
            results = await self._write(message)
        except Problem as problem:
            raise (_used_key() if problem.field == "once" else problem) from None
        for each in results:
            if each["effect"] == "conflict":
                raise _conflict(each["id"], each["id"] in own)
            if each["effect"] in ("stale", "deleted"):
                raise _stale(each["id"])
        headers = {"Location": f"/items/{quote(ids[0], safe='')}"} if len(ids) == 1 else {}
        return json_answer({"ids": ids, "uid": uid, "state": "stored"}, 201, headers)

    async def put(self, request: Request) -> Answer:
        item = json_body(request)
        check_item(item)
        check_private(item)
        return await self._apply(request, await self._change(request, "items.replace", self._whole(request, item)))

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
        change = await self._change(request, "items.patch", args)
        if changes.get("private") is True or "userid" in changes:
            await self._check_private(request, changes, {**(change.user or {}), "reads": "own"})
        return await self._apply(request, change)

    async def _check_private(self, request: Request, changes: Mapping[str, Any], user: User) -> None:
        """The same for changes of a note that has its owner, and is private, unless they say something else. A private
        one that was given to nobody would be everybody's to read."""
        args = {"filter": {"id": request.parameters["id"]}, "fields": ["userid", "private"], "limit": 1}
        for note in await self._asking.find(request, "items", args, user):
            check_private({**note, **changes})

    async def delete(self, request: Request) -> Answer:
        values = request.parameters
        if "ts" in values:
            check_ts(values["ts"])
        args: dict[str, Any] = {name: values[name] for name in ("id", "ts") if name in values}
        await self._apply(request, await self._change(request, "items.delete", args))
        return Answer(204)

    async def healthz(self, request: Request) -> Answer:
        return json_answer({"alive": True})

    async def readyz(self, request: Request) -> Answer:
        why = self._backend.unready()
        if why is not None:
            raise why
        return json_answer({"ready": True})

    async def openapi(self, request: Request) -> Answer:
        return ok(self._description)

    def _whole(self, request: Request, item: dict[str, Any]) -> dict[str, Any]:
        id = request.parameters["id"]
        if item.setdefault("id", id) != id:
            raise BadRequest("id", "must be the one in the path, or left out")
        return {"documents": [item]}

    async def _change(self, request: Request, op: str, args: dict[str, Any]) -> Message:
        """A write in the name of the user who asks."""
        message, user = message_of(request, op, args), credentials(request, "optional")
        id = loads((await self._asking.ask(request, "auth.me", {}, user)).body)["id"] if user["token"] else ""
        message.user = {"id": id, "writes": "own"}
        return message

    async def _apply(self, request: Request, change: Message) -> Answer:
        effect = (await self._write(change))[0]["effect"]
        id = request.parameters["id"]
        if effect == "missing":
            raise _no_item(id)
        if effect == "stale" or (effect == "deleted" and change.op != "items.delete"):
            raise _stale(id)
        return json_answer({"id": id, "state": effect})

    async def _write(self, message: Message) -> list[dict[str, str]]:
        """Have it stored: each document's id and effect."""
        try:
            reply = await self._backend.call("store_put", message)
        except CallFailed as failed:
            raise refusal(failed.code, failed.message, failed.field) from None
        results: list[dict[str, str]] = loads(reply.body)["results"]
        return results


def refusal(code: int, message: str, field: str) -> Problem:
    """How it is told that the store refuses a write."""
    headers = unauthorized(message).headers if code == 401 else None
    return Problem(422 if code == 400 else code, message, headers, field)


def _place(values: Mapping[str, Any]) -> dict[str, Any]:
    """The argument of a find that goes on with a list."""
    return {"after": values["after"]} if "after" in values else {}


def _rest(reply: Reply, address: str) -> bytes:
    """What is said beside a list: that it lacks those for which there was no room, and the address of the next page."""
    if not reply.headers:
        return b""
    more = b',"more":true' if reply.more else b""
    return more + (b',"next":' + dumps(f"{address}&after={reply.next}") if reply.next else b"")


def _no_item(id: str) -> Problem:
    return Problem(404, f"there is no item {id}")


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:32]


def _conflict(id: str, own: bool) -> Problem:
    if own:
        return Problem(422, f"id: there is another note {id}, with other content", field="id")
    return _used_key()


def _used_key() -> Problem:
    return Problem(422, f"{_KEY.name}: was used for other notes", field=_KEY.name)


def _stale(id: str) -> Problem:
    return Problem(409, f"there is a newer version of item {id}, or it was deleted since")


def _respond_async(request: Request) -> bool:
    prefer = request.headers.get(_PREFER.name, "")
    return prefer != "" and any(each.strip().lower() == _ASYNC for each in _PREFER.read(prefer).split(","))
