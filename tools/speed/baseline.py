"""The baseline that gorgond is compared with: Tornado straight on pymongo, as a good user of both would write it.

    python -m tools.speed.baseline PORT inline|threads MONGODB-URL
    python -m tools.speed.baseline PORT bare

It gives the same answers as gorgond's GET /info/<uid>/<lim>, or /info/<uid>?lim=<lim>, with the same JSON library and
event loop, without ETags and access log, which gorgond has not either. `inline` waits for the database in the event
loop, which costs the least a request; `threads` waits in a thread pool, which answers several requests at a time;
`bare` answers at once, with no notes, to GET /info/<uid>. Several processes share a port.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any, TypeAlias

from pymongo import MongoClient
from pymongo.collection import Collection
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application, RequestHandler

from gorgond.redpill import dumps
from gorgond.service.loop import run
from gorgond.service.systemd import Notifier

Items: TypeAlias = "Collection[dict[str, Any]]"

SHOWN = {"_gorgon_first": 0}  # all but what gorgond's stores keep beside a note
BARE = b'{"items":[],"uid":5,"lim":20,"off":0}'


class Answering(RequestHandler):
    """Answers JSON."""

    def compute_etag(self) -> None:
        """Answers change all the time."""

    def answer(self, body: bytes) -> None:
        self.set_header("Content-Type", "application/json")
        self.finish(body)


class Bare(Answering):
    """GET /info/<uid>."""

    def get(self, uid: str) -> None:
        self.answer(BARE)


class Inline(Answering):
    """GET /info/<uid>/<lim>, or /info/<uid>?lim=<lim>."""

    def initialize(self, items: Items) -> None:
        self.items = items

    def get(self, uid: str, lim: str | None) -> Any:
        self.answer(newest(self.items, int(uid), self.many(lim)))

    def many(self, lim: str | None) -> int:
        """How many notes are asked for."""
        return int(lim or self.get_query_argument("lim"))


class Threads(Inline):
    """The same, waiting in a thread."""

    async def get(self, uid: str, lim: str | None) -> None:
        loop = asyncio.get_running_loop()
        self.answer(await loop.run_in_executor(None, newest, self.items, int(uid), self.many(lim)))


def newest(items: Items, uid: int, lim: int) -> bytes:
    """The answer to GET /info/<uid>/<lim>."""
    found = list(items.find({"userid": uid}, sort=[("ts", -1)], limit=lim, projection=SHOWN))
    for item in found:
        item["id"] = item.pop("_id")
    return dumps({"items": found, "uid": uid, "lim": lim, "off": 0})


def items_of(url: str) -> Items:
    """The notes of a database, connected."""
    client: MongoClient[dict[str, Any]] = MongoClient(url)
    items = client.get_default_database()["items"]
    items.find_one()  # connect
    return items


async def _serve(port: int, how: str, *url: str) -> None:
    routes: list[Any] = [(r"/info/(\d+)", Bare)]
    if how != "bare":
        handler = {"inline": Inline, "threads": Threads}[how]
        routes = [(r"/info/(\d+)(?:/(\d+))?", handler, {"items": items_of(*url)})]
    server = HTTPServer(Application(routes, log_function=lambda _: None))
    server.add_sockets(bind_sockets(port, "127.0.0.1", backlog=4096, reuse_port=True))
    Notifier().ready()
    await asyncio.Event().wait()


if __name__ == "__main__":
    _port, *_what = sys.argv[1:]
    run(_serve(int(_port), *_what))
