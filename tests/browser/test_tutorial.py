"""docs/tutorial.md as a reader follows it: each of its commands is run, each of its listings saved, and what they make
is used in a browser."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.programs import ROOT, asked, bare_path
from tests.waiting import HANGS, eventually
from tools.speed.ports import free_port

BLOCK = re.compile(r"```(\w+)\n(.*?)```", re.DOTALL)
FILES = {
    "html": ("templates/window.html", "templates/sale.html"),
    "css": ("static/window.css",),
    "js": ("static/sale.js",),
}
WAIT = HANGS * 1000  # milliseconds, as the browser wants them


class Reader:
    """Somebody who follows the text, with other ports than the usual ones."""

    def __init__(self, where: Path) -> None:
        self.blocks: dict[str, list[str]] = {}
        for kind, text in BLOCK.findall((ROOT / "docs/tutorial.md").read_text()):
            self.blocks.setdefault(kind, []).append(text)
        self._where, self._port, self._log = where, free_port(), where / "log"
        kept = {name: text for name, text in os.environ.items() if not name.startswith("GORGOND_")}
        self._environ = kept | {
            "PATH": bare_path(),
            "HOME": str(where),
            "XDG_STATE_HOME": str(where / "state"),
            "GORGOND_WEB_PORT": str(self._port),
            "GORGOND_STATS_PORT": str(free_port()),
        }
        self.shop = where / "shop"
        self._before = f"cd {ROOT} && {self.blocks['sh'][0].strip()}"

    def address(self, path: str) -> str:
        return f"http://localhost:{self._port}{path}"

    @contextmanager
    def running(self, commands: str) -> Iterator[None]:
        """Run these, of which the last goes on until it is ended."""
        script = f"{self._before} && cd {self._where}\n{commands.replace('gorgond up', 'exec gorgond up')}"
        with self._log.open("wb") as log:
            running = subprocess.Popen(
                ["bash", "-c", script], cwd=self._where, env=self._environ,
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip
        try:
            eventually(lambda: "all is up" in self.written or running.poll() is not None)
            assert running.poll() is None, self.written
            yield
        finally:
            running.send_signal(signal.SIGINT)
            try:
                running.wait(HANGS)
            finally:
                running.kill()
                running.wait(timeout=60)

    @property
    def written(self) -> str:
        return self._log.read_text()

    def types(self, command: str) -> str:
        """What a command prints in the second terminal."""
        command = command.replace("localhost:3000", f"localhost:{self._port}")
        done = subprocess.run(
            ["bash", "-c", f"{self._before} && cd {self.shop}\n{command}"], env=self._environ,
            check=False, capture_output=True, text=True, timeout=HANGS,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def adds(self, number: int) -> None:
        """Add a listing to the application."""
        with (self.shop / "shop.py").open("a") as file:
            file.write(f"\n\n{self.blocks['python'][number]}")

    def saves(self, kind: str, number: int = 0) -> None:
        """Save a listing as the file that the text names."""
        file = self.shop / FILES[kind][number]
        file.parent.mkdir(exist_ok=True)
        file.write_text(self.blocks[kind][number])

    def answered(self, path: str) -> Any:
        """The value at a path; None where there is no answer."""
        answer = asked(self.address(path))
        return None if answer is None else json.loads(answer)


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    page = browser.new_page()
    said: list[str] = []
    page.on("console", lambda line: said.append(line.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    yield page
    page.close()
    assert said == []


@pytest.mark.usefixtures("redis_binary")
def test_a_reader_gets_a_shop_with_a_form_a_job_and_a_clock(page: Page, tmp_path: Path) -> None:
    reader = Reader(tmp_path)
    _, begin, add, test, at_once, account = reader.blocks["sh"]
    assert len(begin.splitlines()) <= 5
    assert {kind: len(texts) for kind, texts in reader.blocks.items()} == {
        "sh": 6,
        "python": 3,
        "html": 2,
        "css": 1,
        "js": 1,
    }
    with reader.running(begin):
        # when the first commands are run, then the application answers, and nothing else that nobody asked for
        assert reader.answered("/shop") == []
        assert reader.answered("/openapi.json")["paths"].keys() & {"/info/{uid}", "/items", "/items/{id}"} == set()
        assert "provider" not in reader.written
        made = json.loads(reader.types(add))
        [found] = reader.answered("/shop")
        assert (found["id"], found["title"], found["price"]) == (made["id"], "violin", 900)
        assert "1 passed" in reader.types(test)
        # when it has a page, then it is shown what is there, and what is typed
        reader.saves("html")
        reader.saves("css")
        reader.adds(0)
        eventually(lambda: asked(reader.address("/window")))
        page.goto(reader.address("/window"))
        page.get_by_label("Title").fill("<i>bow</i>")
        page.get_by_label("Price").fill("90")
        page.get_by_role("button").click()
        expect(page.locator("tr")).to_have_text(["<i>bow</i>90.00", "violin900.00"], timeout=WAIT)
        assert page.locator("main").evaluate("main => getComputedStyle(main).maxWidth") == "480px"
        # when it has a sale, then its page says how far it is
        reader.saves("html", 1)
        reader.saves("js")
        reader.adds(1)
        eventually(lambda: asked(reader.address("/sale")))
        page.goto(reader.address("/sale"))
        page.get_by_role("button").click()
        expect(page.locator("output")).to_have_text(re.compile("[12] of 2"), timeout=WAIT)
        expect(page.locator("output")).to_have_text("done", timeout=WAIT)
        assert page.locator("progress").evaluate("bar => bar.value") == 1
        assert sorted(each["price"] for each in reader.answered("/shop")) == [81, 810]
        # when something is counted by the clock, then it can be had at once
        reader.adds(2)
        eventually(lambda: "/worth" in reader.answered("/openapi.json")["paths"])
        enqueue, worth = at_once.strip().splitlines()
        reader.types(enqueue)
        eventually(lambda: asked(reader.address("/worth")))
        assert json.loads(reader.types(worth))["worth"] == 891
        # when it wants users, then it knows who it was, and its test passes
        source = reader.shop / "shop.py"
        text = source.read_text().replace('@app.post("/shop")', '@app.post("/shop", user="required")')
        source.write_text(
            text.replace('"price": entry.price}', '"price": entry.price, "owner": ctx.user.id if ctx.user else None}')
        )
        eventually(lambda: json.loads(reader.types(add)).get("error", {}).get("code") == 401)
        register, login, add_mine = account.replace("\\\n", " ").strip().splitlines()
        user = json.loads(reader.types(register))
        reader.types(add_mine.replace("TOKEN", json.loads(reader.types(login))["token"]))
        assert reader.answered("/shop")[0]["owner"] == user["id"]
        assert "1 passed" in reader.types(test)
    assert "Traceback" not in reader.written
