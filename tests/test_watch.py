"""What is watched is acted on: once, by one process, with a record, and without ever standing in an agent's way."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from interlock.app import build
from interlock.config import load_settings
from interlock.decide.closer import RULE, closer
from interlock.engine.alarms import Alarms
from interlock.engine.watch import Watch
from interlock.errors import ConfigError, NotFoundError, UsageError
from interlock.model.alert import Alert, AlertState
from interlock.model.decision import Decision, Verdict
from interlock.model.health import HealthStatus
from interlock.model.ledger import LedgerEntry
from interlock.model.plan import Task
from interlock.model.risk import RiskLevel
from interlock.model.run import OutcomeKind
from interlock.model.session import Session
from interlock.ports import Gate, Job, Observer
from interlock.service import Service
from interlock.store import watching
from interlock.store.database import micros
from watch_kit import SetClock


@dataclass
class Pager:
    """Writes down who would be told (:class:`interlock.ports.Notifier`)."""

    told: list[tuple[tuple[str, ...], str, str]] = field(default_factory=list)
    problem: str = ""

    def tell(self, targets: Sequence[str], title: str, body: str) -> str:
        if not self.problem:
            self.told.append((tuple(targets), title, body))
        return self.problem

    def titles(self) -> list[str]:
        return [title for _, title, _ in self.told]


async def writer(job: Job, gate: Gate) -> str:
    """Writes what the task says."""
    return "written"


@dataclass
class Desk:
    """A project's service that executes nothing, its evaluator, and a clock that is set by hand."""

    service: Service
    clock: SetClock
    pager: Pager
    alarms: Alarms
    watch: Watch

    def write(self, kind: str, /, **data: Any) -> None:
        with self.service._means.database.write() as conn:
            self.service._means.ledger.append(conn, "run_1", kind, data, actor="interlock")

    def ends(self, *, ok: bool, agent: str = "writer", ms: int = 1000, times: int = 1) -> None:
        for _ in range(times):
            self.write("attempt.started", agent=agent, attempt="a")
            if ok:
                self.write("attempt.succeeded", agent=agent, attempt="a", duration_ms=ms)
            else:
                self.write("attempt.failed", agent=agent, attempt="a", duration_ms=ms, error="crashed", message="no")

    def look(self, **later: float) -> dict[str, Alert]:
        """The alerts by rule after one more look."""
        self.clock.pass_(**(later or {"seconds": 15}))
        assert self.watch.once()
        return {alert.rule: alert for alert in self.alarms.alerts(resolved=10)}

    def recorded(self, kind: str) -> list[LedgerEntry]:
        return [entry for entry in self.service.ledger.stream() if entry.kind == kind]

    def breaker(self) -> str:
        return next(breaker.state for breaker in self.service.agents.breakers() if breaker.agent == "writer").value


Opened = Callable[..., Desk]


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Opened]:
    services = []

    def opening(config: Mapping[str, Any] | None = None, observers: Mapping[str, Observer] | None = None) -> Desk:
        project = tmp_path / "project"
        project.mkdir(exist_ok=True)
        (project / "interlock.yaml").write_text(yaml.safe_dump(dict(config or {})))
        clock, pager = SetClock(), Pager()
        service = build(load_settings(project), functions={"writer": writer}, clock=clock)
        services.append(service)
        means = replace(service._means, notifier=pager, observers=dict(observers or {}))
        alarms = Alarms(means)
        return Desk(service, clock, pager, alarms, Watch(means, alarms, service.rollouts))

    yield opening
    for service in services:
        service.close()


def test_an_agent_that_keeps_failing_is_cut_off_watched_and_somebody_is_called_once(opened: Opened) -> None:
    desk = opened()
    desk.ends(ok=False, times=5)
    found = desk.look()
    assert {rule: alert.state.value for rule, alert in found.items()} == {
        "error-rate": "firing", "consecutive-failures": "firing",
    }  # fmt: skip
    assert desk.breaker() == "open"
    assert desk.pager.titles() == ["[critical] writer: Agent error rate exceeds 25%"]
    assert "errorRate 1" in desk.pager.told[0][2]
    with desk.service._means.database.read() as conn:
        assert "consecutive-failures" in watching.heightened(conn, "writer", micros(desk.clock.now()))
    done = {(entry.data["rule"], entry.data["action"]) for entry in desk.recorded("alert.action")}
    assert done == {
        ("error-rate", "escalate"), ("error-rate", "circuit-break"), ("consecutive-failures", "increase-monitoring"),
    }  # fmt: skip
    before = len(desk.recorded("alert.action"))
    desk.look()
    desk.look()
    assert (len(desk.pager.told), len(desk.recorded("alert.action"))) == (1, before)
    assert len(desk.recorded("alert.fired")) == 2
    assert not desk.service.ledger.verify().problem


