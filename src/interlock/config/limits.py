"""What can be configured about how much: places, money, and when an agent that fails is stopped (spec 2, 3)."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated, Self

from pydantic import Field, ValidationInfo, model_validator

from interlock.config.base import PART, Count, Money, Seconds, Section, Tokens, Word


class LimitSettings(Section):
    """The governor's limits. 0 means never, not "default"."""

    max_concurrent: Count = 3
    """Agents at work at once in all, over all processes."""
    per_agent: Count = 2
    """Executions of one agent at once, where the agent itself says nothing."""
    tags: Mapping[Word, Count] = Field(default_factory=dict)
    """Executions at once of all agents that have a tag (``agents.NAME.tags``): a database, a test system, a licence."""
    per_minute: Count = 10
    """Agent starts in any 60 seconds."""
    timeout_s: Seconds = 300
    """Longest execution of an agent, in seconds."""
    max_retries: Annotated[int, Field(strict=True, ge=0, le=20)] = 2
    """Most further attempts after the first, whatever the recovery rules say."""
    context_tokens: Tokens = 8000
    """Tokens of context that one agent gets."""
    ageing_s: Annotated[Seconds, Field(ge=1)] = 60
    """Waiting time, in seconds, that lifts an attempt by one class of priority, so that low priority never starves."""


class BudgetSettings(Section):
    """What may be spent. Nothing written: no limit. 0: nothing may be spent. Days are UTC days."""

    tokens_per_run: Tokens | None = None
    """Input and output tokens of all agents of one run."""
    tokens_per_day: Tokens | None = None
    """The same for all runs of one day."""
    tokens_per_agent_day: Tokens | None = None
    """The same for one agent."""
    tokens_per_submitter_day: Tokens | None = None
    """The same for all runs of one submitter."""
    cost_per_run_usd: Money | None = None
    """Dollars for one run, to a millionth."""
    cost_per_day_usd: Money | None = None
    """Dollars for one day."""
    cost_per_agent_day_usd: Money | None = None
    """Dollars for one agent and day."""
    cost_per_submitter_day_usd: Money | None = None
    """Dollars for one submitter and day."""
    calls_per_run: Tokens | None = None
    """Tool calls of all agents of one run."""
    calls_per_day: Tokens | None = None
    """Tool calls of one day."""
    calls_per_agent_day: Tokens | None = None
    """Tool calls of one agent and day."""
    calls_per_submitter_day: Tokens | None = None
    """Tool calls of one submitter and day."""
    work_per_run_s: Seconds | None = None
    """Seconds that agents work for one run, added up."""
    work_per_day_s: Seconds | None = None
    """Seconds that agents work in one day."""
    work_per_agent_day_s: Seconds | None = None
    """Seconds that one agent works in one day."""
    work_per_submitter_day_s: Seconds | None = None
    """Seconds that agents work for one submitter in one day."""

    def caps(self, period: str) -> dict[str, int]:
        """The limits of one period (``run``, ``day``, ``agent_day``, ``submitter_day``) by kind, in whole units."""
        work = getattr(self, f"work_per_{period}_s")
        found = {
            "tokens": getattr(self, f"tokens_per_{period}"),
            "cost_micros": _micros(getattr(self, f"cost_per_{period}_usd")),
            "calls": getattr(self, f"calls_per_{period}"),
            "millis": None if work is None else work * 1000,
        }
        return {kind: most for kind, most in found.items() if most is not None}

    @property
    def cost_per_run_micros(self) -> int | None:
        """The run's limit in millionths of a dollar."""
        return _micros(self.cost_per_run_usd)

    @property
    def cost_per_day_micros(self) -> int | None:
        """The day's limit in millionths of a dollar."""
        return _micros(self.cost_per_day_usd)


def _micros(money: Decimal | None) -> int | None:
    return None if money is None else int(money * 1_000_000)


class BreakerSettings(Section):
    """When an agent's circuit breaker opens, and how it closes again (spec 3; windows of 10 to 20 fit agents)."""

    threshold: Annotated[int, Field(strict=True, ge=1, le=1000)] = 5
    """Failures in a row that open it."""
    window: Annotated[int, Field(strict=True, ge=1, le=1000)] = 20
    """How many last results the failure rate is taken of."""
    min_calls: Annotated[int, Field(strict=True, ge=1, le=1000)] = 5
    """Fewest results in the window before the failure rate counts."""
    failure_rate_percent: Annotated[int, Field(strict=True, ge=1, le=100)] = 50
    """Share of failures in the window, in percent, that opens it."""
    slow_s: Seconds = 0
    """Seconds of work, waiting for people aside, from which an execution counts as slow, however it ends; 0: none does."""
    slow_rate_percent: Annotated[int, Field(strict=True, ge=1, le=100)] = 80
    """Share of slow executions in the window, in percent, that opens it."""
    cooldown_s: Seconds = 300
    """Seconds until an open breaker admits a probe; doubles at each opening without a close in between."""
    max_cooldown_s: Seconds = 3600
    """Longest cool-down in seconds."""
    probes: Annotated[int, Field(strict=True, ge=1, le=100)] = 1
    """How many attempts a half-open breaker admits at once."""

    @model_validator(mode="after")
    def _fits(self, info: ValidationInfo) -> Self:
        if info.context is PART:
            return self
        if self.max_cooldown_s < self.cooldown_s:
            raise ValueError("max_cooldown_s must not be shorter than cooldown_s")
        if self.min_calls > self.window:
            raise ValueError("min_calls must not be more than window: the failure rate would never count")
        return self
