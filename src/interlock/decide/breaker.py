"""Circuit breakers: does an agent that keeps failing get another attempt?

One breaker per agent, shared by all processes: the caller reads and writes it in the transaction that admits or ends an
attempt. The rules follow Resilience4j and Polly (release of a cancelled call, a consecutive rule beside the rate),
with the user's numbers. Whoever admits an attempt keeps ``breaker.generation`` as returned and hands it back with the result.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from interlock.config import BreakerSettings
from interlock.model.breaker import Breaker, BreakerState
from interlock.model.run import AgentError, ErrorKind

_LONGEST_DOUBLING = 32
_NOT_THE_AGENTS_FAULT = frozenset(
    {
        ErrorKind.BLOCKED,
        ErrorKind.DENIED,
        ErrorKind.CANCELLED,
        ErrorKind.CONFLICT,
        ErrorKind.CIRCUIT_OPEN,
        ErrorKind.BUDGET,
        ErrorKind.UNKNOWN_EFFECT,
    }
)


class Result(StrEnum):
    """How an attempt ended, as far as its agent's breaker cares."""

    SUCCESS = "success"
    FAILURE = "failure"
    IGNORED = "ignored"
    """Not the agent's doing: a policy's block, a person's no, a cancellation, a conflict, a lost worker."""


class Force(StrEnum):
    """What an operator can do."""

    OPEN = "open"
    CLOSED = "closed"
    RESET = "reset"


@dataclass(frozen=True, kw_only=True, slots=True)
class Refusal:
    """Why a breaker does not admit an attempt."""

    agent: str
    reason: str
    retry_at: datetime | None
    """When to try again; None when only an operator can help."""


def result_of(error: AgentError | None) -> Result:
    """What an ended attempt means for its agent's breaker (spec 3: block, denial, cancellation are no failures)."""
    if error is None:
        return Result.SUCCESS
    return Result.IGNORED if error.kind in _NOT_THE_AGENTS_FAULT else Result.FAILURE


def admit(breaker: Breaker, attempt_id: str, now: datetime, rules: BreakerSettings) -> tuple[Breaker, Refusal | None]:
    """The breaker after the request, and None when the attempt may start. Asking again for a probe changes nothing."""
    if breaker.state in {BreakerState.CLOSED, BreakerState.FORCED_CLOSED}:
        return breaker, None
    if breaker.state is BreakerState.FORCED_OPEN:
        reason = f"forced open by an operator: {breaker.reason}"
        return breaker, Refusal(agent=breaker.agent, reason=reason, retry_at=None)
    if breaker.state is BreakerState.OPEN:
        breaker = _with_sane_clock(breaker, now, rules)
        if breaker.open_until is not None and now < breaker.open_until:
            return breaker, Refusal(agent=breaker.agent, reason=breaker.reason, retry_at=breaker.open_until)
        breaker = _changed(breaker, BreakerState.HALF_OPEN, now, breaker.reason)
    if attempt_id in breaker.probes:
        return breaker, None
    if len(breaker.probes) >= rules.probes:
        reason = "a probe is under way, and its result decides"
        return breaker, Refusal(agent=breaker.agent, reason=reason, retry_at=now)
    return replace(breaker, probes=(*breaker.probes, attempt_id)), None


def record(
    breaker: Breaker,
    attempt_id: str,
    generation: int,
    result: Result,
    now: datetime,
    rules: BreakerSettings,
    *,
    took: timedelta = timedelta(),
) -> Breaker:
    """The breaker after an attempt that was admitted in ``generation`` has ended. Call it once per attempt.

    ``took``: how long its agent has worked. Failures and slow executions are counted side by side, as in Resilience4j.
    """
    if generation != breaker.generation:
        return breaker
    if result is Result.IGNORED:
        return release(breaker, attempt_id)
    good, slow = result is Result.SUCCESS, 0 < rules.slow_s <= took.total_seconds()
    if breaker.state is BreakerState.HALF_OPEN and attempt_id in breaker.probes:
        if good and not slow:
            return _closed(breaker, now, "the probe succeeded")
        return _opened(breaker, now, rules, "the probe was slow" if good else "the probe failed")
    if breaker.state is not BreakerState.CLOSED:
        return breaker
    breaker = replace(
        breaker,
        consecutive_failures=0 if good else breaker.consecutive_failures + 1,
        window=(*breaker.window, good)[-rules.window :],
        slow=(*breaker.slow, slow)[-rules.window :],
    )
    why = "" if good else _too_bad(breaker, rules)
    if slow and not why:
        why = _too_slow(breaker, rules)
    return _opened(breaker, now, rules, why) if why else breaker


