"""How dangerous something is, and why."""

from __future__ import annotations

from dataclasses import dataclass

from interlock.model.order import OrderedWord


class RiskLevel(OrderedWord):
    """The user's four words, mildest first."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"


@dataclass(frozen=True, kw_only=True, slots=True)
class Factor:
    """One reason for a risk level, with what raised it."""

    name: str
    """A short stable word such as ``database`` or ``agent.powers``."""
    level: RiskLevel
    """The level that this factor alone would justify."""
    evidence: str
    """The words or the fact that raised it, redacted."""
    reason: str = ""
    """One sentence for a person."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RiskAssessment:
    """What a task risks. Later assessments may raise it, never lower it."""

    level: RiskLevel
    factors: tuple[Factor, ...] = ()

    @property
    def mitigation_required(self) -> bool:
        """Whether anything must be done about it: everything above low (seed)."""
        return self.level > RiskLevel.LOW

    @property
    def confirmation_required(self) -> bool:
        """Whether a person must say yes first: high and critical (spec 1; the seed forgot critical)."""
        return self.level >= RiskLevel.HIGH

    def raised_to(self, level: RiskLevel, *factors: Factor) -> RiskAssessment:
        """This assessment with more factors, at least at ``level``."""
        return RiskAssessment(level=self.level.at_least(level), factors=(*self.factors, *factors))
