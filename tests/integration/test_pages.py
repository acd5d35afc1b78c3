"""An application with pages: templates and static files of its folder, forms that browsers send, errors for people."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from gorgond.testing import RunningFabric, serving

MODULE = """
from dataclasses import dataclass
from gorgond import App, BadRequest, Response

app = App("trial")


@dataclass
class Entry:
    title: str
    price: float = 0.0


@app.get("/trial", user="optional")
async def page(ctx):
    found = await ctx.store.find("trial", sort="-ts")
    return Response({"found": found}, template="trial.html", headers={"Referrer-Policy": "no-referrer"})


@app.form("/trial")
async def add(ctx, entry: Entry):
    await ctx.store.insert("trial", {"title": entry.title, "price": entry.price})
    return Response.see_other("/trial")


@app.form("/trial/clear", user="required")
async def clear(ctx):
    for each in await ctx.store.find("trial"):
        await ctx.store.delete("trial", each["id"])
    return Response.see_other("/trial")


@app.get("/trial/shared", origins=["https://shop.example"])
async def shared(ctx, n: int = 1):
    if not n:
        raise BadRequest("n", "must not be 0")
    return Response([n], headers={"X-More": "true"})


@app.form("/trial/shared", origins=["https://shop.example"])
async def wish(ctx):
    return None


@app.delete("/trial/shared")
async def unshared(ctx):
    return None


@app.put("/trial", user="required")
async def mine(ctx):
    return ctx.user.name
