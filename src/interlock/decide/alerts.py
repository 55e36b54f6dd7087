"""Alerts: when one fires, whom it is told to, when it is over (spec 9). A state machine over time that is passed in.

The semantics are Prometheus' and Alertmanager's: ``for`` before firing, ``keep_firing_for`` before resolving, a missing
value is neither firing nor recovery, the graver alert of an agent mutes its milder ones, a silence mutes and ends by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from fnmatch import fnmatchcase
from typing import Any

from interlock.config import AlertRuleSettings, AlertSettings, EscalationStep
from interlock.decide.conditions import Condition, compile_condition
from interlock.errors import ConfigError
from interlock.model.alert import Act, Alert, AlertAction, AlertState, Severity, Silence
from interlock.model.metrics import AgentMetrics, Metrics, SystemMetrics

_HOUR = timedelta(hours=1)
_OPEN = frozenset({"open", "forced_open"})

_AgentValue = Callable[[AgentMetrics, datetime], Any]
_AGENT: Mapping[str, tuple[Any, _AgentValue]] = {
    "errorRate": (0.5, lambda m, _: m.error_rate),
    "successRate": (0.5, lambda m, _: None if m.error_rate is None else 1 - m.error_rate),
    "consecutiveFailures": (1, lambda m, _: m.consecutive_failures),
    "executionTime": (1, lambda m, _: m.duration.max_ms),
    "averageExecutionTime": (1, lambda m, _: m.duration.average_ms),
    "medianExecutionTime": (1, lambda m, _: m.duration.median_ms),
    "p95ExecutionTime": (1, lambda m, _: m.duration.p95_ms),
    "invocations": (1, lambda m, _: m.invocations),
    "successes": (1, lambda m, _: m.successes),
    "failures": (1, lambda m, _: m.failures),
    "stopped": (1, lambda m, _: m.stopped),
    "refused": (1, lambda m, _: m.refused),
    "averageTokens": (1, lambda m, _: m.tokens_average),
    "peakTokens": (1, lambda m, _: m.tokens_peak),
    "cost": (0.5, lambda m, _: m.cost_micros / 1_000_000),
    "callsAllowed": (1, lambda m, _: m.calls_allowed),
    "callsBlocked": (1, lambda m, _: m.calls_blocked),
    "callsAsked": (1, lambda m, _: m.calls_asked),
    "checksFailed": (1, lambda m, _: m.checks_failed),
    "idleSeconds": (1, lambda m, now: int((now - m.last_invocation).total_seconds()) if m.last_invocation else None),
    "breakerOpen": (True, lambda m, _: m.breaker in _OPEN),
}
"""Names about one agent: a sample of the type, and the value. Times in milliseconds unless the name says seconds, cost in
dollars. ``executionTime`` is the longest execution of the window."""
_SYSTEM: Mapping[str, tuple[Any, Callable[[SystemMetrics], Any]]] = {
    "active": (1, lambda s: s.active),
    "queued": (1, lambda s: s.queued),
    "oldestWait": (1, lambda s: s.oldest_queued_ms or 0),
    "openQuestions": (1, lambda s: s.open_questions),
    "workers": (1, lambda s: s.workers),
    "submitted": (1, lambda s: s.submitted),
    "runsFailed": (1, lambda s: sum(number for kind, number in s.ended.items() if kind != "succeeded")),
    "blocked": (1, lambda s: s.blocked),
    "confirmed": (1, lambda s: s.confirmed),
    "denied": (1, lambda s: s.denied),
    "expired": (1, lambda s: s.expired),
    "breakersOpen": (1, lambda s: sum(state in _OPEN for state in s.breakers.values())),
}
"""Names about the system. A rule that reads only these is looked at once, not once per agent."""
_RATES = frozenset({"errorRate", "successRate"})


def _snake(name: str) -> str:
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name)


_PLAIN = {spelling: name for name in (*_AGENT, *_SYSTEM) for spelling in (name, _snake(name))}
"""Both spellings of every name, and the name."""
DECLARED: Mapping[str, Any] = {
    spelling: (_AGENT[name] if name in _AGENT else _SYSTEM[name])[0] for spelling, name in _PLAIN.items()
}
"""What conditions may read: each name with a sample of its type."""

_FEEDS: Mapping[str, frozenset[str]] = {
    "circuit-break": frozenset(
        {"refused", "breakerOpen", "breakersOpen", "queued", "oldestWait", "active", "invocations", "idleSeconds",
         "callsAllowed"}
    ),
    "increase-monitoring": frozenset(
        {"callsAsked", "callsBlocked", "stopped", "openQuestions", "blocked", "confirmed", "denied", "expired", "queued",
         "oldestWait"}
    ),
}  # fmt: skip
"""What each action moves by itself. A rule with that action may not read it: it would keep itself alive."""


@dataclass(frozen=True, kw_only=True, slots=True)
class AlertRule:
    """A rule that was checked."""

    name: str
    condition: Condition
    severity: Severity
    message: str
    actions: tuple[AlertAction, ...]
    window: timedelta
    at_least: int
    hold: timedelta
    """How long the condition must hold before it fires."""
    keep: timedelta
    """How long it must not hold before it is resolved."""
    dry_run: bool
    about_system: bool


def load_rules(settings: AlertSettings) -> tuple[AlertRule, ...]:
    """The rules that are enabled.

    Raises:
        ConfigError: naming the rule whose condition cannot be used, or whose action would feed its own condition.
    """
    return tuple(_rule(name, said, settings) for name, said in settings.rules.items() if said.enabled)


def _rule(name: str, said: AlertRuleSettings, settings: AlertSettings) -> AlertRule:
    try:
        condition = compile_condition(said.condition, DECLARED)
    except ConfigError as problem:
        raise ConfigError(f"alert {name!r}: {problem.message}", suggestion=problem.suggestion) from problem
    read = {_PLAIN[spelling] for spelling in condition.names}
    for action in said.actions:
        fed = sorted(read & _FEEDS.get(action, frozenset()))
        if fed:
            message = f"alert {name!r}: its action {action} changes {', '.join(fed)}, which its own condition reads"
            raise ConfigError(message, suggestion="use another action, or read something that the action does not move")
    about_system = bool(read) and read <= _SYSTEM.keys()
    if about_system and _FEEDS.keys() & set(said.actions):
        message = f"alert {name!r} is about the system, and its action is about one agent"
        raise ConfigError(message, suggestion="use notify, escalate or log, or read something about agents")
    return AlertRule(
        name=name, condition=condition, severity=Severity(said.severity), message=said.message or said.condition,
        actions=tuple(map(AlertAction, said.actions)), window=timedelta(seconds=said.window_s), at_least=said.at_least,
        hold=timedelta(seconds=said.for_s), keep=timedelta(seconds=said.keep_firing_for_s),
        dry_run=said.dry_run or settings.dry_run, about_system=about_system,
    )  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class Seen:
    """What a rule sees of one agent: whether its condition holds (None: a value is missing), and the values it reads."""

    holds: bool | None
    evidence: str


def look(rule: AlertRule, agent: str, found: Metrics) -> Seen:
    """The rule's condition on these metrics (of the rule's own window)."""
    values: dict[str, Any] = {name: value(found.system) for name, (_, value) in _SYSTEM.items()}
    if not rule.about_system:
        one = found.agent(agent)
        values |= {name: value(one, found.at) for name, (_, value) in _AGENT.items()}
        if one.successes + one.failures < rule.at_least:
            values |= dict.fromkeys(_RATES)
    read = sorted({_PLAIN[spelling] for spelling in rule.condition.names})
    evidence = ", ".join(f"{name} {_shown(values[name])}" for name in read)
    known = {spelling: values[name] for spelling, name in _PLAIN.items() if values.get(name) is not None}
    try:
        return Seen(holds=rule.condition.holds(known), evidence=evidence)
    except ValueError:
        return Seen(holds=None, evidence=evidence)


def _shown(value: Any) -> str:
    if value is None:
        return "unknown"
    return f"{value:.4g}" if isinstance(value, float) else str(value).lower()


def step(alert: Alert | None, rule: AlertRule, agent: str, seen: Seen, now: datetime, new_id: str) -> Alert | None:
    """The alert after one look; None while there is none. A new episode gets ``new_id``.

    What it says of times to come was written by a clock that has jumped back since: it counts as of now.
    """
    alert = None if alert is None else _by_this_clock(alert, now)
    if alert is None or alert.state is AlertState.RESOLVED:
        return _begun(rule, agent, seen, now, new_id) if seen.holds else alert
    if seen.holds is None:
        return alert
    if alert.state is AlertState.PENDING:
        return _advanced(replace(alert, last_true=now, evidence=seen.evidence), rule, now) if seen.holds else None
    if seen.holds:
        return replace(alert, last_true=now, evidence=seen.evidence)
    if now - alert.last_true >= rule.keep:
        return replace(alert, state=AlertState.RESOLVED, resolved_at=now)
    return alert


def _by_this_clock(alert: Alert, now: datetime) -> Alert:
    latest = max([alert.since, alert.last_true, *(act.at for act in alert.acts)])
    if latest <= now:
        return alert
    fired, seen = (None if at is None else min(at, now) for at in (alert.fired_at, alert.acknowledged_at))
    return replace(
        alert, since=min(alert.since, now), last_true=min(alert.last_true, now), fired_at=fired, acknowledged_at=seen,
        acts=tuple(replace(act, at=min(act.at, now)) for act in alert.acts),
    )  # fmt: skip


def _begun(rule: AlertRule, agent: str, seen: Seen, now: datetime, new_id: str) -> Alert:
    alert = Alert(
        id=new_id, rule=rule.name, agent=agent, severity=rule.severity, message=rule.message, state=AlertState.PENDING,
        evidence=seen.evidence, since=now, last_true=now,
    )  # fmt: skip
    return _advanced(alert, rule, now)


def _advanced(alert: Alert, rule: AlertRule, now: datetime) -> Alert:
    return replace(alert, state=AlertState.FIRING, fired_at=now) if now - alert.since >= rule.hold else alert


def acknowledge(alert: Alert, by: str, note: str, now: datetime) -> Alert:
    """The alert once somebody looks after it; one that is not firing stays as it is."""
    if alert.state is not AlertState.FIRING:
        return alert
    return replace(alert, state=AlertState.ACKNOWLEDGED, acknowledged_by=by, acknowledged_at=now, note=note)


def muted(alert: Alert, others: Iterable[Alert], silences: Iterable[Silence], now: datetime) -> str:
    """Why nobody is told about it now; empty when people are."""
    for silence in silences:
        if now < silence.until and fnmatchcase(alert.rule, silence.rule) and fnmatchcase(alert.agent, silence.agent):
            return f"silenced by {silence.author} until {silence.until:%Y-%m-%d %H:%M} UTC"
    for other in others:
        if other.active and other.agent == alert.agent and other.severity > alert.severity:
            return f"{other.rule} is graver and says enough"
    return ""


_STANDING = {AlertState.FIRING: 0, AlertState.ACKNOWLEDGED: 1, AlertState.PENDING: 2, AlertState.RESOLVED: 3}


def by_urgency(alerts: Iterable[Alert]) -> list[Alert]:
    """What nobody looks after first, then the graver, then the newer."""
    newest = sorted(alerts, key=lambda alert: alert.since, reverse=True)
    return sorted(sorted(newest, key=lambda alert: alert.severity, reverse=True), key=lambda one: _STANDING[one.state])


_TELLS = frozenset({AlertAction.NOTIFY, AlertAction.ESCALATE})


def due(
    alert: Alert,
    rule: AlertRule,
    *,
    muted_by: str,
    recent: Sequence[Act],
    steps: Sequence[EscalationStep],
    settings: AlertSettings,
    now: datetime,
) -> list[Act]:
    """The actions whose time has come.

    Args:
        alert: as it stands now.
        rule: the rule that it is an episode of.
        muted_by: what :func:`muted` says; telling people waits, protecting does not.
        recent: acts of this rule about this agent, of earlier episodes too, for the limit per hour.
        steps: of the escalation, in order.
        settings: how often to repeat, how much an hour.
        now: the time of the judgement.
    """
    if alert.state is AlertState.RESOLVED:
        told = any(act.ok and act.action in _TELLS for act in alert.acts)
        said = any(act.ok and act.action is AlertAction.TELL_RESOLVED for act in alert.acts)
        wanted = [Act(action=AlertAction.TELL_RESOLVED, at=now)] if told and not said and not muted_by else []
    elif alert.active:
        wanted = [
            act
            for action in rule.actions
            if not (muted_by and action in _TELLS)
            for act in _wanted(action, alert, steps, settings, now)
        ]
    else:
        wanted = []
    return [act for act in wanted if _allowed(act, recent, settings, now)]


def _allowed(act: Act, recent: Iterable[Act], settings: AlertSettings, now: datetime) -> bool:
    lately = sum(one.action is act.action and now - one.at < _HOUR for one in recent)
    return lately < settings.actions_per_hour


def _wanted(
    action: AlertAction, alert: Alert, steps: Sequence[EscalationStep], settings: AlertSettings, now: datetime
) -> list[Act]:
    done = [act for act in alert.acts if act.action is action and act.ok]
    firing = alert.state is AlertState.FIRING
    if action is AlertAction.ESCALATE:
        return _next_step(alert, done, steps, settings, now) if firing else []
    if not done:
        return [Act(action=action, at=now)] if firing or action is not AlertAction.NOTIFY else []
    again = {
        AlertAction.NOTIFY: timedelta(seconds=settings.repeat_s) if firing else None,
        AlertAction.INCREASE_MONITORING: timedelta(seconds=settings.monitoring_s),
    }.get(action)
    return [Act(action=action, at=now)] if again and now - done[-1].at >= again else []


def _next_step(
    alert: Alert, done: Sequence[Act], steps: Sequence[EscalationStep], settings: AlertSettings, now: datetime
) -> list[Act]:
    """The next step when its time has come; after the last one, that one again and again until somebody acknowledges."""
    taken = max((act.step for act in done), default=-1)
    fired = alert.fired_at or now
    if taken + 1 < max(len(steps), 1):
        after = timedelta(seconds=steps[taken + 1].after_s) if steps else timedelta()
        return [Act(action=AlertAction.ESCALATE, at=now, step=taken + 1)] if now - fired >= after else []
    again = timedelta(seconds=settings.repeat_s)
    return [Act(action=AlertAction.ESCALATE, at=now, step=taken)] if now - done[-1].at >= again else []
