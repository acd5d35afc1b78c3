"""A network of its own, with a switch into which hosts are plugged: what happens in it reaches nothing else.

It is this thread's network inside the `with`, and that of each thread and process that is started there. The kernel
removes it when the last of them has ended.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
from typing import Self

from gorgond.chaos.errors import Aborted, Refused

SWITCH = "switch"  # the bridge, and our own interface to it
OURS = "10.0.0.254"  # the address of who is no host: clients, the balancer
ANSWER = 60.0  # seconds that ip(8) may take
NEEDED = ("ip", "unshare", "nsenter", "setpriv")
_NEW_NETWORK = 0x40000000  # CLONE_NEWNET
_LIBC = ctypes.CDLL(None, use_errno=True)


def address_of(number: int) -> str:
    """The address of a host: they are numbered from 1."""
    return f"10.0.0.{number}"


class Network:
    """Raises Refused where a process may not have a network of its own."""

    def __enter__(self) -> Self:
        if missing := [name for name in NEEDED if shutil.which(name) is None]:
            raise Refused(f"{' '.join(missing)} is not installed: hosts of their own need it")
        self._before = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        if _LIBC.unshare(_NEW_NETWORK) != 0:
            os.close(self._before)
            raise Refused("hosts with a network of their own need root")
        ip("link set lo up")
        ip(f"link add {SWITCH} type bridge")
        ip(f"addr add {OURS}/24 dev {SWITCH}")
        ip(f"link set {SWITCH} up")
        return self

    def __exit__(self, *_: object) -> None:
        _LIBC.setns(self._before, _NEW_NETWORK)
        os.close(self._before)


def ip(arguments: str, of: int = 0) -> None:
    """Run ip(8) in the network of this thread, or of the process `of`. Raises Aborted with what it says."""
    there = ["nsenter", f"--net=/proc/{of}/ns/net"] if of else []
    command = [*there, "ip", *arguments.split()]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=ANSWER)  # noqa: S603
    except subprocess.TimeoutExpired:
        raise Aborted(f"ip {arguments}: it has not ended for {ANSWER:g} s") from None
    if done.returncode != 0:
        raise Aborted(f"ip {arguments}: {done.stderr.strip()}")
