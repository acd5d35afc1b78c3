"""The stats page in Chromium, on a fabric that is well."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import expect

from tests.browser.fabric import PASSWORD, Fabric
from tests.browser.viewer import Viewer
from tests.programs import gorgond
from tests.waiting import eventually

View = Callable[..., Viewer]


def load(fabric: Fabric, seconds: int = 3) -> int:
    """So many requests were answered."""
    done = gorgond(
        "client", "--url", fabric.web_url, "--clients", "5", "--rate", "100", "--duration", str(seconds), "--json"
    )
    assert done.returncode == 0, done.stderr
    return int(json.loads(done.stdout)["answers"])


def test_it_shows_that_all_is_well(page: Viewer, fabric: Fabric) -> None:
    # then the verdict comes first, in words, and in the title
    page.verdict("All is well")
    expect(page.page).to_have_title("All is well · gorgond")
    page.sees("#news", "All is well")  # what a screen reader says
    # and each part has its figures
    page.sees("#version", fabric.picture["version"])
    page.sees("#ledger-text", "Every message is accounted for")
    page.sees("#durability", "on disk each second")
    names = {each["name"] for each in fabric.picture["instances"]}
    eventually(lambda: names <= set(page.find("#instances tbody th").all_inner_texts()))
    assert "store_get" in page.find("#queues tbody th").all_inner_texts()
    page.sees("#database-state", "up")


def test_it_asks_its_own_host_only(page: Viewer, fabric: Fabric) -> None:
    # when it has shown something, with the heat map
    page.verdict("All is well")
    expect(page.find("#readout")).not_to_be_empty()
    # then all it asked for came from here
    hosts = {urlsplit(url).netloc for url in page.asked}
    assert hosts == {urlsplit(fabric.stats_url).netloc}
    # and the browser was told to keep it so
    policy = page.page.request.get(page.url).headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy


def test_its_numbers_are_those_of_the_load(page: Viewer, fabric: Fabric) -> None:
    # given what it showed before
    page.verdict("All is well")
    before = page.number("#spans-table", "Last hour", "Requests")
    # when some hundred requests are answered
    answers = load(fabric)
    # then it shows as many more, by span and in the heat map
    eventually(lambda: page.number("#spans-table", "Last hour", "Requests") - before >= answers * 0.99)
    assert page.number("#spans-table", "Last hour", "Requests") - before == pytest.approx(answers, rel=0.01)
    assert page.number("#spans-table", "Last hour", "Failed") == 0
    page.find("#spans input[value=hour]").check()
    shown = re.compile(r"([\d,]+) in all, 0 over")

    def in_all() -> float:
        matched = shown.search(page.text("#readout"))
        return int(matched[1].replace(",", "")) - before if matched else 0

    eventually(lambda: in_all() >= answers * 0.99)
    assert in_all() == pytest.approx(answers, rel=0.01)


def test_an_operation_can_be_chosen(page: Viewer, fabric: Fabric) -> None:
    load(fabric, 1)
    # when the reads of the stores are chosen
    operation = "store store_get items.find"
    eventually(lambda: operation in page.find("#operation option").all_inner_texts())
    with page.page.expect_response(re.compile("heat.json.*of=store")) as answer:
        page.find("#operation").select_option(operation)
    # then the map is theirs
    assert answer.value.json()["of"] == operation
    page.sees("#readout", re.compile("in all"))


def test_the_heat_map_is_a_table_too(page: Viewer, fabric: Fabric) -> None:
    load(fabric, 1)
    # when it is shown as a table
    page.find("#spans input[value=hour]").check()
    page.sees("#readout", re.compile(r"[1-9][\d,]* in all"))
    page.find("#as-table").click()
    expect(page.find("#heat")).to_be_hidden()
    # then each row's cells add up to its sum
    rows = page.find("#heat-table tbody tr").all()
    sums = [[int(cell.replace(",", "")) for cell in row.locator("td").all_inner_texts()] for row in rows]
    assert all(row[0] == sum(row[1:]) for row in sums)
    assert sum(row[0] for row in sums) > 50
    # and back again
    page.find("#as-table").click()
    expect(page.find("#heat")).to_be_visible()


def test_it_can_be_paused(page: Viewer, fabric: Fabric) -> None:
    # given a page that moves
    page.verdict("All is well")
    # when it is paused
    page.find("#pause").click()
    page.sees("#live", "Paused")
    then = page.text("#at")
    # then it stands, though there is news
    at = fabric.picture["at"]
    eventually(lambda: fabric.picture["at"] > at + 2500)
    assert page.text("#at") == then
    # until it goes on
    page.find("#pause").click()
    page.sees("#live", "Live")
    eventually(lambda: page.text("#at") != then)


def test_the_keyboard_suffices(page: Viewer, fabric: Fabric) -> None:
    load(fabric, 1)
    page.verdict("All is well")
    press = page.page.keyboard.press
    focus = "document.activeElement"
    # when Tab goes through the page
    press("Tab")
    assert page.page.evaluate(f"{focus}.className") == "skip"
    seen = []
    for _ in range(12):
        press("Tab")
        seen.append(page.page.evaluate(f"{focus}.id || {focus}.value"))
        outlines = f"[{focus}, {focus}.nextElementSibling].map((it) => it ? getComputedStyle(it).outlineStyle : '')"
        assert "solid" in page.page.evaluate(outlines), f"the focus on {seen[-1]} is not seen"
        if seen[-1] == "heat":
            break
    # then all its controls are on the way, and work
    assert seen == ["pause", "theme", "operation", "minute", "as-table", "as-csv", "as-json", "heat"]
    press("ArrowLeft")
    page.sees("#readout", re.compile(r" · .* of [\d,]+ \("))
    there = page.text("#readout")
    press("ArrowUp")
    assert page.text("#readout") != there
    for _ in ("as-json", "as-csv", "as-table", "minute"):
        press("Shift+Tab")
    press("ArrowRight")
    expect(page.find("#spans input[value=hour]")).to_be_checked()
    # and Enter on the first link leads past them
    page.find(".skip").focus()
    press("Enter")
    assert page.page.evaluate(f"{focus}.id") == "figures"


@pytest.mark.parametrize(("width", "scheme"), [(360, "dark"), (1440, "light")])
def test_everybody_can_use_it(view: View, width: int, scheme: str) -> None:
    # given the page on a phone and on a desk, in dark and in light
    page = view(width=width, color_scheme=scheme)
    page.verdict("All is well")
    expect(page.find("#readout")).not_to_be_empty()
    # then nothing keeps anybody from it, contrast of WCAG AA included
    assert page.barriers() == []
    # and nothing is off the side
    assert page.page.evaluate("document.documentElement.scrollWidth") == width


@pytest.mark.parametrize("width", [360, 390, 700])
def test_no_figure_of_a_phone_lies_over_the_next(view: View, fabric: Fabric, width: int) -> None:
    # given a broker that tells how much memory it may use, as each of ours does
    fabric.redis.cli("config", "set", "maxmemory", "512mb")
    page = view(width=width)
    page.sees("#redis", "MB of 537 MB")
    # then each cell has room for what it says
    wide = "cells => cells.filter(cell => cell.scrollWidth > cell.clientWidth).map(cell => cell.innerText)"
    assert page.page.eval_on_selector_all(".rows tbody :is(th, td)", wide) == []


def test_colours_are_as_the_viewer_chose(view: View) -> None:
    # given a system that is dark
    page = view(color_scheme="dark")
    ground = "getComputedStyle(document.body).backgroundColor"
    dark = page.page.evaluate(ground)
    # when light is chosen
    page.page.get_by_role("button", name="Light colours").click()
    light = page.page.evaluate(ground)
    assert light != dark
    # then it stays so
    page.page.reload()
    assert page.page.evaluate(ground) == light


def test_nothing_moves_where_that_is_not_wanted(view: View) -> None:
    beating = "getComputedStyle(document.getElementById('live'), '::before').animationName"
    for wanted, animation in (("no-preference", "beat"), ("reduce", "none")):
        page = view(reduced_motion=wanted)
        page.sees("#live", "Live")
        assert page.page.evaluate(beating) == animation


def test_from_elsewhere_it_wants_a_password(page: Viewer, fabric: Fabric) -> None:
    # when it is asked for by a name that is not this host's own
    page.page.goto(fabric.stats_url.replace("127.0.0.1", "stats.example"))
    # then it shows nothing but the way in
    page.verdict("Log in to see the figures")
    # and after that all
    page.find("#password").fill(PASSWORD)
    page.page.keyboard.press("Enter")
    page.verdict("All is well")
    # until they log out
    page.find("#log-out").click()
    page.verdict("Log in to see the figures")
    # the browser says on its console that it was refused, and that without https some headers mean nothing
    assert [line for line in page.wrong if "401" not in line and "Cross-Origin-Opener-Policy" not in line] == []
    page.wrong.clear()


def test_who_ended_in_good_order_is_not_late(page: Viewer) -> None:
    page.verdict("All is well")
    page.find("#pause").click()
    # given an instance that has done all that it had to do, a while ago
    ended = {
        "role": "provider",
        "name": "provider@random",
        "state": "done",
        "silent": 100,
        "status": "3 items a second",
    }
    figures = {"in": 0, "out": 0, "errors": 0, "lag": 0, "clock": 0, "cpu": 0, "rss": 0, "restarts": 0, "since": 0}
    role = {**figures, "role": "provider", "done": 1}
    picture = {"at": 100_000, "roles": [role], "instances": [{**ended, **figures}]}
    page.page.evaluate("(it) => import('/static/fabric.js').then((page) => page.showInstances(it))", picture)
    # when it is shown, then nothing speaks of its last turn, nor of what it did
    row = "#instances tbody tr:not(.group)"
    page.sees(row, "provider@random")
    assert page.find("#instances td.bad").count() == 0
    assert "ago" not in page.text(row)
    assert "items" not in page.text(row)


def test_where_there_is_no_operator_it_says_how_there_is_one(page: Viewer) -> None:
    # given a stats server without a password
    page.page.route("**/api/session", lambda route: route.fulfill(json={"operator": False, "password": False}))
    page.page.reload()
    # then it is said where somebody looks for what the operator does, and nobody is asked for a password
    for where in ("#queues-said", "#dead-said"):
        page.sees(where, "there is none yet: set [stats] password")
    expect(page.find("#to-log-in")).to_be_hidden()
