"""What somebody sees who looks for one second."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from interlock.model.order import OrderedWord


class Safe(OrderedWord):
    """Whether it is safe; the later word is worse."""

    SAFE = "safe"
    LOOK = "look"
    """Safe, but somebody should look."""
    UNSAFE = "unsafe"


@dataclass(frozen=True, kw_only=True, slots=True)
class Reason:
    """One thing that is not as it should be."""

    safe: Safe
    about: str
    """``system``, ``alert``, ``breaker`` or ``agent``."""
    text: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Glance:
    """One word, and every reason for it, the gravest first."""

    safe: Safe
    reasons: tuple[Reason, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Status:
    """Counts for one look."""

    safe: Safe
    reasons: tuple[str, ...]
    """Why it is not simply safe, the gravest first."""
    environment: str
    runs: Mapping[str, int]
    """By state, and by outcome for those that have ended."""
    waiting_for_people: int
    queued: int
    firing: int
    """Alerts that have fired and are not over."""
    cut_off: tuple[str, ...]
    """Agents whose breaker does not let them run."""
    worker: bool
    """Whether any process executes."""
