"""`gorgond up`: everything at once, kept running, ended in order, with nothing left behind."""

from __future__ import annotations

import json
import os
import pwd
import re
import signal
import socket
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil
import pytest
import redis

from gorgond.commands.control import ask
from gorgond.commands.directory import SOCKET_PATH_MAX, Directory
from gorgond.errors import GorgonError
from tests.programs import asked, gorgond, started
from tests.waiting import eventually
from tools.speed.ports import free_port

pytestmark = pytest.mark.usefixtures("redis_binary")


@pytest.fixture
def data() -> Iterator[Path]:
    """A data directory whose path is short enough for sockets, and not a simple one."""
    with TemporaryDirectory(prefix="gorgond ü%20") as directory:
        yield Path(directory)


def arguments(data: Path, port: int, *more: str) -> list[str]:
    return ["up", "--data", str(data), "--port", str(port), "--count", "100", "--users", "10", *more]


def children(process: subprocess.Popen[bytes]) -> dict[str, psutil.Process]:
    """The children by what they are: "broker", "web 1", …"""
    found = {}
    for child in psutil.Process(process.pid).children():
        try:
            line, environ, where = child.cmdline(), child.environ(), Path(child.cwd())
        except psutil.Error:
            continue
        if "gorgond" in line and "GORGOND_INSTANCE" in environ:  # not for one that is just ending
            found[f"{line[line.index('gorgond') + 1]} {environ['GORGOND_INSTANCE']}"] = child
        elif line and "redis-server" in line[0]:
            found[where.name] = child
    return found


def all_up(output: Path) -> bool:
    return "all is up: http://localhost:" in output.read_text()


def gone(processes: list[psutil.Process]) -> bool:
    return not any(each.is_running() and each.status() != psutil.STATUS_ZOMBIE for each in processes)


def test_from_start_to_end_through_deaths(data: Path, tmp_path: Path) -> None:
    # given all of it, running
    port, output = free_port(), tmp_path / "output"
    base = f"http://localhost:{port}"
    with started(*arguments(data, port), output=output) as process:
        eventually(lambda: all_up(output))
        first = children(process)
        assert set(first) - {"provider random"} == {
            "broker",
            "calls",
            "web 1",
            "web 2",
            "app 1",
            "app 2",
            "auth 1",
            "notify 1",
            "store 1",
            "store 2",
            "journal 1",
            "stats 1",
        }
        # with notes, one of them ours
        eventually(lambda: len(json.loads(asked(f"{base}/info/5") or b'{"items":[]}')["items"]) == 10)
        note = json.loads(asked(f"{base}/info/77", b'{"title": "kept"}') or b"")
        # when each kind of process is killed
        killed = ("store 1", "web 2", "broker", "calls")
        for name in killed:
            first[name].kill()
        # then they are started again
        eventually(lambda: set(killed) <= set(now := children(process)) and all(now[n] != first[n] for n in killed))
        # and our note is there, as are the others
        items = json.loads(eventually(lambda: asked(f"{base}/info/77")) or b"")["items"]
        assert [item["id"] for item in items] == note["ids"]
        assert len(json.loads(asked(f"{base}/info/5") or b"")["items"]) == 10
        # when it is asked to end, then it does, and nothing is left behind
        last = list(children(process).values())
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 0
        assert gone(last)
        assert asked(f"{base}/healthz") is None
    written = output.read_text()
    assert "store@1 ended with SIGKILL: starting it again in 0.1 s" in written
    assert "pushed 100 items in " in written
    assert not [line for line in written.splitlines() if "Traceback" in line]


def test_it_is_for_this_host_and_its_user_alone(data: Path, tmp_path: Path) -> None:
    # given a directory that others may read, with one that listens nowhere in particular
    data.chmod(0o755)
    port, output = free_port(), tmp_path / "output"
    few = ("--web", "1", "--apps", "0", "--stores", "1")
    with started(*arguments(data, port, *few), output=output) as process:
        eventually(lambda: all_up(output))
        eventually(lambda: asked(f"http://127.0.0.1:{port}/info/5"))
        # then another address of this host is refused, and others read none of its files
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.2", port), timeout=60)
        assert (data / "gorgond.db").exists()
        for path in (data, *data.rglob("*")):
            assert path.stat().st_mode & 0o077 == 0, path
        assert f"http://localhost:{port} is for this host alone; --address" in output.read_text()
        # nor does a queue fill the machine's memory
        for name in ("broker", "calls"):
            with redis.Redis(unix_socket_path=str(data / f"{name}.sock")) as client:
                assert client.config_get("maxmemory") == {"maxmemory": str(512 << 20)}
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 0
    # and when it is told to, it lets others in
    with started(*arguments(data, port, *few, "--address", ""), output=output) as process:
        eventually(lambda: asked(f"http://127.0.0.2:{port}/healthz"))
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 0


def test_a_directory_that_everybody_may_write_to_is_refused(data: Path) -> None:
    data.chmod(0o777)
    done = gorgond(*arguments(data, free_port()))
    assert (done.returncode, done.stderr.count("\n")) == (78, 1)
    assert "not yours alone to write to; choose another with --data DIR" in done.stderr


def test_children_die_with_a_parent_that_is_killed(data: Path, tmp_path: Path) -> None:
    output = tmp_path / "output"
    with started(*arguments(data, free_port(), "--no-provider"), output=output) as process:
        eventually(lambda: all_up(output))
        running = list(children(process).values())
        assert len(running) == 12
        process.kill()
        eventually(lambda: gone(running))
    # and the next start takes it from there
    with started(*arguments(data, free_port(), "--no-provider"), output=output) as process:
        eventually(lambda: all_up(output))
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 0


