"""The website in a browser: written, found, seen as it happens, with the keyboard and on a phone."""

from __future__ import annotations

import json
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
def site(module_redis: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Website]:
    with Website(module_redis.url, tmp_path_factory.mktemp("website")) as site:
        yield site


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


def delete(viewer: Viewer) -> None:
    """Delete the note that is being edited, which is asked once more."""
    viewer.page.get_by_role("link", name="Delete this note").click()
    viewer.sees("h1", "Delete this note?")
    viewer.page.get_by_role("button", name="Delete it").click()
    viewer.sees(".said", "The note is deleted.")


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
    delete(ann)
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
    delete(ann)
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
@pytest.mark.parametrize("width", [1280, 768, 360])
def test_nothing_bars_anybody(visit: Open, width: int, scheme: str) -> None:
    ann = visit(width=width, color_scheme=scheme)
    for target in ("/", "/login", "/register"):
        look(ann, target)
    register(ann)
    write(ann, "A title " + "that goes on " * 10, "word" * 200, "one, two, " + "three" * 20)
    look(ann, "/?q=%3F")
    ann.wrong.clear()  # the console tells of 400
    for target in ("/my", "/account", "/", "/my?did=added"):
        look(ann, target)
    # a note, the form to edit it, the question whether to delete it
    edit = ann.url + str(ann.find(".actions a").first.get_attribute("href"))
    look(ann, ann.find(".note h2 a").first.get_attribute("href"))
    look(ann, edit.removeprefix(ann.url))
    look(ann, f"{edit.removeprefix(ann.url)}/delete")


def test_the_second_tab_is_told(visit: Open) -> None:
    # given a note in two tabs
    ann = visit()
    register(ann)
    write(ann, "Plan", "first")
    ann.page.get_by_role("link", name="Edit Plan").click()
    form = ann.page.url
    tab = ann.page.context.new_page()
    tab.goto(form)
    # when one saves, and then the other
    tab.locator("textarea").fill("theirs")
    tab.get_by_role("button", name="Save").click()
    expect(tab.locator(".said")).to_contain_text("The note is changed.")
    ann.page.locator("textarea").fill("mine, typed for long")
    ann.page.get_by_role("button", name="Save").click()
    # then that one reads so, has its text, and sees the other's; no barrier
    ann.sees(".said", "was changed in the meantime")
    expect(ann.page.locator("textarea")).to_have_value("mine, typed for long")
    ann.sees("section", "theirs")
    look(ann)
    ann.wrong.clear()  # the console tells of 409
    ann.page.get_by_role("button", name="Save").click()
    ann.sees(".note", "mine, typed for long")


def test_a_private_note_is_seen_by_its_owner(visit: Open) -> None:
    reader, ann = visit(), visit()
    register(ann)
    ann.page.get_by_label("Title", exact=True).fill("whispered")
    ann.page.get_by_label("Private").check()
    ann.page.get_by_role("button", name="Add the note").click()
    ann.sees(".note", "Private")
    write(ann, "said aloud")
    # when the reader's open page shows what was written after it, then it does not show it
    reader.sees("#notes", "said aloud")
    expect(reader.find("#notes").get_by_text("whispered")).to_have_count(0)


def test_an_account_is_renamed_taken_along_and_deleted(visit: Open) -> None:
    ann = visit()
    register(ann)
    write(ann, "to be taken along")
    ann.page.goto(f"{ann.url}/account")
    # another name
    ann.page.get_by_role("textbox", name="Name").fill("Ann Other")
    ann.page.get_by_role("button", name="Rename").click()
    ann.sees(".said", "The name is changed.")
    # a file with everything
    with ann.page.expect_download() as download:
        ann.page.get_by_role("link", name="Download it").click()
    found = json.loads(download.value.path().read_text())
    assert (found["user"]["name"], [note["title"] for note in found["notes"]]) == ("Ann Other", ["to be taken along"])
    # the end, with the password alone, and no barrier before it
    ann.page.get_by_text("Delete the account and all its notes").click()
    look(ann)
    ann.page.get_by_role("textbox", name="Password", exact=True).fill("not it, I fear")
    ann.page.get_by_role("button", name="Delete everything").click()
    ann.sees(".said", "Password: this is not the password")
    ann.wrong.clear()  # the console tells of 403
    ann.page.get_by_role("textbox", name="Password", exact=True).fill(PASSWORD)
    ann.page.get_by_role("button", name="Delete everything").click()
    ann.sees(".said", "The account is deleted")
    ann.page.goto(f"{ann.url}/my")
    ann.sees("h1", "Log in")


def test_right_to_left_is_read_from_the_right(visit: Open, site: Website) -> None:
    site.ask("POST", "/info/91", {"title": "مرحبا", "body": "نص"})
    reader = visit()
    reader.page.goto(f"{reader.url}/by/91")
    for selector in (".note h2", ".note .body"):
        assert reader.find(selector).evaluate("node => getComputedStyle(node).direction") == "rtl"
    assert reader.find("h1").evaluate("node => getComputedStyle(node).direction") == "ltr"


def test_log_out_is_one_word_on_a_phone(visit: Open) -> None:
    ann = visit(width=360)
    register(ann)
    box = ann.page.get_by_role("button", name="Log out", exact=True).bounding_box()
    assert box is not None
    assert box["width"] > box["height"]


def test_on_paper_there_are_notes_alone(visit: Open, site: Website) -> None:
    site.ask("POST", "/info/92", {"title": "printed", "url": "https://example.org/far"})
    reader = visit()
    reader.page.goto(f"{reader.url}/by/92")
    reader.page.emulate_media(media="print")
    for selector in (".top", ".search", "footer"):
        expect(reader.find(selector)).to_be_hidden()
    expect(reader.find(".note")).to_be_visible()
    address = reader.find(".link a").evaluate("node => getComputedStyle(node, '::after').content")
    assert "https://example.org/far" in address


def look(viewer: Viewer, target: str | None = "") -> None:
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
