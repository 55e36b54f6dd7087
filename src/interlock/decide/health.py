"""Health: the user's checks (spec 8), and the same thought for the system itself. Every advice names what was seen."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from interlock.config import HealthSettings
from interlock.model.health import Check, Health, HealthStatus, SystemFacts
from interlock.model.metrics import AgentMetrics

_MANY = 2
"""More failed checks than this are unhealthy (spec 8)."""


def agent_health(
    found: AgentMetrics, *, now: datetime, context_tokens: int, rules: HealthSettings, findings: Sequence[str] = ()
) -> Health:
    """The health of one agent: response time, error rate, tokens, activity.

    A check whose figure does not exist (no execution has ended, no tokens were reported) has not failed.

    Args:
        found: its metrics in the window of ``rules``; ``last_invocation`` of all time.
        now: the time of the judgement.
        context_tokens: the tokens of context that the agent gets.
        rules: the limits.
        findings: what alerts have found out about it (their ``optimize-suggestion``), for the recommendations.
    """
    if found.last_invocation is None:
        return Health(subject=found.agent, status=HealthStatus.UNKNOWN, recommendations=tuple(findings), at=now)
    checks = (
        _response(found, rules),
        _errors(found, rules),
        _tokens(found, context_tokens, rules),
        _activity(found.last_invocation, now, rules),
    )
    return _judged(found.agent, checks, now, findings)


def _judged(subject: str, checks: tuple[Check, ...], now: datetime, findings: Iterable[str] = ()) -> Health:
    failed = [check for check in checks if not check.ok]
    status = HealthStatus.HEALTHY
    if failed:
        status = HealthStatus.UNHEALTHY if len(failed) > _MANY else HealthStatus.DEGRADED
    advice = [f"{check.recommendation} ({check.evidence})" for check in failed]
    return Health(subject=subject, status=status, checks=checks, recommendations=(*advice, *findings), at=now)


def _response(found: AgentMetrics, rules: HealthSettings) -> Check:
    average = found.duration.average_ms
    return Check(
        name="responseTime", ok=average is None or average < rules.response_ms,
        evidence=f"average {_ms(average)} of {found.duration.count} executions, asked for is under {_ms(rules.response_ms)}",
        recommendation="Consider optimizing agent prompt or task complexity",
    )  # fmt: skip


def _errors(found: AgentMetrics, rules: HealthSettings) -> Check:
    rate = found.error_rate
    seen = f"{found.failures} of {found.failures + found.successes} executions failed"
    last = (
        f"; the last one: {found.last_error.kind}: {' '.join(found.last_error.message.split())}"[:200]
        if found.last_error
        else ""
    )
    return Check(
        name="errorRate", ok=rate is None or rate * 100 < rules.error_rate_percent,
        evidence=f"{seen}, asked for is under {rules.error_rate_percent} %{last}",
        recommendation="Investigate recurring error patterns",
    )  # fmt: skip


def _tokens(found: AgentMetrics, context_tokens: int, rules: HealthSettings) -> Check:
    average, limit = found.tokens_average, context_tokens * rules.token_percent
    return Check(
        name="resourceUsage", ok=average is None or average * 100 < limit,
        evidence=f"average {average if average is not None else 'unknown'} tokens, peak {found.tokens_peak or 'unknown'}, "
        f"asked for is under {limit // 100} ({rules.token_percent} % of {context_tokens})",
        recommendation="Shorten its prompt or what is handed over to it, or give it more context",
    )  # fmt: skip


def _activity(last: datetime, now: datetime, rules: HealthSettings) -> Check:
    idle = max(0, int((now - last).total_seconds()))
    return Check(
        name="lastActivity", ok=idle < rules.idle_s,
        evidence=f"last started {idle} s ago, asked for is under {rules.idle_s} s",
        recommendation="Nothing to repair if no task needed it; otherwise see why it is not chosen: interlock plan",
    )  # fmt: skip


def _ms(ms: int | None) -> str:
    return "unknown" if ms is None else f"{ms / 1000:g} s"


def system_health(facts: SystemFacts, *, now: datetime, rules: HealthSettings) -> Health:
    """Interlock's own health. A store that cannot be used, or a ledger that is not whole, is unhealthy by itself."""
    checks = (
        Check(
            name="store", ok=not facts.store_problem, evidence=facts.store_problem or "it can be read and written",
            recommendation="Make room, or bring the database back: nothing starts until then",
        ),
        _workers(facts),
        _queue(facts, rules),
        Check(
            name="disk", ok=facts.disk_free_mb is None or facts.disk_free_mb >= rules.disk_free_mb,
            evidence=f"{facts.disk_free_mb if facts.disk_free_mb is not None else 'unknown'} MiB free, "
            f"asked for are {rules.disk_free_mb}",
            recommendation="Make room where the state is kept: what cannot be recorded is not done",
        ),
        _ledger(facts, now, rules),
    )  # fmt: skip
    judged = _judged("system", checks, now)
    if facts.store_problem or facts.ledger_problem:
        return Health(
            subject="system", status=HealthStatus.UNHEALTHY, checks=checks, at=now,
            recommendations=judged.recommendations,
        )  # fmt: skip
    return judged


def _workers(facts: SystemFacts) -> Check:
    needed = facts.waiting + facts.unfinished > 0
    return Check(
        name="workers", ok=facts.living_workers > 0 or not needed,
        evidence=f"{facts.living_workers} alive, {facts.dead_workers} silent, {facts.unfinished} runs not ended",
        recommendation="Start a worker: interlock resume",
    )  # fmt: skip


def _queue(facts: SystemFacts, rules: HealthSettings) -> Check:
    oldest = facts.oldest_queued_ms
    return Check(
        name="queue", ok=oldest is None or oldest <= rules.queue_age_s * 1000,
        evidence=f"{facts.waiting} wait, the oldest for {_ms(oldest or 0)}, at most {rules.queue_age_s} s are asked for",
        recommendation="See why with interlock queue: limits, an open breaker, no worker",
    )  # fmt: skip


def _ledger(facts: SystemFacts, now: datetime, rules: HealthSettings) -> Check:
    seen, overdue = "never verified", False
    if facts.ledger_verified_at is not None:
        age = int((now - facts.ledger_verified_at).total_seconds())
        seen = f"whole when it was verified {age} s ago"
        overdue = rules.verify_every_s > 0 and age > 2 * rules.verify_every_s
    advice = "Stop and find out who changed it" if facts.ledger_problem else "Verify it: interlock audit verify"
    return Check(
        name="ledger", ok=not facts.ledger_problem and not overdue,
        evidence=f"NOT whole: {facts.ledger_problem}" if facts.ledger_problem else seen, recommendation=advice,
    )  # fmt: skip
