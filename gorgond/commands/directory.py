"""The directory in which `gorgond up` keeps its files, its user's alone; one `gorgond up` at a time may use it.

broker.sock broker.conf broker/    the Redis of all that must last, with its append-only file
calls.sock calls.conf calls/       the Redis of calls, which keeps nothing
gorgond.db                         the database, unless --store says otherwise
events.log                         every change of the database
sessions/                          who has logged in as the operator of the stats page, and who is to be missed there
route                              which queues go over other Redis servers, where some do
lock                               held while it is in use
control.sock                       who may open it may stop and start the processes: see control.py
notices.sock                       where the processes say how they are: see notices.py
"""

from __future__ import annotations

import fcntl
import os
import stat
from pathlib import Path
from typing import Self
from urllib.parse import quote

from gorgond.errors import ConfigError, GorgonError
from gorgond.stats import roster

SOCKET_PATH_MAX = 107  # bytes; see unix(7)
FSYNC = "always"  # 201 and 202 mean kept, also when the power fails

# The settings of both: no network, nobody else gets in, no message is ever evicted; they do not fill the machine.
COMMON = """\
port 0
unixsocket {socket}
unixsocketperm 700
dir {files}
maxmemory 512mb
maxmemory-policy noeviction
logfile {log}
save ""
"""
DURABLE = f"appendonly yes\nappendfsync {FSYNC}\nauto-aof-rewrite-min-size 16mb\n"
FORGETTING = "appendonly no\n"


class Directory:
    """Makes the directory and everything in it that a start needs, and holds it until the end of the `with`."""

    def __init__(self, path: str | None) -> None:
        self.path = Path(path).absolute() if path else _state_directory()
        longest = os.fsencode(self.notices)
        if len(longest) > SOCKET_PATH_MAX:
            raise ConfigError(
                f"{self.path}: too long a path for its sockets, by {len(longest) - SOCKET_PATH_MAX} bytes; "
                "choose another directory with --data DIR"
            )
        self._lock = -1

    def __enter__(self) -> Self:
        try:
            self._make_private()
            self._lock = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT, 0o600)
            self._take()
            self._write("broker", DURABLE)
            self._write("calls", FORGETTING)
            self.sessions().mkdir(mode=0o700, exist_ok=True)
            (self.sessions() / roster.FILE).unlink(missing_ok=True)  # who is to be there is now begun anew
        except OSError as error:
            raise ConfigError(f"{error.filename or self.path}: {error.strerror}") from None
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._lock)

    def _make_private(self) -> None:
        self.path.mkdir(parents=True, exist_ok=True)
        about = self.path.stat()
        if about.st_uid != os.geteuid() or about.st_mode & stat.S_IWOTH:
            raise ConfigError(f"{self.path}: it is not yours alone to write to; choose another with --data DIR")
        self.path.chmod(0o700)

    def _take(self) -> None:
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(self._lock, 20).decode().strip()
            raise GorgonError(f"{self.path} is in use by another gorgond up, process {holder}") from None
        os.ftruncate(self._lock, 0)
        os.pwrite(self._lock, b"%d\n" % os.getpid(), 0)

    def _write(self, name: str, more: str) -> None:
        files = self.redis_files(name)
        files.mkdir(mode=0o700, exist_ok=True)
        paths = {"socket": self._socket(name), "files": files, "log": self.redis_log(name)}
        text = COMMON.format(**{key: _quote(path) for key, path in paths.items()}) + more
        self.redis_configuration(name).write_text(text)

    @property
    def control(self) -> Path:
        """The socket over which others control what runs here."""
        return self._socket("control")

    @property
    def notices(self) -> Path:
        """The socket to which the processes say how they are."""
        return self._socket("notices")

    def redis_configuration(self, name: str) -> Path:
        """The configuration file of the Redis called broker or calls."""
        return self.path / f"{name}.conf"

    def redis_files(self, name: str) -> Path:
        """The directory of that Redis' append-only file."""
        return self.path / name

    def redis_log(self, name: str) -> Path:
        """The log file of that Redis."""
        return self.path / f"{name}.log"

    def broker_url(self, name: str) -> str:
        """Where that Redis is."""
        return f"unix://{quote(str(self._socket(name)))}"

    def broker_settings(self) -> dict[str, str]:
        """The settings of the brokers for who speaks with what runs here: by `section.key`."""
        try:
            route = self._route.read_text()
        except OSError:
            route = ""
        urls = {"broker.url": self.broker_url("broker"), "broker.calls": self.broker_url("calls")}
        return urls | {"broker.route": route}

    def note_route(self, route: str) -> None:
        """Keep which queues go over other brokers, for those."""
        self._route.write_text(route)

    @property
    def _route(self) -> Path:
        return self.path / "route"

    def store_url(self) -> str:
        """The database that is used when nobody chose another."""
        return f"sqlite:///{quote(str(self.path / 'gorgond.db'))}"

    def events(self) -> Path:
        """The log of every change that is used when nobody chose another."""
        return self.path / "events.log"

    def sessions(self) -> Path:
        """The state directory of stats servers."""
        return self.path / "sessions"

    def _socket(self, name: str) -> Path:
        return self.path / f"{name}.sock"


def _state_directory() -> Path:
    """$XDG_STATE_HOME/gorgond, or ~/.local/state/gorgond."""
    chosen = os.environ.get("XDG_STATE_HOME", "")
    try:
        base = Path(chosen) if chosen.startswith("/") else Path.home() / ".local/state"
    except RuntimeError:
        raise ConfigError("no home directory is known; choose one with --data DIR") from None
    return base / "gorgond"


def _quote(path: Path) -> str:
    """A path as redis.conf takes it."""
    return '"' + str(path).replace("\\", "\\\\").replace('"', '\\"') + '"'
