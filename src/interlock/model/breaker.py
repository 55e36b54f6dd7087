"""The state of one agent's circuit breaker, as stored."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class BreakerState(StrEnum):
    """What a breaker does with the next request."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"
    FORCED_OPEN = "forced_open"
    FORCED_CLOSED = "forced_closed"


@dataclass(frozen=True, kw_only=True, slots=True)
class Breaker:
    """One agent's breaker. ``generation`` rises at every change of state, so that late results do not count."""

    agent: str
    state: BreakerState = BreakerState.CLOSED
    generation: int = 0
    consecutive_failures: int = 0
    window: tuple[bool, ...] = ()
    """The last results, oldest first; True is a success."""
    slow: tuple[bool, ...] = ()
    """Which of them took too long, in the same order."""
    openings: int = 0
    """How often it opened without a close in between: the cool-down grows with it."""
    open_until: datetime | None = None
    probes: tuple[str, ...] = ()
    """Attempts that hold a probe's place in half-open."""
    reason: str = ""
    changed_at: datetime | None = None
