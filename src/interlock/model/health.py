"""How well agents and the system are."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class HealthStatus(StrEnum):
    """The user's words (spec 8)."""

    HEALTHY = "healthy"
    DEGRADED = "degraded"
    UNHEALTHY = "unhealthy"
    UNKNOWN = "unknown"


@dataclass(frozen=True, kw_only=True, slots=True)
class Check:
    """One thing that was looked at."""

    name: str
    ok: bool
    evidence: str
    """What was seen and what is asked for, with units."""
    recommendation: str = ""
    """What to do; empty when it is ok."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Health:
    """An agent's health, or (for the subject ``system``) Interlock's own."""

    subject: str
    status: HealthStatus
    checks: tuple[Check, ...] = ()
    recommendations: tuple[str, ...] = ()
    """Each names its evidence; those of failed checks first, then findings of alerts."""
    at: datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class SystemFacts:
    """What was seen of the system. None: it could not be seen."""

    store_problem: str = ""
    """Why the store cannot be read or written; empty when it can."""
    living_workers: int = 0
    dead_workers: int = 0
    waiting: int = 0
    """Attempts that wait for a place."""
    oldest_queued_ms: int | None = None
    unfinished: int = 0
    disk_free_mb: int | None = None
    ledger_problem: str = ""
    ledger_verified_at: datetime | None = None
