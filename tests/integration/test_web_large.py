"""What is large: lists without room for all, answers that nobody reads, bodies that are dear to read."""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import unquote

import pytest

from tests.conftest import RedisServer
from tests.integration.website import Website

UID = 7
APPLICATION = """
from gorgond import App

app = App("plain")


@app.get("/plain")
async def plain(ctx, lim: int = 25):
    return await ctx.store.find("items", sort="-ts", limit=lim)
"""
LARGE = "x" * 900_000


@pytest.fixture(scope="module")
def site(redis_binary: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Website]:
    """A site whose newest notes are twenty of 0.9 MB, and five small ones before them; with another application."""
    apps = tmp_path_factory.mktemp("apps")
    (apps / "plain.py").write_text(APPLICATION)
    server = RedisServer(redis_binary, tmp_path_factory.mktemp("redis"), appendonly="yes")
    try:
        server.start()
        with Website(server.url, tmp_path_factory.mktemp("site"), app__directory=str(apps)) as site:
            for number in range(25):
                body = LARGE if number >= 5 else "small"
                note = {"id": f"note {number}", "ts": 1000 + number, "title": "wordy", "body": body}
                assert site.ask("POST", f"/info/{UID}", note).status == 201
            yield site
    finally:
        server.close()


# ---- lists


@pytest.mark.parametrize("target", [f"/info/{UID}?lim=25", "/items?lim=25", "/items?q=wordy&lim=25"])
def test_a_list_without_room_for_all_says_so(site: Website, target: str) -> None:
    # given a list that is asked for, then it has as many as there is room for
    first = site.ask("GET", target).json
    assert (first["more"], 10 < len(first["items"]) < 20) == (True, True)
    # and the others come after them
    rest = site.ask("GET", f"{target}&off={len(first['items'])}").json
    assert "more" not in rest
    assert [note["ts"] for note in first["items"] + rest["items"]] == [1000 + n for n in reversed(range(25))]


@pytest.mark.parametrize("target", ["/", f"/by/{UID}", "/?q=wordy"])
def test_pages_always_come_and_lead_to_all(site: Website, target: str) -> None:
    found: list[str] = []
    pages = 0
    while target:
        answer = site.ask("GET", target)
        assert answer.status == 200
        page = answer.body.decode()
        found += re.findall(r'id="note-note (\d+)"', page)
        older = re.search(r'rel="next" href="([^"]+)"', page)
        target = unquote(older[1]).replace("&amp;", "&") if older else ""
        pages += 1
    assert found == [str(number) for number in reversed(range(25))]
    assert pages > 1


def test_an_applications_list_says_it_in_a_header(site: Website) -> None:
    cut, whole = site.ask("GET", "/plain"), site.ask("GET", "/plain?lim=3")
    assert (cut.headers.get("x-more"), whole.headers.get("x-more")) == ("true", None)
    assert (10 < len(cut.json) < 20, len(whole.json)) == (True, 3)
