"""Alerts: what fired about whom, what was done about it, and who was told to look."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from interlock.model.order import OrderedWord


class Severity(OrderedWord):
    """How much it matters; the later word matters more."""

    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"


class AlertState(StrEnum):
    """Where an alert stands. One that is inactive does not exist."""

    PENDING = "pending"
    """The condition holds, but not for long enough."""
    FIRING = "firing"
    ACKNOWLEDGED = "acknowledged"
    """Somebody looks after it: no more escalation, no repetition."""
    RESOLVED = "resolved"


class AlertAction(StrEnum):
    """What an alert can do. ``TELL_RESOLVED`` follows by itself when people had been told."""

    NOTIFY = "notify"
    ESCALATE = "escalate"
    CIRCUIT_BREAK = "circuit-break"
    INCREASE_MONITORING = "increase-monitoring"
    LOG = "log"
    OPTIMIZE_SUGGESTION = "optimize-suggestion"
    TELL_RESOLVED = "tell-resolved"


@dataclass(frozen=True, kw_only=True, slots=True)
class Act:
    """One action that was taken, or tried."""

    action: AlertAction
    at: datetime
    ok: bool = True
    step: int = 0
    """Of an escalation, 0 first."""
    result: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Alert:
    """One episode of one rule about one agent (empty: the system)."""

    id: str
    rule: str
    agent: str
    severity: Severity
    message: str
    state: AlertState
    evidence: str = ""
    """The metrics that the condition reads, as they were when it last held."""
    since: datetime
    """When the condition began to hold."""
    last_true: datetime
    fired_at: datetime | None = None
    resolved_at: datetime | None = None
    acknowledged_by: str = ""
    acknowledged_at: datetime | None = None
    note: str = ""
    """What the acknowledger said."""
    acts: tuple[Act, ...] = ()

    @property
    def active(self) -> bool:
        """Whether it has fired and is not over."""
        return self.state in {AlertState.FIRING, AlertState.ACKNOWLEDGED}


@dataclass(frozen=True, kw_only=True, slots=True)
class Silence:
    """Nobody is told about alerts that fit, until it ends. What protects (a breaker, the gate) is done all the same."""

    id: str
    rule: str = "*"
    """A glob of rules' names."""
    agent: str = "*"
    """A glob of agents' names."""
    until: datetime
    author: str
    reason: str = ""
    created_at: datetime
