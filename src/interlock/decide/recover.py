"""Recovery: what kind of error was it, and what is done about it?

The mapping from kind to strategy is data (:class:`interlock.config.RecoverySettings`, defaults of spec 6). This module
holds what no configuration may change: a done effect is not repeated, a fallback never loops, retries are bounded,
and whatever nobody understands goes to a person.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from interlock.config import RecoveryRule, Settings, Strategy
from interlock.model.agent import AgentSpec
from interlock.model.run import AgentError, Attempt, ErrorKind

DECLARABLE = frozenset(
    {
        ErrorKind.TIMEOUT,
        ErrorKind.SCHEMA_CONFLICT,
        ErrorKind.SECURITY_VIOLATION,
        ErrorKind.RENDERING_FAILURE,
        ErrorKind.TRANSIENT,
        ErrorKind.VALIDATION,
        ErrorKind.UNKNOWN,
    }
)
"""Kinds that an agent may name itself. The others would hide its failures from its breaker, or end a run in its name."""

_CONFLICTS = ("ConflictError", "interlock.errors.ConflictError")  # clients of databases have one of that name, too
_EXCEPTIONS: Mapping[str, ErrorKind] = {
    "CancelledError": ErrorKind.CANCELLED,
    "KeyboardInterrupt": ErrorKind.CANCELLED,
    "TimeoutError": ErrorKind.TIMEOUT,
    "TimeoutExpired": ErrorKind.TIMEOUT,
    "ReadTimeout": ErrorKind.TIMEOUT,
    "ConnectTimeout": ErrorKind.TRANSIENT,
    "ConnectError": ErrorKind.TRANSIENT,
    "ConnectionError": ErrorKind.TRANSIENT,
    "ConnectionResetError": ErrorKind.TRANSIENT,
    "ConnectionRefusedError": ErrorKind.TRANSIENT,
    "ConnectionAbortedError": ErrorKind.TRANSIENT,
    "BrokenPipeError": ErrorKind.CRASHED,
    "MemoryError": ErrorKind.CRASHED,
    "BrokenProcessPool": ErrorKind.CRASHED,
}
"""By the exception's class name; a name here is set by the machine, not by the agent."""

_SCHEMA = (
    r"no such (table|column)|(relation|column|table|index) \S{1,80} (does not exist|already exists)|duplicate column"
    r"|foreign key (constraint )?(failed|mismatch)|schema (conflict|mismatch|version)|migration conflict"
)
_TRANSIENT = (
    r"rate.?limit|too many requests|\b429\b|\b50[234]\b|overloaded|temporar(y|ily) (failure|unavailable)"
    r"|connection (was )?(reset|refused|aborted|closed)|database is locked|try again later|name resolution"
)
_RENDERING = (
    r"(render|draw|plot|canvas|svg|chart)\w{0,10} (error|failed|failure)"
    r"|(failed|unable) to (render|draw|plot)|(cannot|could not) (render|draw|plot)"
)
_TEXTS: tuple[tuple[ErrorKind, re.Pattern[str]], ...] = (
    (ErrorKind.SCHEMA_CONFLICT, re.compile(_SCHEMA, re.IGNORECASE)),
    (ErrorKind.TRANSIENT, re.compile(_TRANSIENT, re.IGNORECASE)),
    (ErrorKind.TIMEOUT, re.compile(r"timed? ?out\b|deadline exceeded", re.IGNORECASE)),
    (ErrorKind.RENDERING_FAILURE, re.compile(_RENDERING, re.IGNORECASE)),
    (ErrorKind.CRASHED, re.compile(r"segmentation fault|core dumped|out of memory|\boom.?killed\b", re.IGNORECASE)),
)
_READ = 4000  # the end of an agent's last words says most, and bounds the search


@dataclass(frozen=True, kw_only=True, slots=True)
class ExitFacts:
    """What the machine knows of how an attempt ended; facts beat whatever the agent says."""

    cancelled: bool = False
    timed_out: bool = False
    exit_code: int | None = None
    """Negative: ended by that signal."""
    worker_lost: bool = False


def classify(*, exception: str = "", text: str = "", declared: str = "", facts: ExitFacts | None = None) -> ErrorKind:
    """The kind of an attempt's error.

    Args:
        exception: the exception's class name, best with its module.
        text: the agent's last words (untrusted); only its end is read.
        declared: the kind that the agent names itself (untrusted); see :data:`DECLARABLE`.
        facts: what the machine knows.
    """
    facts = facts or ExitFacts()
    named = _EXCEPTIONS.get(exception.rpartition(".")[2])
    if facts.cancelled or named is ErrorKind.CANCELLED:
        return ErrorKind.CANCELLED
    if facts.timed_out:
        return ErrorKind.TIMEOUT
    if facts.worker_lost or (facts.exit_code is not None and facts.exit_code < 0):
        return ErrorKind.CRASHED
    if exception in _CONFLICTS:
        return ErrorKind.CONFLICT
    if declared in DECLARABLE:
        return ErrorKind(declared)
    if named is not None:
        return named
    tail = text[-_READ:]
    return next((kind for kind, pattern in _TEXTS if pattern.search(tail)), ErrorKind.UNKNOWN)


