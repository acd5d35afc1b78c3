"""A bad cable between a host and the switch: `python -m gorgond.chaos.hosts.cable NEAR FAR DELAY LOSS [DIRECTION]`.

Each frame comes DELAY seconds late, each way, and the share LOSS of them not at all; with the DIRECTION `deaf` none
comes to the host, with `mute` none from it. It is a program because not every kernel has netem.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import random
import selectors
import struct
import sys
from contextlib import suppress
from functools import partial

FRAME = 1 << 16  # bytes, more than any has
DIRECTIONS = ("deaf", "mute")
_TUNSETIFF, _TAP, _BARE = 0x400454CA, 0x0002, 0x1000


def main(near: str, far: str, delay: str, loss: str, direction: str = "") -> None:
    """Pass on between two network interfaces that are made here: `near` the host and on the `far` side, the switch."""
    # Other selectors wait for whole milliseconds.
    with asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(selectors.SelectSelector())) as runner:
        runner.run(_pass_on(_tap(near), _tap(far), float(delay), float(loss), direction))


async def _pass_on(near: int, far: int, delay: float, loss: float, direction: str) -> None:
    loop = asyncio.get_running_loop()

    def read(source: int, target: int, lost: float) -> None:
        frame = os.read(source, FRAME)
        if random.random() >= lost:
            loop.call_later(delay, _write, target, frame)

    loop.add_reader(near, partial(read, near, far, 1.0 if direction == "mute" else loss))
    loop.add_reader(far, partial(read, far, near, 1.0 if direction == "deaf" else loss))
    print("ready", flush=True)
    await loop.create_future()


def _write(target: int, frame: bytes) -> None:
    with suppress(OSError):  # while that side is not up yet the frame is lost, as on any cable
        os.write(target, frame)


def _tap(name: str) -> int:
    """A network interface whose frames are read and written here, gone with this process."""
    found = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(found, _TUNSETIFF, struct.pack("16sH22x", name.encode(), _TAP | _BARE))
    return found


if __name__ == "__main__":
    main(*sys.argv[1:])
