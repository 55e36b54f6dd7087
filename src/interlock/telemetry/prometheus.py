"""Metrics for Prometheus (extra ``metrics``): read from the store at each scrape, so every process tells the same.

Names follow Prometheus' conventions: base units in the name, ``_total`` for what only rises.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Protocol

from interlock.errors import MissingExtraError
from interlock.model.breaker import BreakerState
from interlock.model.metrics import AgentMetrics, Metrics, Spread, SystemMetrics
from interlock.model.run import OutcomeKind

try:
    from prometheus_client import CollectorRegistry, generate_latest
    from prometheus_client.core import (
        CounterMetricFamily,
        GaugeMetricFamily,
        HistogramMetricFamily,
        StateSetMetricFamily,
    )
    from prometheus_client.registry import Collector
except ImportError as missing:
    raise MissingExtraError("the Prometheus exposition", "metrics") from missing

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
"""What :func:`exposition` returns, for the HTTP header."""


class Measured(Protocol):
    """Whoever knows the metrics: the meter."""

    def metrics(self) -> Metrics:
        """What was measured, ever."""
        ...


def exposition(meter: Measured) -> bytes:
    """All metrics in Prometheus' text format.

    Raises:
        StoreError: when the store cannot be read; a scrape then fails, which Prometheus shows as ``up == 0``.
    """
    registry = CollectorRegistry()
    registry.register(_Collector(meter))
    return generate_latest(registry)


class _Collector(Collector):
    def __init__(self, meter: Measured) -> None:
        self._meter = meter

    def describe(self) -> Iterable[Any]:
        """Nothing: describing would cost a second reading of the store."""
        return ()

    def collect(self) -> Iterator[Any]:
        found = self._meter.metrics()
        yield from _of_agents(found.agents)
        yield from _of_system(found.system)


_COUNTERS = (
    ("agent_invocations", "Executions started.", "invocations"),
    ("agent_refusals", "Executions that an open breaker did not admit.", "refused"),
)
_RESULTS = (("success", "successes"), ("failure", "failures"), ("stopped", "stopped"))
_CALLS = (("allowed", "calls_allowed"), ("blocked", "calls_blocked"))


def _of_agents(agents: Iterable[AgentMetrics]) -> Iterator[Any]:
    agents = tuple(agents)
    for name, text, field in _COUNTERS:
        family = CounterMetricFamily(f"interlock_{name}", text, labels=["agent"])
        for each in agents:
            family.add_metric([each.agent], getattr(each, field))
        yield family
    yield _by_word("agent_executions", "Executions ended, by result.", "result", _RESULTS, agents)
    yield _by_word("agent_calls", "Tool calls judged, by verdict.", "verdict", _CALLS, agents)
    words = (("input", "input_tokens"), ("output", "output_tokens"))
    yield _by_word("agent_tokens", "Tokens used, by direction.", "direction", words, agents)
    cost = CounterMetricFamily("interlock_agent_cost_dollars", "Cost in US dollars.", labels=["agent"])
    streak = GaugeMetricFamily(
        "interlock_agent_consecutive_failures", "Failures since the last success.", labels=["agent"]
    )
    last = GaugeMetricFamily(
        "interlock_agent_last_invocation_timestamp_seconds", "When it was last started.", labels=["agent"]
    )
    state = StateSetMetricFamily("interlock_breaker_state", "State of the circuit breaker.", labels=["agent"])
    for each in agents:
        cost.add_metric([each.agent], each.cost_micros / 1_000_000)
        streak.add_metric([each.agent], each.consecutive_failures)
        if each.last_invocation is not None:
            last.add_metric([each.agent], each.last_invocation.timestamp())
        state.add_metric([each.agent], {word.value: word.value == each.breaker for word in BreakerState})
    yield from (cost, streak, last, state)
    duration = HistogramMetricFamily(
        "interlock_agent_duration_seconds", "Executions that succeeded or failed.", labels=["agent"]
    )
    for each in agents:
        duration.add_metric([each.agent], *_histogram(each.duration))
    yield duration


def _by_word(
    name: str, text: str, label: str, words: Iterable[tuple[str, str]], agents: Iterable[AgentMetrics]
) -> CounterMetricFamily:
    family = CounterMetricFamily(f"interlock_{name}", text, labels=["agent", label])
    for each in agents:
        for word, field in words:
            family.add_metric([each.agent, word], getattr(each, field))
    return family


_GAUGES = (
    ("attempts_active", "Attempts that hold a permit now.", "active"),
    ("attempts_queued", "Attempts that wait for a permit now.", "queued"),
    ("questions_open", "Questions that wait for a person now.", "open_questions"),
    ("workers", "Processes that execute now.", "workers"),
)


def _of_system(system: SystemMetrics) -> Iterator[Any]:
    for name, text, field in _GAUGES:
        yield GaugeMetricFamily(f"interlock_{name}", text, value=getattr(system, field))
    oldest = (system.oldest_queued_ms or 0) / 1000
    yield GaugeMetricFamily("interlock_queue_oldest_seconds", "How long the oldest queued attempt has waited.", oldest)
    yield CounterMetricFamily("interlock_runs_submitted", "Runs submitted.", value=system.submitted)
    ended = CounterMetricFamily("interlock_runs_ended", "Runs ended, by outcome.", labels=["outcome"])
    for outcome in OutcomeKind:  # all of them from the start: Prometheus sees no increase in what begins at 1
        ended.add_metric([outcome], system.ended.get(outcome, 0))
    yield ended
    yield CounterMetricFamily("interlock_blocked", "Runs and calls that the gate has blocked.", value=system.blocked)
    answers = CounterMetricFamily("interlock_answers", "Questions answered by people, or by nobody.", labels=["answer"])
    for word in ("confirmed", "denied", "expired"):
        answers.add_metric([word], getattr(system, word))
    yield answers
    yield CounterMetricFamily(
        "interlock_observer_failures", "How often an observer has raised in this process.", system.observer_failures
    )
    waiting = HistogramMetricFamily("interlock_queue_wait_seconds", "From being due to having a permit.")
    waiting.add_metric([], *_histogram(system.waiting))
    yield waiting


def _histogram(spread: Spread) -> tuple[list[tuple[str, float]], float]:
    classes: list[tuple[str, float]] = [(repr(bound / 1000), float(number)) for bound, number in spread.classes]
    return [*classes, ("+Inf", float(spread.count))], spread.total_ms / 1000
