"""Is it safe? One word, and every reason for it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from interlock.decide.alerts import by_urgency
from interlock.decide.glance import glance
from interlock.model.alert import Alert, AlertState, Severity
from interlock.model.breaker import Breaker, BreakerState
from interlock.model.glance import Safe
from interlock.model.health import Check, Health, HealthStatus

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)
WELL = Health(subject="system", status=HealthStatus.HEALTHY, at=NOON)
BAD = (
    Check(name="ledger", ok=False, evidence="NOT whole: record 7 was changed"),
    Check(name="disk", ok=True, evidence=""),
)
ALERT = Alert(
    id="alr_1", rule="error-rate", agent="writer", severity=Severity.CRITICAL, message="fails too often",
    state=AlertState.FIRING, evidence="errorRate 0.5", since=NOON, last_true=NOON,
)  # fmt: skip
OPEN = Breaker(agent="writer", state=BreakerState.OPEN, reason="3 failures")


def said(**facts: Any) -> tuple[str, list[str]]:
    given: dict[str, Any] = {"system": WELL, "agents": (), "alerts": (), "breakers": (), **facts}
    found = glance(**given)
    return found.safe.value, [reason.text for reason in found.reasons]


@pytest.mark.parametrize(
    ("facts", "word", "reason"),
    [
        ({}, "safe", ""),
        ({"system": replace(WELL, status=HealthStatus.UNHEALTHY, checks=BAD)}, "unsafe", "Interlock's ledger: NOT whole"),
        ({"system": replace(WELL, status=HealthStatus.DEGRADED, checks=BAD)}, "look", "Interlock's ledger"),
        ({"alerts": [ALERT]}, "unsafe", "writer: fails too often (errorRate 0.5)"),
        ({"alerts": [replace(ALERT, agent="")]}, "unsafe", "Interlock: fails too often"),
        ({"alerts": [replace(ALERT, severity=Severity.WARNING)]}, "look", "writer: fails too often"),
        ({"alerts": [replace(ALERT, state=AlertState.ACKNOWLEDGED, acknowledged_by="ann")]}, "look", "ann looks after it"),
        ({"alerts": [replace(ALERT, state=AlertState.PENDING)]}, "safe", ""),
        ({"alerts": [replace(ALERT, state=AlertState.RESOLVED)]}, "safe", ""),
        ({"breakers": [OPEN]}, "look", "writer is cut off: 3 failures"),
        ({"breakers": [replace(OPEN, state=BreakerState.FORCED_OPEN, reason="")]}, "look", "writer is cut off: its circuit"),
        ({"breakers": [replace(OPEN, state=BreakerState.HALF_OPEN)]}, "safe", ""),
        ({"agents": [replace(WELL, subject="writer", status=HealthStatus.UNHEALTHY, checks=BAD)]}, "look",
         "writer is unhealthy: ledger"),
        ({"agents": [replace(WELL, subject="writer", status=HealthStatus.DEGRADED, checks=BAD)]}, "safe", ""),
    ],
)  # fmt: skip
def test_one_word_says_whether_it_is_safe_and_each_reason_why(facts: dict[str, Any], word: str, reason: str) -> None:
    found, reasons = said(**facts)
    assert found == word
    assert (reason in reasons[0]) if reason else not reasons


def test_the_gravest_reason_gives_the_word_and_stands_first() -> None:
    word, reasons = said(breakers=[OPEN], alerts=[replace(ALERT, severity=Severity.INFO), replace(ALERT, agent="docs")])
    assert word == Safe.UNSAFE
    assert reasons[0].startswith("docs")
    assert len(reasons) == 3


def test_what_nobody_looks_after_is_the_most_urgent_then_the_graver_then_the_newer() -> None:
    old, info = replace(ALERT, id="old"), replace(ALERT, id="info", severity=Severity.INFO)
    new = replace(ALERT, id="new", since=datetime(2026, 5, 4, 13, tzinfo=UTC))
    known, pending = (replace(ALERT, id=state, state=AlertState(state)) for state in ("acknowledged", "pending"))
    assert [each.id for each in by_urgency([pending, known, info, old, new])] == [
        "new", "old", "info", "acknowledged", "pending",
    ]  # fmt: skip
