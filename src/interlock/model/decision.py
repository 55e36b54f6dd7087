"""Policies, and the decisions that they lead to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from interlock.model.action import Finding
from interlock.model.order import OrderedWord
from interlock.model.risk import RiskLevel


class Verdict(OrderedWord):
    """The user's words; the later word wins."""

    ALLOW = "allow"
    CONFIRM = "confirm"
    BLOCK = "block"


class RuleAction(OrderedWord):
    """What a rule may ask for. ``warn`` allows and is recorded."""

    ALLOW = "allow"
    WARN = "warn"
    CONFIRM = "confirm"
    BLOCK = "block"


class Enforcement(StrEnum):
    """Whether a policy acts, only records what it would have done, or is off."""

    STRICT = "strict"
    ADVISORY = "advisory"
    DISABLED = "disabled"


@dataclass(frozen=True, kw_only=True, slots=True)
class Rule:
    """One line of a policy: when it matches, its action is asked for."""

    id: str
    """``policy-name/rule-name``."""
    action: RuleAction
    reason: str = ""
    match: Mapping[str, Any] = field(default_factory=dict)
    """Conditions on declared facts (surface, tool, agent, environment, path, program, statement, finding); all must hold."""
    pattern: str = ""
    """An RE2 pattern searched for in the action's text, ignoring case; empty matches all."""
    when: str = ""
    """A CEL condition over declared names; empty holds always."""
    quorum: int = 1
    """How many people must agree when the action is ``confirm``."""
    accept: tuple[str, ...] = ()
    """Kinds of high findings that a team takes on itself where an ``allow`` rule matches; never critical ones."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Policy:
    """Rules under one name and one enforcement."""

    name: str
    enforcement: Enforcement = Enforcement.STRICT
    rules: tuple[Rule, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Decision:
    """What was decided about one action, and why. The engine obeys it."""

    verdict: Verdict
    reasons: tuple[str, ...]
    """Sentences for a person, most important first; never empty unless the verdict is allow."""
    rule_ids: tuple[str, ...] = ()
    """The rules and findings that led to the verdict."""
    warnings: tuple[str, ...] = ()
    """What advisory policies would have done, and what ``warn`` rules said."""
    findings: tuple[Finding, ...] = ()
    risk: RiskLevel = RiskLevel.LOW
    quorum: int = 1
    action_digest: str = ""
    policy_digest: str = ""

    @property
    def reason(self) -> str:
        """All reasons in one line."""
        return one_line(self.reasons)


def one_line(reasons: Iterable[str]) -> str:
    """Sentences as one line: each but the last loses its full stop before the semicolon."""
    *first, last = tuple(reasons) or ("",)
    return "; ".join([*(reason.rstrip(" .") for reason in first), last])
