"""The provider over a real Redis into a database: all arrives, once, at its rate, whatever happens on the way."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from gorgond.config import load
from gorgond.redpill import Counts, connect
from gorgond.roles.provider import DataProvider
from gorgond.roles.store import DataStore
from gorgond.service.fabric import connect_fabric
from gorgond.service.systemd import Notifier
from gorgond.stores import open_store
from gorgond.stores.contract import Query
from tests.conftest import RedisServer
from tests.programs import gorgond
from tests.waiting import eventually_async


@pytest.fixture(autouse=True)
def _no_append_only_file(expected_logs: Callable[[str], None]) -> None:
    expected_logs("loses its messages when it dies")


def provider(url: str, **settings: str) -> DataProvider:
    """The provider `random` with these settings, on that broker."""
    flags = {"broker.url": url} | {key.replace("_", ".", 1): text for key, text in settings.items()}
    return made(DataProvider, flags, "random")


def made[S](kind: Callable[..., S], flags: Mapping[str, str], instance: str) -> S:
    config = load(os.devnull, {}, flags)
    return kind(config, connect_fabric(config), instance)


async def counts(url: str) -> Counts:
    link = connect(url).link("test")
    [found] = await link.counts(["store_put"])
    await link.close()
    return found
