"""What leaves for Prometheus and OpenTelemetry has the names and units that their tools expect, and no contents."""

from __future__ import annotations

from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from interlock.telemetry.prometheus import exposition
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


def test_every_prometheus_name_says_whose_it_is(book: Book) -> None:
    book.succeeds()
    assert {name.split("_")[0] for name, _ in scraped(book)} == {"interlock"}
