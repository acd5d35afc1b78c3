"""Somebody who looks at the page: what they see, do, and must never see."""

from __future__ import annotations

import re
from typing import Any

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, ConsoleMessage, Locator, ViewportSize, expect

expect.set_options(timeout=60_000)  # the machine may be busy

AA = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]


class Viewer:
    """The page at `url`, in a window of `options`: width, and those of a playwright context."""

    def __init__(self, browser: Browser, url: str, options: dict[str, Any]) -> None:
        window = ViewportSize(width=options.pop("width", 1440), height=900)
        self._context = browser.new_context(viewport=window, **options)
        self.page = self._context.new_page()
        self.url = url
        self.wrong: list[str] = []  # errors and warnings on the console, exceptions
        self.asked: list[str] = []  # the URL of each request
        self.page.on("console", self._hear)
        self.page.on("pageerror", lambda error: self.wrong.append(str(error)))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.goto(f"{url}/")

    def close(self) -> None:
        """The end of the test. Fails when anything went wrong."""
        self._context.close()
        assert self.wrong == []

    def _hear(self, line: ConsoleMessage) -> None:
        if line.type in ("error", "warning"):
            self.wrong.append(line.text)

    def find(self, selector: str) -> Locator:
        return self.page.locator(selector)

    def text(self, selector: str) -> str:
        return str(self.find(selector).inner_text())

    def sees(self, selector: str, text: str | re.Pattern[str]) -> None:
        """Wait until an element says so, among other words."""
        expect(self.find(selector)).to_contain_text(text)

    def verdict(self, words: str) -> None:
        """Wait for a verdict with these words in it."""
        self.sees("#verdict", words)

    def number(self, table: str, row: str, column: str) -> float:
        """A cell of a table by the names of its row and column, without its unit."""
        heads = self.find(f"{table} thead th").all_inner_texts()
        cells = self.find(f"{table} tbody tr").filter(has=self.page.get_by_role("rowheader", name=row, exact=True))
        words = cells.first.locator("th, td").nth(heads.index(column)).inner_text()
        return float(words.replace(",", "").split()[0])

    def barriers(self) -> list[str]:
        """What axe-core finds that keeps somebody from using the page."""
        found = Axe().run(self.page, options={"runOnly": {"type": "tag", "values": AA}})
        return [
            f"{rule['id']}: {node['html'][:200]} {node.get('failureSummary', '')}"
            for rule in found.response["violations"]
            for node in rule["nodes"]
        ]
