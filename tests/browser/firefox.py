"""Debian's Firefox, headless, driven over WebDriver BiDi, as much of it as a test of ours needs.

playwright drives only a Firefox of its own build, which no package of Debian, PyPI or npm has.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import re
import signal
import subprocess
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from tornado.websocket import WebSocketClientConnection, websocket_connect

from tests.waiting import eventually

LISTENS = re.compile(r"WebDriver BiDi listening on (ws://\S+)")


class FirefoxError(Exception):
    """It says no, perhaps since the page went away while it was asked something."""


class Firefox:
    """A window of its own Firefox with a new profile, which ends with the `with`."""

    def __init__(self, binary: str, directory: Path) -> None:
        self._log = directory / "firefox.log"
        profile = directory / "profile"
        profile.mkdir()
        command = [binary, "--headless", "--no-remote", "--profile", str(profile), "--remote-debugging-port", "0"]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                command,
                stdout=log,
                stderr=log,
                env=os.environ | {"HOME": str(directory)},
                start_new_session=True,
            )
        self._numbers = itertools.count()
        self._thread = ThreadPoolExecutor(1)  # its event loop: this thread may have one that is another driver's
        self._loop = asyncio.new_event_loop()
        self._socket: WebSocketClientConnection
        self._window = ""

    def __enter__(self) -> Self:
        found = eventually(lambda: LISTENS.search(self._log.read_text(errors="replace")))
        assert found is not None
        self._socket = self._run(_connect(f"{found[1]}/session"))
        self.ask("session.new", capabilities={"alwaysMatch": {"acceptInsecureCerts": True}})
        self._window = self.ask("browsingContext.getTree")["contexts"][0]["context"]
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(timeout=60)
        self._socket.close()
        self._thread.submit(self._loop.close).result()
        self._thread.shutdown()

    def open(self, url: str) -> None:
        """Go there and wait for the page."""
        self.ask("browsingContext.navigate", context=self._window, url=url, wait="complete")

    def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression in the page, as JSON knows it; a promise is awaited."""
        wrapped = f"Promise.resolve({expression}).then(value => JSON.stringify(value ?? null))"
        target = {"context": self._window}
        said = self.ask("script.evaluate", expression=wrapped, target=target, awaitPromise=True)
        assert said["type"] == "success", said
        return json.loads(said["result"]["value"])

    def ask(self, method: str, **params: Any) -> Any:
        """The result of a command. Raises FirefoxError."""
        return self._run(self._ask(next(self._numbers), method, params))

    async def _ask(self, number: int, method: str, params: dict[str, Any]) -> Any:
        await self._socket.write_message(json.dumps({"id": number, "method": method, "params": params}))
        while message := await self._socket.read_message():
            said = json.loads(message)
            if said.get("id") == number and said["type"] == "success":
                return said["result"]
            if said.get("id") == number:
                raise FirefoxError(f"{method}: {said['error']}: {said['message']}")
        raise FirefoxError("it has ended")

    def _run(self, work: Any) -> Any:
        return self._thread.submit(self._loop.run_until_complete, asyncio.wait_for(work, 60)).result()


async def _connect(url: str) -> WebSocketClientConnection:
    return await websocket_connect(url)
