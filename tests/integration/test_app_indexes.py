"""Stores index the fields that an application declares, and run none of its code."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from gorgond.app import App
from gorgond.errors import ConfigError
from gorgond.roles import store
from gorgond.testing import serving
from tests.waiting import eventually

SHOP = """
from gorgond import App

app = App("shop")
app.collection("orders", newest=["customer"], values=["skus"])


@app.post("/orders")
async def order(ctx, body: dict) -> dict:
    await ctx.store.insert("orders", body)
    return body


@app.get("/orders/{customer:int}")
async def orders(ctx, customer: int) -> list:
    return await ctx.store.find("orders", {"customer": customer}, sort="-ts")
"""


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(store, "DECLARED", 0.1)
    (tmp_path / "ta_shop.py").write_text(SHOP)
    monkeypatch.syspath_prepend(str(tmp_path))
    return "ta_shop"


def test_an_applications_indexes_are_made(shop: str, tmp_path: Path) -> None:
    path = tmp_path / "shop.db"

    def whole() -> list[str]:
        with closing(sqlite3.connect(path)) as connection:
            if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'gorgon.indexes'").fetchone():
                return []
            rows = connection.execute('SELECT field FROM "gorgon.indexes" WHERE upto >= last ORDER BY field')
            return [field for (field,) in rows]

    # given an application that declares what its orders are found by
    with serving(shop, store__url=f"sqlite:///{path}") as site:
        assert site.post("/orders", {"customer": 5, "skus": ["a", "b"]}).status == 200
        # then the stores make an index of each
        eventually(lambda: whole() == ["customer", "skus"])
        # and what is written before and after is found
        assert site.post("/orders", {"customer": 5, "skus": ["a"]}).status == 200
        assert len(site.get("/orders/5").json) == 2


def test_an_index_goes_when_its_application_declares_it_no_more(shop: str, tmp_path: Path) -> None:
    path = tmp_path / "shop.db"

    def indexed() -> list[str]:
        with closing(sqlite3.connect(path)) as connection:
            if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'gorgon.indexes'").fetchone():
                return []
            return [field for (field,) in connection.execute('SELECT field FROM "gorgon.indexes" ORDER BY field')]

    # given an application whose orders have two indexes
    with serving(shop, store__url=f"sqlite:///{path}"):
        eventually(lambda: indexed() == ["customer", "skus"])
    # when its next version declares one of them, and then none
    for version, declared, left in (
        ("ta_shop_2", 'app.collection("orders", newest=["customer"])', ["customer"]),
        ("ta_shop_3", "", []),
    ):
        (tmp_path / f"{version}.py").write_text(
            SHOP.replace('app.collection("orders", newest=["customer"], values=["skus"])', declared)
        )
        # then the other is done away with, by stores that have never heard of it
        with serving(version, store__url=f"sqlite:///{path}"):
            eventually(lambda: indexed() == left)  # noqa: B023


@pytest.mark.parametrize(
    ("name", "fields", "named"),
    [
        ("Orders", ["a"], "Orders cannot be indexed"),
        ("orders", ["a.b"], "a.b cannot be indexed"),
        ("orders", ["id"], "id cannot be indexed"),
        ("orders", "customer", "fields are a tuple or a list"),
    ],
)
def test_what_cannot_be_indexed_is_refused_when_the_module_is_loaded(name: str, fields: list[str], named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        App("shop").collection(name, newest=fields)


def test_a_collection_is_declared_once() -> None:
    app = App("shop")
    app.collection("orders", newest=["customer"])
    with pytest.raises(ConfigError, match="twice"):
        app.collection("orders", values=["sku"])
