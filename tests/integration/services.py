"""Services that take notifications by HTTP, each with the shape that its real one has, on one port of this host.

They take what the real ones take and refuse it in their words: ntfy, Gotify, Slack, Discord, Matrix, PubNub.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

SECRET = "s3cret/+x"


@dataclass(frozen=True)
class Said:
    """An answer."""

    status: int
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Asked:
    """A request; names of headers in lower case."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        try:
            return json.loads(self.body)
        except ValueError:
            return None


class Services:
    """All of them; `asked` has what came, in order, `taken` what each took, by its name. What `answer` says goes before
    what they would say."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self.taken: dict[str, list[Any]] = {name: [] for name in SERVICES}
        self.answer: Callable[[Asked], Said | None] = lambda _: None
        self.published: dict[str, list[Any]] = {}  # at PubNub, by channel
        self._seen: set[str] = set()  # transactions of Matrix
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    @contextmanager
    def running(self) -> Iterator[Services]:
        thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), name="services")
        thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            thread.join()
            self._server.server_close()

    def respond(self, asked: Asked) -> Said:
        """What is said to a request."""
        self.asked.append(asked)
        if (said := self.answer(asked)) is not None:
            return said
        for name, (path, respond) in SERVICES.items():
            if re.fullmatch(path, asked.path):
                said = respond(self, asked)
                if 200 <= said.status < 300 and asked.method != "GET":
                    self.taken[name].append(asked.json)
                return said
        return Said(404, "no such page")

    # ---- each as its documentation, or its source, has it

    def ntfy(self, asked: Asked) -> Said:
        if asked.headers.get("authorization") != f"Bearer {SECRET}":
            return Said(401, {"code": 40101, "http": 401, "error": "unauthorized"})
        body = asked.json
        if not isinstance(body, dict) or not re.fullmatch(r"[-_A-Za-z0-9]{1,64}", str(body.get("topic", ""))):
            return Said(400, {"code": 40009, "http": 400, "error": "invalid request: topic invalid"})
        return Said(200, {"id": "hwQ2YpKdmg", "time": 1700000000, "event": "message", **body})

    def gotify(self, asked: Asked) -> Said:
        if asked.headers.get("x-gotify-key") != SECRET:
            words = "you need to provide a valid access token or user credentials to access this api"
            return Said(401, {"error": "Unauthorized", "errorCode": 401, "errorDescription": words})
        if not asked.json.get("message"):
            return Said(
                400, {"error": "Bad Request", "errorCode": 400, "errorDescription": "Field 'message' is required"}
            )
        return Said(200, {"id": 25, "appid": 5, **asked.json})

    def slack(self, asked: Asked) -> Said:
        if asked.path != "/services/T000/B000/xxxx":
            return Said(404, "no_service")
        blocks = (asked.json or {}).get("blocks")
        if not blocks and not (asked.json or {}).get("text"):
            return Said(400, "no_text")
        if any(not 0 < len(each["text"]["text"]) <= 3000 for each in blocks or ()):
            return Said(400, "invalid_blocks")
        return Said(200, "ok")

    def discord(self, asked: Asked) -> Said:
        if asked.path != "/api/webhooks/1234/xxxx":
            return Said(404, {"message": "Unknown Webhook", "code": 10015})
        content = (asked.json or {}).get("content")
        if not content:
            return Said(400, {"message": "Cannot send an empty message", "code": 50006})
        if len(content) > 2000:
            return Said(400, {"content": ["Must be 2000 or fewer in length."]})
        return Said(204)

    def matrix(self, asked: Asked) -> Said:
        if asked.method != "PUT":
            return Said(405, {"errcode": "M_UNRECOGNIZED", "error": "Unrecognized request"})
        if asked.headers.get("authorization") != f"Bearer {SECRET}":
            return Said(401, {"errcode": "M_UNKNOWN_TOKEN", "error": "Invalid access token passed."})
        if not isinstance((asked.json or {}).get("body"), str):
            return Said(400, {"errcode": "M_BAD_JSON", "error": "'body' not in content"})
        self._seen.add(asked.path)
        return Said(200, {"event_id": f"${len(self._seen)}"})

    def pubnub(self, asked: Asked) -> Said:
        """The publish and the history of PubNub's REST API."""
        kind, _, rest = asked.path.lstrip("/").partition("/")
        if kind == "v3":
            channel = unquote(rest.rpartition("/")[2])
            found = [
                {"message": each, "timetoken": str(at)} for at, each in enumerate(self.published.get(channel, ()), 1)
            ]
            return Said(200, {"status": 200, "error": False, "error_message": "", "channels": {channel: found}})
        publish, subscribe, _, channel, _, *inline = map(unquote, rest.split("/"))
        if (publish, subscribe) != ("demo", "demo"):
            return Said(400, [0, "Invalid Key", _timetoken()])
        if asked.query.get("auth") not in (None, SECRET):
            said = {"message": "Forbidden", "payload": {"channels": [channel]}, "service": "Access Manager"}
            return Said(403, {**said, "error": True, "status": 403})
        message = inline[0].encode() if inline else asked.body
        if len(message) + len(asked.path) >= 32 * 1024:
            return Said(413, [0, "Message Too Large", _timetoken()])
        self.published.setdefault(channel, []).append(json.loads(message))
        return Said(200, [1, "Sent", _timetoken()])

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        services = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _serve(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                parts = urlsplit(self.path)
                query = {name: texts[0] for name, texts in parse_qs(parts.query).items()}
                headers = {name.lower(): text for name, text in self.headers.items()}
                said = services.respond(Asked(self.command, parts.path, query, headers, body))
                told = _told(said.body)
                self.send_response(said.status)
                for name, text in said.headers.items():
                    self.send_header(name, text)
                self.send_header("Content-Length", str(len(told)))
                self.end_headers()
                self.wfile.write(told)

            do_GET = do_POST = do_PUT = _serve  # noqa: N815

            def log_message(self, format: str, *args: Any) -> None:
                pass

        return Handler


SERVICES: Mapping[str, tuple[str, Callable[[Services, Asked], Said]]] = {
    "ntfy": ("/?", Services.ntfy),
    "gotify": ("/message", Services.gotify),
    "slack": ("/services/.*", Services.slack),
    "discord": ("/api/webhooks/.*", Services.discord),
    "matrix": ("/_matrix/.*", Services.matrix),
    "pubnub": ("/publish/.*|/v3/history/.*", Services.pubnub),
}


def _told(body: Any) -> bytes:
    """Text as it is, all else in JSON."""
    return b"" if body is None else (body if isinstance(body, str) else json.dumps(body)).encode()


def _timetoken() -> str:
    return str(time.time_ns() // 100)
