"""What systemd is told, and what it hands over."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from gorgond.service.systemd import Notifier, watchdog_seconds
from tests.programs import ROOT


@pytest.fixture
def systemd(monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """Where systemd listens; its path is short enough for a socket's."""
    with TemporaryDirectory() as directory, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        path = str(Path(directory, "notify"))
        listening.bind(path)
        listening.settimeout(60)
        monkeypatch.setenv("NOTIFY_SOCKET", path)
        yield listening


@pytest.fixture
def notifier(systemd: socket.socket) -> Iterator[Notifier]:  # noqa: ARG001 - it has to be there first
    notifier = Notifier()
    yield notifier
    assert notifier._systemd is not None
    notifier._systemd.socket.close()  # a service's is open as long as it lives


def test_it_is_told_how_the_service_fares(systemd: socket.socket, notifier: Notifier) -> None:
    notifier.ready()
    notifier.status("serving port 3000")
    notifier.alive()
    notifier.reloading()
    notifier.stopping()
    assert systemd.recv(1000) == b"READY=1"
    assert systemd.recv(1000) == b"STATUS=serving port 3000"
    assert systemd.recv(1000) == b"WATCHDOG=1"
    state, clock = systemd.recv(1000).split(b"\nMONOTONIC_USEC=")
    assert (state, clock.isdigit()) == (b"RELOADING=1", True)
    assert systemd.recv(1000) == b"STOPPING=1"


def test_a_status_is_told_when_it_has_changed(systemd: socket.socket, notifier: Notifier) -> None:
    for line in ("a", "a", "b", "a"):
        notifier.status(line)
    notifier.alive()
    assert [systemd.recv(1000) for _ in range(4)] == [b"STATUS=a", b"STATUS=b", b"STATUS=a", b"WATCHDOG=1"]


def test_a_status_is_one_line_that_does_nothing_to_a_terminal(systemd: socket.socket, notifier: Notifier) -> None:
    notifier.status("waiting: \x1b]0;owned\x07\nSTOPPING=1")
    assert systemd.recv(1000) == rb"STATUS=waiting: \u001b]0;owned\u0007\nSTOPPING=1"


def test_without_systemd_it_is_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    Notifier().ready()


def test_the_watchdogs_patience() -> None:
    assert watchdog_seconds({"WATCHDOG_USEC": "30000000"}) == 30
    assert watchdog_seconds({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}) == 30
    # not for this process, or none at all
    assert watchdog_seconds({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}) == 0
    assert watchdog_seconds({}) == 0


# ---- sockets

TAKE = """
import os, sys
for number, descriptor in enumerate(map(int, sys.argv[2:]), 3):
    os.dup2(descriptor, number)
os.environ.update(LISTEN_PID=sys.argv[1] or str(os.getpid()), LISTEN_FDS=str(len(sys.argv) - 2))
from gorgond.errors import ConfigError
from gorgond.service.systemd import listening_sockets
try:
    found = listening_sockets("web")
except ConfigError as error:
    sys.exit(str(error))
if found is not None:
    found = [(each.fileno(), each.getsockname()[1], each.getblocking(), each.get_inheritable()) for each in found]
print(found)
print(sorted(name for name in os.environ if name.startswith("LISTEN")))
"""


def take(names: str, *held: socket.socket, pid: str = "") -> subprocess.CompletedProcess[str]:
    """What a process makes of sockets that are handed to it under these names."""
    descriptors = [each.fileno() for each in held]
    return subprocess.run(
        [sys.executable, "-c", TAKE, pid, *map(str, descriptors)],
        env={"LISTEN_FDNAMES": names},
        cwd=ROOT,
        pass_fds=descriptors,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_sockets_of_a_name_are_taken_and_children_get_none() -> None:
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as two:
        ports = [each.getsockname()[1] for each in (one, two)]
        # given two sockets, then those of the name asked for are found, and they do not block
        done = take("stats:web", one, two)
        assert done.stdout == f"[(4, {ports[1]}, False, False)]\n[]\n", done.stderr
        done = take("web:web", one, two)
        assert done.stdout == f"[(3, {ports[0]}, False, False), (4, {ports[1]}, False, False)]\n[]\n"


def test_sockets_of_other_names_are_an_error_and_those_of_others_are_none() -> None:
    with socket.create_server(("127.0.0.1", 0)) as one:
        for names in ("page", "", "unknown"):
            done = take(names, one)
            assert (done.returncode, done.stderr) == (
                1,
                "systemd passed 1 sockets, but none with FileDescriptorName=web\n",
            )
        # when they are for another process, this one opens its own
        assert take("web", one, pid="1").stdout.startswith("None\n")
