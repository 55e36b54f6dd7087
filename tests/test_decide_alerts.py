"""An alert fires once, waits as long as it was told, is muted by what is graver, and is over only when that was seen."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.config import AlertRuleSettings, AlertSettings, EscalationStep
from interlock.decide import alerts as rules
from interlock.decide.alerts import AlertRule, Seen
from interlock.errors import ConfigError
from interlock.model.alert import Act, Alert, AlertAction, AlertState, Severity, Silence
from interlock.model.metrics import AgentMetrics, Metrics, Spread, SystemMetrics
from watch_kit import NOON

YES, NO, UNKNOWN = (Seen(holds=holds, evidence="x") for holds in (True, False, None))
MINUTE = timedelta(minutes=1)
SETTINGS = AlertSettings()


def a_rule(**said: object) -> AlertRule:
    whole = {"condition": "errorRate > 0.25", **said}
    (rule,) = rules.load_rules(AlertSettings(rules={"one": AlertRuleSettings.model_validate(whole)}))
    return rule


def lived(rule: AlertRule, *looks: Seen, every: timedelta = MINUTE) -> list[Alert | None]:
    """The alert after each look, one a minute."""
    alert: Alert | None = None
    states = []
    for number, seen in enumerate(looks):
        alert = rules.step(alert, rule, "writer", seen, NOON + number * every, f"alr_{number}")
        states.append(alert)
    return states


def words(states: list[Alert | None]) -> list[str]:
    return [alert.state.value if alert else "-" for alert in states]


@pytest.mark.parametrize(
    ("said", "looks", "expected"),
    [
        ({}, (NO, YES, YES, NO), ["-", "firing", "firing", "resolved"]),
        ({"for_s": 120}, (YES, YES, YES), ["pending", "pending", "firing"]),
        ({"for_s": 120}, (YES, YES, NO, YES), ["pending", "pending", "-", "pending"]),
        ({"for_s": 120}, (YES, UNKNOWN, YES), ["pending", "pending", "firing"]),
        ({"for_s": 60}, (YES, UNKNOWN, UNKNOWN), ["pending", "pending", "pending"]),
        ({"keep_firing_for_s": 120}, (YES, NO, NO, NO), ["firing", "firing", "resolved", "resolved"]),
        ({"keep_firing_for_s": 120}, (YES, NO, YES, NO), ["firing", "firing", "firing", "firing"]),
        ({}, (YES, UNKNOWN, UNKNOWN), ["firing", "firing", "firing"]),
        ({}, (UNKNOWN, UNKNOWN), ["-", "-"]),
        ({}, (YES, NO, NO, YES), ["firing", "resolved", "resolved", "firing"]),
    ],
)  # fmt: skip
def test_the_way_of_an_alert(said: dict[str, object], looks: tuple[Seen, ...], expected: list[str]) -> None:
    assert words(lived(a_rule(**said), *looks)) == expected


LOOKS = st.lists(st.sampled_from([YES, NO, UNKNOWN]), max_size=30)


@given(LOOKS, st.integers(0, 5), st.integers(0, 5))
def test_no_alert_fires_early_or_ends_by_missing_data(looks: list[Seen], hold: int, keep: int) -> None:
    states = lived(a_rule(for_s=hold * 60, keep_firing_for_s=keep * 60), *looks)
    for number, (before, after) in enumerate(zip([None, *states], states, strict=False)):
        if after and after.state is AlertState.FIRING:
            assert after.fired_at is not None
            assert after.fired_at - after.since >= hold * MINUTE
        if before and before.active and after and not after.active:
            assert looks[number].holds is False
            assert NOON + number * MINUTE - before.last_true >= keep * MINUTE
        if looks[number].holds is None:
            assert after == before


@given(LOOKS)
def test_one_episode_is_one_alert_with_one_moment_of_firing(looks: list[Seen]) -> None:
    moments: dict[str, set[datetime | None]] = {}
    for alert in lived(a_rule(), *looks):
        if alert is not None:
            moments.setdefault(alert.id, set()).add(alert.fired_at)
    assert all(len(fired) == 1 for fired in moments.values())


def metrics(**values: Any) -> Metrics:
    agent = replace(AgentMetrics(agent="writer"), **values)
    return Metrics(at=NOON, since=None, seq=1, agents=(agent,), system=SystemMetrics())


SICK = {"successes": 4, "failures": 2, "error_rate": 1 / 3}


@pytest.mark.parametrize(
    ("name", "well", "sick", "severity", "actions"),
    [
        ("error-rate", {"successes": 6, "failures": 2, "error_rate": 0.25}, SICK, "critical", ["escalate", "circuit-break"]),
        ("consecutive-failures", {"consecutive_failures": 2}, {"consecutive_failures": 3}, "warning",
         ["notify", "increase-monitoring"]),
        ("execution-time", {"duration": Spread(max_ms=30000)}, {"duration": Spread(max_ms=30001)}, "info",
         ["log", "optimize-suggestion"]),
    ],
)  # fmt: skip
def test_the_users_three_rules_by_their_words(
    name: str, well: dict[str, object], sick: dict[str, object], severity: str, actions: list[str]
) -> None:
    rule = {rule.name: rule for rule in rules.load_rules(SETTINGS)}[name]
    assert (rule.severity.value, [action.value for action in rule.actions]) == (severity, actions)
    assert rules.look(rule, "writer", metrics(**well)).holds is False
    assert rules.look(rule, "writer", metrics(**sick)).holds is True


def test_one_failure_of_one_is_no_rate_and_a_silent_agent_has_none() -> None:
    rule = a_rule()
    assert rules.look(rule, "writer", metrics(successes=0, failures=1, error_rate=1.0)).holds is None
    assert rules.look(rule, "writer", metrics()).holds is None
    assert rules.look(a_rule(at_least=1), "writer", metrics(failures=1, error_rate=1.0)).holds is True


def test_what_is_missing_does_not_hide_what_is_known() -> None:
    rule = a_rule(condition="errorRate > 0.25 || consecutiveFailures >= 3")
    assert rules.look(rule, "writer", metrics(consecutive_failures=3)).holds is True
    assert rules.look(rule, "writer", metrics(consecutive_failures=2)).holds is None


@pytest.mark.parametrize("condition", ["errorRate > 0.25", "error_rate > 0.25"])
def test_both_spellings_are_understood_and_the_evidence_names_the_value(condition: str) -> None:
    seen = rules.look(a_rule(condition=condition), "writer", metrics(**SICK))
    assert (seen.holds, seen.evidence) == (True, "errorRate 0.3333")


def test_every_declared_name_can_be_read() -> None:
    spread = Spread(count=9, average_ms=5, median_ms=5, p95_ms=5, max_ms=5)
    whole = metrics(
        **SICK, duration=spread, tokens_average=5, tokens_peak=5, last_invocation=NOON - MINUTE, breaker="open"
    )
    for name, sample in rules.DECLARED.items():
        condition = name if isinstance(sample, bool) else f"{name} >= 0"
        assert rules.look(a_rule(condition=condition), "writer", whole).holds is True, name


def test_a_rule_about_the_system_is_looked_at_once() -> None:
    assert a_rule(condition="queued > 10 && workers == 0").about_system
    assert not a_rule(condition="queued > 10 && errorRate > 0.5").about_system


@pytest.mark.parametrize(
    ("condition", "actions", "said"),
    [
        ("eror_rate > 1", ["log"], 'did you mean "error_rate"'),
        ("errorRate", ["log"], "neither true nor false"),
        ("errorRate > 'high'", ["log"], "of another type"),
        ("[1,2].all(x, x > 0)", ["log"], "loops are not bounded"),
        ("refused > 3", ["circuit-break"], "its own condition reads"),
        ("callsBlocked > 3", ["notify", "increase-monitoring"], "its own condition reads"),
        ("denied > 3", ["increase-monitoring"], "its own condition reads"),
    ],
)  # fmt: skip
def test_a_rule_that_cannot_work_is_refused_when_it_is_loaded(condition: str, actions: list[str], said: str) -> None:
    with pytest.raises(ConfigError, match=r"alert 'one'") as refused:
        a_rule(condition=condition, actions=actions)
    assert said in str(refused.value)


# What is done about it


def firing(rule: AlertRule, severity: Severity | None = None, **changed: object) -> Alert:
    alert = rules.step(None, rule, "writer", YES, NOON, "alr_1")
    assert alert is not None
    return replace(alert, severity=severity or alert.severity, **changed)  # type: ignore[arg-type]


def todo(
    alert: Alert, rule: AlertRule, *, at: timedelta = timedelta(), muted_by: str = "", settings: AlertSettings = SETTINGS,
    steps: tuple[EscalationStep, ...] = (), recent: tuple[Act, ...] | None = None,
) -> list[tuple[str, int]]:  # fmt: skip
    acts = rules.due(
        alert, rule, muted_by=muted_by, recent=alert.acts if recent is None else recent, steps=steps, settings=settings,
        now=NOON + at,
    )  # fmt: skip
    return [(act.action.value, act.step) for act in acts]


def did(alert: Alert, action: AlertAction, at: timedelta = timedelta(), *, ok: bool = True, step: int = 0) -> Alert:
    return replace(alert, acts=(*alert.acts, Act(action=action, at=NOON + at, ok=ok, step=step)))


def test_every_action_is_taken_once_when_it_fires_and_not_at_every_evaluation() -> None:
    rule = a_rule(actions=["notify", "circuit-break", "log"])
    alert = firing(rule)
    assert todo(alert, rule) == [("notify", 0), ("circuit-break", 0), ("log", 0)]
    for action in rule.actions:
        alert = did(alert, action)
    assert todo(alert, rule, at=timedelta(hours=1)) == []


def test_an_action_that_failed_is_tried_again() -> None:
    rule = a_rule(actions=["notify"])
    assert todo(did(firing(rule), AlertAction.NOTIFY, ok=False), rule, at=MINUTE) == [("notify", 0)]


def test_people_are_told_again_until_somebody_looks_after_it() -> None:
    rule = a_rule(actions=["notify"])
    alert = did(firing(rule), AlertAction.NOTIFY)
    assert todo(alert, rule, at=timedelta(hours=4)) == [("notify", 0)]
    assert todo(rules.acknowledge(alert, "anna", "", NOON), rule, at=timedelta(hours=4)) == []


def test_an_escalation_takes_its_steps_until_somebody_acknowledges() -> None:
    rule = a_rule(actions=["escalate"])
    steps = (EscalationStep(after_s=0, to=("a",)), EscalationStep(after_s=600, to=("b",)))
    alert = firing(rule)
    assert todo(alert, rule, steps=steps) == [("escalate", 0)]
    alert = did(alert, AlertAction.ESCALATE)
    assert todo(alert, rule, steps=steps, at=9 * MINUTE) == []
    assert todo(alert, rule, steps=steps, at=10 * MINUTE) == [("escalate", 1)]
    assert todo(rules.acknowledge(alert, "anna", "", NOON), rule, steps=steps, at=10 * MINUTE) == []
    alert = did(alert, AlertAction.ESCALATE, 10 * MINUTE, step=1)
    assert todo(alert, rule, steps=steps, at=timedelta(hours=4)) == []
    assert todo(alert, rule, steps=steps, at=timedelta(hours=4, minutes=10)) == [("escalate", 1)]


def test_the_end_is_told_only_to_those_who_heard_of_the_beginning() -> None:
    rule = a_rule(actions=["notify"])
    resolved = replace(firing(rule), state=AlertState.RESOLVED, resolved_at=NOON)
    assert todo(resolved, rule) == []
    told = did(resolved, AlertAction.NOTIFY)
    assert todo(told, rule) == [("tell-resolved", 0)]
    assert todo(did(told, AlertAction.TELL_RESOLVED), rule) == []


def test_what_mutes_people_does_not_switch_off_what_protects() -> None:
    rule = a_rule(actions=["notify", "escalate", "circuit-break", "increase-monitoring"])
    assert todo(firing(rule), rule, muted_by="silenced") == [("circuit-break", 0), ("increase-monitoring", 0)]


def test_no_kind_of_action_is_taken_more_often_than_allowed_even_over_many_episodes() -> None:
    rule = a_rule(actions=["notify"])
    lately = tuple(Act(action=AlertAction.NOTIFY, at=NOON - number * MINUTE) for number in range(12))
    assert todo(firing(rule), rule, recent=lately) == []
    assert todo(firing(rule), rule, recent=lately, at=timedelta(minutes=50)) == [("notify", 0)]


def test_increased_monitoring_is_renewed_while_it_fires() -> None:
    rule = a_rule(actions=["increase-monitoring"])
    alert = did(firing(rule), AlertAction.INCREASE_MONITORING)
    assert todo(alert, rule, at=timedelta(minutes=59)) == []
    assert todo(alert, rule, at=timedelta(minutes=60)) == [("increase-monitoring", 0)]


@pytest.mark.parametrize(
    ("other", "is_muted"),
    [
        ({"severity": Severity.CRITICAL}, True),
        ({"severity": Severity.CRITICAL, "state": AlertState.ACKNOWLEDGED}, True),
        ({"severity": Severity.CRITICAL, "state": AlertState.RESOLVED}, False),
        ({"severity": Severity.CRITICAL, "state": AlertState.PENDING}, False),
        ({"severity": Severity.CRITICAL, "agent": "reader"}, False),
        ({"severity": Severity.WARNING}, False),
    ],
)  # fmt: skip
def test_the_graver_alert_of_an_agent_mutes_its_milder_ones(other: dict[str, object], is_muted: bool) -> None:
    alert = firing(a_rule(severity="warning"))
    assert bool(rules.muted(alert, [replace(alert, id="alr_2", **other)], [], NOON)) is is_muted  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("said", "is_muted"),
    [({}, True), ({"rule": "o*"}, True), ({"rule": "other"}, False), ({"agent": "reader"}, False), ({"agent": "wri*"}, True),
     ({"until": NOON}, False)],
)  # fmt: skip
def test_a_silence_mutes_what_fits_and_ends_by_itself(said: dict[str, object], is_muted: bool) -> None:
    silence = Silence(id="sil_1", until=NOON + MINUTE, author="anna", created_at=NOON - MINUTE)
    silence = replace(silence, **said)  # type: ignore[arg-type]
    assert bool(rules.muted(firing(a_rule()), [], [silence], NOON)) is is_muted
