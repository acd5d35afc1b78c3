"""A process that is kept running: started again when it ends, with its output passed on, and never left behind."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import time
from collections.abc import Callable, Mapping, Sequence

from gorgond.errors import ConfigError
from gorgond.service.life import log
from gorgond.service.plain import plain
from gorgond.service.systemd import FIRST_DESCRIPTOR

BACKOFF = (0.1, 5.0)  # seconds until a process is started again: the first, the longest
STEADY = 10.0  # seconds after which a process counts as having run well


class Child:
    """A process called `name`, "store@2". `say` gets each line it writes; `see` names where else it writes. It gets
    the listening `sockets` as systemd would pass them (sd_listen_fds(3)), under the name of its role.

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
    ) -> None:
        self.name = name
        self.pid = 0  # 0 while it does not run
        self.starts = 0
        self.state = "starting"
        self._command = ["setpriv", "--pdeathsig", "KILL", "--", *command]
        self._environ = environ
        self._sockets = [each.fileno() for each in sockets]
        if sockets:
            # Only the process itself knows the number that LISTEN_PID must have.
            moved = " ".join(f"{number}<&{each}" for number, each in enumerate(self._sockets, FIRST_DESCRIPTOR))
            passing = ["bash", "-c", f'LISTEN_PID=$$ exec "$@" {moved}', "bash"]
            self._command = [*passing, *self._command]
            names = ":".join([name.partition("@")[0]] * len(sockets))
            self._environ = {**environ, "LISTEN_FDS": str(len(sockets)), "LISTEN_FDNAMES": names}
        self._say = say
        self._see = f" (see {see})" if see else ""
        self._ends = ends
        self._stopping = False
        self._told = asyncio.Event()  # ends the pause before the next start

    async def run(self) -> None:
        """Keep it running until told to stop, or until it ends well if it is one that `ends`. Raises ConfigError when
        the process says that its configuration is wrong."""
        loop = asyncio.get_running_loop()
        reading, writing = os.pipe()
        os.set_blocking(reading, False)
        lines = _Lines(reading, self._say)
        loop.add_reader(reading, lines.read)
        try:
            await self._keep_running(writing)
        finally:
            loop.remove_reader(reading)
            lines.read()
            os.close(reading)
            os.close(writing)

    async def _keep_running(self, output: int) -> None:
        delay = BACKOFF[0]
        while not self._stopping:
            started = time.monotonic()
            code = await self._once(output)
            if self._stopping:
                self.state = "stopped"
            elif code == os.EX_CONFIG:
                raise ConfigError(f"{self.name} cannot run so; what it wrote says why")
            elif code == 0 and self._ends:
                self.state = "done"
                return
            else:
                self.state = "restarting"
                self._told.clear()
                if time.monotonic() - started > STEADY:
                    delay = BACKOFF[0]
                how = _ending(code) + self._see
                log.warning("%s ended with %s: starting it again in %.1f s", self.name, how, delay)
                try:
                    await asyncio.wait_for(self._told.wait(), delay)
                except TimeoutError:
                    delay = min(delay * 2, BACKOFF[1])

    async def _once(self, output: int) -> int:
        """Start it and wait for its end: the exit code."""
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
        code = await process.wait()
        self.pid = 0
        return code

    def start(self) -> None:
        """Keep it running again after a `stop`; if it waits to be started again, do it now."""
        self._stopping = False
        self._told.set()

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
