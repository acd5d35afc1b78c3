"""Spans of jobs: OpenTelemetry's own SDK tells them to a collector, where the environment says so."""

from __future__ import annotations

import asyncio
import importlib.util
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from gorgond.app.enqueuing import Outside, Request, enqueue, job_id
from gorgond.app.telemetry import NEEDED, is_wanted, open_spans
from gorgond.redpill import Room
from gorgond.service.fabric import Fabric as Brokers
from tests.conftest import RedisServer, left_out
from tests.integration import jobbing
from tests.integration.killing import Fabric
from tests.programs import ROOT
from tests.waiting import HANGS, eventually_async

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
CONSUMER, PRODUCER, ERROR = 5, 4, 2  # of the wire format


class Collector:
    """Takes spans by OTLP over HTTP."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.spans: list[Any] = []
        self.services: set[str] = set()

    def take(self, body: bytes) -> None:
        from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            self.services |= {e.value.string_value for e in resource.resource.attributes if e.key == "service.name"}
            self.spans += [span for scope in resource.scope_spans for span in scope.spans]

    def named(self, name: str) -> list[Any]:
        """Those of a name, in their order."""
        return sorted((each for each in self.spans if each.name == name), key=lambda each: each.start_time_unix_nano)


@contextmanager
def collector() -> Iterator[Collector]:
    """It listens."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.path == "/v1/traces":
                found.take(body)
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        found = Collector(f"http://127.0.0.1:{server.server_port}")
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield found
        finally:
            server.shutdown()
            thread.join()


async def test_each_attempt_is_a_span_in_the_trace_of_who_enqueued_it(
    fabric_of: Callable[..., Fabric], redis_factory: Callable[..., RedisServer]
) -> None:
    if importlib.util.find_spec("opentelemetry.sdk") is None:
        left_out(f"{NEEDED} is not installed; tools/test does it")
    fabric = fabric_of(redis_factory(appendonly="yes").url)
    with collector() as told:
        # given an app server whose environment names a collector
        fabric.start_store()
        settings = {"OTEL_EXPORTER_OTLP_ENDPOINT": told.url, "OTEL_EXPORTER_OTLP_COMPRESSION": "none"}
        app = fabric.child("app", "--instance", "1", "--module", "tests.integration.jobbing", **settings)
        # when a job fails at its first attempt, and one enqueues another one
        async with Outside(Brokers(fabric.broker, fabric.broker, Room()), "test") as backend:
            trace = f"00-{TRACE}-{PARENT}-01"
            for job, args in ((jobbing.fail, {"until": 2}), (jobbing.first, {"what": "traced"})):
                await enqueue(backend, job, job_id("test", job.name), Request(args, trace=trace))

        async def done() -> bool:
            wanted = {"jobbing.fail": 1, "jobbing.first": 1, "jobbing.note": 1}
            return all([(await fabric.counts(f"app_job:{name}")).done == many for name, many in wanted.items()])

        await eventually_async(done)
        # then what is not told yet is told as it ends
        assert await asyncio.to_thread(app.stop) == 0
    assert told.services == {"gorgond-app"}
    first, second = told.named("process jobbing.fail")
    for span in (first, second):
        assert (span.trace_id.hex(), span.parent_span_id.hex(), span.kind) == (TRACE, PARENT, CONSUMER)
        assert [each.span_id.hex() for each in span.links] == [PARENT]
    assert (first.status.code, first.status.message) == (ERROR, "ValueError: it is broken")
    assert second.status.code != ERROR
    # and what a job enqueues is of the same trace, from attempt to attempt
    (outer,), (send,), (inner,) = map(
        told.named, ("process jobbing.first", "send jobbing.note", "process jobbing.note")
    )
    assert (send.parent_span_id, inner.parent_span_id, send.kind) == (outer.span_id, send.span_id, PRODUCER)
    assert {each.trace_id.hex() for each in (outer, send, inner)} == {TRACE}


def test_nothing_of_it_is_imported_unless_it_is_wanted() -> None:
    code = (
        "import os, sys; from gorgond.app.telemetry import open_spans; import gorgond.roles.app; "
        "assert open_spans({}, 'app', 'app@1') is None; "
        "sys.exit(any(name.startswith('opentelemetry') for name in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False, timeout=HANGS)
    assert done.returncode == 0


@pytest.mark.parametrize(
    ("environ", "wanted"),
    [
        ({}, False),
        ({"OTEL_SERVICE_NAME": "shop"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://localhost:4318"}, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://localhost:4318/v1/traces"}, True),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, True),
        ({"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://localhost:4318"}, False),
        ({"OTEL_SDK_DISABLED": "True", "OTEL_TRACES_EXPORTER": "otlp"}, False),
    ],
)
def test_the_standard_settings_say_whether_it_is_wanted(environ: dict[str, str], wanted: bool) -> None:
    assert is_wanted(environ) == wanted


def test_an_sdk_that_is_not_installed_is_asked_for(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, expected_logs: Callable[[str], None]
) -> None:
    expected_logs("OTEL_")
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    assert open_spans({"OTEL_TRACES_EXPORTER": "otlp"}, "app", "app@1") is None
    assert f"pip install {NEEDED}" in caplog.text
