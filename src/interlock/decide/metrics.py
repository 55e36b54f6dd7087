"""Metrics are a fold over the ledger (spec 7): the same records give the same numbers on every machine and after any restart.

Tallies form a monoid: folding records one after the other is the same as folding parts and adding them up in order.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from interlock.decide.breaker import Result, result_of
from interlock.model.agent import OnFailure
from interlock.model.breaker import Breaker
from interlock.model.ledger import LedgerEntry
from interlock.model.metrics import AgentMetrics, LastError, Spread, SystemMetrics, Tally
from interlock.model.run import AgentError, ErrorKind

HISTOGRAM_MS = (
    10, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 30_000, 60_000, 120_000, 300_000, 600_000, 1_800_000, 3_600_000,
    7_200_000,
)  # fmt: skip
"""Classes that histograms show, in milliseconds."""
_LONGEST_MS = 366 * 86_400_000
_GROWTH_PERCENT = 105


def _bounds() -> tuple[int, ...]:
    """Upper bounds that grow by 5 %, whole milliseconds, with the histograms' own among them."""
    bounds, bound = {0, *HISTOGRAM_MS}, 1
    while bound < _LONGEST_MS:
        bounds.add(bound)
        bound = max(bound + 1, bound * _GROWTH_PERCENT // 100)
    return tuple(sorted(bounds))


BOUNDS_MS = _bounds()
"""Classes of durations: at most 5 % wide, so that a quantile's middle is right to 2.5 %. The last one holds all that is longer."""

EMPTY = Tally()
SYSTEM = ""
"""The agent under whose name the system's own tally is kept."""

_OUTCOMES = "ended."
_Pieces = Iterable[tuple[str, Tally]]


def pieces(entry: LedgerEntry) -> _Pieces:
    """What one record adds, by agent. Records that say nothing to metrics add nothing; none of them raises.

    Alerts' own records are among those: an alert's action cannot feed its condition (spec 9).
    """
    count = _COUNTED.get(entry.kind)
    return count(entry) if count else ()


def _agent(entry: LedgerEntry) -> str:
    return str(entry.data.get("agent") or "")


def _run_ended(entry: LedgerEntry) -> _Pieces:
    kind = str(entry.data.get("kind") or "unknown")
    return ((SYSTEM, _count(_OUTCOMES + kind, *(("blocked",) if kind == "blocked" else ()))),)


def _admitted(entry: LedgerEntry) -> _Pieces:
    if "waited_ms" not in entry.data:
        return ()
    waited = _timed("waiting", _whole(entry.data["waited_ms"]))
    return (_agent(entry), waited), (SYSTEM, waited)


def _started(entry: LedgerEntry) -> _Pieces:
    return ((_agent(entry), Tally(counts={"invocations": 1}, last_invocation=entry.at)),)


def _succeeded(entry: LedgerEntry) -> _Pieces:
    return ((_agent(entry), add(_count("successes"), _timed("duration", _whole(entry.data.get("duration_ms"))))),)


def _failed(entry: LedgerEntry) -> _Pieces:
    try:
        kind = ErrorKind(str(entry.data.get("error") or ""))
    except ValueError:
        kind = ErrorKind.UNKNOWN
    message = str(entry.data.get("message") or "")
    if kind is ErrorKind.CIRCUIT_OPEN:
        return ((_agent(entry), _count("refused")),)
    if result_of(AgentError(kind=kind, message=message)) is not Result.FAILURE:
        return ((_agent(entry), _count("stopped")),)
    error = LastError(attempt=str(entry.data.get("attempt") or ""), message=message, kind=kind.value, at=entry.at)
    failed = Tally(counts={"failures": 1}, streak=1, last_error=error)
    return ((_agent(entry), add(failed, _timed("duration", _whole(entry.data.get("duration_ms"))))),)


def _recovered(entry: LedgerEntry) -> _Pieces:
    chosen = (str(entry.data.get("attempt") or ""), str(entry.data.get("step") or ""))
    return ((str(entry.data.get("of") or ""), Tally(recovery=chosen)),)


def _check_failed(entry: LedgerEntry) -> _Pieces:
    return ((_agent(entry), _count("checks_failed")),) if entry.data.get("on_failure") == OnFailure.ALERT else ()


def _used(usage: Any) -> Tally:
    if not isinstance(usage, Mapping):
        return EMPTY
    sums = {name: _whole(usage.get(name)) for name in ("input_tokens", "output_tokens", "cost_micros")}
    tokens = sums["input_tokens"] + sums["output_tokens"]
    if not tokens:
        return Tally(counts={name: value for name, value in sums.items() if value})
    return Tally(counts={**sums, "reported": 1}, peaks={"tokens": tokens})


def _count(*names: str) -> Tally:
    return Tally(counts=dict.fromkeys(names, 1))


def _timed(name: str, ms: int) -> Tally:
    return Tally(counts={f"{name}_ms": ms}, peaks={name: ms}, spans={name: {class_of(ms): 1}})


_COUNTED: Mapping[str, Callable[[LedgerEntry], _Pieces]] = {
    "task.submitted": lambda _: ((SYSTEM, _count("submitted")),),
    "run.ended": _run_ended,
    "attempt.admitted": _admitted,
    "attempt.started": _started,
    "attempt.succeeded": _succeeded,
    "attempt.failed": _failed,
    "attempt.waiting": lambda entry: ((_agent(entry), _count("calls_asked")),),
    "recovery.chosen": _recovered,
    "validator.failed": _check_failed,
    "agent.returned": lambda entry: ((_agent(entry), _used(entry.data.get("usage"))),),
    "effect.intended": lambda entry: ((entry.actor, _count("calls_allowed")),),
    "call.blocked": lambda entry: ((entry.actor, _count("calls_blocked")), (SYSTEM, _count("blocked"))),
    "approval.asked": lambda _: ((SYSTEM, _count("asked")),),
    "approval.approved": lambda _: ((SYSTEM, _count("confirmed")),),
    "approval.denied": lambda _: ((SYSTEM, _count("denied")),),
    "approval.expired": lambda _: ((SYSTEM, _count("expired")),),
}


def class_of(ms: int) -> int:
    """The class of a duration: the first of :data:`BOUNDS_MS` that is not smaller."""
    return min(bisect_left(BOUNDS_MS, ms), len(BOUNDS_MS) - 1)


def _whole(value: Any) -> int:
    """A count out of a record: whatever it holds, a whole number that is not negative and fits into 53 bits."""
    return min(max(value, 0), 2**53) if isinstance(value, int) and not isinstance(value, bool) else 0


def add(before: Tally, after: Tally) -> Tally:
    """Two stretches of time as one; ``after`` is the later one."""
    if before is EMPTY:
        return after
    if after is EMPTY:
        return before
    success = after.counts.get("successes", 0) > 0
    recovery = after.recovery if after.recovery[0] else before.recovery
    error = after.last_error or before.last_error
    if error is not None and error.attempt and error.attempt == recovery[0]:
        error = replace(error, strategy=recovery[1])
    return Tally(
        counts=_joined(before.counts, after.counts),
        peaks={name: max(before.peaks.get(name, 0), after.peaks.get(name, 0)) for name in {**before.peaks, **after.peaks}},
        spans={
            name: _joined(before.spans.get(name, {}), after.spans.get(name, {}))
            for name in {**before.spans, **after.spans}
        },
        streak=after.streak if success else before.streak + after.streak,
        last_invocation=after.last_invocation or before.last_invocation,
        last_error=error,
        recovery=recovery,
    )  # fmt: skip


def _joined(one: Mapping[Any, int], other: Mapping[Any, int]) -> dict[Any, int]:
    joined = dict(one)
    for name, value in other.items():
        joined[name] = joined.get(name, 0) + value
    return joined


def total(tallies: Iterable[Tally]) -> Tally:
    """Stretches of time, oldest first, as one."""
    summed = EMPTY
    for tally in tallies:
        summed = add(summed, tally)
    return summed


def spread(tally: Tally, name: str) -> Spread:
    """How the durations of that name spread."""
    classes = sorted(tally.spans.get(name, {}).items())
    count = sum(number for _, number in classes)
    if not count:
        return Spread()
    peak, sum_ms = tally.peaks.get(name, 0), tally.counts.get(f"{name}_ms", 0)
    below = tuple((bound, sum(n for place, n in classes if BOUNDS_MS[place] <= bound)) for bound in HISTOGRAM_MS)
    return Spread(
        count=count, total_ms=sum_ms, average_ms=sum_ms // count, max_ms=peak, classes=below,
        median_ms=min(_quantile(classes, count, 50), peak), p95_ms=min(_quantile(classes, count, 95), peak),
    )  # fmt: skip


def _quantile(classes: list[tuple[int, int]], count: int, percent: int) -> int:
    """The middle of the class that holds the nearest-rank quantile."""
    rank, seen = -(-count * percent // 100), 0
    for place, number in classes:
        seen += number
        if seen >= rank:
            return (BOUNDS_MS[place] + (BOUNDS_MS[place - 1] + 1 if place else 0)) // 2
    return BOUNDS_MS[classes[-1][0]]


def agent_metrics(agent: str, tally: Tally, *, streak: int, breaker: str) -> AgentMetrics:
    """What a tally says of an agent; ``streak`` is the all-time one."""
    counts = tally.counts
    good, bad, reported = counts.get("successes", 0), counts.get("failures", 0), counts.get("reported", 0)
    tokens = counts.get("input_tokens", 0) + counts.get("output_tokens", 0)
    return AgentMetrics(
        agent=agent, invocations=counts.get("invocations", 0), successes=good, failures=bad,
        stopped=counts.get("stopped", 0), refused=counts.get("refused", 0),
        error_rate=bad / (good + bad) if good + bad else None, duration=spread(tally, "duration"),
        waiting=spread(tally, "waiting"), last_invocation=tally.last_invocation, last_error=tally.last_error,
        consecutive_failures=streak, tokens_average=tokens // reported if reported else None,
        tokens_peak=tally.peaks.get("tokens"), input_tokens=counts.get("input_tokens", 0),
        output_tokens=counts.get("output_tokens", 0), cost_micros=counts.get("cost_micros", 0),
        calls_allowed=counts.get("calls_allowed", 0), calls_blocked=counts.get("calls_blocked", 0),
        calls_asked=counts.get("calls_asked", 0), checks_failed=counts.get("checks_failed", 0), breaker=breaker,
    )  # fmt: skip


def system_metrics(tally: Tally, now: SystemMetrics, breakers: Iterable[Breaker]) -> SystemMetrics:
    """What the system's tally adds to what is so at this moment."""
    counts = tally.counts
    return replace(
        now, submitted=counts.get("submitted", 0), waiting=spread(tally, "waiting"), blocked=counts.get("blocked", 0),
        ended={
            name.removeprefix(_OUTCOMES): value for name, value in sorted(counts.items()) if name.startswith(_OUTCOMES)
        },
        confirmed=counts.get("confirmed", 0), denied=counts.get("denied", 0), expired=counts.get("expired", 0),
        asked=counts.get("asked", 0), breakers={breaker.agent: breaker.state.value for breaker in breakers},
    )  # fmt: skip


def start_of(at: datetime, size_s: int) -> int:
    """The start of the stretch of ``size_s`` seconds that holds ``at``, in seconds since 1970."""
    seconds = int(at.timestamp())
    return seconds - seconds % size_s
