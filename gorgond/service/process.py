"""A service as a process of its own: its signals, its configuration read again, its exit code."""

from __future__ import annotations

import asyncio
import faulthandler
import logging
import sys
from collections.abc import Callable
from contextlib import suppress

from gorgond.config import Config
from gorgond.errors import ClockOff, ConfigError
from gorgond.redpill import GorgonError, LoopEnded
from gorgond.service import signals
from gorgond.service.heart import TICK
from gorgond.service.life import Service
from gorgond.service.loop import serve
from gorgond.service.memory import keep_memory
from gorgond.service.plain import plain_lines
from gorgond.service.stall import StallWatch
from gorgond.service.systemd import Notifier
from gorgond.service.watched import Beat

EX_CONFIG = 78
EX_TEMPFAIL = 75

log = logging.getLogger("gorgond.service")


def report_refusal(error: ConfigError) -> int:
    """Say on stderr and to systemd that the process cannot run so; its exit code."""
    print(plain_lines(f"gorgond: {error}"), file=sys.stderr)
    Notifier().status(f"wrong configuration: {' '.join(str(error).splitlines())}")
    return EX_CONFIG


def run_process(
    make: Callable[[], Service], read: Callable[[], Config], tell: Callable[[str], None] = lambda why: None
) -> int:
    """Run one service as this process, with its signals; `read` reads the configuration again. It tells systemd, and by
    `tell` the fabric, why it failed. Returns the exit code."""
    faulthandler.enable()  # SIGABRT, from the watchdog, prints every thread's stack
    keep_memory()
    try:
        serve(_run(make, read))
    except ConfigError as error:
        tell(f"wrong configuration: {error}")
        return report_refusal(error)
    except LoopEnded as ended:
        log.error("%s", ended, exc_info=ended.foreign)
        Notifier().status(f"failed: {ended}")
        tell(str(ended))
        return 1
    except GorgonError as error:
        log.error("%s", error)
        Notifier().status(f"failed: {error}")
        tell(str(error))
        return EX_TEMPFAIL if isinstance(error, ClockOff) else 1
    return 0


async def _run(make: Callable[[], Service], read: Callable[[], Config]) -> None:
    service = make()
    notifier = Notifier()
    loop = asyncio.get_running_loop()
    asked = asyncio.Event()

    async def reload_when_asked(beat: Beat) -> None:
        await service.ready.wait()
        while True:
            beat()
            with suppress(TimeoutError):
                await asyncio.wait_for(asked.wait(), TICK)
            if asked.is_set():
                asked.clear()
                _reload(service, read, notifier)

    signals.deliver(
        lambda: loop.call_soon_threadsafe(service.stop), lambda: loop.call_soon_threadsafe(asked.set)
    )  # fmt: skip
    stalls = StallWatch()
    stalls.start()
    service.loop(reload_when_asked, "reload")
    try:
        await service.run(notifier)
    except asyncio.CancelledError:  # signals do not do that: somebody's code, which runs here too, did
        raise LoopEnded(f"{service.name} was cancelled, and nobody had asked it to end") from None
    finally:
        stalls.stop()
        signals.over()


def _reload(service: Service, read: Callable[[], Config], notifier: Notifier) -> None:
    notifier.reloading()
    try:
        service.reload(read())
        log.info("%s has read its configuration again", service.name)
    except ConfigError as error:
        log.error("the new configuration is refused, the old one stays: %s", error)
    except (Exception, SystemExit):
        log.exception("the new configuration cannot be applied")
    notifier.ready()
