"""JSON: what is read and written is the same with orjson and without."""

from __future__ import annotations

import importlib.util
import math
import sys
from types import ModuleType
from typing import Any

import pytest

from gorgond.redpill import codec


def _load(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The codec as it is where orjson is not installed."""
    monkeypatch.setitem(sys.modules, "orjson", None)
    spec = importlib.util.find_spec("gorgond.redpill.codec")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.dumps.__module__ == "gorgond.redpill.codec"
    assert not hasattr(module, "orjson")
    return module


@pytest.fixture(params=["installed", "without orjson"])
def json(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    return codec if request.param == "installed" else _load(monkeypatch)


VALUES: list[Any] = [
    None,
    True,
    0,
    -1,
    2**63 - 1,
    -(2**63),
    1.5,
    1e30,
    "",
    "äöü 日本 🍏",
    '"\\\n\u2028',
    [],
    {},
    [[1], {"a": {"b": None}}],
]


@pytest.mark.parametrize("value", VALUES)
def test_what_is_written_is_read_again(json: Any, value: Any) -> None:
    data = json.dumps(value)
    assert data == codec.dumps(value)
    assert json.loads(data) == value
    assert json.loads_strictly(data) == value


def test_it_is_written_without_spaces_in_utf_8(json: Any) -> None:
    assert json.dumps({"a": [1, "ü"]}) == '{"a":[1,"ü"]}'.encode()


def test_default_writes_what_json_does_not_know(json: Any) -> None:
    assert json.dumps({"a": {1}}, sorted) == b'{"a":[1]}'
    with pytest.raises(TypeError):
        json.dumps({"a": {1}})


@pytest.mark.parametrize("value", ["\ud800", {"a": "\udfff"}, {"\ud800": 1}])
def test_a_surrogate_alone_cannot_be_written(json: Any, value: Any) -> None:
    with pytest.raises((TypeError, ValueError)):
        json.dumps(value)


BAD = [
    b"", b" ", b"{", b"nonsense", b"NaN", b"[Infinity]", b"-Infinity", b"1e999", b"[-1e400]", b"01", b"+1", b"'a'",
    b"[1,]", b'{"a":1,}',
    b'{"a" 1}', b"1 2", b'"\xff"', b'"\xed\xa0\x80"', b'"\\ud800"', b'"\\udc00\\ud800"', b'{"\\uDFFF":1}', b'"\\x"',
    b'"\n"', b"\xef\xbb\xbf1",
    '"ä"'.encode("utf-16"), '"ä"'.encode("latin-1"), b"\x00",
]  # fmt: skip


@pytest.mark.parametrize("data", BAD)
def test_what_is_no_json_is_a_value_error(json: Any, data: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the words are the library's
        json.loads(data)
    with pytest.raises(ValueError):  # noqa: PT011
        json.loads_strictly(data)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b'{"a":1,"b":2,"a":1}', "the key 'a' is given twice"),
        (b'[{"\\u0061":1,"a":2}]', "the key 'a' is given twice"),
        (b"9223372036854775808", "more than 64 bits"), (b"-9223372036854775809", "more than 64 bits"),
        (b"9" * 10_000, "more than 64 bits"), (b"[" * 100_000, "nested too deeply"),
        (b'{"a":' * 100_000, "nested too deeply"),
    ],
)  # fmt: skip
def test_from_outside_it_is_read_strictly(json: Any, data: bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        json.loads_strictly(data)


def test_escapes(json: Any) -> None:
    for loads in (json.loads, json.loads_strictly):
        assert loads(b'"\\ud83c\\udf4f \\\\ud800 \\u00fc\\/"') == "🍏 \\ud800 ü/"


def test_a_small_number_is_zero(json: Any) -> None:
    for loads in (json.loads, json.loads_strictly):
        assert math.copysign(1, loads(b"-1e-999")) == -1


def test_what_is_encoded_already_is_put_in_as_it_is(json: Any) -> None:
    assert json.dumps({"a": json.encoded(b'{"b":[1,"c"]}')}) == b'{"a":{"b":[1,"c"]}}'


@pytest.mark.parametrize(
    ("value", "is_plain"),
    [
        ({"a": 1, "b": ["$", {"c": "$"}]}, True),
        ({"a": '{"$":"0x1"}', "b": '"{"$":'}, True),
        ({"a": 1.5}, False),
        ({"a": [[{"b": 0.0}]]}, False),
    ],
)
def test_canonical_json_without_floats_is_that_of_the_value(json: Any, value: Any, is_plain: bool) -> None:
    data = json.canonical(value)
    assert json.plain(data) is is_plain
    assert (json.loads(data) == value) is is_plain
