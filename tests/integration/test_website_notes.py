"""Notes on the website as a browser without JavaScript uses it: written, read, found, changed, deleted, private."""

from __future__ import annotations

import html
import re
from typing import Any
from urllib.parse import urlencode

import pytest

from tests.integration.browsing import Browser, hidden, note_of, somebody, uid, version, version_in
from tests.integration.website import Website


def test_a_note_is_written_changed_and_deleted(ann: Browser, browser: Browser) -> None:
    # given a note
    page = ann.send(
        "/my", title="Tea & cake", body="at four\r\nsharp", url="https://example.org/?a=1&b", keywords="tea, cake"
    )
    assert "The note is stored." in page
    # then everybody sees it, with its writer's name
    mine = uid(ann)
    for at in ("/", f"/by/{mine}", "/?keyword=tea", "/?q=cake"):
        page = browser.get(at)
        assert "Tea &amp; cake" in page, at
        assert f'<a href="/by/{mine}"><bdi>Ann ' in page
    assert 'href="https://example.org/?a=1&amp;b"' in page
    assert "Edit" not in page
    # when it is changed
    id = note_of(ann)
    assert "at four\nsharp</textarea>" in ann.get(f"/my/{id}")
    assert 'value="tea, cake"' in ann.page
    page = ann.send(f"/my/{id}", title="Tea", body="", url="", keywords="tea")
    # then what was emptied is gone
    assert "The note is changed." in page
    assert "at four" not in page
    assert "cake" not in page
    # when it is deleted, which is asked once more
    page = ann.get(f"/my/{id}/delete")
    assert "Delete this note?" in page
    assert "Tea" in page
    page = ann.send(f"/my/{id}/delete")
    assert "The note is deleted." in page
    assert "Tea" not in browser.get(f"/by/{mine}")


def test_a_note_that_does_not_fit_is_shown_again(ann: Browser) -> None:
    page = ann.send("/my", title="kept", url="javascript:alert(1)")
    assert ann.status == 400
    assert "Link: must begin with http:// or https://" in page
    assert 'name="title" value="kept"' in page
    assert re.search(r'name="url"[^>]*aria-invalid="true"', page)


def test_a_note_has_a_title(ann: Browser) -> None:
    page = ann.send("/my", title=" ", body="without")
    assert ann.status == 400
    assert "Title: must be given" in page
    assert "without</textarea>" in page


def test_what_users_write_is_text(ann: Browser, site: Website) -> None:
    # given notes whose fields would be markup, one with an address that is none of the web's
    evil = "<script>alert(1)</script>"
    ann.send("/my", title=evil, body=evil, keywords=evil)
    site.ask("POST", "/info/77", {"title": evil, "url": "javascript:alert(1)", "location": evil})
    # then nowhere is it markup, or an address
    for at in ("/", "/my", "/by/77"):
        page = ann.get(at)
        assert html.escape(evil) in page
        assert "<script>alert" not in page
        assert "javascript:" not in page


def test_a_long_note_is_read_whole_on_its_own_page(ann: Browser, browser: Browser) -> None:
    # given a note that lists cut off
    ann.send("/my", title="Long", body="the beginning " * 100 + "\n\nthe end")
    page = browser.get(f"/by/{uid(ann)}")
    assert "the end" not in page
    # when somebody goes on reading
    on = re.search(r'… <a class="more" href="([^"]+)"', page)
    assert on
    page = browser.get(on[1])
    # then it is all there, with nothing to edit it but for its writer
    assert '<p dir="auto">the end</p>' in page
    assert ">Long</h1>" in page
    assert "Edit" not in page
    assert "Edit" in ann.get(on[1])
    browser.get("/note/none")
    assert browser.status == 404


def test_of_two_tabs_the_second_is_told_and_loses_nothing(ann: Browser, site: Website) -> None:
    # given a note that is open to be edited in two tabs
    ann.send("/my", title="Plan", body="first")
    id = note_of(ann)
    other = Browser(site)
    other.cookie = ann.cookie
    form = ann.get(f"/my/{id}")
    other.get(f"/my/{id}")
    # when both save
    assert "The note is changed." in other.send(f"/my/{id}", title="Plan", body="theirs", version=version(other))
    page = ann.send(f"/my/{id}", title="My plan", body="mine", version=version_in(form))
    # then the second is told what is there now, and has what was typed
    assert ann.status == 409
    assert "was changed in the meantime" in page
    assert "mine</textarea>" in page
    assert 'value="My plan"' in page
    assert '<p dir="auto">theirs</p>' in page.partition("What is stored now")[2]
    assert "theirs" in ann.get(f"/note/{id}")
    # and saves in the knowledge of it
    ann.page = page
    ann.send(f"/my/{id}", title="My plan", body="mine", version=version(ann))
    assert "mine" in ann.get(f"/note/{id}")