def test_a_validator_that_tells_somebody_lets_the_work_through_and_tells(opened: Opened) -> None:
    check = {"name": "spelling", "command": ["false"], "on_failure": "alert"}
    desk = opened({"agents": {"writer": {"validators": [check]}}})
    desk.service.start()
    run = desk.service.runs.submit(Task(text="write it", agents=("writer",)))
    for _ in desk.service.runs.follow(run.id):
        pass
    outcome = desk.service.runs.find(run.id).outcome
    assert outcome is not None
    assert outcome.kind is OutcomeKind.SUCCEEDED
    alert = desk.look()["failed-check"]
    assert (alert.agent, alert.evidence) == ("writer", "checksFailed 1")
    assert desk.pager.titles() == ["[warning] writer: A validator that tells somebody has failed"]


def test_when_it_is_over_those_who_were_told_hear_of_it_and_nobody_else(opened: Opened) -> None:
    desk = opened()
    desk.ends(ok=False, times=5)
    desk.look()
    desk.ends(ok=True, times=20)
    found = desk.look()
    assert {alert.state for alert in found.values()} == {AlertState.RESOLVED}
    assert desk.pager.titles()[1:] == ["[resolved] writer: Agent error rate exceeds 25%"]
    desk.look()
    assert len(desk.pager.told) == 2


def test_an_agent_that_is_no_longer_asked_has_not_recovered(opened: Opened) -> None:
    desk = opened()
    desk.ends(ok=False, times=5)
    desk.look()
    assert desk.look(hours=5)["error-rate"].state is AlertState.FIRING


ESCALATION = {
    "notify": {
        "targets": {"chat": "json://127.0.0.1", "boss": "json://127.0.0.1"},
        "notify": ["chat"], "escalation": [{"to": ["chat"]}, {"after_s": 600, "to": ["boss"]}],
    }
}  # fmt: skip


def test_an_escalation_climbs_until_somebody_acknowledges(opened: Opened) -> None:
    desk = opened(ESCALATION)
    desk.ends(ok=False, times=5)
    alert = desk.look()["error-rate"]
    desk.look(minutes=9)
    assert [targets for targets, _, _ in desk.pager.told] == [("chat",)]
    desk.look(minutes=2)
    assert [targets for targets, _, _ in desk.pager.told] == [("chat",), ("boss",)]
    assert "step 2 of the escalation" in desk.pager.told[1][2]
    taken = desk.alarms.acknowledge(alert.id[-6:], "anna", "on it")
    assert (taken.state, taken.acknowledged_by) == (AlertState.ACKNOWLEDGED, "anna")
    desk.look(hours=9)
    assert len(desk.pager.told) == 2
    with pytest.raises(UsageError, match="only what is firing"):
        desk.alarms.acknowledge(alert.id, "bert")
    assert [entry.actor for entry in desk.recorded("alert.acknowledged")] == ["anna"]


def test_a_silence_keeps_people_quiet_and_the_breaker_working_and_ends_by_itself(opened: Opened) -> None:
    desk = opened()
    desk.alarms.silence("anna", timedelta(hours=1), agent="writer", reason="migration")
    desk.ends(ok=False, times=5)
    desk.look()
    assert (desk.pager.told, desk.breaker()) == ([], "open")
    desk.look(hours=1)
    assert len(desk.pager.told) == 1
    assert desk.alarms.silences() == []


def test_a_silence_can_be_ended_by_hand_and_none_lasts_for_ever(opened: Opened) -> None:
    desk = opened()
    silence = desk.alarms.silence("anna", timedelta(hours=1))
    desk.alarms.end_silence(silence.id, "bert")
    assert desk.alarms.silences() == []
    with pytest.raises(NotFoundError):
        desk.alarms.end_silence(silence.id, "bert")
    with pytest.raises(UsageError, match="30 days"):
        desk.alarms.silence("anna", timedelta(days=31))


