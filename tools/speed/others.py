"""Other systems that do the same, to be measured beside gorgond in the same run: Tornado, and where they are installed

starlette    pip install starlette uvicorn httptools
moleculer    npm install --prefix ~/.cache/gorgond/node moleculer ioredis
bullmq       npm install --prefix ~/.cache/gorgond/node bullmq ioredis
dramatiq     pip install dramatiq[redis]
rabbitmq     apt install rabbitmq-server; pip install pika
nats         apt install nats-server; pip install nats-py
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import socket
from collections.abc import Callable
from pathlib import Path

from tools.speed.ports import free_port
from tools.speed.processes import Crew, Process

_RABBITMQ = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")  # the one in the path changes to the user of its service
_NODE_MODULES = Path.home() / ".cache/gorgond/node/node_modules"


def has_starlette() -> bool:
    """Whether Starlette can be measured."""
    return all(map(importlib.util.find_spec, ("starlette", "uvicorn", "httptools", "uvloop")))


def has_moleculer() -> bool:
    """Whether Moleculer can be measured."""
    return _has_node("moleculer", "ioredis")


def has_bullmq() -> bool:
    """Whether BullMQ can be measured."""
    return _has_node("bullmq", "ioredis")


def has_dramatiq() -> bool:
    """Whether Dramatiq can be measured."""
    return importlib.util.find_spec("dramatiq") is not None


def _has_node(*packages: str) -> bool:
    return shutil.which("node") is not None and all((_NODE_MODULES / each).exists() for each in packages)


def has_rabbitmq() -> bool:
    """Whether RabbitMQ can be measured."""
    return _RABBITMQ.exists() and importlib.util.find_spec("pika") is not None


def has_nats() -> bool:
    """Whether NATS can be measured."""
    return shutil.which("nats-server") is not None and importlib.util.find_spec("nats") is not None


def start_tornado(crew: Crew, processes: int, how: str, *url: str) -> str:
    """Start so many processes of the baseline on Tornado; the URL that they share."""
    return _start_sharing(crew, "tornado", "tools.speed.baseline", processes, how, *url)


def start_starlette(crew: Crew, processes: int, how: str, *url: str) -> str:
    """Start so many processes of Starlette; the URL that they share."""
    return _start_sharing(crew, "starlette", "tools.speed.on_starlette", processes, how, *url)


def _start_sharing(crew: Crew, name: str, module: str, processes: int, *what: str) -> str:
    port = free_port()
    for _ in range(processes):
        crew.python(name, module, str(port), *what)
    return f"http://127.0.0.1:{port}"


def start_moleculer(crew: Crew, redis: str) -> str:
    """Start a service and a gateway that talk over the Redis of this URL, a unix socket's; the gateway's URL."""
    port = free_port()
    path = redis.removeprefix("unix://")
    settings = {"NODE_PATH": os.fspath(_NODE_MODULES), "NODE_ENV": "production"}

    program = os.fspath(Path(__file__).with_name("moleculer.cjs"))
    crew.start("service", ["node", program, "service", path], settings, ready=lambda: True)
    crew.start("gateway", ["node", program, "gateway", path, str(port)], settings, ready=_listening(port))
    return f"http://127.0.0.1:{port}"


def start_dramatiq(crew: Crew, redis: str, count: int, file: Path) -> Process:
    """Start a worker of one process over this Redis, which writes to a file when it has begun so many jobs; then what
    enqueues them."""
    settings = {"BENCH_REDIS": redis, "BENCH_COUNT": str(count), "BENCH_FILE": os.fspath(file)}
    crew.python("worker", "dramatiq", "tools.speed.on_dramatiq", "--processes", "1", settings=settings)
    return crew.python("enqueuer", "tools.speed.on_dramatiq", str(count), settings=settings)


def start_bullmq(crew: Crew, redis: str, count: int, file: Path) -> Process:
    """The same with BullMQ."""
    settings = {"NODE_PATH": os.fspath(_NODE_MODULES), "NODE_ENV": "production"}
    program, path = os.fspath(Path(__file__).with_name("bullmq.cjs")), redis.removeprefix("unix://")
    ready = file.with_suffix(".ready")
    words = [path, str(count), os.fspath(file), os.fspath(ready)]
    crew.start("worker", ["node", program, "worker", *words], settings, ready=ready.exists)
    return crew.start("enqueuer", ["node", program, "enqueue", *words[:2]], settings, ready=lambda: True)


def start_rabbitmq(crew: Crew) -> str:
    """Start RabbitMQ, and what it names its node at, which it would leave behind; its URL."""
    node, names, port = (free_port() for _ in range(3))
    directory = os.fspath(crew.directory)
    settings = {
        "HOME": directory,
        "ERL_EPMD_PORT": str(names),
        "RABBITMQ_NODENAME": "bench@localhost",
        "RABBITMQ_DIST_PORT": str(node),
        "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
        "RABBITMQ_NODE_PORT": str(port),
        "RABBITMQ_CONFIG_FILE": f"{directory}/rabbitmq",
        "RABBITMQ_ENABLED_PLUGINS_FILE": f"{directory}/plugins",
        "RABBITMQ_LOG_BASE": directory,
        "RABBITMQ_MNESIA_BASE": directory,
    }
    crew.start("epmd", ["epmd", "-address", "127.0.0.1"], settings, ready=_listening(names))
    crew.start("rabbitmq", [os.fspath(_RABBITMQ)], settings, ready=_listening(port))
    return f"amqp://guest:guest@127.0.0.1:{port}/"


def start_nats(crew: Crew) -> str:
    """Start NATS with JetStream; its URL."""
    port = free_port()
    words = ["--addr", "127.0.0.1", "--port", str(port), "--jetstream", "--store_dir", os.fspath(crew.directory)]
    crew.start("nats", ["nats-server", *words], ready=_listening(port))
    return f"nats://127.0.0.1:{port}"


def _listening(port: int) -> Callable[[], bool]:
    """Whether somebody listens there, to be asked again and again."""

    def listens() -> bool:
        with socket.socket() as client:
            return client.connect_ex(("127.0.0.1", port)) == 0

    return listens
