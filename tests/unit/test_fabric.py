"""Which brokers a process uses, and as whom."""

from __future__ import annotations

import pytest

from gorgond.config import load
from gorgond.service.fabric import connect_fabric


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
