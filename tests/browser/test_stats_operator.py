"""What the operator does on the stats page with many dead letters and with queues; and that all of it can be seen."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import expect

from gorgond.redpill import Message, Producer, connect
from tests.browser.fabric import Fabric, apart
from tests.browser.test_stats_dead import counts, drop_letters, log_in, looking
from tests.browser.viewer import Viewer
from tests.waiting import eventually

View = Callable[..., Viewer]
CUT = "[...document.querySelectorAll('.scroll')].filter((it) => it.scrollWidth > it.clientWidth + 1)"
IDS = [f"1a20aa6bf7600000{number:03}" for number in range(4)]


async def _push(url: str) -> None:
    async with Producer(connect(url), "test") as producer:
        await producer.push("store_put", *(Message("items.nonsense", {}, id=id) for id in IDS))


async def _resume(url: str) -> None:
    async with looking(url) as link:
        await link.resume("store_put")


@pytest.fixture
def letters(fabric: Fabric) -> Iterator[None]:
    """Four messages with ids that nobody could do."""
    apart(_push(fabric.redis.url))
    eventually(lambda: counts(fabric).dead == len(IDS))
    yield
    apart(drop_letters(fabric.redis.url))


@pytest.mark.usefixtures("letters")
@pytest.mark.parametrize("width", [1280, 768, 390])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_is_off_the_side(view: View, width: int, scheme: str) -> None:
    page = log_in(view(width=width, color_scheme=scheme), len(IDS))
    expect(page.find("#readout")).not_to_be_empty()
    # then the page is as wide as the window, with dead letters too, and nobody is kept from it
    assert page.page.evaluate("document.documentElement.scrollWidth") == width
    assert page.barriers() == []
    # and on a desk no column is cut off, whichever figures of the queues are shown
    for choice in ("all", "now") if width == 1280 else ():
        page.find(f"#queues-view input[value={choice}]").check()
        assert page.page.evaluate(f"{CUT}.map((it) => it.getAttribute('aria-labelledby'))") == []
    # and where there is less room each row is whole
    if width < 900:
        assert page.page.evaluate(f"{CUT}.map((it) => it.getAttribute('aria-labelledby'))") == []
    letters = "document.querySelector('#letters').parentElement"
    assert width == 1280 or page.page.evaluate(f"{letters}.scrollWidth - {letters}.clientWidth") <= 1
    # nothing that is said of an instance or a letter is cut
    short = "[...document.querySelectorAll('td.fill')].filter((it) => it.scrollWidth > it.clientWidth + 1).length"
    assert page.page.evaluate(short) == 0
    assert page.find("td.fill").first.evaluate("(it) => getComputedStyle(it).textOverflow") == "clip"


@pytest.mark.usefixtures("letters")
def test_the_operator_requeues_and_drops_all(page: Viewer, fabric: Fabric) -> None:
    log_in(page, len(IDS))
    before = counts(fabric)
    # when all are put back
    page.find("#requeue-all").click()
    # then each is tried once more, and dies again
    page.sees("#dead-said", "4 letters of store_put are back in the queue")
    eventually(lambda: (now := counts(fabric)).requeued == before.requeued + 4 and now.dead == 4)
    # when all are to be dropped, and kept after all
    at = fabric.picture["at"]
    eventually(lambda: fabric.picture["at"] > at + 2500)  # the page's figures are of after that, too
    expect(page.find("#letters tbody tr")).to_have_count(len(IDS))
    page.find("#drop-all").click()
    page.sees("#sure-title", "Drop 4 dead letters of store_put?")
    page.page.get_by_role("button", name="Keep them").click()
    assert counts(fabric).dead == 4
    # and when that is meant
    page.find("#drop-all").click()
    page.find("#sure-yes").click()
    # then they are gone
    page.sees("#dead-said", "4 letters of store_put are dropped")
    assert counts(fabric).dead == 0
    expect(page.find("#letters")).to_be_hidden()


@pytest.mark.usefixtures("letters")
def test_a_letter_is_found_by_its_id_and_all_are_exported(page: Viewer) -> None:
    log_in(page, len(IDS))
    # when one is looked for
    page.find("#dead-id").fill(IDS[2])
    page.page.keyboard.press("Enter")
    # then it alone is there, and what is for all is not
    expect(page.find("#letters tbody tr")).to_have_count(1)
    page.sees("#letters tbody tr", IDS[2])
    expect(page.find("#dead-all")).to_be_hidden()
    # and one that nobody knows is told
    page.find("#dead-id").fill("nobody")
    page.page.keyboard.press("Enter")
    page.sees("#dead-said", "store_put has none that speaks of nobody")
    # when the box is emptied, then all are there, and are a file of a line each
    page.find("#dead-id").fill("")
    page.page.keyboard.press("Enter")
    expect(page.find("#letters tbody tr")).to_have_count(4)
    with page.page.expect_download() as download:
        page.find("#dead-export").click()
    lines = [json.loads(line) for line in download.value.path().read_text().splitlines()]
    assert sorted((line["id"], line["op"], line["queue"]) for line in lines) == [  # they died in any order
        (id, "items.nonsense", "store_put") for id in IDS
    ]
    assert all(json.loads(line["message"])["id"] == line["id"] for line in lines)


@pytest.mark.usefixtures("letters")
def test_the_operator_pauses_a_queue(page: Viewer, fabric: Fabric) -> None:
    # given somebody who is not the operator, who sees no button for it
    page.sees("#queues", "store_put")
    assert page.page.get_by_role("button", name="Pause store_put").count() == 0
    log_in(page, len(IDS))
    try:
        # when the operator pauses it
        page.page.get_by_role("button", name="Pause store_put").click()
        # then they are asked whether that is meant
        page.sees("#sure-title", "Pause store_put?")
        page.sees("#sure-text", "wait until their deadline")
        assert page.barriers() == []
        page.page.get_by_role("button", name="Let it run").click()
        assert not counts(fabric).paused
        # and when it is, that is said, and so it is
        page.page.get_by_role("button", name="Pause store_put").click()
        page.find("#sure-yes").click()
        page.sees("#queues-said", "store_put is paused")
        page.verdict("store_put is paused, with")
        assert counts(fabric).paused
        # until it is resumed
        page.page.get_by_role("button", name="Resume store_put").click()
        page.sees("#queues-said", "store_put is resumed")
        assert not counts(fabric).paused
    finally:
        apart(_resume(fabric.redis.url))


@pytest.mark.usefixtures("letters")
def test_each_column_is_explained_where_it_stands(page: Viewer) -> None:
    log_in(page, len(IDS))
    for table in ("spans-table", "queues", "instances", "redis", "letters"):
        heads = page.find(f"#{table} thead th:not(:has(.unseen))").all()[
            0 if table in ("spans-table", "redis") else 1 :
        ]
        names = [head.inner_text() for head in heads]
        # then each has it at the pointer, and in the list below the table
        assert all(head.get_attribute("title") for head in heads), table
        help = page.page.locator(f".scroll:has(#{table}) + details.help")
        help.locator("summary").click()
        assert [name for name in names if name not in help.locator("dt").all_inner_texts()] == []
    assert page.barriers() == []
    # and what is paused by the button on top
    assert page.find("#pause").get_attribute("title") == "The page keeps what it shows; the fabric goes on"


def test_all_six_figures_begin_with_the_minute_before(page: Viewer, fabric: Fabric) -> None:
    # given a stats server that has looked at the queues for a while
    rows = eventually(lambda: len(page.page.request.get(f"{fabric.stats_url}/api/lately.json").json()["rows"]) > 20)
    assert rows
    # when the page is opened
    page.page.reload()
    # then each line has more points than the page has heard figures
    points = (
        "[...document.querySelectorAll('#tiles .line')].map((it) => (it.getAttribute('d') ?? '').split('L').length)"
    )
    eventually(lambda: min(page.page.evaluate(points)) > 20)


def test_figures_are_files_too_and_the_documentation_is_there(page: Viewer, fabric: Fabric) -> None:
    page.verdict("All is well")
    # then what is shown can be had as tables
    page.find("#spans input[value=hour]").check()
    for link, first in (
        ("#as-csv", "at,seconds,count,errors,bytes,p50,p95,p99,max"),
        ("[href='api/queues.csv']", "name,queued,in_flight,delayed,dead,died,oldest"),
        ("[href='api/instances.csv']", "name,role,instance,host,machine,pid,state"),
    ):
        with page.page.expect_download() as download:
            page.find(link).click()
        assert download.value.path().read_text().startswith(first)
    assert page.find("#as-csv").get_attribute("href") == "api/history.csv?span=hour"
    # and each link leads to a text
    for leads in page.find("nav a").all():
        answer = page.page.request.get(f"{fabric.stats_url}/{leads.get_attribute('href')}")
        assert answer.status == 200
        href = str(leads.get_attribute("href"))
        assert re.match("text/html" if href.endswith(".md") else "text/plain", answer.headers["content-type"])
    # the documentation with links that lead on
    page.page.goto(f"{fabric.stats_url}/docs/stats.md")
    page.page.get_by_role("link", name="operations.md").first.click()
    page.sees("main", "Operations")
    assert page.barriers() == []
