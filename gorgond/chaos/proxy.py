"""A bad network between roles and a broker: takes the place of its unix socket and passes on what goes through, late,
broken off or not at all."""

from __future__ import annotations

import asyncio
import os
import threading
from contextlib import suppress
from pathlib import Path

CHUNK = 1 << 16


class Proxy:
    """Stands at `path`, and behind it at `real` the broker's own socket. Works in a thread of its own.

    `delay` is what each chunk waits, in seconds; while `frozen` nothing passes and nothing is closed, as when the other
    side is gone without a word.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.real = path.with_name(path.name + ".real")
        self.delay = 0.0
        self._loop = asyncio.new_event_loop()
        self._thawed = asyncio.Event()
        self._thawed.set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)

    def start(self) -> None:
        """Take the socket's place."""
        os.replace(self.path, self.real)  # noqa: PTH105 - works for sockets as for files
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(10)

    def stop(self) -> None:
        """Give it back, and break off what goes through."""
        self.freeze(False)
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        os.replace(self.real, self.path)  # noqa: PTH105

    def freeze(self, frozen: bool) -> None:
        """Nothing passes any more; or again."""
        self._loop.call_soon_threadsafe(self._thawed.clear if frozen else self._thawed.set)

    def reset(self) -> None:
        """Break off every connection."""
        self._loop.call_soon_threadsafe(self._abort)

    def _abort(self) -> None:
        for writer in tuple(self._writers):
            writer.transport.abort()

    async def _listen(self) -> None:
        self._server = await asyncio.start_unix_server(self._serve, self.path)
        about = self.real.stat()
        os.chown(self.path, about.st_uid, about.st_gid)
        self.path.chmod(about.st_mode & 0o777)

    async def _end(self) -> None:
        self._server.close()
        self._abort()
        for task in tuple(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        with suppress(OSError, asyncio.CancelledError):
            await self._thawed.wait()
            real_reader, real_writer = await asyncio.open_unix_connection(self.real)
            self._writers |= {writer, real_writer}
            try:
                async with asyncio.TaskGroup() as both:
                    both.create_task(self._pass_on(reader, real_writer))
                    both.create_task(self._pass_on(real_reader, writer))
            finally:
                self._writers -= {writer, real_writer}
                real_writer.close()
                writer.close()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(CHUNK):
                await self._thawed.wait()
                if self.delay:
                    await asyncio.sleep(self.delay)
                writer.write(data)
                await writer.drain()
        writer.close()
