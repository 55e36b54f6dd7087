"""A rollout in a real store: who got which version is remembered, survives retries, and is steered by people and evidence."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from openfeature.provider.in_memory_provider import InMemoryFlag, InMemoryProvider

from interlock import Orchestrator
from interlock.app import build
from interlock.config import load_settings
from interlock.decide.breaker import trip
from interlock.engine.rollouts import Rollouts
from interlock.errors import ConfigError, NotFoundError, RunnerError, UsageError
from interlock.flags import FLAG, percentages
from interlock.model.plan import Task
from interlock.model.rollout import Outing, RolloutState
from interlock.model.run import AgentError, Attempt, ErrorKind, Run
from interlock.ports import Gate, Job
from interlock.service import Service
from interlock.store import rows, watching
from watch_kit import NOON, SetClock

VERSIONS = {"writer": {"v2": {"instructions": "Write it the new way.", "model": "m2"}, "v3": {"model": "m3"}}}


async def writer(job: Job, gate: Gate) -> str:
    """Writes what the task says."""
    return "written"


Opened = Callable[..., Service]


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Opened]:
    services = []

    def opening(config: Mapping[str, Any] | None = None) -> Service:
        (tmp_path / "interlock.yaml").write_text(yaml.safe_dump({"versions": VERSIONS, **(config or {})}))
        services.append(build(load_settings(tmp_path), functions={"writer": writer}, clock=SetClock()))
        return services[-1]

    yield opening
    for service in services:
        service.close()


def an_attempt(run: str = "run_1", number: int = 1, **said: Any) -> Attempt:
    return Attempt(id=f"{run}-{number}", run_id=run, phase=0, assigned="writer", agent="writer", number=number, queued_at=NOON, **said)  # fmt: skip


def picked(service: Service, count: int = 40, flag: int | None = None) -> list[Attempt]:
    with service._means.database.write() as conn:
        return [service.rollouts.pick(conn, an_attempt(f"run_{number}"), flag) for number in range(count)]


def canaries(service: Service, flag: int | None = None) -> int:
    return sum(attempt.version == "v2" for attempt in picked(service, flag=flag))


def feed(service: Service, count: int, *, new_ok: bool = True) -> None:
    (view,) = service.rollouts.views("writer")
    with service._means.database.write() as conn:
        for number in range(count):
            for canary in (False, True):
                said = Outing(
                    attempt=f"{view.rollout.percent}{canary}{number}", canary=canary, ok=new_ok or not canary,
                    blocked=False, duration_ms=10,
                )  # fmt: skip
                watching.add_outing(conn, view.rollout.id, said)


def test_nobody_gets_a_version_before_a_rollout_begins(opened: Opened) -> None:
    assert {attempt.version for attempt in picked(opened())} == {""}


def test_a_rollout_advances_by_evidence_to_everybody(opened: Opened) -> None:
    service = opened({"rollouts": {"steps": [25, 50]}})
    service.rollouts.start("writer", "v2", "anna")
    assert 0 < canaries(service) < 20
    seen = []
    for _ in range(3):
        feed(service, 80)
        service.rollouts.evaluate()
        (view,) = service.rollouts.views()
        seen.append((view.rollout.state, view.rollout.percent))
    assert seen[0] == (RolloutState.RUNNING, 50)
    assert seen[1] == (RolloutState.PROMOTED, 100)
    assert canaries(service) == 40
    assert {attempt.rollout for attempt in picked(service)} == {""}, "a rollout that is over gathers no more evidence"
    kinds = [entry.kind for entry in service.ledger.stream() if entry.kind.startswith("rollout.")]
    assert kinds == ["rollout.started", "rollout.advanced", "rollout.promoted"]


def test_a_worse_version_is_stopped_and_everybody_is_stable_again(opened: Opened) -> None:
    service = opened()
    service.rollouts.start("writer", "v2", "anna", steps=[50])
    feed(service, 30, new_ok=False)
    service.rollouts.evaluate()
    (view,) = service.rollouts.views()
    assert view.rollout.state is RolloutState.ABORTED
    assert "failures (30 new and 0 stable of 30)" in view.rollout.reason
    assert canaries(service) == 0


def test_people_steer(opened: Opened) -> None:
    service = opened()
    service.rollouts.start("writer", "v2", "anna", steps=[10, 50])
    with pytest.raises(UsageError, match="under way"):
        service.rollouts.start("writer", "v3", "anna")
    assert service.rollouts.promote("writer", "anna").percent == 50
    assert service.rollouts.promote("writer", "anna").state is RolloutState.PROMOTED
    with pytest.raises(NotFoundError):
        service.rollouts.promote("writer", "anna")
    after = service.rollouts.start("writer", "v3", "bert")
    assert (after.stable, after.canary) == ("v2", "v3")
    assert {attempt.version for attempt in picked(service)} == {"v2", "v3"}
    assert service.rollouts.abort("writer", "bert", "slow").reason == "slow"
    assert {attempt.version for attempt in picked(service)} == {"v2"}
    with pytest.raises(NotFoundError):
        service.rollouts.abort("writer", "bert")


def test_a_promoted_version_can_be_taken_back(opened: Opened) -> None:
    service = opened()
    service.rollouts.start("writer", "v2", "anna", steps=[10])
    service.rollouts.promote("writer", "anna", fully=True)
    service.rollouts.abort("writer", "anna", "it was wrong after all")
    assert canaries(service) == 0


def test_what_is_missing_pauses_for_a_person_who_may_go_on(opened: Opened) -> None:
    service = opened()
    rollout = service.rollouts.start("writer", "v2", "anna", steps=[50])
    with service._means.database.write() as conn:
        for number in range(10):
            watching.add_outing(conn, rollout.id, Outing(attempt=f"a{number}", canary=False, ok=True, blocked=False))
    service.rollouts.evaluate()
    (view,) = service.rollouts.views()
    assert (view.rollout.state, view.rollout.percent) == (RolloutState.PAUSED, 50)
    assert "no result of the new version" in view.rollout.reason
    assert service.rollouts.resume("writer", "anna").state is RolloutState.RUNNING


@pytest.mark.parametrize("steps", [[0, 50], [50, 100], [50, 25], [25, 25]])
def test_steps_must_rise_between_one_and_ninety_nine(opened: Opened, steps: list[int]) -> None:
    with pytest.raises(UsageError, match="must rise"):
        opened().rollouts.start("writer", "v2", "anna", steps=steps)


def test_a_version_that_is_not_configured_is_refused_with_the_nearest(opened: Opened) -> None:
    with pytest.raises(NotFoundError, match="v2"):
        opened().rollouts.start("writer", "v22", "anna")


def test_a_machine_whose_configuration_lacks_the_version_runs_it_as_defined(opened: Opened) -> None:
    service = opened()
    service.rollouts.start("writer", "v2", "anna")
    service.rollouts.promote("writer", "anna", fully=True)
    behind = opened({"versions": {}})
    assert {attempt.version for attempt in picked(behind)} == {""}


def test_once_picked_it_stays_whatever_happens_meanwhile(opened: Opened) -> None:
    service = opened()
    service.rollouts.start("writer", "v2", "anna", steps=[99])
    chosen = next(attempt for attempt in picked(service) if attempt.version == "v2")
    service.rollouts.abort("writer", "anna")
    with service._means.database.write() as conn:
        assert service.rollouts.pick(conn, chosen, None).version == "v2"


def test_sticky_by_submitter_gives_one_person_one_version(opened: Opened) -> None:
    service = opened({"rollouts": {"sticky_by": "submitter"}})
    service.rollouts.start("writer", "v2", "anna", steps=[50])
    with service._means.database.write() as conn:
        for number in range(30):
            task = Task(text="x", submitter=f"person {number % 3}")
            rows.insert_run(conn, Run(id=f"run_{number}", task=task, environment="development", submitted_at=NOON))
    versions = {
        person: {attempt.version for attempt in picked(service, 30)[person::3]} for person in range(3)
    }  # fmt: skip
    assert all(len(got) == 1 for got in versions.values())


@pytest.mark.parametrize(
    ("kind", "counted"),
    [
        (None, (True, False)), (ErrorKind.CRASHED, (False, False)), (ErrorKind.BLOCKED, (None, False)),
        (ErrorKind.CANCELLED, None), (ErrorKind.CIRCUIT_OPEN, None), (ErrorKind.DENIED, None),
    ],
)  # fmt: skip
def test_only_what_says_something_about_the_version_is_evidence(
    opened: Opened, kind: ErrorKind | None, counted: tuple[bool | None, bool] | None
) -> None:
    service = opened()
    rollout = service.rollouts.start("writer", "v2", "anna")
    error = AgentError(kind=kind, message="no") if kind else None
    attempt = an_attempt(version="v2", rollout=rollout.id)
    with service._means.database.write() as conn:
        for _ in range(2):
            service.rollouts.ended(conn, attempt, error, None)
        found = watching.outings_of(conn, rollout.id)
    assert [(each.ok, each.blocked) for each in found] == ([counted] if counted else [])


def test_a_blocked_call_is_evidence_even_when_the_agent_succeeds_in_the_end(opened: Opened) -> None:
    service = opened()
    rollout = service.rollouts.start("writer", "v2", "anna")
    attempt = an_attempt(version="v2", rollout=rollout.id)
    with service._means.database.write() as conn:
        service._means.ledger.append(conn, "run_1", "call.blocked", {"attempt": attempt.id}, actor="writer")
        service.rollouts.ended(conn, attempt, None, None)
        assert [each.blocked for each in watching.outings_of(conn, rollout.id)] == [True]


# Percentages from a flag provider


def a_provider() -> InMemoryProvider:
    return InMemoryProvider(
        {f"{FLAG}writer": InMemoryFlag("on", {"on": 100}), f"{FLAG}odd": InMemoryFlag("x", {"x": "no"})}
    )


def test_a_flag_provider_says_the_percentage(opened: Opened) -> None:
    asked = percentages("test_rollouts:a_provider")
    assert (asked("writer", "key"), asked("odd", "key"), asked("unknown", "key")) == (100, 0, None)
    service = opened({"rollouts": {"provider": "test_rollouts:a_provider"}})
    service.rollouts.start("writer", "v2", "anna", steps=[1])
    assert service.rollouts.flag(an_attempt()) == 100
    assert (canaries(service, flag=100), canaries(service, flag=0)) == (40, 0)


def test_a_flag_provider_that_breaks_gives_everybody_the_stable_version(opened: Opened) -> None:
    def broken(agent: str, key: str) -> int | None:
        raise RuntimeError("no connection")

    means = opened()._means
    rollouts = Rollouts(means.database, means.ledger, means.clock, means.settings, broken, means.rollouts.policies)
    assert rollouts.flag(an_attempt()) == 0


def test_a_flag_provider_that_cannot_be_made_keeps_interlock_from_starting(opened: Opened) -> None:
    with pytest.raises(ConfigError, match="cannot be made"):
        opened({"rollouts": {"provider": "no_such_module:nothing"}})


# The whole way


def test_agents_run_as_the_version_that_they_got_and_all_attempts_of_a_run_get_the_same(tmp_path: Path) -> None:
    config = {
        "versions": VERSIONS, "workspace": {"isolation": "copy"}, "limits": {"per_minute": 1000},
        "breaker": {"window": 100, "min_calls": 100}, "recovery": {"transient": {"strategy": "retry", "attempts": 1, "backoff_s": 0}},
    }  # fmt: skip
    (tmp_path / "interlock.yaml").write_text(yaml.safe_dump(config))
    seen: dict[str, tuple[str, str]] = {}

    async def sometimes(job: Job, gate: Gate) -> str:
        """Writes what the task says."""
        seen[job.attempt_id] = (job.agent.instructions, job.agent.model)
        if "fail" in job.task and job.number == 1:
            raise RunnerError("it crashed", kind="transient")
        return "written"

    async def all_runs() -> None:
        async with Orchestrator(tmp_path, agents={"writer": sometimes}) as interlock:
            interlock.service.rollouts.start("writer", "v2", "anna", steps=[50])
            for number in range(8):
                await interlock.run(f"Write it and fail {number}", agents=["writer"])
            attempts = [
                attempt
                for run in interlock.service.runs.newest()
                for attempt in interlock.service.runs.view(run.id).attempts
            ]
            assert len(attempts) == 16
            for attempt in attempts:
                assert seen[attempt.id] == (("Write it the new way.", "m2") if attempt.version == "v2" else ("", "")), (
                    attempt.version
                )
            by_run: dict[str, set[str]] = {}
            for attempt in attempts:
                by_run.setdefault(attempt.run_id, set()).add(attempt.version)
            assert all(len(versions) == 1 for versions in by_run.values())
            (view,) = interlock.service.rollouts.views()
            assert view.comparison.canary_runs + view.comparison.stable_runs == 16

    asyncio.run(all_runs())


def test_a_version_over_which_the_breaker_opens_is_stopped_for_nobody_gets_the_agent_meanwhile(opened: Opened) -> None:
    service = opened()
    service.rollouts.start("writer", "v2", "kim")
    feed(service, 2, new_ok=False)
    service.rollouts.evaluate()
    assert service.rollouts.views("writer")[0].rollout.state is RolloutState.RUNNING
    with service._means.database.write() as conn:
        rows.save_breaker(conn, trip(rows.find_breaker(conn, "writer"), "too many", NOON, service.settings.breaker))
    service.rollouts.evaluate()
    rollout = service.rollouts.views("writer")[0].rollout
    assert (rollout.state, rollout.reason) == (
        RolloutState.ABORTED,
        "the agent's breaker has opened: 2 of 2 new executions failed and 0 of 2 stable ones",
    )


def test_a_breaker_that_opens_over_both_versions_alike_stops_neither(opened: Opened) -> None:
    service = opened()
    service.rollouts.start("writer", "v2", "kim")
    feed(service, 2)
    with service._means.database.write() as conn:
        rows.save_breaker(conn, trip(rows.find_breaker(conn, "writer"), "too many", NOON, service.settings.breaker))
    service.rollouts.evaluate()
    assert service.rollouts.views("writer")[0].rollout.state is RolloutState.RUNNING
