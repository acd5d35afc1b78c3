"""Who may look and who may change, and what becomes of viewers that are too many or too slow."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from ipaddress import ip_network
from pathlib import Path

import pytest
from tornado.httputil import HTTPHeaders

from gorgond.http.answers import Problem
from gorgond.http.routes import Request
from gorgond.http.sse import BEHIND_MAX
from gorgond.stats.guesses import SLOW, WAITING_MAX, WRONG_MAX
from gorgond.stats.roster import FILE
from gorgond.stats.sessions import IDLE, LIFETIME, Sessions
from gorgond.stats.viewers import VIEWERS_MAX, Viewers
from gorgond.stats.visitors import Visitors, is_loopback

HERE, THERE, PROXY = "127.0.0.1", "192.0.2.7", "10.0.0.1"
PROXIES = (ip_network("10.0.0.0/24"),)


def request(client: str = HERE, method: str = "GET", connection: str = "", **headers: str) -> Request:
    named = HTTPHeaders({name.replace("_", "-"): text for name, text in headers.items()})
    return Request("id", method, "/", named, b"", 0, client, connection=connection or client)


def by_https(**headers: str) -> Request:
    """A request that a trusted proxy got by https."""
    return request(THERE, "POST", PROXY, X_Forwarded_For=THERE, X_Forwarded_Proto="https", X_Gorgond="stats", **headers)


async def refusal(visitors: Visitors, asked: Request, operator: bool = True) -> int:
    """The status of the refusal; 0 when there is none."""
    try:
        await (visitors.check_operator if operator else visitors.check_reader)(asked)
    except Problem as problem:
        return problem.status
    return 0


@pytest.fixture
def at(tmp_path: Path) -> Callable[..., Visitors]:
    """Visitors of a password, whose sessions are those of all others."""
    return lambda password="secret", **options: Visitors(password, tmp_path, **options)


At = Callable[..., Visitors]
FORWARDING = """
    Forwarded Via X-Forwarded-For X-Forwarded-Host X-Forwarded-Proto X-Forwarded-Server X-Original-Forwarded-For
    X-Real-IP True-Client-IP X-Client-IP X-Cluster-Client-IP Client-IP WL-Proxy-Client-IP CF-Connecting-IP CF-Ray
    CDN-Loop Fastly-Client-IP Fly-Client-IP X-Azure-ClientIP X-AppEngine-User-IP X-Envoy-External-Address
    X-ARR-LOG-ID X-Amzn-Trace-Id X-Remote-Addr Remote-Addr X-Remote-IP X-Remote-Host X-Client-Host X-Source-IP