def test_what_was_typed_into_a_note_that_is_gone_can_be_added_anew(ann: Browser) -> None:
    ann.send("/my", title="Plan")
    id = note_of(ann)
    form = ann.get(f"/my/{id}")
    ann.send(f"/my/{id}/delete")
    page = ann.send(f"/my/{id}", title="Plan", body="hours of work", version=version_in(form))
    assert (ann.status, "was deleted in the meantime" in page) == (404, True)
    assert "hours of work</textarea>" in page
    assert '<form class="card" method="post" action="/my">' in page


@pytest.mark.parametrize("target", ["/", "/my", "/by/5"])
@pytest.mark.parametrize("q", ["???", "w " * 17])
def test_a_search_that_is_not_understood_is_explained(ann: Browser, target: str, q: str) -> None:
    page = ann.get(f"{target}?{urlencode({'q': q, 'keyword': 'k'})}")
    assert ann.status == 400
    assert f'name="q" value="{html.escape(q)}"' in page
    assert 'name="keyword" value="k"' in page
    assert re.search(r'role="alert">Words: must be .*Letters and digits are searched for', page)


def test_keywords_are_found_whatever_their_case(browser: Browser, site: Website) -> None:
    # given notes with a keyword in several spellings, more than a page of them
    for number in range(30):
        keyword = ("Quince", "quince", "QUINCE")[number % 3]
        site.ask("POST", "/info/79", {"title": f"number {number:02}", "ts": 1000 + number, "keywords": [keyword]})
    for typed in ("quince", "Quince", "QUINCE"):
        # then each spelling finds them all, newest first, page by page
        seen, at = [], f"/?keyword={typed}"
        while at:
            page = browser.get(at)
            seen += re.findall(r">number (\d\d)<", page)
            older = re.search(r'rel="next" href="([^"]+)"', page)
            at = html.unescape(older[1]) if older else ""
        assert list(dict.fromkeys(seen)) == [f"{number:02}" for number in reversed(range(30))], typed


def test_a_word_finds_its_plural(ann: Browser) -> None:
    ann.send("/my", title="Two pomegranates")
    assert "Two pomegranates" in ann.get("/my?q=pomegranate")
    assert "Two pomegranates" in ann.get("/?q=Pomegranate")


def test_the_rules_of_passwords_are_told_before(ann: Browser, browser: Browser) -> None:
    for page in (browser.get("/register"), ann.get("/account")):
        assert "8 to 256 characters, and none of the commonest" in page
        assert re.search(r'autocomplete="new-password"[^>]* aria-describedby="rules', page)


def test_a_private_note_is_its_owners_alone(ann: Browser, browser: Browser, site: Website) -> None:
    # given a note that is private, and somebody else
    ann.send("/my", title="diary", body="zebra stripes", keywords="secret", private="on")
    id, mine = note_of(ann), uid(ann)
    bob = somebody(site, "Bob")
    # then nobody else finds it
    for reader in (browser, bob):
        for target in (
            "/",
            f"/by/{mine}",
            "/?q=zebra",
            "/?keyword=secret",
            f"/by/{mine}?q=zebra",
            "/my",
            f"/note/{id}",
        ):
            assert "diary" not in reader.get(target), target
        assert reader.status == 404
        assert "diary" not in reader.get(f"/my/{id}")
        for target in (
            f"/info/{mine}",
            f"/items/{id}",
            "/items?q=zebra",
            "/items?keyword=secret",
            f"/items?userid={mine}",
        ):
            assert b"diary" not in site.ask("GET", target, Cookie=reader.cookie).body, target
    # and its owner does
    for target in ("/my", "/my?q=zebra", "/my?keyword=secret", f"/note/{id}", f"/my/{id}"):
        assert "diary" in ann.get(target), target
    assert "Private</span>" in ann.get(f"/note/{id}")
    assert "checked" in ann.get(f"/my/{id}")
    # when it is no longer private
    ann.send(f"/my/{id}", title="diary", version=version(ann))
    # then everybody sees it
    assert "diary" in browser.get(f"/note/{id}")


