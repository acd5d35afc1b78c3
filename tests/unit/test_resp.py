"""RESP2: what hiredis reads and packs, we read and pack the same without it."""

from __future__ import annotations

import random
from typing import Any

import pytest
from redis.exceptions import InvalidResponse, ResponseError

from gorgond.redpill.resp import PurePython, Reader, pack, pack_plainly, reader

ANSWERS: list[tuple[bytes, Any]] = [
    (b"+OK\r\n", b"OK"),
    (b":-12\r\n", -12),
    (b"$-1\r\n", None),
    (b"$0\r\n\r\n", b""),
    (b"$7\r\na\r\n\x00\xffb+\r\n", b"a\r\n\x00\xffb+"),
    (b"*-1\r\n", None),
    (b"*0\r\n", []),
    (b"*3\r\n:1\r\n*2\r\n$1\r\na\r\n*0\r\n$-1\r\n", [1, [b"a", []], None]),
    (b"*2\r\n*1\r\n*1\r\n:7\r\n+x\r\n", [[[7]], b"x"]),
    (b"$300000\r\n" + b"x" * 300_000 + b"\r\n", b"x" * 300_000),
]


@pytest.fixture(params=["installed", "plain"])
def made(request: pytest.FixtureRequest) -> Reader:
    return reader() if request.param == "installed" else PurePython()


def all_of(made: Reader, data: bytes, cut: random.Random) -> list[Any]:
    """What it reads when the bytes come in pieces."""
    found: list[Any] = []
    while data:
        size = cut.choice((1, 2, 3, 10, 1000, 100_000))
        made.feed(data[:size])
        data = data[size:]
        while (answer := made.gets()) is not False:
            found.append(answer)
    return found


@pytest.mark.parametrize("seed", range(20))
def test_answers_in_pieces_are_whole_and_in_order(made: Reader, seed: int) -> None:
    cut = random.Random(seed)
    answers = cut.sample(ANSWERS, len(ANSWERS))
    data = b"".join(raw for raw, _ in answers)
    assert all_of(made, data, cut) == [answer for _, answer in answers]


def test_an_error_is_an_answer_with_what_redis_says(made: Reader) -> None:
    made.feed(b"-NOPERM not you\r\n*2\r\n-ERR no\r\n:1\r\n")
    refused, (wrong, one) = made.gets(), made.gets()
    assert (type(refused), str(refused)) == (ResponseError, "NOPERM not you")
    assert (type(wrong), str(wrong), one) == (ResponseError, "ERR no", 1)
    assert made.gets() is False


@pytest.mark.parametrize("nonsense", [b"\x15\x03\x01\r\n", b"HTTP/1.1 400\r\n", b":x\r\n", b"$y\r\n"])
def test_what_is_no_answer_is_told(made: Reader, nonsense: bytes) -> None:
    made.feed(nonsense)
    with pytest.raises(InvalidResponse):
        made.gets()


@pytest.mark.parametrize(
    "command",
    [["PING"], ("EVALSHA", "0" * 40, 2, "gorgon:{ä}", b"\xff\r\n", -1, 2**40), ["RPUSH", "k", *[b"x" * 99] * 999]],
)
def test_a_command_is_packed_the_same(command: Any) -> None:
    assert pack(command) == pack_plainly(command)
    assert pack_plainly(["SET", "ä", 7]) == b"*3\r\n$3\r\nSET\r\n$2\r\n\xc3\xa4\r\n$1\r\n7\r\n"


def test_no_text_with_half_a_surrogate_is_sent() -> None:
    for packing in (pack, pack_plainly):
        with pytest.raises(UnicodeEncodeError):
            packing(["\ud800"])
