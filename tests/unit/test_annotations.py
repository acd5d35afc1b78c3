"""What annotations of handlers allow: values, their errors, their JSON schemas."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, NotRequired, Optional, TypedDict

import pytest

from gorgond.app.annotations import BODY, kind_of
from gorgond.errors import BadRequest, ConfigError


@dataclass
class Line:
    sku: str
    number: int = 1


@dataclass
class Order:
    title: str
    lines: list[Line] = field(default_factory=list)
    note: str | None = None
    price: float = 0.0

    def __post_init__(self) -> None:
        if self.price < 0:
            raise ValueError("nobody is paid for an order")


class Point(TypedDict):
    x: int
    name: NotRequired[str]


@pytest.mark.parametrize(
    ("annotation", "value", "made"),
    [
        (int, 5, 5), (int, -(2**63), -(2**63)), (float, 3, 3.0), (float, 2.5, 2.5), (str, "ü", "ü"), (bool, True, True),
        (Any, {"a": [1]}, {"a": [1]}), (list, [1, "x"], [1, "x"]), (dict, {"a": 1}, {"a": 1}), (list[int], [1], [1]),
        (dict[str, float], {"a": 1}, {"a": 1.0}), (Optional[int], None, None), (int | None, 5, 5),  # noqa: UP045
        (int | str, "x", "x"), (Literal["a", 2], 2, 2),
        (Point, {"x": 1}, {"x": 1}), (Point, {"x": 1, "name": "p"}, {"x": 1, "name": "p"}),
        (Order, {"title": "t", "lines": [{"sku": "s"}]}, Order("t", [Line("s")])),
        (Order | None, None, None),
    ],
)  # fmt: skip
def test_what_fits_arrives(annotation: Any, value: Any, made: Any) -> None:
    found = kind_of(annotation).read(value, "x")
    assert found == made
    assert type(found) is type(made)


@pytest.mark.parametrize(
    ("annotation", "value", "field", "says"),
    [
        (int, True, "x", "must be a whole number"), (int, 5.0, "x", "must be a whole number"), (int, "5", "x", "whole"),
        (float, True, "x", "must be a number"), (str, 5, "x", "must be text"), (bool, 1, "x", "must be true or false"),
        (list[int], "abc", "x", "must be a list"), (list[int], [1, "a"], "x.1", "whole number"),
        (dict[str, int], {"a": "b"}, "x.a", "whole number"), (dict, [], "x", "must be an object"),
        (int | None, "a", "x", "must be a whole number, or null"), (Literal["a", "b"], "c", "x", "must be one of a, b"),
        (Literal[1], True, "x", "must be one of 1"),
        (Point, {}, "x.x", "must be given"), (Point, {"x": 1, "y": 2}, "x.y", "not known here; allowed are x, name"),
        (Order, 5, "x", "must be an object"), (Order, {"lines": []}, "x.title", "must be given"),
        (Order, {"title": "t", "lines": [{"sku": 1}]}, "x.lines.0.sku", "must be text"),
        (Order, {"title": "t", "price": -1}, "x", "nobody is paid for an order"),
        (Order | None, {"title": 5}, "x.title", "must be text"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_told_by_its_field(annotation: Any, value: Any, field: str, says: str) -> None:
    with pytest.raises(BadRequest) as bad:
        kind_of(annotation).read(value, "x")
    assert bad.value.field == field
    assert says in bad.value.allowed


def test_fields_of_the_body_are_called_by_their_own_name() -> None:
    with pytest.raises(BadRequest, match=r"^title: must be given"):
        kind_of(Order).read({}, BODY)
    with pytest.raises(BadRequest, match=r"^body: must be an object"):
        kind_of(Order).read([], BODY)


@pytest.mark.parametrize(
    ("annotation", "text", "made"),
    [
        (int, "-5", -5), (int, "007", 7), (float, "2", 2.0), (float, "-2.5e3", -2500.0), (str, "", ""),
        (bool, "true", True), (bool, "false", False), (int | None, "5", 5), (Literal["a", "b"], "b", "b"),
    ],
)  # fmt: skip
def test_text_in_a_path_or_a_query_is_read(annotation: Any, text: str, made: Any) -> None:
    read = kind_of(annotation).text
    assert read is not None
    assert read(text, "x") == made


@pytest.mark.parametrize(
    ("annotation", "text"),
    [
        (int, ""), (int, "1_0"), (int, " 5"), (int, "٣"), (int, "5.0"), (int, "9" * 20), (int, str(2**63)),
        (float, "nan"), (float, "1e999"), (float, "inf"), (float, ""), (float, "0x1"), (bool, "1"), (bool, "True"),
        (str, "a\0b"), (Literal["a"], "c"), (int | None, "null"),
    ],
)  # fmt: skip
def test_text_that_does_not_fit_is_refused(annotation: Any, text: str) -> None:
    read = kind_of(annotation).text
    assert read is not None
    with pytest.raises(BadRequest, match=r"^x: must be"):
        read(text, "x")


@pytest.mark.parametrize("annotation", [dict, list[int], Order, Any, Point, dict[str, int] | None])
def test_what_only_a_body_can_hold_has_no_text(annotation: Any) -> None:
    assert kind_of(annotation).text is None


@pytest.mark.parametrize("annotation", [set, tuple[int, int], object, dict[int, str], bytes, list[set[int]], "text"])
def test_what_says_nothing_about_json_is_refused(annotation: Any) -> None:
    with pytest.raises(ConfigError, match="cannot be read from JSON"):
        kind_of(annotation)


def test_the_schema_says_the_same() -> None:
    assert kind_of(Order).schema == {
        "type": "object",
        "required": ["title"],
        "additionalProperties": False,
        "properties": {
            "title": {"type": "string"},
            "lines": {"type": "array", "items": kind_of(Line).schema},
            "note": {"anyOf": [{"type": "string"}, {"type": "null"}]},
            "price": {"type": "number"},
        },
    }


def test_a_field_without_a_name_is_the_bodys() -> None:
    with pytest.raises(BadRequest) as refused:
        kind_of(Point).read({"x": 1, "": 2}, BODY)
    assert refused.value.field == BODY