@dataclass(frozen=True, kw_only=True, slots=True)
class Done:
    """Nothing failed."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Retry:
    """The same agent once more, as a new attempt that is admitted anew."""

    delay_ms: int
    """Milliseconds from the end of the failed attempt to the earliest start."""
    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Fallback:
    """Another agent, admitted like any other."""

    agent: str
    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Rollback:
    """Undo what the run did; its outcome is named by the error's kind."""

    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Escalate:
    """A person decides."""

    reason: str


Step = Done | Retry | Fallback | Rollback | Escalate


@dataclass(frozen=True, kw_only=True, slots=True)
class EffectFacts:
    """What a failed attempt has done outside its workspace, as the ledger knows it."""

    done: bool = False
    """At least one effect happened that is not itself idempotent and has not been undone."""
    unknown: bool = False
    """At least one effect of which nobody knows whether it happened, and that is not idempotent."""
    retry_after_ms: int | None = None
    """What a provider asked to wait."""


def next_step(
    *,
    error: AgentError | None,
    attempts: Sequence[Attempt],
    spec: AgentSpec,
    fallbacks: Collection[str] = (),
    settings: Settings,
    effects: EffectFacts | None = None,
) -> Step:
    """What follows an ended attempt.

    Args:
        error: why it failed; None when it did not.
        attempts: all attempts of this assignment, oldest first, the ended one last.
        spec: the agent that just ran.
        fallbacks: agents that may replace it, in order, already narrowed to those that policies and breakers admit.
        settings: the recovery rules and the limits.
        effects: what happened outside the workspace.
    """
    if error is None:
        return Done()
    effects = effects or EffectFacts()
    if effects.unknown and not spec.idempotent:
        return Escalate(
            reason=f"nobody knows whether an effect of {spec.name} happened: look before anything is repeated"
        )
    rule = settings.recovery.rule(error.kind)
    step = _follow(rule.strategy, rule, error, attempts, spec, fallbacks, settings, effects)
    if step is None:
        step = _follow(rule.then, rule, error, attempts, spec, fallbacks, settings, effects)
    return step or Escalate(reason=f"{error.kind}: {error.message}; no retry and no fallback is left")


def _follow(
    strategy: Strategy,
    rule: RecoveryRule,
    error: AgentError,
    attempts: Sequence[Attempt],
    spec: AgentSpec,
    fallbacks: Collection[str],
    settings: Settings,
    effects: EffectFacts,
) -> Step | None:
    """One strategy's step, None when it has nothing left to offer."""
    why = f"{error.kind}: {error.message}"
    if strategy is Strategy.MANUAL:
        return Escalate(reason=why)
    if strategy is Strategy.ROLLBACK:
        return Rollback(reason=why)
    if effects.done and not spec.idempotent:
        return Escalate(
            reason=f"{why}; {spec.name} has already had an effect outside its workspace, which must not happen twice"
        )
    if strategy is Strategy.RETRY:
        return _retry(rule, why, attempts, spec, settings, effects)
    return _fallback(rule, why, attempts, fallbacks)


def _retry(
    rule: RecoveryRule, why: str, attempts: Sequence[Attempt], spec: AgentSpec, settings: Settings, effects: EffectFacts
) -> Step | None:
    most = settings.limits.max_retries if spec.max_retries is None else spec.max_retries
    most = min(most, rule.attempts)
    used = max(0, sum(attempt.agent == spec.name for attempt in attempts) - 1)
    if used >= most:
        return None
    delay = backoff_ms(rule, used, attempts[-1].id if attempts else spec.name)
    if effects.retry_after_ms is not None:
        delay = max(delay, min(effects.retry_after_ms, round(rule.max_backoff_s * 1000)))
    return Retry(delay_ms=delay, reason=f"{why}; retry {used + 1} of {most}")


def _fallback(rule: RecoveryRule, why: str, attempts: Sequence[Attempt], fallbacks: Collection[str]) -> Step | None:
    tried = {attempt.agent for attempt in attempts} | {attempt.assigned for attempt in attempts}
    replaced = len({attempt.agent for attempt in attempts if attempt.agent != attempt.assigned})
    if rule.strategy is Strategy.FALLBACK and replaced >= rule.attempts:
        return None
    fresh = next((agent for agent in fallbacks if agent not in tried), None)
    return None if fresh is None else Fallback(agent=fresh, reason=why)


def backoff_ms(rule: RecoveryRule, used: int, attempt_id: str) -> int:
    """Milliseconds before the next retry: doubled each time, capped, of which the upper half is jitter.

    The jitter comes from the attempt's id: attempts that failed together come back apart, and a replay decides the same.
    """
    whole = min(rule.backoff_s * float(2 ** min(used, 30)), rule.max_backoff_s) * 1000
    share = int.from_bytes(hashlib.sha256(attempt_id.encode()).digest()[:4], "big") / 2**32
    return round(whole / 2 + whole / 2 * share)