def test_a_dry_run_writes_down_what_it_would_do_and_does_nothing(opened: Opened) -> None:
    desk = opened({"alerts": {"dry_run": True}})
    desk.ends(ok=False, times=5)
    desk.look()
    assert (desk.pager.told, desk.breaker()) == ([], "closed")
    assert {entry.data["result"] for entry in desk.recorded("alert.action")} == {"dry run: nothing was done"}


def test_who_could_not_be_told_is_told_at_the_next_look(opened: Opened) -> None:
    desk = opened()
    desk.pager.problem = "chat: it was not taken"
    desk.ends(ok=False, times=5)
    acts = desk.look()["error-rate"].acts
    assert [(act.action.value, act.ok) for act in acts] == [("circuit-break", True), ("escalate", False)]
    desk.pager.problem = ""
    desk.look()
    assert len(desk.pager.told) == 1


def test_a_slow_agent_gets_a_suggestion_with_its_evidence_in_health(opened: Opened) -> None:
    desk = opened()
    desk.ends(ok=True, ms=31_000)
    desk.look()
    found = desk.service.health.agent("writer")
    assert found.status is HealthStatus.DEGRADED
    assert any(
        text.startswith("Agent execution time exceeds 30 seconds (executionTime 31000")
        for text in found.recommendations
    )


def test_a_rule_that_was_taken_away_takes_its_alert_with_it(opened: Opened) -> None:
    desk = opened()
    desk.ends(ok=False, times=5)
    desk.look()
    desk = opened({"alerts": {"rules": {"error-rate": {"enabled": False}}}})
    desk.clock.pass_(minutes=5)
    found = desk.look()
    assert (found["error-rate"].state, found["error-rate"].note) == (AlertState.RESOLVED, "its rule is gone")


def test_one_evaluator_works_at_a_time_and_another_takes_over_when_it_is_gone(opened: Opened) -> None:
    first, second = opened(), opened()
    second.clock = first.clock
    assert first.watch.once()
    assert not second.watch.once()
    second.service._means.clock.pass_(minutes=2)  # type: ignore[attr-defined]
    assert second.watch.once()


def test_a_clock_that_jumps_back_leaves_nobody_without_an_evaluator(opened: Opened) -> None:
    first, second = opened(), opened()
    first.clock.pass_(days=3)
    assert first.watch.once()
    assert second.watch.once()
    first.clock.pass_(days=-3)
    assert not first.watch.once()


def test_a_clock_that_jumps_back_delays_no_alert_no_step_and_no_repetition(opened: Opened) -> None:
    desk = opened(ESCALATION)
    desk.clock.pass_(days=3)
    desk.ends(ok=False, times=5)
    desk.look()
    assert len(desk.pager.told) == 1
    desk.clock.pass_(days=-3)
    desk.ends(ok=False, times=5)
    desk.look()
    desk.look(minutes=11)
    assert [targets for targets, _, _ in desk.pager.told] == [("chat",), ("boss",)]


class Killed(BaseException):
    """The process is gone."""


