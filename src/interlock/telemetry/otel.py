"""Traces and metrics for OpenTelemetry (extra ``otel``): an observer of the ledger that exports a run when it has ended.

Where to is said by OpenTelemetry's own variables (``OTEL_EXPORTER_OTLP_ENDPOINT`` and the like).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime

from interlock.errors import MissingExtraError
from interlock.model.ledger import LedgerEntry
from interlock.ports import Observer
from interlock.telemetry.traces import Span, span_id, spans_of, trace_id

try:
    from opentelemetry.metrics import Histogram, MeterProvider
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import Event, ReadableSpan
    from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope
    from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags
except ImportError as missing:
    raise MissingExtraError("exporting to OpenTelemetry", "otel") from missing

EntriesOf = Callable[[str], Iterable[LedgerEntry]]

_AGENT_S = tuple(0.1 * 2**n for n in range(13))
_TOOL_S = tuple(0.01 * 2**n for n in range(14))
_TOKENS = tuple(4**n for n in range(14))
_CALLS = tuple(2**n for n in range(8))
_SCOPE = InstrumentationScope("interlock")


class OpenTelemetry:
    """Exports each run, once it has ended, as one trace and as values of the conventions' histograms."""

    def __init__(
        self,
        entries_of: EntriesOf,
        exporter: SpanExporter,
        meters: MeterProvider,
        *,
        resource: Resource | None = None,
        contents: bool = False,
    ) -> None:
        self._entries_of = entries_of
        self._exporter = exporter
        self._resource = resource or Resource.create({"service.name": "interlock"})
        self._contents = contents
        meter = meters.get_meter("interlock")

        def histogram(name: str, unit: str, text: str, bounds: Iterable[float]) -> Histogram:
            return meter.create_histogram(name, unit, text, explicit_bucket_boundaries_advisory=[*map(float, bounds)])

        self._agent = histogram(
            "gen_ai.invoke_agent.duration", "s", "Duration of a run, or of an agent in it", _AGENT_S
        )
        self._agent_calls = histogram("gen_ai.invoke_agent.tool_calls", "{tool_call}", "Calls of an execution", _CALLS)
        self._tool = histogram("gen_ai.execute_tool.duration", "s", "Duration of a tool call", _TOOL_S)
        self._tokens = histogram("gen_ai.client.token.usage", "{token}", "Tokens of an execution", _TOKENS)
        self._judged = meter.create_counter("interlock.calls.judged", "{call}", "Tool calls judged, by verdict")
        self._runs = meter.create_counter("interlock.runs.ended", "{run}", "Runs ended, by outcome")

    def __call__(self, entry: LedgerEntry) -> None:
        """Take note of an entry (:class:`interlock.ports.Observer`).

        Raises:
            ConnectionError: when the collector did not take the spans.
        """
        if entry.kind != "run.ended":
            return
        spans = spans_of(self._entries_of(entry.run_id), contents=self._contents)
        result = self._exporter.export([self._exported(entry.run_id, span) for span in spans])
        if result is not SpanExportResult.SUCCESS:
            message = f"the collector did not take the trace of {entry.run_id}"
            raise ConnectionError(message)
        self._measure(spans)

    def _exported(self, run_id: str, span: Span) -> ReadableSpan:
        trace = trace_id(run_id)
        attributes = {**span.attributes, **({"error.type": span.error} if span.error else {})}
        return ReadableSpan(
            name=span.name, context=_context(trace, span_id(run_id, span.key)),
            parent=_context(trace, span_id(run_id, span.parent)) if span.parent else None,
            resource=self._resource, attributes=attributes, kind=SpanKind.INTERNAL, instrumentation_scope=_SCOPE,
            events=tuple(Event(name, facts, _nanos(at)) for name, at, facts in span.events),
            status=Status(StatusCode.ERROR) if span.error else Status(StatusCode.UNSET),
            start_time=_nanos(span.start), end_time=_nanos(span.end or span.start),
        )  # fmt: skip

    def _measure(self, spans: Iterable[Span]) -> None:
        spans = tuple(spans)
        for span in spans:
            took = ((span.end or span.start) - span.start).total_seconds()
            failed = {"error.type": span.error} if span.error else {}
            match span.attributes.get("gen_ai.operation.name"):
                case "invoke_workflow":
                    self._agent.record(took, {**_names(span), **failed})
                    self._runs.add(1, {"interlock.outcome": str(span.attributes.get("interlock.outcome", ""))})
                case "invoke_agent":
                    self._measure_agent(span, took, failed, sum(other.parent == span.key for other in spans))
                case "execute_tool":
                    self._tool.record(took, {"gen_ai.tool.name": str(span.attributes["gen_ai.tool.name"]), **failed})
                    self._judged.add(1, {"interlock.verdict": str(span.attributes.get("interlock.verdict", ""))})

    def _measure_agent(self, span: Span, took: float, failed: dict[str, str], calls: int) -> None:
        name = _names(span)
        self._agent.record(took, {**name, **failed})
        self._agent_calls.record(calls, name)
        for way in ("input", "output"):
            tokens = span.attributes.get(f"gen_ai.usage.{way}_tokens")
            if isinstance(tokens, int):
                self._tokens.record(tokens, {**name, "gen_ai.token.type": way})


def _names(span: Span) -> dict[str, str]:
    return {name: str(span.attributes[name]) for name in ("gen_ai.operation.name", "gen_ai.agent.name")}


def _context(trace: int, span: int) -> SpanContext:
    return SpanContext(trace, span, is_remote=False, trace_flags=TraceFlags(TraceFlags.SAMPLED))


def _nanos(at: datetime) -> int:
    return int(at.timestamp() * 1_000_000) * 1000


def over_otlp(entries_of: EntriesOf, *, contents: bool) -> Observer:
    """The exporter over OTLP/HTTP, to where OpenTelemetry's own variables say.

    Raises:
        MissingExtraError: when the OTLP exporter is not installed.
    """
    try:
        from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter  # noqa: PLC0415 - optional
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415 - the same
    except ImportError as missing:
        raise MissingExtraError("exporting to OpenTelemetry", "otel") from missing
    from opentelemetry.sdk.metrics import MeterProvider as SdkMeterProvider  # noqa: PLC0415 - starts a thread when made
    from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader  # noqa: PLC0415 - the same

    meters = SdkMeterProvider([PeriodicExportingMetricReader(OTLPMetricExporter())])
    return OpenTelemetry(entries_of, OTLPSpanExporter(), meters, contents=contents)
