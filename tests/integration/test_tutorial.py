"""The commands of docs/tutorial.md, run as they stand there: from nothing to an answer that only a user gets."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.programs import ROOT, asked, bare_path
from tests.waiting import HANGS, eventually
from tools.speed.ports import free_port

BLOCK = re.compile(r"```sh\n(.*?)```", re.DOTALL)


@pytest.mark.usefixtures("redis_binary")
def test_an_application_is_made_run_and_changed(tmp_path: Path) -> None:
    # given a shell in which other ports than the usual ones are used
    activate, begin, add, account = BLOCK.findall((ROOT / "docs/tutorial.md").read_text())
    port = free_port()
    kept = {name: text for name, text in os.environ.items() if not name.startswith("GORGOND_")}
    environ = kept | {
        "PATH": bare_path(),
        "HOME": str(tmp_path),
        "XDG_STATE_HOME": str(tmp_path / "state"),
        "GORGOND_WEB_PORT": str(port),
        "GORGOND_STATS_PORT": str(free_port()),
        "GORGOND_PROVIDER_RANDOM_COUNT": "1",
    }
    before = f"cd {ROOT} && {activate.strip()} && cd {tmp_path}"
    shop = f"http://localhost:{port}/shop"

    def shell(command: str) -> Any:
        """The value that a command prints in the new application's directory."""
        command = command.replace("localhost:3000", f"localhost:{port}")
        done = subprocess.run(
            ["bash", "-c", command], cwd=tmp_path / "shop", env=environ,
            check=True, capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        return json.loads(done.stdout)

    # when the first commands are run
    assert len(begin.splitlines()) <= 5
    with (tmp_path / "log").open("wb") as log:
        running = subprocess.Popen(
            ["bash", "-c", f"{before}\n{begin.replace('gorgond up', 'exec gorgond up')}"],
            cwd=tmp_path, env=environ, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
        )  # fmt: skip
    try:
        # then the application answers
        eventually(lambda: asked(shop) == b"[]" or running.poll() is not None)
        assert asked(shop) == b"[]", (tmp_path / "log").read_text()
        # and takes what it is sent
        made = shell(add)
        [found] = json.loads(asked(shop) or b"[]")
        assert (found["id"], found["title"], found["price"]) == (made["id"], "violin", 900)
        # when it is changed as the text says
        source = tmp_path / "shop/shop.py"
        text = source.read_text().replace('@app.post("/shop")', '@app.post("/shop", user="required")')
        source.write_text(text.replace('"price": entry.price', '"price": entry.price, "owner": ctx.user.id'))
        restart = f"{before} && gorgonctl restart web app"
        subprocess.run(["bash", "-c", restart], env=environ, check=True, timeout=HANGS)
        # then it wants a user, and knows who it was
        refused = shell(add)
        assert refused["error"]["code"] == 401
        register, login, add_mine = account.replace("\\\n", " ").strip().splitlines()
        user = shell(register)
        shell(add_mine.replace("TOKEN", shell(login)["token"]))
        assert json.loads(asked(shop) or b"[]")[0]["owner"] == user["id"]
    except subprocess.CalledProcessError as failed:
        pytest.fail(f"{failed}: {failed.stderr}")
    finally:
        running.send_signal(signal.SIGINT)
        try:
            running.wait(40)
        finally:
            running.kill()
            running.wait(timeout=60)
