"""Requests as bytes, made from what /openapi.json describes. The case of a number is always the same."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any
from urllib.parse import quote

from tools.proofs.fuzzing import inputs, odd
from tools.speed.people import Person

AT_ONCE, SOON, NEVER = 0.0, 5.0, 1e9
METHODS = (
    "GET",
    "POST",
    "PUT",
    "PATCH",
    "DELETE",
    "HEAD",
    "OPTIONS",
    "TRACE",
    "CONNECT",
    "PROPFIND",
    "get",
    "G\0T",
    "",
)
NUMBERS = ("uid", "lim", "off")
JSON = "application/json"
FORM = "application/x-www-form-urlencoded"


@dataclass(frozen=True, slots=True)
class Case:
    """A request to send. `patience`: after so many seconds without an answer the client says that it sends no more,
    which for a request that is whole it never does. `input`: a 400 has to name the field. `good`: it has to be answered
    well."""

    kind: str
    data: bytes
    patience: float = NEVER
    input: bool = False
    good: bool = False


@dataclass(frozen=True, slots=True)
class Operation:
    """A method on a path, as described."""

    method: str
    path: str
    query: Sequence[str]
    fields: Sequence[str]  # of its body
    kind: str  # of its body; empty: it has none


class Cases:
    """The cases of one seed, for what `document` describes, with users whose tokens are good."""

    def __init__(self, document: Mapping[str, Any], people: Sequence[Person], seed: int) -> None:
        self._operations = list(_operations(document))
        self._people = people
        self._seed = seed
        self._kinds: dict[str, Callable[[Random], Case]] = {
            "request line": self._line,
            "headers": self._headers,
            "chunks": self._chunks,
            "JSON": self._json,
            "fields": self._fields,
            "parameters": self._parameters,
            "forms": self._forms,
            "credentials": self._credentials,
            "cut off": self._cut,
            "mutated": self._mutate,
            "pipelined": self._pipeline,
            "good": self._good,
        }

    def case(self, number: int) -> Case:
        """The case of this number."""
        chance = Random(f"{self._seed}:{number}")
        return self._kinds[list(self._kinds)[number % len(self._kinds)]](chance)

    # ---- HTTP

    def _line(self, chance: Random) -> Case:
        target = chance.choice((self._operation(chance).path, *odd.TARGETS))
        method = chance.choice(METHODS)
        version = chance.choice(
            ("HTTP/1.1", "HTTP/1.0", "HTTP/2.0", "HTTP/9.9", "HTTP/1.1 x", "http/1.1", "", "HTTP/", "ICY")
        )
        end = chance.choice(("\r\n", "\n", "\r", "\0", "\r\n\r\n"))
        space = chance.choice((" ", " ", " ", "  ", "\t"))
        junk = bytes(chance.randrange(256) for _ in range(chance.randrange(100)))
        data = f"{method}{space}{target}{space}{version}{end}Host: x\r\n\r\n".encode("latin-1")
        return Case("request line", chance.choice((data, data, data, junk)), AT_ONCE if chance.random() < 0.5 else SOON)

    def _headers(self, chance: Random) -> Case:
        header = chance.choice(odd.HEADERS)
        operation = self._operation(chance)
        body = b"{}" if operation.kind else b""
        lines = [self._start(chance, operation), "Host: x", header, "Connection: close"]
        if body and "Content-Length" not in header and "Transfer" not in header:
            lines.append(f"Content-Length: {len(body)}")
        if chance.random() < 0.5:
            lines.append(self._bearer(chance))
        return Case(
            "headers",
            "\r\n".join([*lines, "", ""]).encode("utf-8" if chance.random() < 0.5 else "latin-1", "replace") + body,
            SOON,
        )

    def _chunks(self, chance: Random) -> Case:
        operation = self._operation(chance, with_body=True)
        head = [
            self._start(chance, operation),
            "Host: x",
            "Transfer-Encoding: chunked",
            f"Content-Type: {operation.kind}",
            self._bearer(chance),
        ]
        chunks = chance.choice(odd.CHUNKS)
        return Case("chunks", "\r\n".join([*head, "", ""]).encode() + chunks, SOON)

    def _cut(self, chance: Random) -> Case:
        data = self._whole(chance, self._operation(chance))
        return Case("cut off", data[: chance.randrange(len(data))], AT_ONCE)

    def _mutate(self, chance: Random) -> Case:
        data = bytearray(self._whole(chance, self._operation(chance)))
        for _ in range(chance.randrange(1, 6)):
            at = chance.randrange(len(data))
            how = chance.randrange(3)
            if how == 0:
                data[at] = chance.randrange(256)
            elif how == 1:
                del data[at : at + chance.randrange(1, 8)]
            else:
                data[at:at] = chance.choice((b"\r\n", b"\0", b"\x80", b" ", b":", bytes(data[at : at + 20])))
            if not data:
                break
        return Case("mutated", bytes(data), SOON)

    def _pipeline(self, chance: Random) -> Case:
        several = [self._whole(chance, self._operation(chance), close=False) for _ in range(chance.randrange(2, 5))]
        return Case("pipelined", b"".join([*several, chance.choice((b"", odd.SMUGGLED))]), SOON)

    # ---- what is in a request

    def _json(self, chance: Random) -> Case:
        operation = self._operation(chance, JSON)
        body = inputs.broken_json(chance, inputs.encoded(self._body(chance, operation)))
        kind = (
            JSON
            if chance.random() < 0.9
            else chance.choice(("", "text/plain", "application/json;;", "APPLICATION/JSON", "é/é"))
        )
        return Case("JSON", self._request(chance, operation, body, kind), input=True)

    def _fields(self, chance: Random) -> Case:
        operation = self._operation(chance, JSON)
        body = self._body(chance, operation)
        for _ in range(chance.randrange(1, 3)):
            name = chance.choice((*operation.fields, *inputs.OPERATORS, inputs.text(chance)))
            body[name] = inputs.value(chance)
        whole = chance.choice((body, body, body, [body], [body, body], inputs.value(chance)))
        return Case("fields", self._request(chance, operation, inputs.encoded(whole), JSON), input=True)

    def _parameters(self, chance: Random) -> Case:
        operation = self._operation(chance)
        names = [*operation.query, "q", "lim", "q[$ne]", "__proto__", inputs.percent(chance, inputs.text(chance))]
        query = "&".join(
            f"{chance.choice(names)}={inputs.percent(chance, inputs.text(chance))}" for _ in range(chance.randrange(4))
        )
        path = re.sub(r"\{\w+\}", lambda _: inputs.percent(chance, inputs.text(chance)) or "%20", operation.path)
        body = inputs.encoded(self._body(chance, operation)) if operation.kind == JSON else b""
        target = re.sub(r"[\s\0]", "", f"{path}?{query}" if query else path)
        return Case("parameters", self._request(chance, operation, body, operation.kind, target), input=True)

    def _forms(self, chance: Random) -> Case:
        operation = self._operation(chance, FORM)
        kind = (
            FORM
            if chance.random() < 0.9
            else chance.choice((JSON, "multipart/form-data; boundary=x", "multipart/form-data"))
        )
        body = inputs.form(chance, [*operation.fields, "_xsrf", "unknown"])
        return Case("forms", self._request(chance, operation, body, kind))

    def _credentials(self, chance: Random) -> Case:
        operation = self._operation(chance)
        good = chance.choice(self._people).token
        header = chance.choice(odd.credentials(good))
        body = self._some_body(chance, operation)
        return Case("credentials", self._request(chance, operation, body, operation.kind, extra=header))

    def _good(self, chance: Random) -> Case:
        person = chance.choice(self._people)
        path = chance.choice(
            ("/whose", "/auth/me", f"/info/{person.id}", "/me/notes?lim=1", "/", "/healthz", "/items?lim=1")
        )
        lines = [
            f"GET {path} HTTP/1.1",
            "Host: x",
            f"Authorization: Bearer {person.token}",
            "Connection: close",
            "",
            "",
        ]
        return Case("good", "\r\n".join(lines).encode(), good=True)

    # ---- parts

    def _operation(self, chance: Random, kind: str = "", with_body: bool = False) -> Operation:
        fitting = [
            each for each in self._operations if (not kind or each.kind == kind) and (not with_body or each.kind)
        ]
        return chance.choice(fitting)

    def _start(self, chance: Random, operation: Operation) -> str:
        return f"{operation.method} {self._path(chance, operation)} HTTP/1.1"

    def _path(self, chance: Random, operation: Operation) -> str:
        """Its path, with parameters that are good or nearly so."""

        def part(match: re.Match[str]) -> str:
            if chance.random() < 0.1:
                return quote(inputs.text(chance).encode("utf-8", "surrogatepass"), safe="") or "1"
            return chance.choice((self._people[0].id, "1", "5") if match[1] in NUMBERS else ("1", "fuzz", "none"))

        return re.sub(r"\{(\w+)\}", part, operation.path)

    def _bearer(self, chance: Random) -> str:
        return f"Authorization: Bearer {chance.choice(self._people).token}"

    def _body(self, chance: Random, operation: Operation) -> dict[str, Any]:
        """A body that is nearly good."""
        good: dict[str, Any] = {"ts": 5, "keywords": ["k"], "userid": 1, "email": "a@b.example", "cookie": True}
        return {
            name: good.get(name, "some text") for name in operation.fields if chance.random() < 0.6 and name != "id"
        }

    def _some_body(self, chance: Random, operation: Operation) -> bytes:
        if operation.kind == FORM:
            return inputs.form(chance, list(operation.fields))
        return inputs.encoded(self._body(chance, operation)) if operation.kind else b""

    def _whole(self, chance: Random, operation: Operation, close: bool = True) -> bytes:
        return self._request(chance, operation, self._some_body(chance, operation), operation.kind, close=close)

    def _request(
        self,
        chance: Random,
        operation: Operation,
        body: bytes,
        kind: str,
        target: str = "",
        extra: str = "",
        close: bool = True,
    ) -> bytes:
        lines = [f"{operation.method} {target or self._path(chance, operation)} HTTP/1.1", "Host: x"]
        if extra or chance.random() < 0.8:
            lines.append(extra or self._bearer(chance))
        if kind and operation.kind:
            lines.append(f"Content-Type: {kind}")
        if body or operation.kind:
            lines.append(f"Content-Length: {len(body)}")
        if close:
            lines.append("Connection: close")
        return "\r\n".join([*lines, "", ""]).encode("utf-8", "replace") + body


def _operations(document: Mapping[str, Any]) -> list[Operation]:
    """All that ends no session."""
    found = []
    for path, methods in document["paths"].items():
        for method, described in methods.items():
            ends = path.endswith("/logout") or (method == "delete" and path == "/auth/sessions")
            if ends or path.startswith(("/auth/password", "/account/password")):
                continue
            content = described.get("requestBody", {}).get("content", {})
            kind = next(iter(content), "")
            schema = content[kind].get("schema", {}) if kind else {}
            name = schema.get("$ref", "").rpartition("/")[2]
            fields = document["components"]["schemas"]["Item" if name == "Items" else name] if name else schema
            query = [each["name"] for each in described["parameters"] if each["in"] == "query"]
            found.append(Operation(method.upper(), path, query, list(fields.get("properties", {})), kind))
    return found
