"""Tornado alone: a RequestHandler that answers at once.

python -m tools.speed.bare PORT
"""

from __future__ import annotations

import asyncio
import sys

from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application, RequestHandler

from gorgond.service.loop import run
from gorgond.service.systemd import Notifier

BODY = b'{"items":[],"uid":5,"lim":20,"off":0}'


class Bare(RequestHandler):
    """GET /info/<uid>."""

    def compute_etag(self) -> None:
        """gorgond has none either."""

    def get(self, uid: str) -> None:
        self.set_header("Content-Type", "application/json")
        self.finish(BODY)


async def _serve(port: int) -> None:
    server = HTTPServer(Application([(r"/info/(\d+)", Bare)], log_function=lambda _: None))
    server.add_sockets(bind_sockets(port, "127.0.0.1", backlog=4096))
    Notifier().ready()
    await asyncio.Event().wait()


if __name__ == "__main__":
    run(_serve(int(sys.argv[1])))