def release(breaker: Breaker, attempt_id: str) -> Breaker:
    """The breaker after an attempt was cancelled or lost: a probe gives its place back, nothing is counted."""
    if attempt_id not in breaker.probes:
        return breaker
    return replace(breaker, probes=tuple(probe for probe in breaker.probes if probe != attempt_id))


def force(breaker: Breaker, what: Force, reason: str, now: datetime) -> Breaker:
    """The breaker after an operator's word; results of attempts under way no longer count."""
    if what is Force.OPEN:
        return _changed(breaker, BreakerState.FORCED_OPEN, now, reason)
    if what is Force.CLOSED:
        return _changed(breaker, BreakerState.FORCED_CLOSED, now, reason)
    return _closed(breaker, now, reason)


def trip(breaker: Breaker, reason: str, now: datetime, rules: BreakerSettings) -> Breaker:
    """The breaker after an alert's action: opened for the usual cool-down. An operator's word and an opening stand."""
    if breaker.state in {BreakerState.CLOSED, BreakerState.HALF_OPEN}:
        return _opened(breaker, now, rules, reason)
    return breaker


def cooldown(openings: int, rules: BreakerSettings) -> timedelta:
    """How long the breaker stays open at its n-th opening in a row (1 first): doubled each time, up to the cap."""
    factor = 2 ** min(max(openings - 1, 0), _LONGEST_DOUBLING)
    return timedelta(seconds=min(rules.cooldown_s * factor, rules.max_cooldown_s))


def _too_bad(breaker: Breaker, rules: BreakerSettings) -> str:
    if breaker.consecutive_failures >= rules.threshold:
        return f"{breaker.consecutive_failures} failures in a row"
    failed = breaker.window.count(False)
    enough = len(breaker.window) >= rules.min_calls
    if enough and failed * 100 >= rules.failure_rate_percent * len(breaker.window):
        return f"{failed} of the last {len(breaker.window)} attempts failed"
    return ""


def _too_slow(breaker: Breaker, rules: BreakerSettings) -> str:
    slow = breaker.slow.count(True)
    if len(breaker.slow) >= rules.min_calls and slow * 100 >= rules.slow_rate_percent * len(breaker.slow):
        return f"{slow} of the last {len(breaker.slow)} attempts took {rules.slow_s} s or longer"
    return ""


def _with_sane_clock(breaker: Breaker, now: datetime, rules: BreakerSettings) -> Breaker:
    """After a clock jumped back the cool-down counts from now: never longer than it was meant to be."""
    if breaker.changed_at is None or now >= breaker.changed_at:
        return breaker
    return replace(breaker, changed_at=now, open_until=now + cooldown(breaker.openings, rules))


def _opened(breaker: Breaker, now: datetime, rules: BreakerSettings, reason: str) -> Breaker:
    openings = breaker.openings + 1
    opened = _changed(breaker, BreakerState.OPEN, now, reason)
    return replace(opened, openings=openings, open_until=now + cooldown(openings, rules))


def _closed(breaker: Breaker, now: datetime, reason: str) -> Breaker:
    closed = _changed(breaker, BreakerState.CLOSED, now, reason)
    return replace(closed, consecutive_failures=0, window=(), slow=(), openings=0)


def _changed(breaker: Breaker, state: BreakerState, now: datetime, reason: str) -> Breaker:
    return replace(
        breaker,
        state=state,
        generation=breaker.generation + 1,
        open_until=None,
        probes=(),
        reason=reason,
        changed_at=now,
    )
