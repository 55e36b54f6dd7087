"""How a check that did not work is written down: as a critical finding, never as silence."""

from __future__ import annotations

from interlock.model.action import Finding
from interlock.model.risk import RiskLevel

GATE_FAILED = "gate.failed"
"""The kind of the finding that says that the check itself did not work. Nothing accepts it."""
_LONGEST = 200


def failure(why: str) -> Finding:
    """The finding that says that the check itself did not work, and why."""
    why = why[:_LONGEST]
    reason = f"The check could not be completed ({why}), so this is blocked; make it shorter or simpler, or report it."
    return Finding(detector="gate", kind=GATE_FAILED, severity=RiskLevel.CRITICAL, evidence=why, reason=reason)
