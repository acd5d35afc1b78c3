"""A test that hangs fails and says where it hung, and a run that is told to end says in which tests it was.

A phase of a test, its fixtures, itself, or their finalisers, may take LIMIT seconds. Then all threads and tasks are
shown, and it is interrupted, again and again while it hangs on. A phase that cannot be interrupted is ended with its
process: xdist tells which test that was, and goes on with another process. What it leaves behind ends with the stage
(tests/bounded.py).

SIGTERM ends a run in good order: each process shows what it is at, and its servers go.
"""

from __future__ import annotations

import asyncio
import faulthandler
import os
import signal
import sys
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from typing import TextIO

import psutil
import pytest

from tests.waiting import HANGS

ASYNC_TEST_SECONDS = float(os.environ.get("ASYNC_TEST_SECONDS", HANGS))  # proofs take longer
LIMIT = 1.5 * ASYNC_TEST_SECONDS  # seconds a phase may take: what waits for less long has ended by itself before
AGAIN = LIMIT / 10  # seconds between two interruptions of one that hangs on
LAST = 2 * LIMIT  # seconds after which its process is ended


class Watch:
    """The plugin. What it tells goes to standard error as that was when the run began: pytest keeps a test's own."""

    def __init__(self, config: pytest.Config) -> None:
        self._tell: TextIO = os.fdopen(os.dup(sys.__stderr__.fileno() if sys.__stderr__ else 2), "w", buffering=1)
        signal.signal(signal.SIGALRM, self._interrupt)
        # A script's background ignores SIGINT, and so would all that is started here: some is to be interrupted.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        if config.getoption("dist", "no") != "no":
            signal.signal(signal.SIGTERM, _pass_on)
        else:
            signal.signal(signal.SIGTERM, self._end)
            faulthandler.register(signal.SIGTERM, self._tell, all_threads=True, chain=True)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_setup(self) -> Generator[None]:
        with self._limited():
            return (yield)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self) -> Generator[None]:
        with self._limited():
            return (yield)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_teardown(self) -> Generator[None]:
        with self._limited():
            return (yield)

    @contextmanager
    def _limited(self) -> Iterator[None]:
        faulthandler.dump_traceback_later(LAST, file=self._tell, exit=True)
        signal.setitimer(signal.ITIMER_REAL, LIMIT, AGAIN)
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            faulthandler.cancel_dump_traceback_later()

    def _interrupt(self, *_: object) -> None:
        self._say(f"has taken {LIMIT:g} s")
        faulthandler.dump_traceback(self._tell, all_threads=True)
        raise pytest.fail.Exception(f"it hangs: it has taken {LIMIT:g} s")

    def _end(self, *_: object) -> None:
        signal.signal(signal.SIGTERM, lambda *_: None)  # once is enough, or the finalisers would be cut
        self._say("is told to end")
        raise KeyboardInterrupt

    def _say(self, what: str) -> None:
        """Say it of the test that runs, and where its tasks are; where its threads are says faulthandler."""
        print(f"\n{os.environ.get('PYTEST_CURRENT_TEST', 'pytest')} {what}", file=self._tell)
        with suppress(RuntimeError):  # no event loop runs
            for task in asyncio.all_tasks():
                task.print_stack(file=self._tell)


def _pass_on(*_: object) -> None:
    """Tell the processes that run the tests: when they have ended we do."""
    for worker in psutil.Process().children():
        with suppress(psutil.NoSuchProcess):
            worker.terminate()
