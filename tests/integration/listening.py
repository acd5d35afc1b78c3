"""Clients of Socket.IO: npm's socket.io-client in a process of its own, and one that does what no library would."""

from __future__ import annotations

import base64
import json
import os
import shutil
import socket
import struct
import subprocess
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from tests.conftest import left_out
from tests.waiting import eventually

MODULE = Path.home() / ".cache/gorgond/node/node_modules/socket.io-client"


class Listener:
    """The clients of one process, each with a name. `told` has all that they were told, in order."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.told: list[dict[str, Any]] = []
        self._thread = threading.Thread(target=self._read, name="listener")
        self._thread.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.told.append(json.loads(line))

    def of(self, event: str, name: str = "nora") -> list[Any]:
        """What came with this event to a client."""
        return [each["data"] for each in list(self.told) if (each["name"], each["event"]) == (name, event)]

    def wait(self, event: str, count: int = 1, name: str = "nora") -> list[Any]:
        """The same, when there are so many."""
        eventually(lambda: len(self.of(event, name)) >= count)
        return self.of(event, name)

    def numbers(self, name: str = "nora") -> list[int]:
        """Of the notifications that came."""
        return [each["number"] for each in self.of("notification", name)]

    def ask(self, emit: str, data: Any, name: str = "nora") -> Any:
        """The acknowledgement of what a client says."""
        before = len(self.of("ack", name))
        self._say({"name": name, "emit": emit, "data": data})
        return self.wait("ack", before + 1, name)[before]

    def close(self, name: str = "nora") -> None:
        """A client goes."""
        self._say({"name": name, "close": True})

    def _say(self, what: dict[str, Any]) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(what) + "\n")
        self._process.stdin.flush()

    def end(self) -> None:
        self._process.kill()
        self._process.wait(timeout=60)
        self._thread.join()
        for file in (self._process.stdin, self._process.stdout):
            assert file is not None
            file.close()


def node() -> str:
    """The program; the test is left out where that or the module is missing."""
    found = shutil.which("node")
    if found is None or not MODULE.exists():
        left_out("socket.io-client is not installed; tools/test does it")
    return found


def client(name: str = "nora", *, since: int | None = None, **auth: Any) -> dict[str, Any]:
    """One client, with what it says of itself."""
    return {"name": name, "auth": auth | ({} if since is None else {"since": since})}


@contextmanager
def listening(url: str, clients: Sequence[dict[str, Any]]) -> Iterator[Listener]:
    """These clients connect to a port."""
    command = [node(), str(Path(__file__).with_name("node") / "listener.mjs"), str(MODULE), url, json.dumps(clients)]
    environ = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    listener = Listener(
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environ)
    )
    try:
        yield listener
    finally:
        listener.end()


class Rough:
    """A websocket by hand, for what no client does."""

    def __init__(self, port: int, origin: str = "", query: str = "EIO=4&transport=websocket", buffer: int = 0) -> None:
        self.socket = socket.socket()
        self.socket.settimeout(60)
        if buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        self.socket.connect(("127.0.0.1", port))
        key = base64.b64encode(os.urandom(16)).decode()
        headers = (
            f"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n"
        )
        if origin:
            headers += f"Origin: {origin}\r\n"
        asked = f"GET /socket.io/?{query} HTTP/1.1\r\nHost: localhost:{port}\r\n{headers}\r\n"
        self.socket.sendall(asked.encode())
        self._file = self.socket.makefile("rb")
        self.status = int(self._file.readline().split()[1])
        while self._file.readline().strip():
            pass

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self.socket.close()

    def send(self, data: bytes, opcode: int = 1) -> None:
        """A packet, in a masked frame."""
        size = len(data)
        if size < 126:
            length = struct.pack("!B", 0x80 | size)
        else:
            length = struct.pack("!BH", 0xFE, size) if size <= 0xFFFF else struct.pack("!BQ", 0xFF, size)
        self.socket.sendall(bytes([0x80 | opcode]) + length + bytes(4) + data)

    def enter(self, token: str, since: int = 0) -> None:
        """Ask to be let in, and read until that was done."""
        self.send(b"40" + json.dumps({"token": token, "since": since}).encode())
        while not self.read().startswith(b"40"):
            pass

    def read(self) -> bytes:
        """The next packet. Raises EOFError when there is none any more."""
        head = self._take(2)
        size = head[1]
        if size == 126:
            (size,) = struct.unpack("!H", self._take(2))
        elif size == 127:
            (size,) = struct.unpack("!Q", self._take(8))
        return self._take(size)

    def _take(self, size: int) -> bytes:
        try:
            data = self._file.read(size)
        except ConnectionError:
            data = b""
        if len(data) < size:
            raise EOFError
        return data

    def rest(self) -> int:
        """The bytes that come until it is cut."""
        total = 0
        try:
            while data := self._file.read1(1 << 16):
                total += len(data)
        except ConnectionError:
            pass
        return total