"""
OURS = request(method="POST", X_Gorgond="stats")


async def log_in(visitors: Visitors, asked: Request = OURS) -> str:
    """The cookie of a new session."""
    return (await visitors.log_in(asked, "secret")).partition(";")[0]


@pytest.mark.parametrize(
    ("client", "headers", "status"),
    [
        (HERE, {"Host": "localhost:3001"}, 0), ("::1", {"Host": "[::1]:3001"}, 0), (HERE, {"Host": "127.0.0.1"}, 0),
        ("::ffff:127.0.0.1", {"Host": "localhost"}, 0), (THERE, {"Host": "localhost"}, 401), ("", {}, 401),
        # a page elsewhere whose name points here, nobody's name, and proxies before us
        (HERE, {"Host": "evil.example:3001"}, 401), (HERE, {"Host": "[::1"}, 401), (HERE, {}, 401),
        *((HERE, {"Host": "localhost", name: THERE}, 401) for name in FORWARDING.split()),
        (HERE, {"Host": "localhost", "User-Agent": "x", "Accept": "*/*", "X-Prometheus-Scrape-Timeout": "9"}, 0),
    ],
)  # fmt: skip
async def test_who_is_on_this_host_may_look_where_that_is_open(
    at: At, client: str, headers: dict[str, str], status: int
) -> None:
    asked = request(client, **headers)
    assert await refusal(at(local=True), asked, operator=False) == status
    # and without a password nobody else ever may
    assert await refusal(at("", local=True), asked, operator=False) == (403 if status else 0)
    # nor a proxy on this host that is one of ours
    assert await refusal(at(local=True, proxies=(ip_network("127.0.0.1"), ip_network("::1"))), asked, operator=False)
    # nor anybody, unless the administrator says so
    assert await refusal(at(), asked, operator=False) == 401


async def test_the_password_makes_the_operator(at: At) -> None:
    visitors = at()
    for client in (HERE, THERE):
        assert await refusal(visitors, request(client)) == 401
        assert await refusal(visitors, request(client, Authorization="Bearer wrong")) == 403
        assert await refusal(visitors, request(client, Authorization="Bearer secret")) == 0
        assert await refusal(visitors, request(client, "POST", Authorization="bearer secret")) == 0
    assert await refusal(at(""), request(Authorization="Bearer ")) == 403


async def test_a_session_lasts_at_every_server_of_the_same_password_until_it_is_not_used(at: At) -> None:
    now = 1000.0
    visitors, colleague = (at(clock=lambda: now) for _ in range(2))
    mine = await log_in(visitors)
    asked = request(THERE, Cookie=f"other=1; {mine}")
    for server in (visitors, colleague):
        assert await refusal(server, asked) == await refusal(server, asked, operator=False) == 0
    assert await refusal(at("another", clock=lambda: now), asked) == 401
    assert await refusal(visitors, request(Cookie=f"{mine}x")) == 401
    # it ends when it is not used
    for _ in range(3):
        now += IDLE - 1
        assert await refusal(colleague, asked) == 0
    now += IDLE
    assert await refusal(visitors, asked) == 401
    # and after its time, however often it is used
    mine, began = await log_in(visitors), now
    while now < began + LIFETIME:
        assert await refusal(visitors, request(Cookie=mine)) == 0
        now += IDLE / 2
    assert await refusal(visitors, request(Cookie=mine)) == 401


async def test_who_logs_out_has_logged_out(at: At) -> None:
    # given two sessions, and one who looks by each
    visitors, colleague = at(), at()
    mine, other = await log_in(visitors), await log_in(visitors)
    looks, looks_too = (visitors.stays(request(THERE, Cookie=cookie)) for cookie in (mine, other))
    assert looks()
    # when one logs out
    assert "Max-Age=0" in colleague.log_out(request(Cookie=mine))
    # then whoever has kept its cookie is nobody, everywhere, and sees no more
    assert await refusal(visitors, request(Cookie=mine)) == await refusal(colleague, request(Cookie=mine)) == 401
    assert not looks()
    # and the other one goes on
    assert await refusal(visitors, request(Cookie=other)) == 0
    assert looks_too()
    # and who looks without a session is not sent away
    local = request(Host="localhost", Cookie=mine)
    assert at(local=True).stays(local)()
    assert visitors.stays(request(THERE, Authorization="Bearer secret"))()


def test_what_has_ended_is_put_away(tmp_path: Path) -> None:
    now = 1000.0
    sessions = Sessions(tmp_path, "secret", lambda: now)
    for _ in range(3):
        token = sessions.begin()
        now += IDLE
    assert [each.name for each in tmp_path.iterdir()] == [sessions._file(token).name]
    # whoever reads the directory has no session by it
    assert not sessions.lasts(sessions._file(token).name)
    assert all(each.stat().st_mode & 0o777 == 0o600 for each in tmp_path.iterdir())
    # and what lies there besides is not put away
    (tmp_path / FILE).write_text("[]")
    sessions.begin()
    assert (tmp_path / FILE).exists()


async def test_over_https_the_cookie_is_for_https_and_this_host_alone(at: At) -> None:
    visitors = at(proxies=PROXIES)
    given = await visitors.log_in(by_https(), "secret")
    assert given.startswith("__Host-gorgon_stats=")
    assert {"HttpOnly", "SameSite=Strict", "Path=/", "Secure"} <= set(given.split("; "))
    mine = given.partition(";")[0]
    assert await refusal(visitors, by_https(Cookie=mine)) == 0
    # and one that somebody between has set over plain HTTP is none there
    planted = mine.removeprefix("__Host-")
    assert await refusal(visitors, by_https(Cookie=planted)) == 401
    # over plain HTTP, as far as who is trusted tells, it cannot be so
    for asked in (OURS, request(THERE, "POST", X_Gorgond="stats", X_Forwarded_Proto="https")):
        plain = await visitors.log_in(asked, "secret")
        assert plain.startswith("gorgon_stats=")
        assert "Secure" not in plain


@pytest.mark.parametrize(
    "text", ["", "gorgon_stats=", "gorgon_stats=x", "gorgon_stats=../x", "gorgon_stats=é.é.é", "\x00=;"]
)
def test_what_is_no_session_is_none(at: At, text: str) -> None:
    assert not at().is_operator(request(Cookie=text))


async def test_a_page_of_another_site_cannot_use_the_session(at: At) -> None:
    visitors = at()
    mine = await log_in(visitors)
    for status, headers in (
        (403, {}),
        (0, {"X_Gorgond": "stats"}),
        (0, {"X_Gorgond": "stats", "Sec_Fetch_Site": "same-origin"}),
        (403, {"X_Gorgond": "stats", "Sec_Fetch_Site": "cross-site"}),
    ):
        assert await refusal(visitors, request(method="POST", Cookie=mine, **headers)) == status
    # nor log its own visitor in
    with pytest.raises(Problem, match="X-Gorgond"):
        await visitors.log_in(request(method="POST"), "secret")


async def test_guessing_is_slow_and_locks_nobody_out(at: At, monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    monkeypatch.setattr("gorgond.stats.guesses.asyncio.sleep", sleep)
    now = 0.0
    visitors = at(clock=lambda: now)
    for _ in range(WRONG_MAX):
        assert await refusal(visitors, request(THERE, Authorization="Bearer guess")) == 403
    assert slept == []
    # from then on each attempt takes its time
    assert await refusal(visitors, request(THERE, Authorization="Bearer guess")) == 429
    assert slept == [SLOW]
    # and who has the password gets in: with it, logging in by the page, and by a session
    assert await refusal(visitors, request(THERE, Authorization="Bearer secret")) == 0
    mine = await log_in(visitors, request(THERE, "POST", X_Gorgond="stats"))
    assert slept == [SLOW] * 3
    assert await refusal(visitors, request(THERE, Cookie=mine)) == 0
    # others do not wait, nor that one a minute later
    assert await refusal(visitors, request(HERE, PROXY, Authorization="Bearer guess")) == 403
    now += 60
    assert await refusal(visitors, request(THERE, Authorization="Bearer guess")) == 403
    assert slept == [SLOW] * 3


async def test_guessing_is_as_slow_over_many_connections(at: At, monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[asyncio.Future[None]] = []

    async def sleep(_: float) -> None:
        slept.append(asyncio.get_running_loop().create_future())
        await slept[-1]

    monkeypatch.setattr("gorgond.stats.guesses.asyncio.sleep", sleep)
    visitors = at(clock=lambda: 0.0)
    # given a browser that is known, since the operator was logged in there
    mine = await log_in(visitors)
    known = visitors.browser(request(Cookie=mine)).partition(";")[0]
    assert visitors.browser(request(Cookie=f"{mine}; {known}")) == ""
    # when somebody guesses over a hundred connections at once
    guesses = [
        asyncio.ensure_future(refusal(visitors, request(THERE, Authorization="Bearer guess"))) for _ in range(100)
    ]
    await settle()
    # then after the first ten, one is looked at at a time, some wait, and the others are not looked at
    done = [guess.result() for guess in guesses if guess.done()]
    assert (done.count(403), done.count(429), len(slept)) == (WRONG_MAX, 100 - WRONG_MAX - WAITING_MAX, 1)
    # nor is the right one, or it could be told from the others
    assert await refusal(visitors, request(THERE, Authorization="Bearer secret")) == 429
    # meanwhile the operator logs in at the same address, in the browser that is known
    again = request(THERE, "POST", X_Gorgond="stats", Cookie=known)
    assert await visitors.log_in(again, "secret")
    # and who makes up what a browser is known by is not
    forged = f"{known[:-1]}{'0' if known[-1] != '0' else '1'}"
    assert await refusal(visitors, request(THERE, Authorization="Bearer secret", Cookie=forged)) == 429
    # and those that wait have their turns one after the other
    for turn in range(1, WAITING_MAX + 1):
        assert len(slept) == turn
        slept[-1].set_result(None)
        await settle()
    assert [guess.result() for guess in guesses].count(429) == 100 - WRONG_MAX


async def settle() -> None:
    """Let everything go on that can without anybody's doing."""
    for _ in range(20):
        await asyncio.get_running_loop().run_in_executor(None, int)


