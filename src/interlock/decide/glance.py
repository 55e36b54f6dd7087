"""The first question of everybody: is it safe? One word, and every reason for it."""

from __future__ import annotations

from collections.abc import Iterable

from interlock.model.alert import Alert, AlertState, Severity
from interlock.model.breaker import Breaker, BreakerState
from interlock.model.glance import Glance, Reason, Safe
from interlock.model.health import Health, HealthStatus

CUT_OFF = frozenset({BreakerState.OPEN, BreakerState.FORCED_OPEN})
"""States in which an agent is not started."""


def glance(system: Health, agents: Iterable[Health], alerts: Iterable[Alert], breakers: Iterable[Breaker]) -> Glance:
    """The gravest reason gives the word.

    Not safe: Interlock itself is unhealthy, or a critical alert fires that nobody looks after. To be looked at: it is
    degraded, an agent is unhealthy or cut off, or any other alert stands. An agent that only idles is no reason.
    """
    reasons = [*_of_system(system), *_of_alerts(alerts), *_of_breakers(breakers), *_of_agents(agents)]
    reasons.sort(key=lambda reason: reason.safe, reverse=True)
    return Glance(safe=max((reason.safe for reason in reasons), default=Safe.SAFE), reasons=tuple(reasons))


def _of_system(system: Health) -> Iterable[Reason]:
    if system.status in {HealthStatus.HEALTHY, HealthStatus.UNKNOWN}:
        return
    word = Safe.UNSAFE if system.status is HealthStatus.UNHEALTHY else Safe.LOOK
    for check in system.checks:
        if not check.ok:
            yield Reason(safe=word, about="system", text=f"Interlock's {check.name}: {check.evidence}")


def _of_alerts(alerts: Iterable[Alert]) -> Iterable[Reason]:
    for alert in alerts:
        if alert.active:
            grave = alert.state is AlertState.FIRING and alert.severity is Severity.CRITICAL
            whom = alert.agent or "Interlock"
            by = f", {alert.acknowledged_by} looks after it" if alert.acknowledged_by else ""
            yield Reason(
                safe=Safe.UNSAFE if grave else Safe.LOOK, about="alert",
                text=f"{whom}: {alert.message} ({alert.evidence}){by}",
            )  # fmt: skip


def _of_breakers(breakers: Iterable[Breaker]) -> Iterable[Reason]:
    for breaker in breakers:
        if breaker.state in CUT_OFF:
            why = breaker.reason or "its circuit breaker is open"
            yield Reason(safe=Safe.LOOK, about="breaker", text=f"{breaker.agent} is cut off: {why}")


def _of_agents(agents: Iterable[Health]) -> Iterable[Reason]:
    for health in agents:
        if health.status is HealthStatus.UNHEALTHY:
            failed = [check.name for check in health.checks if not check.ok]
            yield Reason(safe=Safe.LOOK, about="agent", text=f"{health.subject} is unhealthy: {', '.join(failed)}")
