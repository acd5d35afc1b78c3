"""A server outside that is asked over TLS, and does what a test tells it: answers, hangs, lies, never ends.

`Receiver.answer` gives the script of each request: what is written, with pauses.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import subprocess
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tools.speed.ports import free_port

Script = Callable[[asyncio.StreamWriter], Awaitable[None]]


@dataclass(frozen=True)
class Received:
    """A request; names of headers in lower case. `at` is when it was there, as time.monotonic() counts."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    at: float

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def says(text: bytes | str) -> Script:
    """Write this, and close."""

    async def script(writer: asyncio.StreamWriter) -> None:
        writer.write(text if isinstance(text, bytes) else text.encode())
        await writer.drain()

    return script


def status(code: int, *headers: str) -> Script:
    """An answer of this status."""
    return says("\r\n".join([f"HTTP/1.1 {code} Said", "Content-Length: 0", *headers, "", ""]))


def drips(start: str, seconds: float = 3600.0) -> Script:
    """Write this at once, then a byte now and then."""

    async def script(writer: asyncio.StreamWriter) -> None:
        writer.write(start.encode())
        end = time.monotonic() + seconds
        while time.monotonic() < end and not writer.is_closing():
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.05)

    return script


def floods(start: str, size: int = 1 << 30) -> Script:
    """Write this, and then a gigabyte."""

    async def script(writer: asyncio.StreamWriter) -> None:
        writer.write(start.encode())
        part = b"x" * 65536
        for _ in range(size // len(part)):
            if writer.is_closing():
                return
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(0)  # so that it is heard when the other side hangs up

    return script


async def hangs(_: asyncio.StreamWriter) -> None:
    """Say nothing, and stay."""
    await asyncio.sleep(3600)


OK = status(204)


class Receiver:
    """Takes requests at https://localhost:PORT, with a certificate that `trusted` vouches for."""

    def __init__(self, directory: Path) -> None:
        self.trusted = directory / "trusted.pem"
        command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=receiver"
        names = "subjectAltName=DNS:localhost,DNS:hook.example,IP:127.0.0.1"
        files = ["-keyout", str(directory / "key.pem"), "-out", str(self.trusted), "-addext", names]
        subprocess.run([*command.split(), *files], check=True, capture_output=True, timeout=60)
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._tls.load_cert_chain(self.trusted, directory / "key.pem")
        self.port = free_port()
        self.received: list[Received] = []
        self.answer: Callable[[Received], Script] = lambda _: OK
        self.connections = 0

    def url(self, path: str = "/hook", host: str = "localhost") -> str:
        return f"https://{host}:{self.port}{path}"

    def of(self, path: str) -> list[Received]:
        """What came there."""
        return [each for each in self.received if each.path == path]

    @contextmanager
    def running(self) -> Iterator[Receiver]:
        listening, loop = threading.Event(), asyncio.new_event_loop()

        async def serve() -> None:
            async with await asyncio.start_server(self._take, "127.0.0.1", self.port, ssl=self._tls):
                listening.set()
                await ended.wait()
            for task in asyncio.all_tasks() - {asyncio.current_task()}:
                task.cancel()

        ended = asyncio.Event()
        thread = threading.Thread(target=lambda: loop.run_until_complete(serve()), name="receiver")
        thread.start()
        try:
            assert listening.wait(60)
            yield self
        finally:
            loop.call_soon_threadsafe(ended.set)
            thread.join(60)
            loop.close()

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        with suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            method, path, _ = head[0].split(" ")
            fields = (line.partition(": ") for line in head[1:] if line)
            headers = {name.lower(): text for name, _, text in fields}
            body = await reader.readexactly(int(headers.get("content-length", "0")))
            received = Received(method, path, headers, body, time.monotonic())
            self.received.append(received)
            await self.answer(received)(writer)
        with suppress(OSError):
            writer.close()
