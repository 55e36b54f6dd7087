"""What is counted about agents and the system. Tallies add up: minutes to hours, hours to all time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class LastError:
    """An agent's last failed execution, and what recovery chose for it."""

    attempt: str
    message: str
    kind: str
    at: datetime
    strategy: str = ""
    """``retry``, ``fallback``, ``rollback``, ``escalate``; empty until it is chosen."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Tally:
    """What has been counted in some stretch of time about one agent, or (for the agent "") about the system."""

    counts: Mapping[str, int] = field(default_factory=dict)
    """Sums by name."""
    peaks: Mapping[str, int] = field(default_factory=dict)
    """Highest values by name."""
    spans: Mapping[str, Mapping[int, int]] = field(default_factory=dict)
    """Durations by name: how many fell into which class of :data:`interlock.decide.metrics.BOUNDS_MS`."""
    streak: int = 0
    """Failures since the last success, or since the stretch began."""
    last_invocation: datetime | None = None
    last_error: LastError | None = None
    recovery: tuple[str, str] = ("", "")
    """The last attempt that recovery has decided about, and what it chose."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Spread:
    """How durations spread. Milliseconds; None while there are none. Quantiles are right to 2.5 %."""

    count: int = 0
    total_ms: int = 0
    average_ms: int | None = None
    median_ms: int | None = None
    p95_ms: int | None = None
    max_ms: int | None = None
    classes: tuple[tuple[int, int], ...] = ()
    """(upper bound in milliseconds, how many were not longer), cumulative, for histograms."""


@dataclass(frozen=True, kw_only=True, slots=True)
class AgentMetrics:
    """One agent in a stretch of time (spec 7)."""

    agent: str
    invocations: int = 0
    """Executions that were started."""
    successes: int = 0
    failures: int = 0
    """Executions that failed by the agent's own doing."""
    stopped: int = 0
    """Executions ended by a policy, a person, a conflict or a cancellation: not the agent's failure (spec 3)."""
    refused: int = 0
    """Executions that an open breaker did not admit."""
    error_rate: float | None = None
    """Failures of all that succeeded or failed; None when none did."""
    duration: Spread = field(default_factory=Spread)
    waiting: Spread = field(default_factory=Spread)
    """From being due until it had its place."""
    last_invocation: datetime | None = None
    last_error: LastError | None = None
    consecutive_failures: int = 0
    """Since the last success ever, whatever the window."""
    tokens_average: int | None = None
    """Input and output tokens per execution that reported any."""
    tokens_peak: int | None = None
    input_tokens: int = 0
    output_tokens: int = 0
    cost_micros: int = 0
    """Millionths of a dollar."""
    calls_allowed: int = 0
    calls_blocked: int = 0
    calls_asked: int = 0
    """Calls and results that a person was asked about."""
    checks_failed: int = 0
    """Failed validators that say ``on_failure: alert``."""
    breaker: str = "closed"


@dataclass(frozen=True, kw_only=True, slots=True)
class SystemMetrics:
    """All of Interlock in a stretch of time, and what it does at this moment."""

    submitted: int = 0
    ended: Mapping[str, int] = field(default_factory=dict)
    """Runs by outcome."""
    active: int = 0
    """Attempts that hold a permit now."""
    queued: int = 0
    """Attempts that wait for one now."""
    oldest_queued_ms: int | None = None
    waiting: Spread = field(default_factory=Spread)
    blocked: int = 0
    """Runs and calls that the gate has blocked."""
    confirmed: int = 0
    """Questions that people said yes to."""
    denied: int = 0
    expired: int = 0
    asked: int = 0
    open_questions: int = 0
    """Questions that wait for an answer now."""
    workers: int = 0
    """Processes that execute now."""
    breakers: Mapping[str, str] = field(default_factory=dict)
    """State by agent."""
    observer_failures: int = 0
    """How often an exporter or another observer has raised; it was not obeyed."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Metrics:
    """What has been measured."""

    at: datetime
    since: datetime | None
    """Where the window begins, to the minute (to the hour for windows over two days); None: all time."""
    seq: int
    """The last ledger record that is counted."""
    agents: tuple[AgentMetrics, ...]
    system: SystemMetrics

    def agent(self, name: str) -> AgentMetrics:
        """That agent's; zeros when nothing is known of it."""
        return next((each for each in self.agents if each.agent == name), AgentMetrics(agent=name))
