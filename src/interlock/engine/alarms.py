"""Alerts at work: looked at, acted on, acknowledged, silenced. What was decided is in the store before anybody is told."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import sqlalchemy as sa

from interlock.decide import alerts as rules
from interlock.decide import breaker as breakers
from interlock.decide.alerts import AlertRule
from interlock.engine.means import Means
from interlock.errors import NotFoundError, UsageError, did_you_mean
from interlock.model.alert import Act, Alert, AlertAction, AlertState, Silence
from interlock.model.ids import new_id
from interlock.model.metrics import Metrics
from interlock.store import rows, watching
from interlock.store.database import micros

_log = logging.getLogger("interlock.alerts")

_REMEMBERED = 200
"""Resolved alerts that are looked through for limits per hour and for ends that nobody was told yet."""
_TELLS = frozenset({AlertAction.NOTIFY, AlertAction.ESCALATE})


@dataclass(frozen=True, kw_only=True, slots=True)
class Rehearsal:
    """What a rule would say and do now."""

    rule: str
    agent: str
    holds: bool | None
    """None: a value is missing."""
    evidence: str
    actions: tuple[str, ...]


class Alarms:
    """The alerts of one store."""

    def __init__(self, means: Means) -> None:
        self._means = means
        self._rules = {rule.name: rule for rule in means.alert_rules}

    # What people ask and say

    def alerts(self, *, resolved: int = 0) -> list[Alert]:
        """Alerts that are not over, and the last ``resolved`` that are; oldest first."""
        with self._means.database.read() as conn:
            return watching.list_alerts(conn, resolved=resolved)

    def history(self, *, before: str = "", limit: int = 50) -> list[Alert]:
        """Alerts that are over, newest first; ``before`` is the id of an alert to go on after."""
        with self._means.database.read() as conn:
            return watching.resolved_alerts(conn, before=before, limit=limit)

    def rules(self) -> tuple[AlertRule, ...]:
        """The rules that are looked at."""
        return tuple(self._rules.values())

    def acknowledge(self, alert_id: str, by: str, note: str = "") -> Alert:
        """Somebody looks after it: no more escalation and no repetition, until it is over.

        Raises:
            NotFoundError: when there is no such alert.
            UsageError: when it is not firing.
        """
        with self._means.database.write() as conn:
            alert = self._find(conn, alert_id)
            after = rules.acknowledge(alert, by, note, self._means.clock.now())
            if after == alert:
                message = f"{alert.id} is {alert.state}: only what is firing can be acknowledged"
                raise UsageError(message)
            watching.save_alert(conn, after)
            self._record(conn, after, "alert.acknowledged", actor=by, note=note)
        return after

    def find(self, alert_id: str) -> Alert:
        """The alert of that id, or the only one that begins or ends with it.

        Raises:
            NotFoundError: when there is none.
        """
        with self._means.database.read() as conn:
            return self._find(conn, alert_id)

    def _find(self, conn: sa.Connection, alert_id: str) -> Alert:
        alert = watching.find_alert(conn, alert_id)
        if alert is not None:
            return alert
        known = watching.list_alerts(conn, resolved=_REMEMBERED)
        fitting = [one for one in known if alert_id and (one.id.endswith(alert_id) or one.id.startswith(alert_id))]
        if len(fitting) == 1:
            return fitting[0]
        near = did_you_mean(alert_id, [one.id for one in known]) or "`interlock alerts list` shows them"
        message = f"there is no alert {alert_id!r}: {near}"
        raise NotFoundError(message)

    def silence(
        self, author: str, lasting: timedelta, *, rule: str = "*", agent: str = "*", reason: str = ""
    ) -> Silence:
        """Tell nobody about alerts that fit, for a time; protective actions go on.

        Raises:
            UsageError: when it would not end within 30 days.
        """
        if not timedelta() < lasting <= _LONGEST_SILENCE:
            message = "a silence lasts more than nothing and at most 30 days"
            raise UsageError(message)
        now = self._means.clock.now()
        silence = Silence(
            id=new_id("sil"), rule=rule, agent=agent, until=now + lasting, author=author, reason=reason, created_at=now
        )
        with self._means.database.write() as conn:
            watching.save_silence(conn, silence)
            facts = {
                "silence": silence.id,
                "rule": rule,
                "of": agent,
                "until": silence.until.isoformat(),
                "reason": reason,
            }
            self._means.ledger.append(conn, "alerts", "alert.silenced", facts, actor=author)
        return silence

    def silences(self) -> list[Silence]:
        """Silences that have not ended."""
        with self._means.database.read() as conn:
            return watching.list_silences(conn, micros(self._means.clock.now()))

    def end_silence(self, silence_id: str, by: str) -> Silence:
        """End a silence now.

        Raises:
            NotFoundError: when none of that id is in force.
        """
        now = self._means.clock.now()
        with self._means.database.write() as conn:
            known = {one.id: one for one in watching.list_silences(conn, micros(now))}
            if silence_id not in known:
                message = f"no silence {silence_id!r} is in force: {', '.join(known) or 'there is none'}"
                raise NotFoundError(message)
            ended = replace(known[silence_id], until=now)
            watching.save_silence(conn, ended)
            self._means.ledger.append(conn, "alerts", "alert.silence_ended", {"silence": silence_id}, actor=by)
        return ended

    def test(self, rule_name: str, agent: str = "") -> list[Rehearsal]:
        """What a rule says of each agent (or of one) now, and what it would do. Nothing is done.

        Raises:
            NotFoundError: when there is no such rule.
        """
        rule = self._rules.get(rule_name)
        if rule is None:
            message = f"there is no alert rule {rule_name!r}: {did_you_mean(rule_name, self._rules) or ', '.join(self._rules)}"
            raise NotFoundError(message)
        found = self._means.meter.metrics(rule.window)
        trials = []
        for name in [agent] if agent else _subjects(rule, found):
            seen = rules.look(rule, name, found)
            actions = tuple(action.value for action in rule.actions)
            trials.append(
                Rehearsal(rule=rule.name, agent=name, holds=seen.holds, evidence=seen.evidence, actions=actions)
            )
        return trials

    def suggestions(self, agent: str, standing: Sequence[Alert]) -> list[str]:
        """What ``optimize-suggestion`` has found out about an agent in these alerts, with its evidence."""
        return [
            f"{alert.message} ({alert.evidence}, since {alert.since:%Y-%m-%d %H:%M} UTC, alert {alert.rule})"
            for alert in standing
            if alert.agent == agent
            and alert.active
            and any(act.ok and act.action is AlertAction.OPTIMIZE_SUGGESTION for act in alert.acts)
        ]

    # What the evaluator does

    def evaluate(self) -> None:
        """Look at every rule once, and do what is due. Only the holder of the evaluator's lease may call it.

        Raises:
            StoreError: when the store cannot be used; what was decided before stays.
        """
        found = {window: self._means.meter.metrics(window) for window in {rule.window for rule in self._rules.values()}}
        now = self._means.clock.now()
        with self._means.database.write() as conn:
            known = watching.list_alerts(conn, resolved=_REMEMBERED)
            after = self._stepped(conn, known, found, now)
            silences = watching.list_silences(conn, micros(now))
        self._do(self._due(after, silences, now), now)

    def _stepped(
        self, conn: sa.Connection, known: Sequence[Alert], found: dict[timedelta, Metrics], now: datetime
    ) -> list[Alert]:
        """All alerts after this look, stored."""
        newest = {(alert.rule, alert.agent): alert for alert in sorted(known, key=lambda alert: alert.since)}
        after = {alert.id: alert for alert in known}
        for rule in self._rules.values():
            for agent in _subjects(rule, found[rule.window]):
                before = newest.get((rule.name, agent))
                seen = rules.look(rule, agent, found[rule.window])
                alert = rules.step(before, rule, agent, seen, now, new_id("alr"))
                self._store(conn, before, alert)
                if alert is not None:
                    after[alert.id] = alert
                elif before is not None:
                    del after[before.id]
        for alert in list(after.values()):
            if alert.state is not AlertState.RESOLVED and alert.rule not in self._rules:
                gone = replace(alert, state=AlertState.RESOLVED, resolved_at=now, note="its rule is gone")
                self._store(conn, alert, gone)
                after[alert.id] = gone
        return list(after.values())

    def _store(self, conn: sa.Connection, before: Alert | None, after: Alert | None) -> None:
        if after == before:
            return
        if after is None:
            if before is not None:
                watching.drop_alert(conn, before.id)
            return
        watching.save_alert(conn, after)
        same = before is not None and before.id == after.id
        if same and before is not None and before.state is after.state:
            return
        if after.state is AlertState.FIRING:
            self._record(conn, after, "alert.fired", severity=after.severity, message=after.message)
        elif after.state is AlertState.RESOLVED:
            self._record(conn, after, "alert.resolved", note=after.note)

    def _due(self, alerts: Sequence[Alert], silences: Sequence[Silence], now: datetime) -> list[tuple[Alert, Act]]:
        settings = self._means.settings
        wanted = []
        for alert in alerts:
            rule = self._rules.get(alert.rule)
            if rule is None:
                continue
            recent = [
                act for other in alerts if (other.rule, other.agent) == (alert.rule, alert.agent) for act in other.acts
            ]
            acts = rules.due(
                alert, rule, muted_by=rules.muted(alert, alerts, silences, now), recent=recent,
                steps=settings.notify.escalation, settings=settings.alerts, now=now,
            )  # fmt: skip
            wanted += [(alert, act) for act in acts]
        return wanted

    def _do(self, wanted: Sequence[tuple[Alert, Act]], now: datetime) -> None:
        """Protect first, then tell people: one message per agent and audience."""
        audiences: dict[tuple[str, tuple[str, ...]], list[tuple[Alert, Act]]] = {}
        for alert, act in wanted:
            if self._rules[alert.rule].dry_run:
                self._done(alert.id, [replace(act, result="dry run: nothing was done")])
            elif act.action in _TELLS or act.action is AlertAction.TELL_RESOLVED:
                audiences.setdefault((alert.agent, self._audience(alert, act)), []).append((alert, act))
            else:
                self._protect(alert, act, now)
        for (agent, targets), group in audiences.items():
            problem = self._means.notifier.tell(targets, _title(agent, group), _body(group))
            for alert, act in group:
                result = problem or f"told {', '.join(targets) or 'everybody'}"
                self._done(alert.id, [replace(act, ok=not problem, result=result)])

    def _audience(self, alert: Alert, act: Act) -> tuple[str, ...]:
        """Names of targets, none of them: everybody. The end is told to all who heard of the beginning."""
        notify = self._means.settings.notify
        if act.action is AlertAction.TELL_RESOLVED:
            told = [self._audience(alert, one) for one in alert.acts if one.ok and one.action in _TELLS]
            return () if () in told else tuple(sorted({name for names in told for name in names}))
        if act.action is AlertAction.ESCALATE and act.step < len(notify.escalation):
            return notify.escalation[act.step].to
        return notify.notify

    def _protect(self, alert: Alert, act: Act, now: datetime) -> None:
        """What an action changes and the record of it are one transaction."""
        settings = self._means.settings
        why = f"alert {alert.rule}: {alert.message} ({alert.evidence})"
        with self._means.database.write() as conn:
            match act.action:
                case AlertAction.CIRCUIT_BREAK:
                    act = replace(act, result=self._trip(conn, alert.agent, why, now))
                case AlertAction.INCREASE_MONITORING:
                    until = now + timedelta(seconds=settings.alerts.monitoring_s)
                    watching.heighten(conn, alert.agent, until=micros(until), why=why)
                    act = replace(act, result=f"its gate asks more until {until:%Y-%m-%d %H:%M} UTC")
                case AlertAction.OPTIMIZE_SUGGESTION:
                    act = replace(act, result=f"interlock health {alert.agent} shows it")
                case _:
                    _log.warning(
                        "%s: %s: %s (%s)", alert.severity, alert.agent or "system", alert.message, alert.evidence
                    )
                    act = replace(act, result="logged")
            self._note(conn, alert.id, [act])

    def _trip(self, conn: sa.Connection, agent: str, why: str, now: datetime) -> str:
        before = rows.find_breaker(conn, agent)
        after = breakers.trip(before, why, now, self._means.settings.breaker)
        if after == before:
            return f"its breaker was {before.state} already"
        rows.save_breaker(conn, after)
        self._means.ledger.append(
            conn, f"operator:{agent}", "breaker.changed",
            {"agent": agent, "from": before.state, "to": after.state, "reason": after.reason}, actor="interlock",
        )  # fmt: skip
        return f"its breaker is open until {after.open_until:%Y-%m-%d %H:%M} UTC"

    def _done(self, alert_id: str, acts: Sequence[Act]) -> None:
        with self._means.database.write() as conn:
            self._note(conn, alert_id, acts)

    def _note(self, conn: sa.Connection, alert_id: str, acts: Sequence[Act]) -> None:
        alert = watching.find_alert(conn, alert_id)
        if alert is None:
            return
        watching.save_alert(conn, replace(alert, acts=(*alert.acts, *acts)[-_MOST_ACTS:]))
        for act in acts:
            self._record(conn, alert, "alert.action", action=act.action, step=act.step, ok=act.ok, result=act.result)

    def _record(
        self, conn: sa.Connection, alert: Alert, kind: str, *, actor: str = "interlock", **facts: object
    ) -> None:
        told = {"alert": alert.id, "rule": alert.rule, "of": alert.agent, "evidence": alert.evidence, **facts}
        self._means.ledger.append(conn, "alerts", kind, told, actor=actor)


_LONGEST_SILENCE = timedelta(days=30)
_MOST_ACTS = 100


def _subjects(rule: AlertRule, found: Metrics) -> list[str]:
    return [""] if rule.about_system else [each.agent for each in found.agents]


def _title(agent: str, group: Sequence[tuple[Alert, Act]]) -> str:
    gravest = max(alert.severity for alert, _ in group)
    if all(act.action is AlertAction.TELL_RESOLVED for _, act in group):
        return f"[resolved] {agent or 'Interlock'}: {group[0][0].message}"
    more = f" and {len(group) - 1} more" if len(group) > 1 else ""
    return f"[{gravest}] {agent or 'Interlock'}: {group[0][0].message}{more}"


def _body(group: Sequence[tuple[Alert, Act]]) -> str:
    lines = []
    for alert, act in group:
        since = f"{alert.since:%Y-%m-%d %H:%M:%S} UTC"
        if act.action is AlertAction.TELL_RESOLVED:
            lines.append(f"{alert.rule}: over (it began {since}).")
            continue
        step = f" Nobody has acknowledged yet: step {act.step + 1} of the escalation." if act.step else ""
        lines.append(f"{alert.rule} ({alert.severity}): {alert.message}. Seen: {alert.evidence}. Since {since}.{step}")
        lines.append(f"Look after it: interlock alerts ack {alert.id}")
    return "\n".join(lines)
