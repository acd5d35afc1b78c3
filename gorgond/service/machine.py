"""What this machine is called, and which it is: two may be called the same, as one that was cloned and the first.

    name      the host's, as names of instances have it
    id        of this machine alone, as long as it runs: made of the id that it was installed with, that of its boot,
              and the namespace in which its processes are. So it tells apart machines that were cloned with their id,
              and containers of one host, which share the boot and may have no id

Whoever has them learns nothing of what they are made of.
"""

from __future__ import annotations

import hashlib
import os
import socket
from contextlib import suppress
from pathlib import Path

from gorgond.redpill import keys

BOOT = "GORGOND_BOOT"
"""The variable in which a unit says which boot this is: it shows its processes no file that does."""

_INSTALLED = Path("/etc/machine-id")
_BOOTED = Path("/proc/sys/kernel/random/boot_id")
_PROCESSES = Path("/proc/self/ns/pid")


def host_name() -> str:
    """This host's name, as a word of others."""
    return keys.word(socket.gethostname())


def machine_id() -> str:
    """Which machine this is, in 8 hex digits."""
    booted = os.environ.get(BOOT) or _said(_BOOTED)
    parts = (_said(_INSTALLED), booted.replace("-", ""), str(_PROCESSES.stat().st_ino))
    return hashlib.sha256(" ".join(("gorgond", *parts)).encode()).hexdigest()[:8]


def _said(file: Path) -> str:
    """What a file says, nothing where there is none."""
    with suppress(OSError):
        return file.read_text(errors="replace").strip()
    return ""