def test_it_starts_on_what_a_power_failure_leaves(data: Path, tmp_path: Path) -> None:
    # given a directory whose broker's file ends in zeros, as a file system may leave them
    outputs = [tmp_path / "before", tmp_path / "after"]
    with started(*arguments(data, free_port()), output=outputs[0]) as process:
        eventually(lambda: all_up(outputs[0]))
        every = list(children(process).values())
        process.kill()
    eventually(lambda: gone(every))
    [file] = (data / "broker").glob("appendonlydir/*.incr.aof")
    with file.open("ab") as written:
        written.write(bytes(3000))
    # when it is started on that, then it is all up, and says what it did
    with started(*arguments(data, free_port()), output=outputs[1]):
        eventually(lambda: all_up(outputs[1]))
    assert f"{file} ended in 3000 zeros" in outputs[1].read_text()


def test_a_second_one_on_the_same_directory_is_refused(data: Path, tmp_path: Path) -> None:
    output = tmp_path / "output"
    few = ("--no-provider", "--web", "1", "--apps", "0", "--stores", "1")
    with started(*arguments(data, free_port(), *few), output=output) as process:
        eventually(lambda: (data / "lock").exists() and (data / "lock").read_text().strip())
        second = gorgond(*arguments(data, free_port(), *few))
        assert second.returncode == 1
        assert second.stderr == f"gorgond: {data} is in use by another gorgond up, process {process.pid}\n"
        # and a SIGTERM while it is starting ends it as well
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 0


def test_a_taken_port_ends_it_with_exit_code_78(data: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = gorgond(*arguments(data, port, "--no-provider"))
    assert done.returncode == 78
    assert (
        done.stderr
        == f"gorgond: cannot listen on localhost:{port}: Address already in use; --port chooses another port\n"
    )


def test_a_path_too_long_for_sockets_is_refused(tmp_path: Path) -> None:
    path = tmp_path / ("x" * SOCKET_PATH_MAX)
    done = gorgond("up", "--data", str(path))
    assert done.returncode == 78
    assert "too long a path for its sockets" in done.stderr
    assert not path.exists()


def test_a_directory_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = gorgond("up", "--data", str(tmp_path / "file/data"))
    assert (done.returncode, done.stderr.count("\n")) == (78, 1)
    assert "Not a directory" in done.stderr


def test_without_a_home_the_password_database_says_where(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.delenv("HOME", raising=False)
    assert Directory(None).path == Path(pwd.getpwuid(os.getuid()).pw_dir, ".local/state/gorgond")
    monkeypatch.setenv("XDG_STATE_HOME", "/state")
    assert Directory(None).path == Path("/state/gorgond")


def test_a_broker_that_hangs_is_killed_and_started_again(data: Path, tmp_path: Path) -> None:
    output = tmp_path / "output"
    few = ("--no-provider", "--web", "1", "--apps", "0", "--stores", "1")
    with started(*arguments(data, free_port(), *few), output=output) as process:
        eventually(lambda: all_up(output))
        # when a broker says nothing, then another takes its place
        hung = children(process)["calls"]
        hung.suspend()
        eventually(lambda: (now := children(process).get("calls")) is not None and now.pid != hung.pid)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 0
    assert "did not answer for 30 s: it is killed" in output.read_text()


def test_processes_are_listed_stopped_started_and_added(data: Path, tmp_path: Path) -> None:
    # given a fabric that runs
    output, control = tmp_path / "output", data / "control.sock"
    few = ("--no-provider", "--web", "1", "--apps", "0", "--stores", "1")

    def states() -> dict[str, tuple[int, str]]:
        return {each["name"]: (each["pid"], each["state"]) for each in ask(control, "list")["processes"]}

    with started(*arguments(data, free_port(), *few), output=output) as process:
        eventually(lambda: all_up(output))
        first = states()
        assert set(first) == {"broker", "calls", "store@1", "auth@1", "notify@1", "journal@1", "web@1", "stats@1"}
        assert {state for _, state in first.values()} == {"up"}
        assert stat.S_IMODE(control.stat().st_mode) == 0o600
        # when one is stopped, then it stays so, until it is started
        ask(control, "stop", name="store@1")
        assert states()["store@1"] == (0, "stopped")
        ask(control, "start", name="store@1")
        eventually(lambda: states()["store@1"][1] == "up")
        # when one is restarted, then it is another process
        ask(control, "restart", name="broker")
        eventually(lambda: states()["broker"][0] not in (0, first["broker"][0]))
        # when one is added, then it works; and removed, it is gone
        assert ask(control, "add", role="store") == {"name": "store@2"}
        eventually(lambda: states()["store@2"][1] == "up")
        ask(control, "remove", name="store@2")
        assert "store@2" not in states()
        # and when the last of a role was removed, there can be one again
        ask(control, "remove", name="store@1")
        assert ask(control, "add", role="store") == {"name": "store@1"}
        # what cannot be is refused with the reason
        for request, why in (
            (
                {"do": "stop", "name": "store@9"},
                "there is no store@9 here; there are broker calls journal@1 notify@1 auth@1 web@1 stats@1 store@1",
            ),
            ({"do": "remove", "name": "broker"}, "broker cannot be removed: all others need it"),
            (
                {"do": "add", "role": "broker"},
                "no broker was started here with a number, beside which there could be another",
            ),
            ({"do": "dance"}, 'this is no request: {"do": "dance"}'),
        ):
            with pytest.raises(GorgonError, match=f"^{re.escape(why)}$"):
                ask(control, **request)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 0
    # and nobody answers when it has ended
    with pytest.raises(GorgonError, match="no gorgond up answers at"):
        ask(control, "list")
