"""Each command in the fenced blocks of README.md and docs/ is run as it stands there, or named in LEFT with the reason,
and the test that has it instead.

Ports and the state directory are this test's own, and the checkout is one whose environment is ready; nothing else is
changed. The commands of a file share a shell, as those of a reader do.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.programs import ROOT, SCRIPTS, asked, bare_path
from tests.waiting import HANGS, eventually
from tools.speed.ports import free_port

BLOCK = re.compile(r"^ *```sh\n(.*?)^ *```", re.DOTALL | re.MULTILINE)
COMMENT = re.compile(r"\s{2,}#.*")
SERVES = re.compile(r"(tools/up|gorgond up)\b")  # it runs until it is ended
BESIDES = {
    "docs/chaos.md",
    "docs/notifications.md",
    "docs/operations.md",
}  # beside a fabric


class Left(NamedTuple):
    """Why a command is not run here, and where instead: a test that has it, or what it `shows` of it."""

    why: str
    test: str = ""
    shows: str = ""


def packaged(test: str = "", shows: str = "") -> Left:
    """One of the package; without a test it is run by hand alone."""
    return Left("wants a host that systemd has started, and the package on it", test and f"system/{test}", shows)


ITSELF = "runs this test"
LEFT = {
    "tools/test": Left(ITSELF),
    "tools/test --fast": Left("runs the tests of the stages beside this one"),
    "tools/test integration -k journal": Left(ITSELF),
    "tools/test tests/unit/test_config.py -k url": Left("lints all files, and runs what runs beside this one"),
    "apt-get build-dep ./": packaged(),
    "tools/build-deb --output dist && apt install ./dist/gorgond_*.deb": packaged("conftest.py", "tools/build-deb"),
    "apt install gorgond": packaged("test_install.py", "apt-get install -y -qq gorgond"),
    "systemctl status 'gorgon-*'": packaged("test_commands.py"),
    "systemctl start gorgon-store@7": packaged("test_scale.py"),
    "systemctl stop gorgon.target gorgon.slice": packaged("test_outages.py"),
    "systemctl start gorgon.target": packaged("test_outages.py"),
    "systemctl reload gorgon.target": packaged("test_configuration.py"),
    "mkdir -p /etc/gorgond/app.d && cp shop.py /etc/gorgond/app.d/": packaged("test_commands.py"),
    "gorgonctl apply": packaged("test_scale.py"),
    "journalctl -t gorgon-journal -f": packaged("test_commands.py"),
    "journalctl GORGON_ID=1a20aa6bf76000002fc67657962": packaged("test_commands.py"),
    "journalctl GORGON_USER=5 GORGON_EVENT=items.deleted": packaged("test_commands.py"),
    'python3 -c \'import sqlite3; sqlite3.connect("/var/lib/gorgond/gorgond.db")'
    '.backup(sqlite3.connect("/root/gorgond.db"))\'': packaged("test_commands.py", ".backup("),
    "tar -C / -czf /root/gorgond.tar.gz etc/gorgond var/lib/gorgond $(cd / && ls etc/credstore/gorgond.*)": packaged(
        "test_commands.py"
    ),
    "gorgonctl groups drop store_notify/journal": packaged("test_commands.py"),
    "gorgonctl join 10.0.0.1 10.0.0.2 10.0.0.3": packaged("test_several_hosts.py", "gorgonctl join"),
    "ssh 10.0.0.1 gorgonctl invite | gorgonctl join --invited 10.0.0.1 10.0.0.2 10.0.0.3": packaged(
        "test_several_hosts.py", "gorgonctl invite"
    ),
    "gorgonctl broker status": packaged("test_several_hosts.py"),
    "gorgonctl broker failover": packaged("test_several_hosts.py"),
    "gorgonctl leave": packaged("test_several_hosts.py"),
    "rm /etc/gorgond/broker/set.conf /etc/gorgond/broker/sentinel.conf "
    "/var/lib/gorgond/sentinel/sentinel.conf": packaged(),
    "sed -i 's|^url = sentinel.*|url = unix:///run/gorgond/broker.sock|' /etc/gorgond/gorgond.conf": packaged(),
    "systemctl daemon-reload": packaged(),
    "systemctl restart gorgon-broker": packaged(),
    "gorgonctl restart": packaged(),
    "gorgonctl notifications list --user ada@notes.example --state sent": Left(
        "wants that user", "integration/test_gorgonctl_notifications.py", "--user"
    ),
    "gorgonctl notifications replay --all --channel email": Left(
        "wants that channel", "integration/test_gorgonctl_notifications.py", "--all"
    ),
    "gorgonctl notifications replay --all --channel webhook": Left(
        "wants that channel", "integration/test_webhooks.py", '"--all", "--channel", "webhook"'
    ),
    "apt install postgresql python3-psycopg": packaged(),
    "sudo -u postgres createuser --pwprompt gorgon": Left("wants Debian's server, and asks for a password"),
    "sudo -u postgres createdb --owner=gorgon --encoding=UTF8 --template=template0 gorgon": Left(
        "wants Debian's server"
    ),
    "install -m 600 /dev/stdin /etc/credstore/gorgond.store.url <<<'postgresql://gorgon:PASSWORD@127.0.0.1/gorgon'": (
        packaged()
    ),
    "systemctl daemon-reload && gorgonctl restart store": packaged(),
    "sudo -u gorgond gorgond store --check": Left(
        "wants the package's user", "contract/test_stores_check.py", '"store", "--check"'
    ),
    "gorgond copy --from sqlite:////var/lib/gorgond/gorgond.db --to mongodb://10.0.0.7/gorgon": Left(
        "wants those databases", "integration/test_copy.py", '"copy", "--from"'
    ),
    "gorgond copy --from sqlite:////var/lib/gorgond/gorgond.db --to mongodb://10.0.0.7/gorgon --finish": Left(
        "wants those databases", "integration/test_copy.py", '"--finish"'
    ),
    "gorgonctl top": Left("wants a terminal", "integration/test_gorgonctl.py", "top"),
    "tools/chaos.py drill redis-kill": Left("takes minutes", "integration/test_chaos.py", "redis-kill"),
    "tools/chaos.py drill --all --svg pictures --json figures.json --junit drills.xml": Left("takes half an hour"),
    "gorgon-chaos kill 'store@*' --random 1 --every 5s --for 2m": Left(
        "takes minutes", "integration/test_chaos.py", '"kill"'
    ),
    "tools/bench.py --quick": Left("takes minutes", "integration/test_bench.py", "--quick"),
    "tools/later.py": Left("takes minutes"),
    "tools/copies.py": Left("takes minutes, as root"),
}
WHOLE = {"docs/tutorial.md": "test_tutorial.py", "docs/protocol.md": "test_protocol.py"}


def commands(file: str) -> list[str]:
    """The commands that a file shows, without the comments behind them."""
    blocks = "".join(BLOCK.findall((ROOT / file).read_text()))
    lines = re.sub(r" *\\\n *", " ", blocks).splitlines()
    return [stripped for line in lines if (stripped := COMMENT.sub("", line).strip())]


FILES = [
    file
    for file in ("README.md", *sorted(f"docs/{each.name}" for each in (ROOT / "docs").glob("*.md")))
    if commands(file)
]


class Shell:
    """A shell that stays, whose programs and ports are what a reader's are."""

    def __init__(self, where: Path, home: Path, programs: bool) -> None:
        kept = {name: text for name, text in os.environ.items() if not name.startswith("GORGOND_")}
        self._port = free_port()
        self._stats = f"http://127.0.0.1:{free_port()}"
        self._log = home / "log"
        self._log.touch()
        self._served: str = ""
        environ = kept | {
            "PATH": f"{SCRIPTS}:{bare_path()}" if programs else bare_path(),
            "XDG_STATE_HOME": str(home / "state"),
            "GORGOND_WEB_PORT": str(self._port),
            "GORGOND_STATS_PORT": self._stats.rpartition(":")[2],
            "GORGOND_NOTIFY_PORT": str(free_port()),
            "GORGOND_PROVIDER_RANDOM_COUNT": "1",
        }
        self._bash = subprocess.Popen(
            ["bash"], cwd=where, env=environ, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip

    def run(self, command: str) -> None:
        """Run a command to its end, which must be a good one."""
        code, output = self._ask(command.replace("localhost:3000", f"localhost:{self._port}"))
        assert code == 0, f"{command}\n{output}"
        assert '"error"' not in output, f"{command}\n{output}"

    def serve(self, command: str) -> None:
        """Run a command that serves until the shell is closed, in place of the one before; wait until all is up."""
        self._end()
        self._ask(f"{command} >{self._log} 2>&1 & served=$!")
        self._served = command
        eventually(lambda: "all is up" in self._log.read_text() or not self._serves(), HANGS)
        assert self._serves(), f"{command}\n{self._log.read_text()}"
        eventually(lambda: b'"unknown"' not in (asked(f"{self._stats}/api/stats.json") or b'"unknown"'))

    def _serves(self) -> bool:
        return self._ask("kill -0 $served")[0] == 0

    def _end(self) -> None:
        if self._served:
            code, _ = self._ask("kill $served; wait $served")
            assert code == 0, f"{self._served}\n{self._log.read_text()}"
            self._served = ""

    def _ask(self, line: str) -> tuple[int, str]:
        assert self._bash.stdin is not None
        assert self._bash.stdout is not None
        self._bash.stdin.write(f"{{ {line}\n}} </dev/null; code=$?; echo; echo '==' $code\n")
        self._bash.stdin.flush()
        lines = []
        while not (said := self._bash.stdout.readline()).startswith("== "):
            assert said, "the shell has ended"
            lines.append(said)
        return int(said.split()[1]), "".join(lines)

    def close(self) -> None:
        """End what serves, and the shell."""
        try:
            self._end()
        finally:
            self._bash.kill()
            self._bash.communicate()


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout with the programs of this environment."""
    made = tmp_path_factory.mktemp("checkout")
    shutil.copytree(ROOT / "tools", made / "tools")
    shutil.copytree(ROOT / "gorgond", made / "gorgond")
    shutil.copy(ROOT / "setup.cfg", made)
    (made / ".venv").mkdir()
    for each in ("bin", "lib", "pyvenv.cfg"):
        (made / ".venv" / each).symlink_to(Path(sys.prefix, each))
    [wanted] = re.findall("^environment (.*)", (made / "tools/up").read_text(), re.MULTILINE)
    ready = f'. tools/setup.sh; stamps {wanted}; touch "$made" "$with"'
    subprocess.run(["bash", "-c", ready], cwd=made, check=True, timeout=HANGS)
    return made


@contextmanager
def shell(file: str, checkout: Path, home: Path) -> Iterator[Shell]:
    """A shell as the reader of a file has it: in the checkout, where the file shows something of it."""
    in_checkout = any(command.startswith("tools/") for command in commands(file))
    made = Shell(checkout if in_checkout else home, home, programs=file != "README.md")
    try:
        yield made
    finally:
        made.close()


@pytest.mark.usefixtures("redis_binary")
@pytest.mark.parametrize("file", [file for file in FILES if file not in WHOLE])
def test_commands_that_are_shown_work_as_they_are_written(file: str, checkout: Path, tmp_path: Path) -> None:
    with shell(file, checkout, tmp_path) as reader:
        if file in BESIDES:
            reader.serve("gorgond up")
        for command in commands(file):
            if command in LEFT:
                continue
            if SERVES.match(command):
                reader.serve(command)
            else:
                reader.run(command)


def test_what_is_left_is_shown_and_what_runs_elsewhere_is_there() -> None:
    shown = {command for file in FILES for command in commands(file)}
    assert sorted(LEFT.keys() - shown) == []
    tests = {path.name: path for path in (ROOT / "tests").rglob("test_*.py")}
    for file, test in WHOLE.items():
        assert file in tests[test].read_text()
    for command, left in LEFT.items():
        if left.test:
            assert (left.shows or command) in (ROOT / "tests" / left.test).read_text(), command