def test_loopback() -> None:
    assert all(map(is_loopback, ("127.0.0.1", "127.9.9.9", "::1", "localhost")))
    assert not any(map(is_loopback, ("", "0.0.0.0", "::", "10.0.0.1", "example.org")))


class Client:
    """The other end of a stream."""

    def __init__(self) -> None:
        self.got = b""
        self.unsent = 0
        self.gone = False

    def closed(self) -> bool:
        return self.gone

    def write(self, data: bytes) -> None:
        self.got += data

    def close(self) -> None:
        self.gone = True


def stays() -> bool:
    return True


def test_every_viewer_gets_the_same() -> None:
    viewers, clients = Viewers(), [Client() for _ in range(3)]
    for client in clients:
        viewers.answer(stays).begin(client)
    viewers.send("picture", b'{"a":1}')
    assert {client.got for client in clients} == {b'event: picture\ndata: {"a":1}\n\n'}
    # and who comes later begins with the newest
    assert viewers.answer(stays).body == b'retry: 1000\n\nevent: picture\ndata: {"a":1}\n\n'
    # and when it ends, it ends for all
    viewers.close()
    assert all(client.gone for client in clients)


def test_too_many_and_too_slow_viewers() -> None:
    viewers, clients = Viewers(), [Client() for _ in range(VIEWERS_MAX)]
    for client in clients:
        viewers.answer(stays).begin(client)
    with pytest.raises(Problem) as refused:
        viewers.answer(stays)
    assert refused.value.status == 503
    assert "Retry-After" in refused.value.headers
    # when one goes and another does not take what it is sent, then there is room again
    clients[0].gone, clients[1].unsent = True, BEHIND_MAX + 1
    viewers.send("picture", b"{}")
    assert clients[1].gone
    assert len(viewers) == VIEWERS_MAX - 2


def test_who_may_not_look_any_more_is_sent_away() -> None:
    may = True
    viewers, client, other = Viewers(), Client(), Client()
    viewers.answer(lambda: may).begin(client)
    viewers.answer(stays).begin(other)
    viewers.send("picture", b"1")
    may = False
    viewers.send("picture", b"2")
    assert client.gone
    assert b"2" not in client.got
    assert b"2" in other.got
