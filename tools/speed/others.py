"""Other systems that do the same, to be measured beside gorgond in the same run where they are installed:

starlette    pip install starlette uvicorn httptools
moleculer    npm install --prefix ~/.cache/gorgond/node moleculer ioredis
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import socket
from pathlib import Path

from tools.speed.processes import Crew
from tools.speed.site import free_port

_NODE_MODULES = Path.home() / ".cache/gorgond/node/node_modules"


def has_starlette() -> bool:
    """Whether Starlette can be measured."""
    return all(map(importlib.util.find_spec, ("starlette", "uvicorn", "httptools", "uvloop")))


def has_moleculer() -> bool:
    """Whether Moleculer can be measured."""
    there = all((_NODE_MODULES / each).exists() for each in ("moleculer", "ioredis"))
    return there and shutil.which("node") is not None


def start_starlette(crew: Crew, processes: int, how: str, *url: str) -> str:
    """Start so many processes of Starlette; the URL that they share."""
    port = free_port()
    for _ in range(processes):
        crew.python("starlette", "tools.speed.on_starlette", str(port), how, *url)
    return f"http://127.0.0.1:{port}"


def start_moleculer(crew: Crew, redis: str) -> str:
    """Start a service and a gateway that talk over the Redis of this URL, a unix socket's; the gateway's URL."""
    port = free_port()
    path = redis.removeprefix("unix://")
    settings = {"NODE_PATH": os.fspath(_NODE_MODULES), "NODE_ENV": "production"}

    def listening() -> bool:
        with socket.socket() as client:
            return client.connect_ex(("127.0.0.1", port)) == 0

    program = os.fspath(Path(__file__).with_name("moleculer.cjs"))
    crew.start("service", ["node", program, "service", path], settings, ready=lambda: True)
    crew.start("gateway", ["node", program, "gateway", path, str(port)], settings, ready=listening)
    return f"http://127.0.0.1:{port}"
