"""Decisions put together: the strictest counts, and every reason is kept."""

from __future__ import annotations

from dataclasses import replace

from interlock.model.decision import Decision


def strictest(first: Decision, second: Decision) -> Decision:
    """One decision that is at least as strict as both."""
    lead, other = (second, first) if second.verdict > first.verdict else (first, second)
    return replace(
        lead,
        reasons=tuple(dict.fromkeys((*lead.reasons, *other.reasons))),
        rule_ids=tuple(dict.fromkeys((*lead.rule_ids, *other.rule_ids))),
        warnings=tuple(dict.fromkeys((*lead.warnings, *other.warnings))),
        findings=tuple(dict.fromkeys((*lead.findings, *other.findings))),
        risk=lead.risk.at_least(other.risk),
        quorum=max(lead.quorum, other.quorum),
    )