def test_programs_write_private_notes_of_registered_users_alone(ann: Browser, site: Website) -> None:
    mine = uid(ann)
    token = {"Cookie": ann.cookie, "X_XSRF_Token": hidden(ann.page)}
    note = {"title": "by a program", "private": True}
    assert site.ask("POST", f"/info/{mine}", note, **token).status == 201
    assert "by a program" in ann.get("/my")
    assert b"by a program" not in site.ask("GET", f"/info/{mine}").body
    # what nobody could see is refused
    for method, target in (("POST", "/info/5"), ("PUT", "/items/nobodys")):
        assert site.ask(method, target, note).error["field"] == "private"
    assert site.ask("POST", "/info/5", {"private": "yes"}).error["field"] == "private"
    [id] = site.ask("POST", "/info/5", {"title": "anybody's"}).json["ids"]
    assert site.ask("PATCH", f"/items/{id}", {"private": True}).error["field"] == "private"
    assert site.ask("PATCH", f"/items/{id}", {"private": True, "userid": None}).error["field"] == "private"
    assert site.ask("PATCH", f"/items/{id}", {"private": False}).status == 200


@pytest.mark.parametrize("owner", [5, None])
def test_a_private_note_is_given_to_nobody_by_accident(ann: Browser, site: Website, owner: int | None) -> None:
    # given a private note, which would be everybody's to read if it were no registered user's
    token = {"Cookie": ann.cookie, "X_XSRF_Token": hidden(ann.page)}
    [id] = site.ask("POST", f"/info/{uid(ann)}", {"title": "diary", "private": True}, **token).json["ids"]
    # when its owner gives it away
    given = site.ask("PATCH", f"/items/{id}", {"userid": owner}, **token)
    # then that is refused, unless she says that all may read it
    assert (given.status, given.error["field"]) == (400, "private")
    assert site.ask("GET", f"/items/{id}").status == 404
    assert site.ask("PATCH", f"/items/{id}", {"userid": owner, "private": False}, **token).status == 200
    assert site.ask("GET", f"/items/{id}").json["title"] == "diary"


def test_nobody_learns_that_there_is_a_private_note(ann: Browser, site: Website) -> None:
    # given a note that is private, and somebody else; or nobody
    ann.send("/my", title="diary", private="on")
    id = note_of(ann)
    bob = somebody(site, "Bob")
    bob.get("/my")
    for proof in ({}, {"Cookie": bob.cookie, "X_XSRF_Token": hidden(bob.page)}):

        def told(method: str, target: str, body: Any = None, *, proof: dict[str, str] = proof) -> tuple[int, str]:
            answer = site.ask(method, target, body, **proof)
            return answer.status, answer.error["message"].replace(id, "unknown")

        # when it is asked for, changed or deleted, then it is as one that was never there
        for method, body in (("GET", None), ("PATCH", {"title": "x"}), ("PATCH", {"private": True}), ("DELETE", None)):
            assert told(method, f"/items/{id}", body) == told(method, "/items/unknown", body)
        # and its id is taken, as that of anybody's note
        assert told("POST", "/info/5", {"id": id, "title": "x"})[0] == 422
        assert told("PUT", f"/items/{id}", {"title": "x"})[0] == 409
    for target in ("/note/{}", "/my/{}", "/my/{}/delete"):
        bob.get(target.format(id))
        assert bob.status == 404
    for target in ("/my/{}", "/my/{}/delete"):
        bob.get("/my")
        bob.send(target.format(id), title="x")
        first, _ = bob.status, bob.get("/my")
        bob.send(target.format("unknown"), title="x")
        assert bob.status == first, target


def test_nobody_touches_what_is_somebody_elses(ann: Browser, site: Website) -> None:
    ann.send("/my", title="mine")
    id = note_of(ann)
    bob = somebody(site, "Bob")
    for page in (bob.get(f"/my/{id}"), bob.send(f"/my/{id}", title="his"), bob.send(f"/my/{id}/delete")):
        assert bob.status in (403, 404), page
    assert "mine" in ann.get("/my")


def test_older_notes_are_on_further_pages(browser: Browser, site: Website) -> None:
    site.ask("POST", "/info/78", [{"title": f"number {number:02}", "ts": 1000 + number} for number in range(45)])
    seen, at = [], "/by/78"
    while at:
        page = browser.get(at)
        seen += re.findall(r"number (\d\d)", page)
        older = re.search(r'rel="next" href="([^"]+)"', page)
        at = html.unescape(older[1]) if older else ""
    assert seen == [f"{number:02}" for number in reversed(range(45))]
