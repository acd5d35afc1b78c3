"""What tells a repeat from another write: the same content is the same, whatever is installed."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from gorgond.redpill.codec import canonical, loads
from gorgond.stores.contract import Write
from gorgond.stores.repeats import MARKS_MAX, append_marks, fingerprint, mark, same_content
from tests.waiting import HANGS

WITHOUT_ORJSON = """
import sys
sys.modules["orjson"] = None
from gorgond.redpill.codec import canonical, loads
sys.stdout.buffer.write(canonical(loads(sys.stdin.buffer.read())))
"""


def insert(**document: Any) -> Write:
    return Write("insert", "items", "a", 5, document, dated=False)


def test_json_is_the_same_with_and_without_orjson() -> None:
    # given all that JSON writers do not agree about
    text = (
        b'{"z":[1e16,1e-7,1.0,-0.0,0.1,5e-324,1.7976931348623157e308,123456789012345680.0,1],"a":{"b":1,"a":2.5},'
        b'"\xc3\xbc\xe2\x82\xac":"\\u0001\\b\\f\\n\\r\\t\\"\\\\/\xe2\x80\xa8\x7f\xf0\x9d\x84\x9e","big":9223372036854775807,'
        b'"B":true,"A":null,"e1":"1e+05","e2":[[{"x":[0.5]}],[]]}'
    )
    # when it is written by the other one
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_ORJSON], input=text, capture_output=True, check=True, timeout=HANGS
    )
    # then it is the same
    assert done.stdout == canonical(loads(text))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"a": 1}, {"a": 1.0}), ({"a": 1}, {"a": True}), ({"a": None}, {}), ({"a": "1"}, {"a": 1}),
        ({"a": 0.1}, {"a": "0x1.999999999999ap-4"}), ({"a": 0.0}, {"a": -0.0}), ({"a": ["b"]}, {"a": "b"}),
        ({"a": {"b": {"c": 1}}}, {"a": {"b": {"c": 2}}}), ({"a": 1e5}, {"a": 100000}),
    ],
)  # fmt: skip
def test_other_content_is_other(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert fingerprint(insert(**one)) != fingerprint(insert(**other))


def test_id_and_a_ts_that_is_not_the_writers_do_not_count() -> None:
    assert fingerprint(insert(x=1, id="a", ts=7)) == fingerprint(insert(x=1)) == fingerprint(insert(ts=9, x=1))
    dated = [Write("insert", "items", "a", ts, {"x": 1}) for ts in (5, 5, 6)]
    assert [fingerprint(each) for each in dated].count(fingerprint(dated[0])) == 2


def test_what_somebody_else_put_there_is_no_repeat() -> None:
    assert same_content(insert(x=1), {"x": 1, "ts": 3})
    assert not same_content(insert(x=1), {"x": b"1"})


def test_the_last_marks_are_kept() -> None:
    assert mark(insert()) is None
    one, other = (mark(Write("patch", "items", "a", 5, {}, by=by)) for by in "ab")
    assert one != other
    assert append_marks([1], None) == [1]
    assert append_marks(range(MARKS_MAX), -1) == [*range(1, MARKS_MAX), -1]
