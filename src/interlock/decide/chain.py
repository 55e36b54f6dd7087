"""Sequences count: many small steps are one large one, and some steps are dangerous only behind others."""

from __future__ import annotations

from dataclasses import dataclass, replace

from interlock.decide.effects import OUTWARD, effects
from interlock.model.action import Action, Finding, Reading
from interlock.model.history import History
from interlock.model.risk import RiskLevel


@dataclass(frozen=True, kw_only=True, slots=True)
class Threshold:
    """From how many times on an effect is asked about: each time that the run's sum passes one of ``steps``."""

    effect: str
    steps: tuple[int, ...]
    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Pair:
    """Two effects that are dangerous in this order."""

    name: str
    first: str
    then: frozenset[str]
    severity: RiskLevel
    reason: str


# Each step about doubles, so that a person is asked again before the damage has doubled, and not at every call.
THRESHOLDS = (
    Threshold(effect="delete", steps=(10, 25, 50, 100, 200, 400, 800), reason="many small deletes are one large one"),
    Threshold(
        effect="send", steps=(20, 50, 100, 200, 400), reason="many small messages carry as much as one large one"
    ),
    Threshold(
        effect="pay",
        steps=(3, 6, 12, 25, 50),
        reason="small payments add up, and splitting them is how limits are passed",
    ),
    Threshold(effect="grant", steps=(5, 10, 20, 40), reason="rights given one by one are still rights given"),
)
PAIRS = (
    Pair(
        name="secret_then_send",
        first="read_secret",
        then=frozenset({"send", "publish"}),
        severity=RiskLevel.HIGH,
        reason="the run has read secrets before it sends",
    ),
    Pair(
        name="check_off_then_push",
        first="disable_check",
        then=frozenset({"push", "publish"}),
        severity=RiskLevel.HIGH,
        reason="the run has switched a check off before it pushes",
    ),
)
BLOCKS_IN_A_ROW = 3
"""An agent that runs into the gate three times in a row is not about to do something else (the issue's own number)."""
BLOCKS_IN_ALL = 5


def sequence(action: Action, history: History, reading: Reading | None = None) -> tuple[Finding, ...]:
    """What is wrong with this call behind those before it."""
    reading = reading or Reading()
    does = effects(action, reading)
    found = []
    for threshold in THRESHOLDS:
        if threshold.effect in does:
            before = history.count(threshold.effect)
            after = before + (max(1, len(reading.paths)) if threshold.effect == "delete" else 1)
            if any(before < step <= after for step in threshold.steps) or after > threshold.steps[-1]:
                found.append(
                    _finding(f"chain.many_{threshold.effect}", RiskLevel.HIGH, f"{after} in this run", threshold.reason)
                )
    found += [
        _finding(
            f"chain.{pair.name}",
            pair.severity,
            f"{pair.first}, then {', '.join(sorted(does & pair.then))}",
            pair.reason,
        )
        for pair in PAIRS
        if does & pair.then and history.count(pair.first)
    ]
    if does & OUTWARD and "disable_check" in does and "push" in does:
        found.append(
            _finding(
                "chain.check_off_then_push",
                RiskLevel.HIGH,
                "disable_check with push",
                "the call switches a check off and pushes",
            )
        )
    return tuple(found)


def noted_block(history: History) -> History:
    """The history after a call was blocked. A call that takes place (:func:`interlock.decide.taint.after_call`) ends the row."""
    counts = dict(history.counts)
    for kind in ("blocks", "blocks_in_a_row"):
        counts[kind] = counts.get(kind, 0) + 1
    return replace(history, counts=counts)


def should_stop(history: History) -> str | None:
    """Why the agent must be stopped, None when it may go on."""
    if history.count("blocks_in_a_row") >= BLOCKS_IN_A_ROW:
        return f"{history.count('blocks_in_a_row')} calls in a row were blocked"
    if history.count("blocks") >= BLOCKS_IN_ALL:
        return f"{history.count('blocks')} calls of this run were blocked"
    return None


def _finding(kind: str, severity: RiskLevel, evidence: str, reason: str) -> Finding:
    return Finding(detector="chain", kind=kind, severity=severity, evidence=evidence, reason=reason)
