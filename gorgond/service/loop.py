"""Which event loop runs: uvloop where it is installed, asyncio's own where not."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

new_event_loop: Callable[[], asyncio.AbstractEventLoop]
try:
    from uvloop import new_event_loop
except ImportError:
    from asyncio import new_event_loop


def run(work: Coroutine[Any, Any, None]) -> None:
    """Run `work` to its end in a new event loop of this thread."""
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(work)