def test_killed_between_telling_and_writing_it_down_people_are_told_again_and_nothing_is_lost(
    opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = opened(ESCALATION)
    desk.ends(ok=False, times=5)

    def tell(*_: object) -> str:
        raise Killed

    monkeypatch.setattr(desk.pager, "tell", tell)
    with pytest.raises(Killed):
        desk.look()
    assert desk.breaker() == "open"
    other = opened(ESCALATION)
    other.clock.pass_(minutes=2)
    other.look()
    assert [targets for targets, _, _ in other.pager.told] == [("chat",)]
    assert len(other.recorded("alert.fired")) == len(other.alarms.alerts())
    assert other.service.ledger.verify().problem == ""


def test_an_agent_that_somebody_runs_by_hand_is_watched_more_closely_too(opened: Opened) -> None:
    desk = opened()
    session = Session(agent="claude", id="s", person="kim")

    def verdict() -> Verdict:
        said = desk.service.sessions.before(
            session, "shell", {"command": "rm -rf build"}, wait=timedelta(), elsewhere=True
        )
        return said.decision.verdict

    assert verdict() is Verdict.ALLOW
    with desk.service._means.database.write() as conn:
        watching.heighten(conn, "claude", until=micros(desk.clock.now() + timedelta(hours=1)), why="alert x")
    assert verdict() is Verdict.CONFIRM
    desk.clock.pass_(hours=2)
    assert verdict() is Verdict.ALLOW


def test_a_short_process_looks_a_last_time_and_gives_the_lease_back(opened: Opened) -> None:
    first, second = opened(), opened()
    first.ends(ok=False, times=5)
    first.watch.stop()
    assert first.breaker() == "open"
    assert second.watch.once()


def test_an_observer_that_raises_is_counted_passed_over_and_never_obeyed(opened: Opened) -> None:
    seen: list[str] = []

    def good(entry: LedgerEntry) -> None:
        seen.append(entry.kind)

    def bad(entry: LedgerEntry) -> None:
        raise RuntimeError("broken")

    desk = opened(observers={"bad": bad, "good": good})
    desk.look()
    desk.ends(ok=True)
    for _ in range(5):
        desk.look()
    assert seen.count("attempt.succeeded") == 1
    assert desk.service.meter.metrics().system.observer_failures == 6
    for _ in range(4):
        desk.look()
    assert desk.service.meter.metrics().system.observer_failures == 10, "it has gone on to the next record"


def test_what_one_part_does_wrong_stops_no_other_part(opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    desk = opened()

    def broken() -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr(desk.alarms, "evaluate", broken)
    desk.clock.pass_(seconds=1)
    assert desk.watch.once()
    assert any(
        check.name == "ledger" and "whole when" in check.evidence for check in desk.service.health.system().checks
    )


def test_a_ledger_that_was_changed_makes_the_system_unhealthy(opened: Opened) -> None:
    import sqlalchemy as sa

    desk = opened()
    desk.ends(ok=True)
    with desk.service._means.database.write() as conn:
        conn.execute(sa.text("UPDATE il_ledger SET kind = 'nothing' WHERE seq = 1"))
    desk.look()
    found = desk.service.health.system()
    assert found.status is HealthStatus.UNHEALTHY
    assert any("record 1" in text for text in found.recommendations)


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        ({"mine": {"condition": "eror_rate > 1"}}, "did you mean"),
        ({"mine": {"severity": "info"}}, "condition is missing"),
        ({"mine": {"condition": "queued > 3", "actions": ["circuit-break"]}}, "reads"),
    ],
)
def test_a_rule_that_cannot_work_keeps_interlock_from_starting(
    opened: Opened, rules: dict[str, Any], said: str
) -> None:
    with pytest.raises(ConfigError, match=said):
        opened({"alerts": {"rules": rules}})


# Increased monitoring


@pytest.mark.parametrize(
    ("verdict", "risk", "after"),
    [
        (Verdict.ALLOW, RiskLevel.LOW, Verdict.ALLOW), (Verdict.ALLOW, RiskLevel.MEDIUM, Verdict.CONFIRM),
        (Verdict.CONFIRM, RiskLevel.HIGH, Verdict.CONFIRM), (Verdict.BLOCK, RiskLevel.LOW, Verdict.BLOCK),
    ],
)  # fmt: skip
def test_watching_more_closely_only_tightens(verdict: Verdict, risk: RiskLevel, after: Verdict) -> None:
    found = closer(Decision(verdict=verdict, reasons=("because",), risk=risk), "alert x")
    assert found.verdict is after
    assert (RULE in found.rule_ids) is (verdict is not after)


def test_a_watched_agents_warnings_become_questions_for_as_long_as_it_lasts(tmp_path: Path) -> None:
    from interlock import Orchestrator

    asked: list[str] = []
    command = "rm -rf build"

    async def builder(job: Job, gate: Gate) -> str:
        """Builds anew."""
        call = await gate.before("shell", {"command": command})
        if call.effect_id:
            await gate.after(call.effect_id, ok=True)
        return call.decision.verdict.value

    async def approver(approval: Any) -> bool:
        asked.append(approval.subject)
        return True

    async def both() -> list[str]:
        async with Orchestrator(tmp_path, agents={"builder": builder}, approver=approver) as interlock:
            means = interlock.service._means
            said = []
            for watched in (False, True):
                if watched:
                    with means.database.write() as conn:
                        until = micros(means.clock.now() + timedelta(hours=1))
                        watching.heighten(conn, "builder", until=until, why="alert x")
                await interlock.run("Build it anew", agents=["builder"])
                said.append(f"{len(asked)} asked")
            return said

    (tmp_path / "interlock.yaml").write_text("workspace: {isolation: copy}\n")
    assert asyncio.run(both()) == ["0 asked", "1 asked"]
