"""Health is the user's four checks and the system's own; whoever is sick is told why and what to do."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.config import HealthSettings
from interlock.decide.health import agent_health, system_health
from interlock.model.health import Health, HealthStatus, SystemFacts
from interlock.model.metrics import AgentMetrics, Spread
from watch_kit import NOON

RULES = HealthSettings()
WELL = AgentMetrics(
    agent="writer", invocations=10, successes=10, error_rate=0.0, duration=Spread(count=10, average_ms=9_999),
    tokens_average=6_399, last_invocation=NOON - timedelta(seconds=299),
)  # fmt: skip
SLOW = {"duration": Spread(count=10, average_ms=10_000)}
FAILING = {"error_rate": 0.1, "failures": 1, "successes": 9}
HUNGRY = {"tokens_average": 6_400}
IDLE = {"last_invocation": NOON - timedelta(seconds=300)}


def judged(found: AgentMetrics) -> Health:
    return agent_health(found, now=NOON, context_tokens=8000, rules=RULES)


@pytest.mark.parametrize(
    ("sick", "status", "failed"),
    [
        ({}, HealthStatus.HEALTHY, ()),
        (SLOW, HealthStatus.DEGRADED, ("responseTime",)),
        (FAILING, HealthStatus.DEGRADED, ("errorRate",)),
        (HUNGRY, HealthStatus.DEGRADED, ("resourceUsage",)),
        (IDLE, HealthStatus.DEGRADED, ("lastActivity",)),
        ({**SLOW, **IDLE}, HealthStatus.DEGRADED, ("responseTime", "lastActivity")),
        ({**SLOW, **FAILING, **IDLE}, HealthStatus.UNHEALTHY, ("responseTime", "errorRate", "lastActivity")),
    ],
)  # fmt: skip
def test_the_users_limits_to_the_last_unit(
    sick: dict[str, object], status: HealthStatus, failed: tuple[str, ...]
) -> None:
    found = judged(replace(WELL, **sick))  # type: ignore[arg-type]
    assert found.status is status
    assert tuple(check.name for check in found.checks if not check.ok) == failed
    assert len(found.recommendations) == len(failed)


def test_an_agent_that_never_ran_is_unknown_and_nothing_is_divided_by_zero() -> None:
    assert judged(AgentMetrics(agent="new")).status is HealthStatus.UNKNOWN


def test_every_recommendation_names_its_evidence() -> None:
    found = judged(replace(WELL, **SLOW, **FAILING))  # type: ignore[arg-type]
    assert found.recommendations[0].startswith(
        "Consider optimizing agent prompt or task complexity (average 10 s of 10"
    )
    assert found.recommendations[1].startswith("Investigate recurring error patterns (1 of 10 executions failed")


def test_what_alerts_have_found_out_is_among_the_recommendations() -> None:
    found = agent_health(WELL, now=NOON, context_tokens=8000, rules=RULES, findings=("it took 40 s",))
    assert found.recommendations == ("it took 40 s",)
    assert found.status is HealthStatus.HEALTHY


@given(
    average=st.none() | st.integers(0, 10**6), rate=st.none() | st.floats(0, 1), tokens=st.none() | st.integers(0, 10**6),
    idle=st.integers(0, 10**6),
)  # fmt: skip
def test_getting_worse_in_one_thing_never_makes_an_agent_healthier(
    average: int | None, rate: float | None, tokens: int | None, idle: int
) -> None:
    order = [HealthStatus.HEALTHY, HealthStatus.DEGRADED, HealthStatus.UNHEALTHY]
    found = replace(
        WELL, duration=Spread(count=1, average_ms=average), error_rate=rate, tokens_average=tokens,
        last_invocation=NOON - timedelta(seconds=idle),
    )  # fmt: skip
    before = order.index(judged(found).status)
    for sick in (SLOW, {"error_rate": 1.0}, {"tokens_average": 10**7}, {"last_invocation": NOON - timedelta(days=9)}):
        assert order.index(judged(replace(found, **sick)).status) >= before


@pytest.mark.parametrize(
    ("facts", "status", "failed"),
    [
        (SystemFacts(), HealthStatus.HEALTHY, ()),
        (SystemFacts(store_problem="the disk is full"), HealthStatus.UNHEALTHY, ("store",)),
        (SystemFacts(ledger_problem="record 3 was changed"), HealthStatus.UNHEALTHY, ("ledger",)),
        (SystemFacts(waiting=1, oldest_queued_ms=10), HealthStatus.DEGRADED, ("workers",)),
        (SystemFacts(unfinished=1), HealthStatus.DEGRADED, ("workers",)),
        (SystemFacts(unfinished=1, living_workers=1), HealthStatus.HEALTHY, ()),
        (SystemFacts(living_workers=1, waiting=2, oldest_queued_ms=900_001), HealthStatus.DEGRADED, ("queue",)),
        (SystemFacts(disk_free_mb=499), HealthStatus.DEGRADED, ("disk",)),
        (SystemFacts(ledger_verified_at=NOON - timedelta(days=1)), HealthStatus.HEALTHY, ()),
        (SystemFacts(ledger_verified_at=NOON - timedelta(days=3)), HealthStatus.DEGRADED, ("ledger",)),
    ],
)  # fmt: skip
def test_the_systems_own_health(facts: SystemFacts, status: HealthStatus, failed: tuple[str, ...]) -> None:
    found = system_health(facts, now=NOON, rules=RULES)
    assert found.status is status
    assert tuple(check.name for check in found.checks if not check.ok) == failed
    assert all(check.recommendation and check.evidence for check in found.checks)
