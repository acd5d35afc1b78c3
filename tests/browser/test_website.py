"""The website in a browser: written, found, seen as it happens, with the keyboard and on a phone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import pytest
from playwright.sync_api import Browser, expect

from tests.browser.viewer import Viewer
from tests.conftest import RedisServer
from tests.integration.website import Website

PASSWORD = "correct horse battery staple"
Open = Callable[..., Viewer]

_people = count(1)


@pytest.fixture(scope="module")
def site(redis_binary: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Website]:
    redis = RedisServer(redis_binary, tmp_path_factory.mktemp("redis"), appendonly="yes")
    redis.start()
    try:
        with Website(redis.url, tmp_path_factory.mktemp("website")) as site:
            yield site
    finally:
        redis.close()


@pytest.fixture
def visit(browser: Browser, site: Website) -> Iterator[Open]:
    """`visit(width=360)` opens the website; what goes wrong on it fails the test."""
    viewers: list[Viewer] = []

    def open_page(**options: Any) -> Viewer:
        viewers.append(Viewer(browser, f"http://localhost:{site.port}", options))
        return viewers[-1]

    yield open_page
    for viewer in viewers:
        viewer.close()


def register(viewer: Viewer) -> str:
    """Make an account: its name."""
    number = next(_people)
    name = f"Ann {number}"
    viewer.page.goto(f"{viewer.url}/register")
    viewer.page.get_by_label("Name").fill(name)
    viewer.page.get_by_label("E-mail").fill(f"browser{number}@example.org")
    viewer.page.get_by_label("Password").fill(PASSWORD)
    viewer.page.get_by_role("button", name="Register").click()
    viewer.sees("h1", "My notes")
    return name


def write(viewer: Viewer, title: str, text: str = "", keywords: str = "") -> None:
    viewer.page.goto(f"{viewer.url}/my")
    if not viewer.page.get_by_label("Title", exact=True).is_visible():
        viewer.page.get_by_text("Write a note").click()
    viewer.page.get_by_label("Title", exact=True).fill(title)
    viewer.page.get_by_label("Text", exact=True).fill(text)
    viewer.page.get_by_label("Keywords, with").fill(keywords)
    viewer.page.get_by_role("button", name="Add the note").click()
    viewer.sees(".said", "The note is stored.")


def test_somebody_registers_writes_finds_edits_and_deletes(visit: Open) -> None:
    ann = visit()
    register(ann)
    write(ann, "Sourdough", "open crumb", "bread, kitchen")
    write(ann, "Tea", "at four", "kitchen")
    # found by keyword and by word
    ann.page.goto(f"{ann.url}/my")
    ann.find(".keywords a").get_by_text("bread").click()
    expect(ann.find(".note h2")).to_have_text(["Sourdough"])
    ann.page.goto(f"{ann.url}/my")
    ann.page.get_by_role("searchbox", name="Words").fill("four")
    ann.page.get_by_role("button", name="Search").click()
    expect(ann.find(".note h2")).to_have_text(["Tea"])
    # changed, then deleted
    ann.page.get_by_role("link", name="Edit Tea").click()
    ann.page.get_by_label("Title", exact=True).fill("Coffee")
    ann.page.get_by_role("button", name="Save").click()
    expect(ann.find(".note h2")).to_have_text(["Coffee", "Sourdough"])
    ann.page.get_by_role("link", name="Edit Coffee").click()
    ann.page.get_by_role("button", name="Delete this note").click()
    expect(ann.find(".note h2")).to_have_text(["Sourdough"])


def test_a_page_that_is_open_shows_what_happens(visit: Open) -> None:
    # given a reader and a writer
    reader, ann = visit(), visit()
    name = register(ann)
    # when a note is written, changed, deleted
    write(ann, "as it happens")
    # then the reader sees each without doing anything
    note = reader.find(".note").filter(has_text="as it happens")
    expect(note).to_contain_text(name)
    ann.page.get_by_role("link", name="Edit as it happens").click()
    ann.page.get_by_label("Text", exact=True).fill("with more to say")
    ann.page.get_by_role("button", name="Save").click()
    expect(note).to_contain_text("with more to say")
    ann.page.get_by_role("link", name="Edit as it happens").click()
    ann.page.get_by_role("button", name="Delete this note").click()
    expect(note).to_have_count(0)


def test_the_keyboard_suffices(visit: Open) -> None:
    ann = visit()
    register(ann)
    ann.page.goto(ann.url)
    press = ann.page.keyboard.press
    press("Tab")
    expect(ann.page.get_by_text("Skip to the content")).to_be_focused()
    for _ in range(20):
        press("Tab")
        if ann.page.evaluate("document.activeElement.textContent") == "My notes":
            break
    press("Enter")
    ann.sees("h1", "My notes")
    ann.page.get_by_label("Title", exact=True).focus()
    ann.page.keyboard.type("typed")
    press("Enter")
    ann.sees(".note h2", "typed")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 360])
def test_nothing_bars_anybody(visit: Open, width: int, scheme: str) -> None:
    ann = visit(width=width, color_scheme=scheme)
    for target in ("/", "/login", "/register"):
        look(ann, target)
    register(ann)
    write(ann, "A title " + "that goes on " * 10, "word" * 200, "one, two, " + "three" * 20)
    for target in ("/my", "/account", "/"):
        look(ann, target)
    ann.page.goto(f"{ann.url}/my")
    ann.find(".actions a").first.click()
    look(ann)


def look(viewer: Viewer, target: str = "") -> None:
    """No barrier, nothing to be scrolled to the side, nothing asked of another host."""
    if target:
        viewer.page.goto(viewer.url + target)
    assert viewer.barriers() == []
    assert viewer.page.evaluate("document.documentElement.scrollWidth <= innerWidth"), target
    assert all(url.startswith(viewer.url) for url in viewer.asked)


def test_it_does_without_javascript(visit: Open) -> None:
    ann = visit(java_script_enabled=False)
    register(ann)
    ann.page.get_by_label("Title", exact=True).fill("no script")
    ann.page.get_by_role("button", name="Add the note").click()
    ann.sees(".note h2", "no script")
    ann.page.get_by_role("button", name="Log out").click()
    ann.sees(".top", "Log in")
