"""Increased monitoring (spec 9): for a time, an agent's gate asks a person one level earlier. It never allows more."""

from __future__ import annotations

from dataclasses import replace

from interlock.model.decision import Decision, Verdict
from interlock.model.risk import RiskLevel

RULE = "monitoring.increased"


def closer(decision: Decision, why: str) -> Decision:
    """The decision on an agent that is watched more closely: medium risk, a warning otherwise, asks a person."""
    if decision.verdict is not Verdict.ALLOW or decision.risk < RiskLevel.MEDIUM:
        return decision
    said = "; ".join(decision.warnings)[:300]
    reason = f"This agent is watched more closely ({why}), so a person confirms what is otherwise a warning"
    return replace(
        decision, verdict=Verdict.CONFIRM, reasons=(*decision.reasons, f"{reason}{f': {said}' if said else ''}."),
        rule_ids=(*decision.rule_ids, RULE),
    )  # fmt: skip
