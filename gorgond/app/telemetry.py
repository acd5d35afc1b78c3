"""Spans of jobs for OpenTelemetry, where OTEL_* of the environment says where they go.

    send shop.resize       it is enqueued, in the trace of the request or job that does so
    process shop.resize    one attempt of it, a child of that span and linked to it

A message's `trace`, a W3C traceparent, leads from one to the other. The standard settings of OpenTelemetry's SDK hold,
as OTEL_EXPORTER_OTLP_ENDPOINT and OTEL_SERVICE_NAME. Without them nothing of it is imported, it need not be installed,
and a trace is passed on as it came.
"""

from __future__ import annotations

import asyncio
import importlib
import logging
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from gorgond import __version__
from gorgond.redpill import Dead, Message, Outcome, Retry

NEEDED = "opentelemetry-sdk opentelemetry-exporter-otlp-proto-http"
CLOSE = 2.0  # seconds that telling the last spans may take

log = logging.getLogger("gorgond.app")


def is_wanted(environ: Mapping[str, str]) -> bool:
    """Whether the environment names somebody who collects spans."""
    exporter = environ.get("OTEL_TRACES_EXPORTER", "")
    if environ.get("OTEL_SDK_DISABLED", "").lower() == "true" or exporter not in ("", "otlp"):
        return False
    places = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
    return exporter == "otlp" or any(environ.get(name) for name in places)


def open_spans(environ: Mapping[str, str], role: str, name: str) -> Spans | None:
    """The spans of a server of this role, which is called `name`; None where nobody wants them, or they cannot be
    told, which the log says."""
    if not is_wanted(environ):
        return None
    try:
        return Spans(environ, role, name)
    except ImportError as error:
        log.warning("OTEL_* says where spans go, but none is told: %s; pip install %s", error, NEEDED)
    except Exception:  # foreign code, given settings of whoever
        log.exception("OTEL_* says where spans go, but none is told")
    return None


class Spans:
    """Makes spans, and tells them from a thread of its own. Raises ImportError where the SDK is not installed."""

    def __init__(self, environ: Mapping[str, str], role: str, name: str) -> None:
        from opentelemetry import context, trace
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        self._api: Any = trace
        self._nothing = context.Context()
        self._propagator = TraceContextTextMapPropagator()
        self._provider: Any = trace.get_tracer_provider()
        if isinstance(self._provider, trace.ProxyTracerProvider):  # the application has made none of its own
            self._provider = _provider(environ, role, name)
            trace.set_tracer_provider(self._provider)
        self._tracer = self._provider.get_tracer("gorgond", __version__)

    @contextmanager
    def sending(self, queue: str, id: str, trace: str) -> Iterator[str]:
        """A job is enqueued within it, on behalf of this trace: the trace that its message is to bear."""
        with self._span("send", queue, id, self._api.SpanKind.PRODUCER, self._before(trace), {}):
            yield self._current(trace)

    @contextmanager
    def attempt(self, queue: str, message: Message) -> Iterator[Attempt]:
        """An attempt of the job of a message is made within it."""
        before = self._before(message.trace)
        context = self._api.get_current_span(before).get_span_context()
        more: dict[str, Any] = {"links": [self._api.Link(context)] if context.is_valid else []}
        with self._span("process", queue, message.id, self._api.SpanKind.CONSUMER, before, more) as span:
            span.set_attribute("gorgond.attempt", max(message.attempts, 1))
            yield Attempt(span, self._api.StatusCode.ERROR, self._current(message.trace))

    def _span(self, what: str, queue: str, id: str, kind: Any, context: Any, more: Mapping[str, Any]) -> Any:
        attributes = {
            "messaging.system": "gorgond",
            "messaging.operation.type": what,
            "messaging.destination.name": queue,
            "messaging.message.id": id,
        }
        name = f"{what} {queue.partition(':')[2]}"
        return self._tracer.start_as_current_span(name, context, kind, attributes, record_exception=False, **more)

    def _before(self, trace: str) -> Any:
        """What a trace that came with a message stands for."""
        return self._propagator.extract({"traceparent": trace}, self._nothing)

    def _current(self, trace: str) -> str:
        """The trace of the span that has begun; the one that came where it is not known."""
        carrier: dict[str, str] = {}
        self._propagator.inject(carrier)
        return carrier.get("traceparent", trace)

    async def close(self) -> None:
        """Tell what was not told yet, unless that takes too long."""
        last = threading.Thread(target=self._provider.shutdown, name="last spans", daemon=True)
        last.start()
        await asyncio.to_thread(last.join, CLOSE)


class Attempt:
    """The span of an attempt, in which messages have this `trace`."""

    def __init__(self, span: Any, error: Any, trace: str) -> None:
        self._span = span
        self._error = error
        self.trace = trace

    def end(self, outcome: Outcome) -> None:
        """This became of it."""
        if isinstance(outcome, Retry | Dead):
            self._span.set_status(self._error, outcome.reason)


def _provider(environ: Mapping[str, str], role: str, name: str) -> Any:
    """OpenTelemetry's own, which sends what there is every few seconds, by OTLP."""
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    protocol = environ.get("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL") or environ.get("OTEL_EXPORTER_OTLP_PROTOCOL") or "http"
    by = importlib.import_module(f"opentelemetry.exporter.otlp.proto.{protocol.partition('/')[0]}.trace_exporter")
    told = {"service.instance.id": name, "service.version": __version__}
    if not environ.get("OTEL_SERVICE_NAME"):
        told["service.name"] = f"gorgond-{role}"
    provider = TracerProvider(resource=Resource.create(told), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(by.OTLPSpanExporter()))
    return provider
