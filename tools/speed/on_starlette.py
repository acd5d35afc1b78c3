"""The same baseline on Starlette, with uvicorn, httptools and uvloop.

python -m tools.speed.on_starlette PORT inline MONGODB-URL
python -m tools.speed.on_starlette PORT bare
"""

from __future__ import annotations

import socket
import sys

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gorgond.service.systemd import Notifier
from tools.speed.baseline import BARE, items_of, newest


def _routes(how: str, *url: str) -> list[Route]:
    if how == "bare":

        async def bare(_: Request) -> Response:
            return Response(BARE, media_type="application/json")

        return [Route("/info/{uid:int}", bare)]
    items = items_of(*url)

    async def inline(request: Request) -> Response:
        values = request.path_params
        return Response(newest(items, values["uid"], values["lim"]), media_type="application/json")

    return [Route("/info/{uid:int}/{lim:int}", inline)]


def _main(port: str, how: str, *url: str) -> None:
    app = Starlette(routes=_routes(how, *url))
    listening = socket.socket()
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    listening.bind(("127.0.0.1", int(port)))
    listening.listen(4096)
    Notifier().ready()
    config = uvicorn.Config(app, http="httptools", loop="uvloop", access_log=False, log_level="warning", lifespan="off")
    uvicorn.Server(config).run([listening])


if __name__ == "__main__":
    _main(*sys.argv[1:])
