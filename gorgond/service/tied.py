"""Processes that end with the one that started them, however that ends."""

from __future__ import annotations

TIED = ("setpriv", "--pdeathsig", "KILL", "--")
"""Before a command: the kernel kills its process when its parent dies."""
