"""Debian's WebKit, in a window that nobody sees, driven over WebDriver, as much of it as a test of ours needs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Any, Self
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from tests.waiting import eventually
from tools.speed.ports import free_port

SETTLED = """
const done = arguments[0];
Promise.resolve(EXPRESSION).then(value => done({value: value ?? null}), error => done({error: String(error)}));
"""


class WebKitError(Exception):
    """It says no, perhaps since the page went away while it was asked something."""


class WebKit:
    """A window of its own browser, which ends with the `with`. `driver` is WebKitWebDriver, `browser` a MiniBrowser."""

    def __init__(self, driver: str, browser: str, directory: Path) -> None:
        self._browser = browser
        self._display = _Display(directory)
        port = free_port()
        environ = {"DISPLAY": self._display.name, "HOME": str(directory), "WEBKIT_DISABLE_DMABUF_RENDERER": "1"}
        with (directory / "webkit.log").open("wb") as log:
            self._driver = subprocess.Popen(
                [driver, f"--port={port}"], env=os.environ | environ, stdout=log, stderr=log, start_new_session=True
            )
        self._url = f"http://127.0.0.1:{port}"
        self._session = ""

    def __enter__(self) -> Self:
        eventually(self._listens)
        options = {"binary": self._browser, "args": ["--automation"]}
        wanted = {"acceptInsecureCerts": True, "webkitgtk:browserOptions": options}
        self._session = self._ask("/session", capabilities={"alwaysMatch": wanted})["sessionId"]
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self._driver.pid, signal.SIGKILL)
        self._driver.wait(timeout=60)
        self._display.end()

    def open(self, url: str) -> None:
        """Go there and wait for the page."""
        self._ask(f"/session/{self._session}/url", url=url)

    def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression in the page, as JSON knows it; a promise is awaited. Raises
        WebKitError."""
        script = SETTLED.replace("EXPRESSION", expression)
        said = self._ask(f"/session/{self._session}/execute/async", script=script, args=[])
        if "value" not in said:
            raise WebKitError(said["error"])
        return said["value"]

    def _listens(self) -> bool:
        with suppress(URLError), urlopen(f"{self._url}/status", timeout=60):
            return True
        return False

    def _ask(self, path: str, **body: Any) -> Any:
        request = Request(self._url + path, json.dumps(body).encode(), {"Content-Type": "application/json"})
        try:
            with urlopen(request, timeout=60) as answer:
                return json.load(answer)["value"]
        except HTTPError as error:
            with error:
                raise WebKitError(error.read().decode()) from None


class _Display:
    """An X server without a screen; `name` is its display."""

    def __init__(self, directory: Path) -> None:
        file = directory / "display"
        with file.open("wb") as output:
            self._process = subprocess.Popen(
                ["Xvfb", "-displayfd", "1", "-nolisten", "tcp"], stdout=output, stderr=subprocess.DEVNULL
            )
        self.name = f":{eventually(lambda: file.read_text().strip(), timeout=60)}"

    def end(self) -> None:
        self._process.kill()
        self._process.wait(timeout=60)
