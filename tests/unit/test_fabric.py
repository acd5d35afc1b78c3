"""Which brokers a process uses, and as whom."""

from __future__ import annotations

import pytest

from gorgond.config import load
from gorgond.errors import ConfigError
from gorgond.service.fabric import Fabric, connect_fabric


@pytest.mark.parametrize(
    ("url", "connected"),
    [
        ("unix:///run/b.sock", "unix://web:p%40ss@/run/b.sock"),
        ("redis://host:1", "redis://web:p%40ss@host:1"),
        ("redis://me:mine@host", "redis://me:mine@host"),
        ("memory://", "memory://"),
    ],
)
def test_user_and_password_of_the_configuration_are_used_unless_the_url_has_its_own(url: str, connected: str) -> None:
    config = load("/dev/null", {}, {"broker.url": url, "broker.user": "web", "broker.password": "p@ss"})
    assert connect_fabric(config).durable.url == connected


def test_without_a_password_the_url_stays_as_it_is() -> None:
    config = load("/dev/null", {}, {"broker.url": "redis://host", "broker.user": "web"})
    assert connect_fabric(config).durable.url == "redis://host"


def routed(route: str, **flags: str) -> Fabric:
    given = {"url": "redis://host", "route": route} | flags
    return connect_fabric(load("/dev/null", {}, {f"broker.{key}": text for key, text in given.items()}))


def test_a_route_leads_to_a_broker_of_its_own_as_the_user_of_the_others() -> None:
    fabric = routed("q=redis://a t=redis://a p=rediss://me:mine@b", user="web", password="p@ss")
    assert fabric.carrier("q", fabric.durable).url == "redis://web:p%40ss@a"
    assert fabric.carrier("q", fabric.durable) is fabric.carrier("t", fabric.calls)
    assert fabric.carrier("p", fabric.durable).url == "rediss://me:mine@b"
    assert fabric.carrier("x", fabric.durable) is fabric.durable
    assert [each.shown for each in fabric.brokers] == ["host:6379", "a:6379", "b:6379"]


def test_what_is_named_first_is_pushed_to_and_all_are_consumed() -> None:
    fabric = routed("q=main q=redis://a t=redis://b t=redis://a")
    assert fabric.carrier("q", fabric.durable) is fabric.durable
    assert [each.shown for each in fabric.holders("q", fabric.main)] == ["host:6379", "a:6379"]
    assert fabric.carrier("t", fabric.durable).shown == "b:6379"
    assert [each.shown for each in fabric.holders("t", fabric.main)] == ["host:6379", "b:6379", "a:6379"]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("q=redis://a t=redis://b", "t=redis://b q=redis://a"),
        ("q=redis://u:p@a/1", "q=redis://a/1"),
        ("q=unix://u:p@/x.sock?db=2&password=p", "q=unix:///x.sock?db=2"),
        ("q=sentinel://u:p@a,b,c/gorgon?copies=1", "q=sentinel://a,b,c/gorgon"),
    ],
)
def test_hosts_that_route_alike_say_the_same(one: str, other: str) -> None:
    assert routed(one).route == routed(other).route


def test_hosts_that_do_not_say_something_else() -> None:
    said = {
        routed(route).route
        for route in ("", "q=redis://a", "q=redis://a/1", "q=redis://b", "t=redis://a", "q=main q=redis://a")
    }
    assert len(said) == 6
    assert not any("pass" in each for each in (routed("q=redis://u:pass@a?password=pass").route,))


@pytest.mark.parametrize(
    "route",
    [
        "q", "=redis://a", "q=", "q=http://a", "q=redis://", "a/b=redis://a", "a b=redis://a", "q=redis://a q=redis://a",
        "stats=redis://a", "auth_put=redis://a", "q=MAIN",
    ],
)  # fmt: skip
def test_what_is_no_route_is_refused_and_not_shown(route: str) -> None:
    with pytest.raises(ConfigError, match=r"route cannot be this value \(not shown here\); allowed: QUEUE=URL"):
        routed(route)


@pytest.mark.parametrize(
    ("main", "url"),
    [
        ("redis://host", "redis://host"),
        ("redis://host", "redis://u:p@host"),
        ("redis://host", "redis://calls?db=0"),
        ("redis://host", "redis://HOST:6379/0"),
        ("redis://localhost", "redis://127.0.0.1"),
        ("redis://[::1]:7000/1", "redis://localhost:7000?db=1"),
        ("unix:///x.sock", "unix://u:p@/x.sock?db=0"),
        ("sentinel://a,b,c/gorgon?copies=1", "sentinel://u:p@c,b:26379,a/gorgon"),
    ],
)
def test_a_route_does_not_lead_to_a_main_broker_however_it_is_written(main: str, url: str) -> None:
    with pytest.raises(ConfigError, match="q leads to one of the two brokers without a route: main says these"):
        routed(f"q={url}", url=main, calls="redis://calls")


def test_a_route_leads_to_another_database_of_a_main_broker() -> None:
    assert routed("q=redis://host/1").routes


def test_a_route_does_not_lead_to_one_broker_twice() -> None:
    with pytest.raises(ConfigError, match="q leads to a:6379 twice: leave one of them out"):
        routed("q=redis://a q=main q=redis://u:p@a:6379")


def test_a_route_that_its_driver_cannot_read_is_told_without_its_password() -> None:
    with pytest.raises(ConfigError, match=r"\[broker\] route: the database in its address must be a number") as refused:
        routed("q=redis://u:pass/word@a")
    assert "word" not in str(refused.value).replace("passwords", "")
