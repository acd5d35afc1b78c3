"""Forms: read as the standard library reads them, and sooner."""

from __future__ import annotations

import time
from random import Random
from urllib.parse import parse_qsl

import pytest

from gorgond.http.forms import BARE_MAX, FIELDS_MAX, fields_of

PARTS = [
    b"%",
    b"=",
    b"&",
    b"+",
    b"%41",
    b"%C3%A9",
    b"%c3",
    b"a",
    b"F",
    b"0",
    b" ",
    b"\r\n",
    b"\t",
    "é".encode(),
    b"=3D",
    b"=\n",
]


@pytest.mark.parametrize("seed", range(50))
def test_a_form_is_read_as_the_standard_library_reads_it(seed: int) -> None:
    random = Random(seed)
    for _ in range(200):
        body = b"".join(random.choices(PARTS, k=random.randrange(12)))
        try:
            expected = parse_qsl(body.decode(), keep_blank_values=True, errors="strict")
        except ValueError:
            with pytest.raises(UnicodeDecodeError):
                fields_of(body)
        else:
            assert fields_of(body) == expected, body


def test_a_form_has_so_many_fields_at_most() -> None:
    assert len(fields_of(b"&".join([b"a=b"] * FIELDS_MAX))) == FIELDS_MAX
    with pytest.raises(ValueError, match="fields"):
        fields_of(b"&".join([b"a=b"] * (FIELDS_MAX + 1)))


def test_a_megabyte_of_escapes_is_read_much_sooner_than_the_standard_library_reads_it() -> None:
    # given how long that takes here and now
    body = b"body=" + b"%41" * 300_000
    started = time.perf_counter()
    expected = parse_qsl(body.decode())
    slow = time.perf_counter() - started
    # then the best of some times is a fraction of it: nobody waits a tenth of a second for it
    best = slow
    for _ in range(5):
        started = time.perf_counter()
        assert fields_of(body) == expected
        best = min(best, time.perf_counter() - started)
    assert best < slow / 4, (best, slow)


@pytest.mark.parametrize("bare", [b"%", b"%4", b"%zz"])
def test_a_megabyte_of_percent_signs_that_begin_no_escape_keeps_nobody_waiting(bare: bytes) -> None:
    # given as many as a field may have
    assert fields_of(b"body=" + bare * BARE_MAX) == [("body", bare.decode() * BARE_MAX)]
    # when there are a thousand times as many
    body = b"body=" + bare * (1_000_000 // len(bare))
    started = time.perf_counter()
    parse_qsl(body.decode())
    slow, best = time.perf_counter() - started, float("inf")
    for _ in range(5):
        started = time.perf_counter()
        with pytest.raises(ValueError, match="percent signs"):
            fields_of(body)
        best = min(best, time.perf_counter() - started)
    # then they are refused, in a fraction of the time that it takes to read them
    assert best < slow / 4, (best, slow)
