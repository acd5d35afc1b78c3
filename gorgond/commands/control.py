"""The control socket of `gorgond up`, in its directory: a user who may open it may list, stop and start the processes.

One request a connection, a line of JSON, answered by a line of JSON:

    {"do": "list"}                        {"url": "http://localhost:3000", "processes": [{"name": "store@2",
                                          "role": "store", "instance": "2", "pid": 4711, "state": "up", "restarts": 0}]}
    {"do": "stop", "name": "store@2"}     {}, when it has ended; it stays so until it is started
    {"do": "start", "name": "store@2"}    {}; one that waits to be started again is started at once
    {"do": "restart", "name": "store@2"}  {}, when the new process is ready
    {"do": "add", "role": "store"}        {"name": "store@3"}, when it is ready
    {"do": "remove", "name": "store@3"}   {}, when it has ended

A request that cannot be met is answered {"error": "why"}. The brokers are the processes broker and calls; pid 0 says
that it does not run.
"""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from gorgond.errors import GorgonError

PATIENCE = 120.0  # seconds to wait for an answer: longer than an instance takes to drain, and another to be ready

Action = Callable[..., Awaitable[Mapping[str, Any]]]


class Control:
    """The server: each of `actions` is called with the fields of a request as keyword arguments, and may raise
    GorgonError."""

    def __init__(self, path: Path, actions: Mapping[str, Action]) -> None:
        self._path = path
        self._actions = actions

    async def run(self) -> None:
        """Serve until cancelled."""
        self._path.unlink(missing_ok=True)  # the directory is ours alone, so a socket there is a dead one's
        server = await asyncio.start_unix_server(self._serve, self._path)
        self._path.chmod(0o600)
        try:
            await server.serve_forever()
        finally:
            self._path.unlink(missing_ok=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            answer = await self._answer(await reader.readline())
            writer.write(json.dumps(answer).encode() + b"\n")
            await writer.drain()
        except (OSError, ValueError):
            pass  # gone, or a line without end: there is nobody to tell
        finally:
            writer.close()

    async def _answer(self, line: bytes) -> Mapping[str, Any]:
        try:
            request = json.loads(line)
            action = self._actions[request.pop("do")]
            return await action(**request)
        except GorgonError as error:
            return {"error": str(error)}
        except (ValueError, KeyError, AttributeError, TypeError):
            return {"error": f"this is no request: {line.decode(errors='replace').strip()[:200]}"}


def ask(path: Path, do: str, **fields: str) -> dict[str, Any]:
    """The answer of the `gorgond up` with this control socket. Raises GorgonError when it refuses, or is not there."""
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(PATIENCE)
            connection.connect(str(path))
            with connection.makefile("rwb") as stream:
                stream.write(json.dumps({"do": do, **fields}).encode() + b"\n")
                stream.flush()
                line = stream.readline()
    except OSError as error:
        raise GorgonError(f"no gorgond up answers at {path}: {error.strerror or error}") from None
    with suppress(ValueError):
        answer: dict[str, Any] = json.loads(line)
        if "error" not in answer:
            return answer
        raise GorgonError(answer["error"])
    raise GorgonError(f"gorgond up at {path} ended while it was asked to {do}")
