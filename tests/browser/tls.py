"""A proxy that takes TLS from browsers and passes on what is in it."""

from __future__ import annotations

import asyncio
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any


@contextmanager
def behind_tls(port: int, tls_port: int, directory: Path) -> Iterator[None]:
    """Meanwhile what listens on `port` is also there over TLS, with a certificate that nobody vouches for."""
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost"
    files = ["-keyout", "key.pem", "-out", "certificate.pem"]
    subprocess.run([*command.split(), *files], cwd=directory, check=True, capture_output=True, timeout=60)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(directory / "certificate.pem", directory / "key.pem")
    listening = threading.Event()
    loop: asyncio.AbstractEventLoop
    serving: asyncio.Future[Any]

    async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.gather(_pass(reader, back), _pass(there, writer))

    async def serve() -> None:
        nonlocal loop, serving
        loop, serving = asyncio.get_running_loop(), asyncio.ensure_future(asyncio.Event().wait())
        async with await asyncio.start_server(pass_on, "127.0.0.1", tls_port, ssl=context):
            listening.set()
            with suppress(asyncio.CancelledError):
                await serving

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    try:
        assert listening.wait(60)
        yield
    finally:
        loop.call_soon_threadsafe(serving.cancel)
        thread.join(60)


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
    writer.close()
