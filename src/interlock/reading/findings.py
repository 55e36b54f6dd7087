"""What all readers do with their findings before they hand them over."""

from __future__ import annotations

from collections.abc import Iterable

from interlock.model.action import Finding


def worst_of_each_kind(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """One finding per kind, the strictest, worst first: ten dropped tables are one thing to say."""
    worst: dict[str, Finding] = {}
    for finding in findings:
        seen = worst.get(finding.kind)
        if seen is None or seen.severity < finding.severity:
            worst[finding.kind] = finding
    return tuple(sorted(worst.values(), key=lambda finding: -finding.severity.rank))