"""
TEMPLATE = """<link rel="stylesheet" href="{{ static("site.css") }}">
{% for each in found %}<li>{{ each["title"] }}</li>{% end %}<p>{{ user.name if user else "nobody" }}</p>
"""
PAGE = {"Accept": "text/html,*/*"}
THEIRS = {"Sec-Fetch-Site": "cross-site"}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningFabric]:
    top = tmp_path_factory.mktemp("pages")
    for name, text in {
        "trial_pages.py": MODULE,
        "templates/trial.html": TEMPLATE,
        "static/site.css": "p {}",
        "static/.env": "secret",
    }.items():
        path = top / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(top))
        with serving("trial_pages", web__api="off") as site:
            yield site


def test_a_form_is_stored_and_its_page_shows_it(site: RunningFabric) -> None:
    # when a form is sent
    done = site.submit("/trial", {"title": "<b>violin</b>", "price": ""})
    # then the browser is sent on, to a page that shows what it did
    assert (done.status, done.headers["location"]) == (303, "/trial")
    page = site.get("/trial")
    assert (page.status, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert "<li>&lt;b&gt;violin&lt;/b&gt;</li>" in page.body.decode()
    assert "<p>nobody</p>" in page.body.decode()
    assert "<p>anna</p>" in site.get("/trial", user=site.user("anna")).body.decode()
    # and nobody keeps it, or shows it within a page of theirs
    assert page.headers["cache-control"] == "no-store"
    assert page.headers["content-security-policy"] == "frame-ancestors 'self'"
    assert page.headers["referrer-policy"] == "no-referrer"


def test_what_does_not_fit_is_told_to_people_as_a_page_and_to_programs_as_json(site: RunningFabric) -> None:
    sent = {"Content-Type": "application/x-www-form-urlencoded"}
    wrong = site.submit("/trial", {"title": "a", "price": "<free>"})
    assert (wrong.status, wrong.json["error"]["field"]) == (400, "price")
    shown = site.request("POST", "/trial", headers={**sent, **PAGE})
    assert (shown.status, shown.headers["content-type"]) == (400, "text/html; charset=utf-8")
    assert "<h1>400 Bad Request</h1>" in shown.body.decode()
    assert site.request("POST", "/trial", {"title": "a"}).status == 415
    assert site.request("GET", "/%3Cscript%3E", headers=PAGE).status == 404
    assert b"<script>" not in site.request("GET", "/<script>", headers=PAGE).body


def test_static_files_are_kept_by_their_version_and_nothing_else_is_given_out(site: RunningFabric) -> None:
    # given the address that a page has
    address = re.findall(r'href="([^"]+)"', site.get("/trial").body.decode())[0]
    # then it is kept for good, and is no news to who has it
    found = site.get(address)
    assert (found.status, found.body, found.headers["content-type"]) == (200, b"p {}", "text/css; charset=utf-8")
    assert found.headers["cache-control"] == "public, max-age=31536000, immutable"
    again = site.request("GET", address, headers={"If-None-Match": f'"other", W/{found.headers["etag"]}'})
    assert (again.status, again.body) == (304, b"")
    # and without its version it is asked for again
    assert site.get(address.partition("?")[0]).headers["cache-control"] == "no-cache"
    assert site.get("/static/trial/site.css?v=0").headers["cache-control"] == "no-cache"
    assert site.request("GET", address, headers={"If-None-Match": '"other"'}).status == 200
    # and no name leads elsewhere
    for name in (".env", "..%2ftrial_pages.py", "%2e%2e%2ftrial_pages.py", "../trial_pages.py", "other.css", "%2fetc"):
        assert site.get(f"/static/trial/{name}").status == 404, name


def test_no_page_of_another_site_sends_a_form(site: RunningFabric) -> None:
    # given a browser that is logged in
    site.user("bea")
    login = {"email": "bea@test.example", "password": "a violin in the attic", "cookie": True}
    cookie = site.post("/auth/login", login).headers["set-cookie"].partition(";")[0]
    sent = {"Content-Type": "application/x-www-form-urlencoded", "Cookie": cookie}

    def asked(path: str, method: str = "POST", **headers: str) -> int:
        names = {name.replace("_", "-"): text for name, text in headers.items()}
        return site.request(method, path, headers={**sent, **names}).status

    # then a page of ours has its form done, and nobody else's has, whoever the user is
    assert asked("/trial/clear", Sec_Fetch_Site="same-origin") == 303
    assert asked("/trial/clear", Sec_Fetch_Site="cross-site") == 403
    assert asked("/trial/clear", Sec_Fetch_Site="same-site") == 403
    assert asked("/trial/clear", Sec_Fetch_Site="none") == 403
    assert asked("/trial/clear", Origin="http://elsewhere.example") == 403
    assert asked("/trial/clear", Origin="null") == 403
    assert asked("/trial/clear", Origin="http://shop.example", Host="shop.example") == 303
    assert asked("/trial/clear") == 403
    assert site.request("POST", "/trial", headers=THEIRS).status == 403
    # and a script of our page needs no more either
    assert asked("/trial", "PUT", Sec_Fetch_Site="same-origin") == 200
    assert asked("/trial", "PUT", Sec_Fetch_Site="cross-site") == 403
    assert asked("/trial", "PUT") == 403


def test_pages_of_the_sites_that_are_declared_may_ask_and_no_others(site: RunningFabric) -> None:
    def asked(method: str, origin: str, **headers: str) -> tuple[int, dict[str, str]]:
        sent = {"Origin": origin, **{name.replace("_", "-"): text for name, text in headers.items()}}
        answer = site.request(method, "/trial/shared", headers=sent)
        return answer.status, {name: text for name, text in answer.headers.items() if name.startswith("access-control")}

    # given a page of a site that is declared, then it may read what the application answers, errors too
    friend, stranger, allowed = "https://shop.example", "https://elsewhere.example", "access-control-allow-origin"
    assert asked("GET", friend)[1] == {allowed: friend, "access-control-expose-headers": "*"}
    assert site.request("GET", "/trial/shared?n=0", headers={"Origin": friend}).headers[allowed] == friend
    assert site.request("GET", "/trial/shared").headers["vary"] == "Origin"
    # and it is told beforehand what it may ask
    status, told = asked("OPTIONS", friend, Access_Control_Request_Method="POST")
    assert (status, told[allowed], told["access-control-allow-methods"]) == (204, friend, "POST")
    assert "Authorization" in told["access-control-allow-headers"]
    assert asked("POST", friend, Sec_Fetch_Site="cross-site")[0] == 204
    # and all others nothing, nor is anything told of a method that is not shared
    assert asked("GET", stranger)[1] == {}
    assert asked("OPTIONS", stranger, Access_Control_Request_Method="POST")[1] == {}
    assert asked("OPTIONS", friend, Access_Control_Request_Method="DELETE")[1] == {}
    assert asked("POST", stranger, Sec_Fetch_Site="cross-site")[0] == 403
