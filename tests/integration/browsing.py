"""The website as a browser without JavaScript uses it: pages, forms, cookies; and its stream of changes."""

from __future__ import annotations

import itertools
import re
from urllib.parse import urlencode

from tests.integration.website import Answer, Connection, Website

PASSWORD = "correct horse battery staple"

_people = itertools.count()


class Browser:
    """Keeps a cookie, follows redirects, sends forms with what their page holds."""

    def __init__(self, site: Website) -> None:
        self._site = site
        self.cookie = ""
        self.page = ""
        self.status = 0

    def get(self, target: str) -> str:
        """Go there: the page."""
        return self._follow(self._ask("GET", target))

    def send(self, target: str, **fields: str) -> str:
        """Send a form with these fields, and the hidden one of the page: the page that follows."""
        hidden = re.search(r'name="_xsrf" value="([^"]*)"', self.page)
        form = {**fields, "_xsrf": hidden[1] if hidden else ""}
        return self._follow(self._ask("POST", target, urlencode(form).encode()))

    def _follow(self, answer: Answer) -> str:
        while answer.status == 303:
            answer = self._ask("GET", answer.headers["location"])
        self.status = answer.status
        self.page = answer.body.decode()
        return self.page

    def _ask(self, method: str, target: str, body: bytes | None = None) -> Answer:
        headers = {"Accept": "text/html", "Sec_Fetch_Site": "same-origin"}
        if self.cookie:
            headers["Cookie"] = self.cookie
        if body is not None:
            headers["Content_Type"] = "application/x-www-form-urlencoded"
        answer = self._site.ask(method, target, body, **headers)
        if "set-cookie" in answer.headers:
            pair, _, flags = answer.headers["set-cookie"].partition("; ")
            self.cookie = "" if "Max-Age=0" in flags else pair
        return answer


def somebody(site: Website, name: str = "Ann") -> Browser:
    """Somebody who has just registered."""
    browser, number = Browser(site), next(_people)
    email = f"{name.lower()}{number}@example.org"
    page = browser.send("/register", name=f"{name} {number}", email=email, password=PASSWORD)
    assert "<h1>My notes</h1>" in page, page
    return browser


def uid(browser: Browser) -> str:
    found = re.search(r'href="/by/(\d+)"', browser.get("/account"))
    assert found
    return found[1]


def note_of(browser: Browser) -> str:
    found = re.search(r'href="/my/([^"]+)"', browser.get("/my"))
    assert found
    return found[1]


def version(browser: Browser) -> str:
    return version_in(browser.page)


def version_in(page: str) -> str:
    found = re.search(r'name="version" value="(\d+)"', page)
    assert found
    return found[1]


def hidden(page: str) -> str:
    found = re.search(r'name="_xsrf" value="([^"]*)"', page)
    assert found
    return found[1]


class Events:
    """A connection to the stream of changes."""

    def __init__(self, site: Website, target: str, last: str = "", cookie: str = "") -> None:
        self._connection = Connection(site.port)
        headers = {"Last_Event_ID": last} if last else {}
        if cookie:
            headers["Cookie"] = cookie
        self._connection.request("GET", target, **headers)
        self._file = self._connection.socket.makefile("rb")
        assert self._file.readline() == b"HTTP/1.1 200 OK\r\n"
        while self._file.readline().strip():
            pass

    def next(self) -> dict[str, str]:
        """The next event's fields."""
        while True:
            fields: dict[str, str] = {}
            while line := self._file.readline().decode().rstrip("\n"):
                name, _, text = line.partition(": ")
                fields[name] = text
            if "event" in fields:
                return fields

    def close(self) -> None:
        self._file.close()
        self._connection.close()
