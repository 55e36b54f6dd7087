"""What can be configured about failing: which kind of error leads to what (spec 6)."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import Field, field_validator

from interlock.config.base import Fraction, Section
from interlock.model.run import ErrorKind


class Strategy(StrEnum):
    """What is done about a failed attempt (spec 6)."""

    RETRY = "retry"
    FALLBACK = "fallback"
    ROLLBACK = "rollback"
    MANUAL = "manual"


class RecoveryRule(Section):
    """What one kind of error leads to."""

    strategy: Strategy = Strategy.MANUAL
    """``retry``, ``fallback``, ``rollback`` or ``manual`` (a person)."""
    attempts: Annotated[int, Field(strict=True, ge=0, le=20)] = 0
    """How many retries, or how many fallback agents, before ``then``."""
    backoff_s: Fraction = 2.0
    """Seconds before the first retry; doubles each time, with jitter."""
    max_backoff_s: Fraction = 300.0
    """Longest wait before a retry in seconds."""
    then: Strategy = Strategy.MANUAL
    """What follows when the attempts are used up (not ``retry``)."""

    @field_validator("then")
    @classmethod
    def _ends(cls, then: Strategy) -> Strategy:
        if then is Strategy.RETRY:
            raise ValueError('must be "fallback", "rollback" or "manual": a retry that follows retries would not end')
        return then


def _rule(
    strategy: Strategy, attempts: int = 0, then: Strategy = Strategy.MANUAL, backoff_s: float = 2.0
) -> RecoveryRule:
    return RecoveryRule(strategy=strategy, attempts=attempts, then=then, backoff_s=backoff_s)


class RecoverySettings(Section):
    """What each kind of error leads to: the mapping of spec 6, and the same thought for the kinds that it does not name."""

    timeout: RecoveryRule = _rule(Strategy.RETRY, 2, Strategy.FALLBACK)
    """The agent's time was over."""
    schema_conflict: RecoveryRule = _rule(Strategy.MANUAL)
    """The database is not as the agent expects."""
    security_violation: RecoveryRule = _rule(Strategy.ROLLBACK)
    """A secret or something dangerous in what the agent made. Only ``rollback`` or ``manual``."""
    rendering_failure: RecoveryRule = _rule(Strategy.FALLBACK, 1)
    """A chart or page could not be drawn."""
    transient: RecoveryRule = _rule(Strategy.RETRY, 2, Strategy.FALLBACK)
    """A network, a rate limit, a busy resource: likely gone soon."""
    crashed: RecoveryRule = _rule(Strategy.RETRY, 1, Strategy.FALLBACK)
    """The agent's process was killed or its worker died."""
    conflict: RecoveryRule = _rule(Strategy.RETRY, 1, backoff_s=0)
    """Another agent changed the same lines: once more on the new base, then a person."""
    validation: RecoveryRule = _rule(Strategy.ROLLBACK)
    """A declared validator failed and names no action of its own."""
    circuit_open: RecoveryRule = _rule(Strategy.FALLBACK, 20)
    """The agent's breaker did not admit it: whoever may replace it, then a person."""
    blocked: RecoveryRule = _rule(Strategy.ROLLBACK)
    """A policy forbade what the agent wanted. Only ``rollback`` or ``manual``: another agent is no way round a policy."""
    denied: RecoveryRule = _rule(Strategy.ROLLBACK)
    """A person said no. Only ``rollback`` or ``manual``."""
    cancelled: RecoveryRule = _rule(Strategy.ROLLBACK)
    """Somebody cancelled. Only ``rollback`` or ``manual``."""
    budget: RecoveryRule = _rule(Strategy.MANUAL)
    """A budget is used up: a person decides. Only ``rollback`` or ``manual``: trying again would spend more."""
    unknown_effect: RecoveryRule = _rule(Strategy.MANUAL)
    """Nobody knows whether an effect happened. Always ``manual``."""
    unknown: RecoveryRule = _rule(Strategy.MANUAL)
    """Everything else goes to a person (spec 6)."""

    @field_validator("security_violation", "blocked", "denied", "cancelled", "budget", "unknown_effect")
    @classmethod
    def _never_again(cls, rule: RecoveryRule) -> RecoveryRule:
        if {rule.strategy, rule.then} & {Strategy.RETRY, Strategy.FALLBACK}:
            raise ValueError('must be "rollback" or "manual": trying again would go round a decision')
        return rule

    def rule(self, kind: ErrorKind) -> RecoveryRule:
        """The rule for this kind of error."""
        found: RecoveryRule = getattr(self, kind.value)
        return found
