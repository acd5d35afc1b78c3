"""Values that are hard to digest: texts, JSON, forms. All chance is the caller's."""

from __future__ import annotations

import json
from collections.abc import Callable
from random import Random
from typing import Any
from urllib.parse import quote, quote_plus

TEXTS = (
    "",
    " ",
    "\0",
    "a\0b",
    "\r\nX-Injected: 1",
    "null",
    "true",
    "0",
    "-1",
    "1e999",
    "NaN",
    "9" * 30,
    "-0",
    "0x10",
    "\u0661\u0662",
    "é" * 3,
    "\u202e\u200b\ufeff",
    "\U0001d54f" * 50,
    "\ud800",
    "a" * 129,
    "a" * 1001,
    "a" * 8001,
    "'; DROP TABLE items; --",
    "{{7*7}}",
    "${jndi:ldap://x}",
    "<script>alert(1)</script>",
    "../../../../etc/passwd",
    "%00",
    "%",
    "%zz",
    "$where",
    "[$ne]",
    '{"$gt": ""}',
    "\\",
    '"',
    "`id`",
    "|cat",
    "(((((",
    '"unbalanced',
    "AND OR NOT",
    "*",
    "a*",
    "-" * 50,
    "^",
    "NEAR(",
    "\x1b[31m",
    "\x7f",
    "ﬀ",
    "İ",
    "ß" * 200,
    "\uff21",
    "\u0301" * 100,
)
OPERATORS = (
    "$ne",
    "$gt",
    "$where",
    "$regex",
    "$in",
    "$or",
    "$expr",
    "$set",
    "$function",
    "$",
    "a.b",
    "_id",
    "__proto__",
)


def text(chance: Random) -> str:
    """A text: a known nuisance, or anything."""
    if chance.random() < 0.7:
        return chance.choice(TEXTS)
    return "".join(chr(chance.choice((chance.randrange(1, 128), chance.randrange(0x20, 0x2FFF)))) for _ in range(20))


def value(chance: Random, depth: int = 0) -> Any:
    """Anything that JSON can hold."""
    kinds: list[Callable[[], Any]] = [
        lambda: text(chance),
        lambda: chance.choice((None, True, False)),
        lambda: chance.choice((0, -1, 1, 2**31, 2**53, 2**63, -(2**63) - 1, 2**64, 10**40, chance.getrandbits(50))),
        lambda: chance.choice((0.5, -0.0, 1e308, 5e-324, 1.0)),
        lambda: [value(chance, depth + 1) for _ in range(chance.randrange(4))],
        lambda: {
            chance.choice((*OPERATORS, text(chance))): value(chance, depth + 1) for _ in range(chance.randrange(3))
        },
    ]
    return chance.choice(kinds[: 4 if depth > 3 else None])()


def encoded(value: Any) -> bytes:
    """JSON, with what is no Unicode escaped."""
    return json.dumps(value, ensure_ascii=True).encode()


def broken_json(chance: Random, good: bytes) -> bytes:
    """Bytes that are no JSON, or none that should be taken."""
    deep = chance.choice((33, 100, 5000, 100_000))
    choices: list[Callable[[], bytes]] = [
        lambda: good[: chance.randrange(len(good) + 1)],
        lambda: b"[" * deep + b"]" * deep,
        lambda: b'{"a":' * deep + b"1" + b"}" * deep,
        lambda: b"[" * deep,
        lambda: b'{"title":"a","title":"b"}',
        lambda: b'{"email":"a@b.example","email":{"$ne":null},"password":"x"}',
        lambda: b'{"x":NaN}',
        lambda: b'{"x":-Infinity,"ts":1e999}',
        lambda: b'{"ts":' + b"9" * chance.choice((20, 400, 5000)) + b"}",
        lambda: b'{"title":"\\ud800"}',
        lambda: b'{"\\udfff":1}',
        lambda: b'{"title":"\xff\xfe"}',
        lambda: b"\xef\xbb\xbf" + good,
        lambda: good.decode("latin-1").encode("utf-16"),
        lambda: b"'single'",
        lambda: good + b"garbage",
        lambda: b"\0" * 10,
        lambda: b'{"a":1,}',
        lambda: b"",
        lambda: b"[" + b"{}," * 1200 + b"{}]",
        lambda: b'{"keywords":[' + b'"k",' * 5000 + b'"k"]}',
        lambda: bytes(chance.randrange(256) for _ in range(50)),
    ]
    return chance.choice(choices)()


def percent(chance: Random, some: str) -> str:
    """A text for a path or a query: encoded well, as it is, or wrongly."""
    raw = some.encode("utf-8", "surrogatepass")
    plain = some.encode("latin-1", "ignore").decode("latin-1")
    ways = (quote(raw, safe=""), quote_plus(raw), "".join(each for each in plain if each.isprintable() and each != " "))
    return chance.choice((*ways, *ways, "%", "%F", "%FF%FE", "%00", "%C0%AF", "%ED%A0%80", "..%2f..%2f", "+"))


def form(chance: Random, names: list[str]) -> bytes:
    """A form with these fields or others."""
    pairs = [
        f"{chance.choice(names) if names else 'x'}={percent(chance, text(chance))}" for _ in range(chance.randrange(6))
    ]
    odd = ("=", "&&&", ";", "a", "%=%", "title=" + "x" * 200_000, "&".join("f=1" for _ in range(150)), "_xsrf=é")
    if chance.random() < 0.4:
        pairs.append(chance.choice(odd))
    return "&".join(pairs).encode("utf-8", "surrogatepass")
