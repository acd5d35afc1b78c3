"""APIs outside, asked by a provider for applications: those that the configuration names, and no others."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Callable, Iterator
from ipaddress import ip_network
from typing import Any

import pytest

from gorgond.app.clients import fetch
from gorgond.errors import BadRequest, Forbidden, Refused
from gorgond.providers.http import HttpSettings, HttpSource
from gorgond.redpill import Reply, dumps
from tests.integration.receiver import Receiver, floods, says, status


@pytest.fixture(scope="module")
def receiver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Receiver]:
    with Receiver(tmp_path_factory.mktemp("receiver")).running() as receiver:
        yield receiver


Make = Callable[[], HttpSource]


@pytest.fixture
def make(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    """Makes a source that may ask the receiver below /v1/."""
    monkeypatch.setenv("SSL_CERT_FILE", str(receiver.trusted))
    yield lambda: HttpSource(
        "http", HttpSettings("http", receiver.url("/v1/"), (ip_network("127.0.0.1/32"),), "Bearer secret")
    )
    receiver.received.clear()


class Handler:
    """A handler's context, whose questions go to the source."""

    def __init__(self, source: HttpSource) -> None:
        self._source = source

    async def ask(self, queue: str, op: str, args: dict[str, Any], private: bool = False) -> Reply:
        assert (queue, op) == ("provider_get:http", "http.fetch")
        return Reply("", dumps(await self._source.get("fetch", args)))

    async def change(self, queue: str, op: str, args: dict[str, Any]) -> Reply:
        assert (queue, op) == ("provider_put:http", "http.fetch")
        return Reply("", dumps(await self._source.put("fetch", args, "r.1")))


async def test_what_it_answers_is_what_the_handler_gets(receiver: Receiver, make: Make) -> None:
    source = make()
    receiver.answer = lambda _: says('HTTP/1.1 201 Created\r\nContent-Length: 7\r\nX-A: b\r\n\r\n{"n":1}')
    for method, body in (("GET", None), ("POST", b"[]")):
        found = await fetch(Handler(source), method, receiver.url("/v1/a?b=c"), {"X-Who": "me"}, body, "http")
        assert (found.status, found.headers["x-a"], found.json) == (201, "b", {"n": 1})
    # then it was asked as the handler said, with the secret that no handler knows
    read, change = receiver.received
    assert (read.method, read.path, read.headers["x-who"]) == ("GET", "/v1/a?b=c", "me")
    assert read.headers["authorization"] == change.headers["authorization"] == "Bearer secret"
    # and a change that comes again can be told
    assert (change.method, change.body, change.headers["idempotency-key"]) == ("POST", b"[]", "r.1")
    await source.close()


async def test_nobody_is_asked_whom_the_configuration_does_not_name(receiver: Receiver, make: Make) -> None:
    source = make()
    host = receiver.url("", "localhost")
    for url in (
        f"{host}/v2/a", f"{host}/v1", f"{host}/v1/../v2", f"{host}/v1/%2e%2E/v2", f"{host}/v1/x/..",
        f"{host}/v1/..%2fv2", f"{host}/v1/%252e%252e%252fv2", f"{host}/v1/..%5Cv2", f"{host}/v1/..;/v2",
        "https://127.0.0.1/v1/", "https://localhost.elsewhere.example/v1/", "https://elsewhere.example/v1/",
    ):  # fmt: skip
        with pytest.raises(Forbidden):
            await source.get("fetch", {"method": "GET", "url": url})
    for args in (
        {"method": "POST", "url": f"{host}/v1/"}, {"method": "GET", "url": "http://localhost/v1/"}, {},
        {"method": "GET", "url": f"{host}/v1/", "headers": {"X": "a\r\nY: b"}}, {"method": "GET", "url": 5},
        {"method": "GET", "url": f"{host}/v1/", "headers": {"host": "elsewhere.example"}},
        {"method": "GET", "url": f"{host}/v1/", "headers": {"Transfer-Encoding": "chunked"}},
    ):  # fmt: skip
        with pytest.raises(BadRequest):
            await source.get("fetch", args)
    assert receiver.received == []
    await source.close()


async def test_what_is_no_answer_is_told_and_no_redirect_followed(receiver: Receiver, make: Make) -> None:
    source = make()
    asked = {"method": "GET", "url": receiver.url("/v1/a")}
    receiver.answer = lambda _: status(302, "Location: https://169.254.169.254/")
    assert (await source.get("fetch", asked))["status"] == 302
    receiver.answer = lambda _: floods("HTTP/1.1 200 OK\r\n\r\n")
    with pytest.raises(Refused, match="more than"):
        await source.get("fetch", asked)
    receiver.answer = lambda _: says("nonsense")
    with pytest.raises(Refused) as refused:
        await source.get("fetch", asked)
    assert refused.value.code == 502
    receiver.answer = lambda _: says("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx")
    assert b64decode((await source.get("fetch", asked))["body"]) == b"x"
    await source.close()
