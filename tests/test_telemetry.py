"""What leaves for Prometheus and OpenTelemetry has the names and units that their tools expect, and no contents."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.semconv._incubating.attributes import gen_ai_attributes
from prometheus_client.parser import text_string_to_metric_families

from interlock import Gate, Job, Orchestrator
from interlock.model.ledger import LedgerEntry
from interlock.model.run import OutcomeKind
from interlock.telemetry.otel import OpenTelemetry
from interlock.telemetry.prometheus import exposition
from interlock.telemetry.traces import trace_id
from served import CONFIG, make_project
from watch_kit import Book


@pytest.fixture
def book(tmp_path: Path) -> Book:
    return Book(tmp_path)


def scraped(book: Book) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    text = exposition(book.meter).decode()
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_prometheus_reads_counters_with_total_and_durations_in_seconds(book: Book) -> None:
    book.succeeds(ms=1500, tokens=40)
    book.fails(ms=400)
    found = scraped(book)
    agent = ("agent", "writer")
    assert found["interlock_agent_invocations_total", frozenset({agent})] == 2
    assert found["interlock_agent_executions_total", frozenset({agent, ("result", "failure")})] == 1
    assert found["interlock_agent_tokens_total", frozenset({agent, ("direction", "input")})] == 40
    assert found["interlock_agent_cost_dollars_total", frozenset({agent})] == pytest.approx(0.00001)
    assert found["interlock_agent_duration_seconds_sum", frozenset({agent})] == pytest.approx(1.9)
    assert found["interlock_agent_duration_seconds_bucket", frozenset({agent, ("le", "0.5")})] == 1
    assert found["interlock_agent_duration_seconds_bucket", frozenset({agent, ("le", "+Inf")})] == 2
    assert found["interlock_agent_consecutive_failures", frozenset({agent})] == 1
    assert found["interlock_breaker_state", frozenset({agent, ("interlock_breaker_state", "closed")})] == 1
    assert found["interlock_attempts_queued", frozenset()] == 0


def test_prometheus_gets_nothing_from_an_empty_store_but_zeros(book: Book) -> None:
    assert set(scraped(book).values()) <= {0.0, 1.0}


def test_every_outcome_is_there_from_the_start_so_that_the_first_one_is_an_increase(book: Book) -> None:
    found = {dict(labels)["outcome"]: value for (name, labels), value in scraped(book).items() if "runs_ended" in name}
    assert found == dict.fromkeys(OutcomeKind, 0)


def test_every_prometheus_name_says_whose_it_is(book: Book) -> None:
    book.succeeds()
    assert {name.split("_")[0] for name, _ in scraped(book)} == {"interlock"}


def a_run(book: Book) -> None:
    book.write("task.submitted", task="Write the very secret memo", environment="development")
    book.write("task.assessed", level="medium")
    book.clock.pass_(seconds=1)
    book.write("attempt.started", agent="writer", attempt="t1", number=1)
    call: dict[str, Any] = {
        "attempt": "t1",
        "tool": "shell",
        "call": "shell: ls /private",
        "verdict": "allow",
        "risk": "low",
        "rules": [],
    }
    book.write("effect.intended", actor="writer", effect="e1", **call)
    book.clock.pass_(seconds=2)
    book.write("effect.done", actor="writer", attempt="t1", effect="e1", tool="shell")
    book.write("call.blocked", actor="writer", **{**call, "verdict": "block", "rules": ["defaults/drop"]})
    usage = {"input_tokens": 70, "output_tokens": 30, "cost_micros": 5}
    book.write("agent.returned", attempt="t1", agent="writer", usage=usage)
    book.clock.pass_(seconds=3)
    book.write("attempt.failed", attempt="t1", agent="writer", error="timeout", message="late", duration_ms=5000)
    book.write("run.ended", kind="failed")


def exported(book: Book, *, contents: bool = False) -> tuple[list[Any], dict[str, Any]]:
    spans = InMemorySpanExporter()
    reader = InMemoryMetricReader()
    observer = OpenTelemetry(
        lambda run: book.ledger.stream(run_id=run), spans, MeterProvider([reader]), contents=contents
    )
    for each in book.ledger.stream():
        observer(each)
    data = reader.get_metrics_data()
    found = {
        metric.name: metric
        for resource in (data.resource_metrics if data else ())
        for scope in resource.scope_metrics
        for metric in scope.metrics
    }
    return list(spans.get_finished_spans()), found


def test_a_run_is_one_trace_down_to_each_tool_call(book: Book) -> None:
    a_run(book)
    spans, _ = exported(book)
    assert [span.name for span in spans] == [
        "invoke_workflow interlock", "invoke_agent writer", "execute_tool shell", "execute_tool shell",
    ]  # fmt: skip
    root, agent, done, blocked = spans
    assert len({span.context.trace_id for span in spans}) == 1
    assert root.parent is None
    assert agent.parent.span_id == root.context.span_id
    assert {done.parent.span_id, blocked.parent.span_id} == {agent.context.span_id}
    assert (agent.end_time - agent.start_time, done.end_time - done.start_time) == (5_000_000_000, 2_000_000_000)
    assert agent.attributes["gen_ai.usage.input_tokens"] == 70
    assert (agent.attributes["error.type"], blocked.attributes["error.type"]) == ("timeout", "blocked")
    assert blocked.attributes["interlock.rules"] == ("defaults/drop",)
    assert root.attributes["interlock.outcome"] == "failed"
    assert not root.status.is_ok


def test_exporting_a_run_again_gives_the_same_spans(book: Book) -> None:
    a_run(book)
    ids = [[span.context.span_id for span in exported(book)[0]] for _ in range(2)]
    assert ids[0] == ids[1]


def test_contents_of_tasks_and_calls_leave_only_when_that_is_switched_on(book: Book) -> None:
    a_run(book)
    said = [str(dict(span.attributes)) for span in exported(book)[0]]
    assert not any("memo" in text or "/private" in text for text in said)
    said = [str(dict(span.attributes)) for span in exported(book, contents=True)[0]]
    assert any("memo" in text for text in said)
    assert any("/private" in text for text in said)


def test_opentelemetry_metrics_have_the_conventions_names_and_units(book: Book) -> None:
    a_run(book)
    _, found = exported(book)
    assert {name: metric.unit for name, metric in found.items()} == {
        "gen_ai.invoke_agent.duration": "s", "gen_ai.invoke_agent.tool_calls": "{tool_call}",
        "gen_ai.execute_tool.duration": "s", "gen_ai.client.token.usage": "{token}", "interlock.calls.judged": "{call}",
        "interlock.runs.ended": "{run}",
    }  # fmt: skip
    points = {
        point.attributes["gen_ai.operation.name"]: point
        for point in found["gen_ai.invoke_agent.duration"].data.data_points
    }
    run, agent = points["invoke_workflow"], points["invoke_agent"]
    assert (run.sum, run.count, agent.sum, agent.count) == (6.0, 1, 5.0, 1)
    assert (run.attributes["gen_ai.agent.name"], agent.attributes["gen_ai.agent.name"]) == ("interlock", "writer")
    assert run.explicit_bounds[0] == 0.1
    assert (run.attributes["error.type"], agent.attributes["error.type"]) == ("failed", "timeout")


def test_every_name_of_the_conventions_is_one_of_theirs_and_all_others_are_ours(book: Book) -> None:
    theirs = {value for value in vars(gen_ai_attributes).values() if isinstance(value, str)}
    operations = {each.value for each in gen_ai_attributes.GenAiOperationNameValues}
    a_run(book)
    spans, _ = exported(book, contents=True)
    for span in spans:
        assert span.attributes["gen_ai.operation.name"] in operations
        others = set(span.attributes) - theirs - {"error.type"}
        assert {name.split(".")[0] for name in others} <= {"interlock"}


def test_a_run_of_the_engine_is_one_trace_too_whatever_happens_in_it(tmp_path: Path) -> None:
    async def writer(job: Job, gate: Gate) -> str:
        """Writes a text file."""
        for command in ("ls", "rm -rf /"):
            call = await gate.before("shell", {"command": command})
            if call.effect_id:
                await gate.after(call.effect_id, ok=True, output="")
        (job.workspace / "note.txt").write_text("a note\n")
        return "written"

    async def walk() -> list[LedgerEntry]:
        project = make_project(tmp_path / "project", CONFIG)
        async with Orchestrator(project, agents={"writer": writer}) as library:
            run = await library.submit("Write a note", agents=["writer"])
            await library.outcome(run.id)
            return list(library.service.ledger.stream(run_id=run.id))

    entries = asyncio.run(walk())
    spans = InMemorySpanExporter()
    observer = OpenTelemetry(lambda _run: entries, spans, MeterProvider())
    for each in entries:
        observer(each)
    found = spans.get_finished_spans()
    assert {span.context.trace_id for span in found if span.context} == {trace_id(entries[0].run_id)}
    by_id = {span.context.span_id: span for span in found if span.context}
    (root,) = [span for span in found if span.parent is None]
    calls = [span for span in found if span.name == "execute_tool shell"]
    assert sorted(str((span.attributes or {})["interlock.verdict"]) for span in calls) == ["allow", "block"]
    for call in calls:
        assert call.parent is not None
        agent = by_id[call.parent.span_id]
        assert agent.name == "invoke_agent writer"
        assert agent.parent is not None
        assert by_id[agent.parent.span_id] is root


def test_a_collector_that_refuses_is_an_error_that_the_watcher_counts(book: Book) -> None:
    class Refusing(InMemorySpanExporter):
        def export(self, spans: object) -> SpanExportResult:
            assert spans
            return SpanExportResult.FAILURE

    a_run(book)
    observer = OpenTelemetry(lambda run: book.ledger.stream(run_id=run), Refusing(), MeterProvider())
    with pytest.raises(ConnectionError, match="did not take"):
        observer(list(book.ledger.stream())[-1])
