"""Forms as handlers get them: texts become values by the annotations."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import pytest

from gorgond import App, Context
from gorgond.app.annotations import kind_of
from gorgond.app.forms import object_of
from gorgond.errors import BadRequest, ConfigError


@dataclass
class Order:
    title: str
    price: float = 1.0
    count: int | None = None
    size: Literal["s", "l"] = "s"
    gift: bool = True
    colours: list[str] = field(default_factory=list)


KIND = kind_of(Order)


def read(*pairs: tuple[str, str]) -> Any:
    return KIND.read(object_of(KIND, pairs), "body")


def test_what_is_typed_becomes_what_the_handler_takes() -> None:
    typed = (("title", "a"), ("price", "2.5"), ("count", "3"), ("size", "l"), ("gift", "on"))
    assert read(*typed, ("colours", "red"), ("colours", "blue")) == Order("a", 2.5, 3, "l", True, ["red", "blue"])


def test_what_is_left_empty_counts_as_not_given_but_a_text_may_be_empty() -> None:
    assert read(("title", ""), ("price", ""), ("count", ""), ("size", "")) == Order("", gift=False)
    text = "x" * 100_000  # a form has more room than an address
    assert read(("title", text)).title == text


@pytest.mark.parametrize(
    ("pairs", "wrong"),
    [
        ([], "title"),
        ([("title", "a"), ("title", "b")], "title"),
        ([("title", "a\0")], "title"),
        ([("title", "a"), ("price", "free")], "price"),
        ([("title", "a"), ("gift", "perhaps")], "gift"),
        ([("title", "a"), ("owner", "me")], "owner"),
    ],
)
def test_what_does_not_fit_is_refused_with_the_fields_name(pairs: list[tuple[str, str]], wrong: str) -> None:
    with pytest.raises(BadRequest) as bad:
        read(*pairs)
    assert bad.value.field == wrong


def test_a_handler_may_judge_the_fields_itself() -> None:
    kind = kind_of(dict[str, str])
    assert kind.read(object_of(kind, [("a", "1"), ("b", "")]), "body") == {"a": "1", "b": ""}


def test_a_form_has_no_place_for_what_has_fields_of_its_own() -> None:
    @dataclass
    class Nested:
        within: dict[str, Any]

    Nested.__annotations__["within"] = dict[str, Any]

    async def add(ctx: Context, nested: Nested) -> None: ...

    add.__annotations__["nested"] = Nested
    with pytest.raises(ConfigError, match="within cannot come from a form"):
        App("shop").form("/shop")(add)
