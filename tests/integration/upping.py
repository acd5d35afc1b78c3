"""A `gorgond up` that a test operates, with an application that is the test's to change."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from gorgond.commands.control import ask
from tests.programs import asked, ended, gorgonctl, started
from tests.waiting import eventually
from tools.speed.ports import free_port

SHOP = """from gorgond import App

app = App("shop")


@app.get("/shop")
async def shop(ctx):
    return "first"
"""


class Running:
    """A `gorgond up` with an application that is ours to change."""

    def __init__(self, data: Path, module: Path, output: Path, port: int) -> None:
        self.module, self.port, self.data, self._output = module, port, data, output

    @property
    def written(self) -> str:
        return self._output.read_text()

    def processes(self) -> dict[str, tuple[int, str]]:
        rows = ask(self.data / "control.sock", "list")["processes"]
        return {each["name"]: (each["pid"], each["state"]) for each in rows}

    def up(self) -> bool:
        return "all is up: http://localhost:" in self.written

    def verdict(self) -> str:
        """What gorgonctl status says first."""
        return self.ctl("status")[1].partition("\n")[0]

    def picture(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.ctl("status", "--json")[1])
        return found

    def shop(self) -> str | None:
        answer = asked(f"http://localhost:{self.port}/shop")
        return answer.decode() if answer else None

    def ctl(self, *arguments: str) -> tuple[int, str]:
        done = gorgonctl(*arguments, "--data", str(self.data))
        return done.returncode, done.stdout + done.stderr


@contextmanager
def up_with(tmp_path: Path, *flags: str) -> Iterator[Running]:
    module = tmp_path / "ta_shop.py"
    module.write_text(SHOP)
    port, output = free_port(), tmp_path / "output"
    fixed = ("--port", str(port), "--module", "ta_shop")
    with TemporaryDirectory(prefix="gorgond-") as data:
        made = Running(Path(data), module, output, port)
        environ = {"PYTHONPATH": str(tmp_path), "GORGOND_WEB_API": "open"}
        with started("up", "--data", data, *fixed, *flags, output=output, **environ) as process:
            eventually(made.up)
            yield made
            assert ended(process) == 0
