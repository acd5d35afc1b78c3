"""Who may look and who may change, and what becomes of viewers that are too many or too slow."""

from __future__ import annotations

import pytest

from gorgond.http.answers import Problem
from gorgond.http.routes import Request
from gorgond.stats.viewers import BEHIND_MAX, VIEWERS_MAX, Viewers
from gorgond.stats.visitors import SESSION, WRONG_MAX, Visitors, cookie, is_loopback

HERE, THERE = "127.0.0.1", "192.0.2.7"


def request(client: str = HERE, method: str = "GET", **headers: str) -> Request:
    named = {name.replace("_", "-"): text for name, text in headers.items()}
    return Request("id", method, "/", named, b"", 0, client)


def refusal(visitors: Visitors, asked: Request, operator: bool = True) -> int:
    """The status of the refusal; 0 when there is none."""
    try:
        (visitors.check_operator if operator else visitors.check_reader)(asked)
    except Problem as problem:
        return problem.status
    return 0


@pytest.mark.parametrize(
    ("client", "headers", "status"),
    [
        (HERE, {"Host": "localhost:3001"}, 0), ("::1", {"Host": "[::1]:3001"}, 0), (HERE, {"Host": "127.0.0.1"}, 0),
        ("::ffff:127.0.0.1", {}, 0), (THERE, {"Host": "localhost"}, 401), ("", {}, 401),
        # a page elsewhere whose name points here, and a proxy before us
        (HERE, {"Host": "evil.example:3001"}, 401), (HERE, {"Host": "localhost", "X_Forwarded_For": THERE}, 401),
        (HERE, {"Host": "[::1"}, 401),
    ],
)  # fmt: skip
def test_who_is_on_this_host_may_look(client: str, headers: dict[str, str], status: int) -> None:
    assert refusal(Visitors("secret"), request(client, **headers), operator=False) == status
    # and without a password nobody else ever may
    assert refusal(Visitors(""), request(client, **headers), operator=False) == (403 if status else 0)


def test_the_password_makes_the_operator() -> None:
    visitors = Visitors("secret")
    for client in (HERE, THERE):
        assert refusal(visitors, request(client)) == 401
        assert refusal(visitors, request(client, Authorization="Bearer wrong")) == 403
        assert refusal(visitors, request(client, Authorization="Bearer secret")) == 0
        assert refusal(visitors, request(client, "POST", Authorization="bearer secret")) == 0
    assert refusal(Visitors(""), request(Authorization="Bearer ")) == 403


def test_a_session_lasts_for_its_time_at_every_server_of_the_same_password() -> None:
    now = 1000.0
    visitors, colleague = (Visitors("secret", lambda: now) for _ in range(2))
    session = visitors.log_in(request(method="POST", X_Gorgond="stats"), "secret")
    asked = request(THERE, Cookie=f"other=1; {cookie(session).partition(';')[0]}")
    assert refusal(visitors, asked) == refusal(colleague, asked) == refusal(visitors, asked, operator=False) == 0
    assert refusal(Visitors("another", lambda: now), asked) == 401
    forged = request(Cookie=f"gorgon_stats=9{session}")
    assert refusal(visitors, forged) == 401
    now += SESSION + 1
    assert refusal(visitors, asked) == 401
    assert {"HttpOnly", "SameSite=Strict", "Path=/"} <= set(cookie(session).split("; "))


@pytest.mark.parametrize(
    "text", ["", "gorgon_stats=", "gorgon_stats=x", "gorgon_stats=1.2.3", "gorgon_stats=é.é.é", "\x00=;"]
)
def test_what_is_no_session_is_none(text: str) -> None:
    assert not Visitors("secret").is_operator(request(Cookie=text))


def test_a_page_of_another_site_cannot_use_the_session() -> None:
    visitors = Visitors("secret")
    session = visitors.log_in(request(method="POST", X_Gorgond="stats"), "secret")
    mine = cookie(session).partition(";")[0]
    assert refusal(visitors, request(method="POST", Cookie=mine)) == 403
    assert refusal(visitors, request(method="POST", Cookie=mine, X_Gorgond="stats")) == 0
    assert refusal(visitors, request(method="POST", Cookie=mine, X_Gorgond="stats", Sec_Fetch_Site="same-origin")) == 0
    assert refusal(visitors, request(method="POST", Cookie=mine, X_Gorgond="stats", Sec_Fetch_Site="cross-site")) == 403
    # nor log its own visitor in
    with pytest.raises(Problem, match="X-Gorgond"):
        visitors.log_in(request(method="POST"), "secret")


def test_guessing_is_slow() -> None:
    now = 0.0
    visitors = Visitors("secret", lambda: now)
    for _ in range(WRONG_MAX):
        assert refusal(visitors, request(THERE, Authorization="Bearer guess")) == 403
    assert refusal(visitors, request(THERE, Authorization="Bearer secret")) == 429
    assert refusal(visitors, request(HERE, Authorization="Bearer secret")) == 0
    now += 60
    assert refusal(visitors, request(THERE, Authorization="Bearer secret")) == 0


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


def test_every_viewer_gets_the_same() -> None:
    viewers, clients = Viewers(), [Client() for _ in range(3)]
    for client in clients:
        viewers.answer().begin(client)
    viewers.send("picture", b'{"a":1}')
    assert {client.got for client in clients} == {b'event: picture\ndata: {"a":1}\n\n'}
    # and who comes later begins with the newest
    assert viewers.answer().body == b'retry: 1000\n\nevent: picture\ndata: {"a":1}\n\n'
    # and when it ends, it ends for all
    viewers.close()
    assert all(client.gone for client in clients)


def test_too_many_and_too_slow_viewers() -> None:
    viewers, clients = Viewers(), [Client() for _ in range(VIEWERS_MAX)]
    for client in clients:
        viewers.answer().begin(client)
    with pytest.raises(Problem) as refused:
        viewers.answer()
    assert refused.value.status == 503
    assert "Retry-After" in refused.value.headers
    # when one goes and another does not take what it is sent, then there is room again
    clients[0].gone, clients[1].unsent = True, BEHIND_MAX + 1
    viewers.send("picture", b"{}")
    assert clients[1].gone
    assert len(viewers) == VIEWERS_MAX - 2
