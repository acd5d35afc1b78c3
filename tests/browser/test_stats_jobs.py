"""Jobs on the stats page: by name, found by what they say, retried, dropped and paused by the operator."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from gorgond.testing import RunningFabric, serving
from tests.browser.fabric import PASSWORD
from tests.browser.viewer import Viewer
from tests.conftest import RedisServer
from tests.integration import jobbing
from tests.programs import asked, started
from tests.waiting import eventually
from tools.speed.ports import free_port

WAYS = [(1440, "light"), (390, "dark")]


@pytest.fixture(scope="module")
def site(module_redis: RedisServer) -> Iterator[RunningFabric]:
    with serving("tests.integration.jobbing", broker__url=module_redis.url) as site:
        yield site


@pytest.fixture(scope="module")
def stats_url(module_redis: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A stats server at the same Redis."""
    port = free_port()
    variables = {
        "GORGOND_BROKER_URL": module_redis.url,
        "GORGOND_STATS_PORT": str(port),
        "GORGOND_STATS_PASSWORD": PASSWORD,
        "GORGOND_STATS_OPEN": "local",
    }
    output: Path = tmp_path_factory.mktemp("stats") / "stats"
    with started("stats", "--instance", "1", output=output, **variables):
        url = f"http://127.0.0.1:{port}"
        eventually(lambda: asked(f"{url}/healthz"))
        yield url


@pytest.fixture
def _told(expected_logs: Callable[[str], None]) -> None:
    """Jobs that fail are told."""
    expected_logs("jobbing.* failed|gives up")


@pytest.mark.usefixtures("_told")
@pytest.mark.parametrize(("width", "scheme"), WAYS)
def test_the_operator_finds_jobs_and_settles_them(
    browser: Browser, site: RunningFabric, stats_url: str, width: int, scheme: str
) -> None:
    # given jobs of which some have failed
    kept = site.enqueue(jobbing.note, what=f"kept at {width}")
    broken = [site.enqueue(jobbing.fail, until=width + number) for number in (100, 200)]
    assert [site.job(id)["state"] for id in (kept, *broken)] == ["done", "failed", "failed"]
    page = Viewer(browser, stats_url, {"width": width, "color_scheme": scheme})
    try:
        # then they are told by their names
        row = page.find("#jobs tbody tr").filter(has=page.page.get_by_role("rowheader", name="jobbing.fail"))
        failed = row.locator("td[data-name=Failed]")
        expect(failed).to_have_text("2")
        expect(row.locator("td[data-name=Work]")).to_contain_text("s")  # µs or ms, when it was heard of
        expect(page.find("#jobs-search")).to_be_hidden()
        # when the operator looks for one of them
        page.find("#to-log-in").click()
        page.find("#password").fill(PASSWORD)
        page.page.keyboard.press("Enter")
        page.find("#jobs-text").fill(str(width + 100))
        page.find("#jobs-text").press("Enter")
        # then it is found, with the reason
        expect(page.find("#jobs-found tbody tr")).to_have_count(1)
        page.sees("#jobs-found", "it is broken")
        assert page.barriers() == []
        assert page.page.evaluate("document.documentElement.scrollWidth") == width
        # and is retried, once it was selected
        page.find("#jobs-retry").click()
        page.sees("#jobs-said", "Select some first")
        page.find("#jobs-found input").check()
        page.find("#jobs-retry").click()
        page.sees("#jobs-said", "1 job begun anew")
        again = [["fail", width + 100, attempt] for attempt in (1, 2, 3)] * 2
        eventually(lambda: [each for each in site.get("/ran").json if each[:2] == ["fail", width + 100]] == again)
        # and all that failed are dropped
        page.find("#jobs-text").fill("")
        page.find("#jobs-state").select_option("failed")
        eventually(lambda: site.job(broken[0])["state"] == "failed")
        page.find("#jobs-text").press("Enter")
        for id in broken:
            page.page.get_by_label(f"Select {id}").check()
        page.find("#jobs-drop").click()
        page.find("#sure-yes").click()
        page.sees("#jobs-said", "2 jobs dropped")
        expect(failed).to_have_text("0")
        # and a job is paused, and goes on
        row.get_by_role("button").click()
        page.find("#sure-yes").click()
        page.sees("#jobs-said", "jobbing.fail is paused")
        expect(row.get_by_role("button")).to_have_text("Resume")
        row.get_by_role("button").click()
        page.sees("#jobs-said", "jobbing.fail is resumed")
    finally:
        page.close()
