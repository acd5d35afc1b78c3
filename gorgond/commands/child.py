"""A process that is kept running: started again when it ends or hangs, its output passed on, and never left behind.

A service says when it is ready and then, each second, that its loops turn (notices.py). One that is not ready in time,
or says no more that it lives, is ended: with SIGABRT, at which it writes where it hangs, then with SIGKILL.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import time
from collections.abc import Callable, Mapping, Sequence

from gorgond.commands.notices import Notices
from gorgond.errors import ConfigError, GorgonError
from gorgond.service.life import log
from gorgond.service.plain import plain
from gorgond.service.systemd import FIRST_DESCRIPTOR
from gorgond.service.tied import TIED

BACKOFF = (0.1, 5.0)  # seconds until a process is started again: the first, the longest
STEADY = 10.0  # seconds after which a process counts as having run well
BEGIN = 60.0  # seconds that a service may take to become ready; those after this line are as in the units
ABORT = 5.0  # seconds that a process which hangs has to write where it does
TICK = 1.0  # seconds between two looks whether it lives
LATE = 1.0  # seconds; a look that comes so much too late says that we did not run, not that others hang


class Child:
    """A process called `name`, "store@2". `say` gets each line it writes; `see` names where else it writes. It gets
    the listening `sockets` as systemd would pass them (sd_listen_fds(3)), under the name of its role. A service says
    how it is to `notices`, and at least every `watchdog` seconds that it lives; any other process counts as ready when
    it runs.

    The kernel kills it when this process dies, however that happens. It has a session of its own: a Ctrl-C at the
    terminal is for us, who know the order in which to end.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        environ: Mapping[str, str],
        say: Callable[[str], None],
        see: str = "",
        ends: bool = False,
        sockets: Sequence[socket.socket] = (),
        notices: Notices | None = None,
        watchdog: float = 0.0,
    ) -> None:
        self.name = name
        self.pid = 0  # 0 while it does not run
        self.starts = 0
        self.state = "starting"
        self._command = [*TIED, *command]
        self._environ = dict(environ)
        self._notices, self._watchdog = notices, watchdog
        if notices is not None:
            told = {"NOTIFY_SOCKET": str(notices.path), "WATCHDOG_USEC": str(int(watchdog * 1e6))}
            self._environ = {**environ, **told}
            self._environ.pop("WATCHDOG_PID", None)  # where systemd watches over us
        self._sockets = [each.fileno() for each in sockets]
        if sockets:
            # Only the process itself knows the number that LISTEN_PID must have.
            moved = " ".join(f"{number}<&{each}" for number, each in enumerate(self._sockets, FIRST_DESCRIPTOR))
            passing = ["bash", "-c", f'LISTEN_PID=$$ exec "$@" {moved}', "bash"]
            self._command = [*passing, *self._command]
            names = ":".join([name.partition("@")[0]] * len(sockets))
            self._environ = {**self._environ, "LISTEN_FDS": str(len(sockets)), "LISTEN_FDNAMES": names}
        self._say = say
        self._see = f" (see {see})" if see else ""
        self._ends = ends
        self._stopping = False
        self._told = asyncio.Event()  # ends the pause before the next start
        self._ready = False
        self._status = ""  # its last word on itself
        self._alive = 0.0  # when it said so last, or was begun
        self._decided = asyncio.Event()  # the process that was started last is ready, or has ended
        self._failure = ""  # how it ended, if it was not ready before

    async def run(self) -> None:
        """Keep it running until told to stop, or until it ends well if it is one that `ends`. Raises ConfigError when
        the process says that its configuration is wrong; it stays ended until it is started again."""
        loop = asyncio.get_running_loop()
        reading, writing = os.pipe()
        os.set_blocking(reading, False)
        lines = _Lines(reading, self._say)
        loop.add_reader(reading, lines.read)
        try:
            await self._keep_running(writing)
        finally:
            self._decided.set()
            loop.remove_reader(reading)
            lines.read()
            os.close(reading)
            os.close(writing)

    async def _keep_running(self, output: int) -> None:
        delay = BACKOFF[0]
        while not self._stopping:
            started = time.monotonic()
            code = await self._run_once(output)
            if self._stopping:
                self.state = "stopped"
            elif code == os.EX_CONFIG:
                self.state = "failed"
                raise ConfigError(f"{self.name} ended with {self._ending(code)}")
            elif code == 0 and self._ends:
                self.state = "done"
                return
            else:
                self.state = "restarting"
                self._told.clear()
                if time.monotonic() - started > STEADY:
                    delay = BACKOFF[0]
                log.warning(
                    "%s ended with %s: starting it again in %.1f s", self.name, _ending(code) + self._see, delay
                )
                try:
                    await asyncio.wait_for(self._told.wait(), delay)
                except TimeoutError:
                    delay = min(delay * 2, BACKOFF[1])

    async def _run_once(self, output: int) -> int:
        """Start it and wait for its end: the exit code."""
        self._ready, self._status, self._failure, self.state = False, "", "", "starting"
        self._decided.clear()
        process = await asyncio.create_subprocess_exec(
            *self._command,
            env=self._environ,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            pass_fds=self._sockets,
        )
        self.pid = process.pid
        self.starts += 1
        if self._stopping:  # it was told so while the process was being made
            self._signal(signal.SIGTERM)
        if self._notices is None:
            self._is_ready()
            code = await process.wait()
        else:
            self._notices.follow(self.pid, self._hear)
            watching = asyncio.get_running_loop().create_task(self._watch())
            code = await process.wait()
            watching.cancel()
            self._notices.forget(self.pid)
        self.pid = 0
        if not self._ready:
            self._failure = f"{self.name} was not ready before it ended with {self._ending(code)}"
            self._decided.set()
        return code

    async def _watch(self) -> None:
        """End the process when it hangs."""
        self._alive = time.monotonic()
        while not self._stopping:
            due = time.monotonic() + TICK
            await asyncio.sleep(TICK)
            now, patience = time.monotonic(), self._watchdog if self._ready else BEGIN
            if now - due > LATE:
                self._alive = now  # we did not run, and hear only now what was said meanwhile
            elif now - self._alive > patience:
                log.error("%s has not said for %g s that it lives: it is ended", self.name, patience)
                self._signal(signal.SIGABRT)
                await asyncio.sleep(ABORT)
                self._signal(signal.SIGKILL)

    def _hear(self, words: Mapping[str, str]) -> None:
        """It has said something of itself. One that says that it lives is ready, whatever became of that word."""
        self._status = words.get("STATUS", self._status)
        if {"READY", "WATCHDOG"} & words.keys():
            self._alive = time.monotonic()
            self._is_ready()

    def _is_ready(self) -> None:
        self._ready, self.state = True, "up"
        self._decided.set()

    def _ending(self, code: int) -> str:
        """How it ended, with its last word where that was why."""
        return _ending(code) + (f": {self._status}" if self._status and not self._ready else "")

    async def wait_until_ready(self) -> None:
        """Wait until the process that was started is ready. Raises GorgonError when it ended before."""
        await self._decided.wait()
        if self._failure:
            raise GorgonError(self._failure)

    def start(self) -> None:
        """Keep it running again after a `stop`; if it waits to be started again, do it now."""
        if not self.pid:
            self._decided.clear()
        self._stopping = False
        self._told.set()

    def reload(self) -> None:
        """Have it read its configuration and its applications anew, if it runs."""
        self._signal(signal.SIGHUP)

    def stop(self) -> None:
        """Ask it to end, and do not start it again."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it at once, and do not start it again."""
        self._end(signal.SIGKILL)

    def _end(self, number: signal.Signals) -> None:
        self._stopping = True
        self._told.set()
        self._signal(number)

    def _signal(self, number: signal.Signals) -> None:
        if self.pid:
            os.kill(self.pid, number)


class _Lines:
    """Cuts what comes out of a pipe into lines."""

    def __init__(self, pipe: int, say: Callable[[str], None]) -> None:
        self._pipe = pipe
        self._say = say
        self._rest = b""

    def read(self) -> None:
        """Pass on the lines that are there."""
        try:
            while data := os.read(self._pipe, 1 << 16):
                *lines, self._rest = (self._rest + data).split(b"\n")
                for line in lines:
                    self._say(plain(line.decode(errors="replace")))
        except BlockingIOError:
            pass


def _ending(code: int) -> str:
    return signal.Signals(-code).name if code < 0 else f"exit code {code}"
