"""Ports for servers of our own."""

from __future__ import annotations

import secrets
import socket
from contextlib import suppress


def free_port(address: str = "127.0.0.1") -> int:
    """A TCP port there that nobody uses, and which the kernel gives to no connection before a server has it."""
    while True:
        port = 15_000 + secrets.randbelow(17_000)
        with socket.socket() as found, suppress(OSError):
            found.bind((address, port))
            return port
