"""The straight line, walked for real: each ending, each promise, with functions as agents on a real repository."""

from __future__ import annotations

import asyncio
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from interlock.app import build
from interlock.config import load_settings
from interlock.errors import ApprovalError, PlanError, RunnerError, UsageError
from interlock.model.approval import Approval, ApprovalState
from interlock.model.plan import Task
from interlock.model.run import Compensation, Outcome, OutcomeKind, Run, RunState
from interlock.model.sandbox import SandboxLevel
from interlock.ports import AgentFunction, Gate, Job
from interlock.sandbox.ladder import probe
from interlock.service import RunView, Service

PATIENCE_S = 60


def git(project: Path, *args: str) -> str:
    done = subprocess.run(["git", *args], cwd=project, capture_output=True, text=True, check=True)
    return done.stdout


@pytest.fixture
def project(tmp_path: Path) -> Path:
    place = tmp_path / "project"
    place.mkdir()
    git(place, "init", "--quiet", "--initial-branch", "main")
    (place / "lines.txt").write_text("one\ntwo\nthree\n")
    git(place, "add", "--all")
    git(place, "-c", "user.name=T", "-c", "user.email=t@example.org", "commit", "--quiet", "--message", "start")
    return place


@contextmanager
def running(
    project: Path, agents: Mapping[str, AgentFunction], settings: Mapping[str, Any] | None = None
) -> Iterator[Service]:
    (project / "interlock.yaml").write_text(yaml.safe_dump(dict(settings or {})))
    service = build(load_settings(project), functions=agents)
    service.start()
    try:
        yield service
    finally:
        service.close()


def submit(service: Service, *agents: str, text: str = "do the work") -> Run:
    return service.runs.submit(Task(text=text, agents=agents))


def ended(service: Service, run: Run) -> Outcome:
    return until(service, run, lambda view: view.run.state is RunState.ENDED).run.outcome or Outcome(
        kind=OutcomeKind.FAILED
    )


def until(service: Service, run: Run, holds: Any) -> RunView:
    give_up = time.monotonic() + PATIENCE_S
    while not holds(view := service.runs.view(run.id)):
        assert time.monotonic() < give_up, view
        time.sleep(0.02)
    return view


def asked(service: Service, run: Run) -> Approval:
    view = until(service, run, lambda view: any(each.state is ApprovalState.PENDING for each in view.approvals))
    return next(each for each in view.approvals if each.state is ApprovalState.PENDING)


def kinds(service: Service, run: Run) -> list[str]:
    return [entry.kind for entry in service.ledger.stream(run_id=run.id)]


async def writer(job: Job, gate: Gate) -> str:
    """Writes a file."""
    (job.workspace / "written.txt").write_text("written\n")
    return "written"


def test_a_change_is_left_on_a_branch_for_review_and_the_target_is_as_before(project: Path) -> None:
    before = git(project, "rev-parse", "main")
    (project / "mine.txt").write_text("not committed\n")
    with running(project, {"writer": writer}) as service:
        outcome = ended(service, submit(service, "writer"))
    assert outcome.kind is OutcomeKind.SUCCEEDED
    assert git(project, "show", f"{outcome.branch}:written.txt") == "written\n"
    assert git(project, "rev-parse", "main") == before
    assert (project / "mine.txt").read_text() == "not committed\n"
    assert not (project / "written.txt").exists()


def test_merge_brings_the_change_into_the_target(project: Path) -> None:
    with running(project, {"writer": writer}, {"workspace": {"deliver": "merge"}}) as service:
        assert ended(service, submit(service, "writer")).kind is OutcomeKind.SUCCEEDED
    assert (project / "written.txt").read_text() == "written\n"
    assert git(project, "branch", "--list", "interlock/*") == ""


def test_patch_leaves_a_file_that_git_applies(project: Path) -> None:
    with running(project, {"writer": writer}, {"workspace": {"deliver": "patch"}}) as service:
        outcome = ended(service, submit(service, "writer"))
    git(project, "apply", outcome.patch)
    assert (project / "written.txt").read_text() == "written\n"


def test_a_directory_without_git_has_the_same_promises(tmp_path: Path) -> None:
    place = tmp_path / "plain"
    place.mkdir()
    (place / "a.txt").write_text("a\n")
    with running(place, {"writer": writer}, {"workspace": {"deliver": "merge"}}) as service:
        assert ended(service, submit(service, "writer")).kind is OutcomeKind.SUCCEEDED
    assert (place / "written.txt").read_text() == "written\n"


def test_a_later_agent_gets_what_the_earlier_one_handed_over_and_wrote(project: Path) -> None:
    async def reader(job: Job, gate: Gate) -> str:
        assert (job.workspace / "written.txt").read_text() == "written\n"
        return f"writer said {job.handed_over['writer'].summary}"

    with running(
        project, {"writer": writer, "reader": reader}, {"agents": {"reader": {"needs": ["writer"]}}}
    ) as service:
        outcome = ended(service, submit(service, "reader", "writer"))
    assert outcome.results["reader"].summary == "writer said written"


def test_a_critical_task_waits_for_a_person_whose_no_ends_it(project: Path) -> None:
    with running(project, {"writer": writer}) as service:
        run = submit(service, "writer", text="drop all tables of the production database")
        approval = asked(service, run)
        service.approvals.vote(approval.id, "anna", approve=False, note="certainly not")
        outcome = ended(service, run)
        assert outcome.kind is OutcomeKind.DENIED
        assert "certainly not" in outcome.reason
        assert "attempt.started" not in kinds(service, run)


def test_a_yes_is_for_this_plan_only_and_counts_once(project: Path) -> None:
    with running(project, {"writer": writer}) as service:
        run = submit(service, "writer", text="deploy the release to production")
        approval = asked(service, run)
        service.approvals.vote(approval.id, "anna", approve=True)
        with pytest.raises(ApprovalError, match="already"):
            service.approvals.vote(approval.id, "ben", approve=True)
        assert ended(service, run).kind is OutcomeKind.SUCCEEDED
        again = submit(service, "writer", text="deploy the release to production")
        assert asked(service, again).id != approval.id
        service.runs.cancel(again.id, "anna")
        assert ended(service, again).kind is OutcomeKind.CANCELLED


def test_nobody_answers_in_time_and_the_run_expires(project: Path) -> None:
    with running(project, {"writer": writer}, {"approvals": {"expires_s": 1}}) as service:
        outcome = ended(service, submit(service, "writer", text="deploy the release to production"))
    assert outcome.kind is OutcomeKind.EXPIRED


def test_production_needs_two_people_and_neither_is_the_requester(project: Path) -> None:
    with running(project, {"writer": writer}, {"environment": "production"}) as service:
        run = service.runs.submit(Task(text="deploy the release to production", agents=("writer",), submitter="anna"))
        approval = asked(service, run)
        with pytest.raises(ApprovalError, match="somebody else"):
            service.approvals.vote(approval.id, "anna", approve=True)
        assert service.approvals.vote(approval.id, "ben", approve=True).state is ApprovalState.PENDING
        with pytest.raises(ApprovalError, match="already answered"):
            service.approvals.vote(approval.id, "ben", approve=True)
        assert service.approvals.vote(approval.id, "cleo", approve=True).state is ApprovalState.APPROVED
        assert ended(service, run).kind is OutcomeKind.SUCCEEDED


def test_a_call_that_the_gate_blocks_never_happens_and_ends_the_run_as_blocked(project: Path) -> None:
    async def destroyer(job: Job, gate: Gate) -> str:
        verdict = await gate.before("shell", {"command": "rm -rf /"})
        if not verdict.effect_id:
            raise RunnerError(verdict.decision.reason, kind="blocked")
        return "gone"

    with running(project, {"destroyer": destroyer}) as service:
        run = submit(service, "destroyer")
        assert ended(service, run).kind is OutcomeKind.BLOCKED
        assert "effect.intended" not in kinds(service, run)


def test_an_agent_that_keeps_running_into_blocks_is_stopped(project: Path) -> None:
    async def stubborn(job: Job, gate: Gate) -> str:
        for _ in range(100):
            await gate.before("sql", {"query": "DROP TABLE members"})
        await asyncio.sleep(PATIENCE_S)
        return "never"

    with running(project, {"stubborn": stubborn}) as service:
        run = submit(service, "stubborn")
        outcome = ended(service, run)
        assert outcome.kind is not OutcomeKind.SUCCEEDED
        assert "agent.stopped" in kinds(service, run)
        assert kinds(service, run).count("call.blocked") < 10


def test_a_call_that_needs_a_yes_waits_without_a_permit_and_goes_on_with_it(project: Path) -> None:
    async def careful(job: Job, gate: Gate) -> str:
        verdict = await gate.before("sql", {"query": "DELETE FROM members WHERE id = 7"})
        await gate.after(verdict.effect_id, ok=True)
        return verdict.decision.verdict

    async def other(job: Job, gate: Gate) -> str:
        return "meanwhile"

    settings = {"limits": {"max_concurrent": 1}}
    with running(project, {"careful": careful, "other": other}, settings) as service:
        run = submit(service, "careful")
        approval = asked(service, run)
        assert "DELETE FROM members" in str(approval.shown["args"])
        assert ended(service, submit(service, "other")).kind is OutcomeKind.SUCCEEDED  # the only place was free
        service.approvals.vote(approval.id, "anna", approve=True)
        assert ended(service, run).results["careful"].summary == "allow"


def test_a_failing_agent_is_replaced_by_its_fallback(project: Path) -> None:
    async def broken(job: Job, gate: Gate) -> str:
        (job.workspace / "half.txt").write_text("half\n")
        raise RunnerError("the chart failed to render", kind="rendering_failure")

    agents = {"broken": broken, "writer": writer}
    with running(project, agents, {"agents": {"broken": {"fallbacks": ["writer"]}}}) as service:
        outcome = ended(service, submit(service, "broken"))
    assert outcome.kind is OutcomeKind.SUCCEEDED
    assert outcome.changed == ("written.txt",)


def test_a_transient_error_is_tried_again_after_a_pause(project: Path) -> None:
    tries: list[int] = []

    async def flaky(job: Job, gate: Gate) -> str:
        tries.append(job.number)
        if job.number == 1:
            raise RunnerError("connection reset by peer", kind="transient")
        return "second time lucky"

    with running(project, {"flaky": flaky}, {"recovery": {"transient": {"backoff_s": 0.1}}}) as service:
        run = submit(service, "flaky")
        assert ended(service, run).kind is OutcomeKind.SUCCEEDED
        assert tries == [1, 2]


def test_an_agent_that_is_too_slow_is_ended(project: Path) -> None:
    gone: list[str] = []

    async def slow(job: Job, gate: Gate) -> str:
        try:
            await asyncio.sleep(PATIENCE_S)
        finally:
            gone.append("ended")
        return "never"

    settings = {"agents": {"slow": {"timeout_s": 1, "max_retries": 0}}}
    with running(project, {"slow": slow}, settings) as service:
        outcome = ended(service, submit(service, "slow"))
    assert outcome.kind is OutcomeKind.ESCALATED
    assert "not finished after 1 s" in outcome.reason
    assert gone == ["ended"]


def test_two_agents_that_change_the_same_lines_are_a_conflict_that_is_tried_again_on_the_new_base(
    project: Path,
) -> None:
    both = asyncio.Barrier(2)

    def changer(name: str) -> AgentFunction:
        async def change(job: Job, gate: Gate) -> str:
            if job.number == 1:
                await both.wait()
            file = job.workspace / "lines.txt"
            lines = file.read_text().splitlines()
            file.write_text("\n".join([lines[0], f"{lines[1]} {name}", *lines[2:]]) + "\n")
            return name

        return change

    agents = {"left": changer("left"), "right": changer("right")}
    with running(project, agents, {"workspace": {"deliver": "merge"}}) as service:
        run = submit(service, "left", "right")
        outcome = ended(service, run)
        failed = [entry.data for entry in service.ledger.stream(run_id=run.id) if entry.kind == "attempt.failed"]
    assert outcome.kind is OutcomeKind.SUCCEEDED
    assert outcome.conflicts == (), "the second one knew of the first when it did it again"
    assert [each["error"] for each in failed] == ["conflict"]
    assert sorted((project / "lines.txt").read_text().splitlines()[1].split()) == ["left", "right", "two"]


def test_one_that_uses_what_the_other_has_taken_away_is_told_though_they_share_no_file(project: Path) -> None:
    (project / "lib.py").write_text("def percentile_of(values):\n    return values\n")
    git(project, "add", "--all")
    git(project, "-c", "user.name=T", "-c", "user.email=t@example.org", "commit", "--quiet", "--message", "lib")
    both = asyncio.Barrier(2)

    async def taker(job: Job, gate: Gate) -> str:
        await both.wait()
        (job.workspace / "lib.py").write_text("def quantile_of(values):\n    return values\n")
        return "renamed"

    async def user(job: Job, gate: Gate) -> str:
        await both.wait()
        (job.workspace / "app.py").write_text("from lib import percentile_of\n")
        return "used"

    with running(project, {"taker": taker, "user": user}) as service:
        outcome = ended(service, submit(service, "taker", "user"))
    (conflict,) = outcome.conflicts
    assert conflict.what == "user uses percentile_of, which taker has removed"
    assert conflict.advice.startswith("run user again")


def test_a_failed_validator_undoes_what_was_done_outside_and_leaves_the_target_alone(
    project: Path, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    outside.write_text("before")

    async def migrator(job: Job, gate: Gate) -> str:
        undo = Compensation(
            command=("{python}", "-c", f"open({str(outside)!r}, 'w').write('before')"),
            validate=("{python}", "-c", f"assert open({str(outside)!r}).read() == 'before'"),
        )
        verdict = await gate.before("migrate", {"to": 7}, compensation=undo)
        outside.write_text("after")
        await gate.after(verdict.effect_id, ok=True)
        (job.workspace / "migration.sql").write_text("select 1;\n")
        return "migrated"

    check = {"name": "never", "command": ["{python}", "-c", "raise SystemExit('counts differ')"]}
    settings = {"agents": {"migrator": {"validators": [check]}}, "rollback_paths": [str(tmp_path)]}
    with running(project, {"migrator": migrator}, settings) as service:
        run = submit(service, "migrator")
        outcome = ended(service, run)
        told = kinds(service, run)
    assert outcome.kind is OutcomeKind.ROLLED_BACK
    assert "counts differ" in outcome.reason
    assert outside.read_text() == "before"
    assert told.index("effect.done") < told.index("undo.intended") < told.index("undo.done") < told.index("run.ended")
    assert git(project, "branch", "--list", "interlock/*") == ""


def test_when_the_undo_fails_a_person_is_called_and_what_is_left_is_said(project: Path) -> None:
    async def migrator(job: Job, gate: Gate) -> str:
        undo = Compensation(command=("{python}", "-c", "raise SystemExit('the backup is unreadable')"))
        verdict = await gate.before("migrate", {"to": 7}, compensation=undo)
        await gate.after(verdict.effect_id, ok=True)
        raise RunnerError("no", kind="validation")

    with running(project, {"migrator": migrator}) as service:
        outcome = ended(service, submit(service, "migrator"))
    assert outcome.kind is OutcomeKind.ESCALATED
    assert "the backup is unreadable" in outcome.reason


def test_a_secret_in_what_an_agent_wrote_is_rolled_back_and_never_in_the_ledger(project: Path) -> None:
    secret = "AKIA" + "Q3EGRNVO7XKZ5TPM"

    async def leaker(job: Job, gate: Gate) -> str:
        (job.workspace / "settings.py").write_text(f'AWS_ACCESS_KEY_ID = "{secret}"\n')
        return f"key {secret} written"

    with running(project, {"leaker": leaker}) as service:
        run = submit(service, "leaker")
        outcome = ended(service, run)
        book = "".join(str(entry.data) for entry in service.ledger.stream())
    assert outcome.kind is OutcomeKind.ROLLED_BACK
    assert secret not in book
    assert secret not in str(outcome)
    assert secret.encode() not in (project / ".interlock" / "interlock.db").read_bytes()


@pytest.mark.parametrize("path", ["interlock.yaml", ".github/workflows/ci.yml"])
def test_protected_files_are_not_changed_by_agents(project: Path, path: str) -> None:
    async def meddler(job: Job, gate: Gate) -> str:
        file = job.workspace / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("changed: true\n")
        return "changed"

    with running(project, {"meddler": meddler}) as service:
        outcome = ended(service, submit(service, "meddler"))
    assert outcome.kind is OutcomeKind.BLOCKED


def test_cancelling_ends_the_agent_gives_the_permit_back_and_removes_the_workspace(project: Path) -> None:
    async def slow(job: Job, gate: Gate) -> str:
        await asyncio.sleep(PATIENCE_S)
        return "never"

    with running(project, {"slow": slow}) as service:
        run = submit(service, "slow")
        until(service, run, lambda view: any(each.started_at for each in view.attempts))
        service.runs.cancel(run.id, "anna")
        outcome = ended(service, run)
        assert outcome.kind is OutcomeKind.CANCELLED
        assert "anna" in outcome.reason
        assert service.queue.places() == []
        with pytest.raises(UsageError, match="already ended"):
            service.runs.cancel(run.id, "anna")
    assert len(git(project, "worktree", "list").splitlines()) == 1
    assert git(project, "branch", "--list", "interlock/*") == ""


def test_limits_hold_and_what_waits_says_why(project: Path) -> None:
    at_once: list[int] = []
    now = 0
    pair = asyncio.Barrier(2)  # two of them are at work together, or none goes on

    async def counted(job: Job, gate: Gate) -> str:
        nonlocal now
        now += 1
        at_once.append(now)
        await pair.wait()
        now -= 1
        return "counted"

    settings = {"limits": {"max_concurrent": 5, "per_agent": 2, "per_minute": 100}}
    with running(project, {"counted": counted}, settings) as service:
        runs = [submit(service, "counted") for _ in range(4)]
        until(service, runs[3], lambda view: view.attempts)
        reasons = {place.reason for place in service.queue.places()}
        for run in runs:
            assert ended(service, run).kind is OutcomeKind.SUCCEEDED
    assert max(at_once) == 2
    assert all(reasons)


def test_the_same_idempotency_key_is_the_same_run(project: Path) -> None:
    with running(project, {"writer": writer}) as service:
        task = Task(text="do the work", agents=("writer",), idempotency_key="k1")
        first, second = service.runs.submit(task), service.runs.submit(task)
        assert first.id == second.id
        assert len(service.runs.newest()) == 1
        ended(service, first)


def test_what_makes_no_sense_is_refused_before_anything_is_stored(project: Path) -> None:
    with running(project, {"writer": writer}) as service:
        with pytest.raises(UsageError, match="empty"):
            service.runs.submit(Task(text="  "))
        with pytest.raises(PlanError, match='did you mean "writer"'):
            service.runs.submit(Task(text="do the work", agents=("wirter",)))
        assert service.runs.newest() == []


def test_a_broken_agent_opens_its_breaker_and_is_refused_from_then_on(project: Path) -> None:
    async def broken(job: Job, gate: Gate) -> str:
        raise ValueError("broken")

    with running(project, {"broken": broken}, {"breaker": {"threshold": 2}}) as service:
        for _ in range(2):
            assert ended(service, submit(service, "broken")).kind is OutcomeKind.ESCALATED
        run = submit(service, "broken")
        outcome = ended(service, run)
        assert "attempt.started" not in kinds(service, run)
        assert [each.state for each in service.agents.breakers() if each.agent == "broken"] == ["open"]
    assert "circuit" in outcome.reason


def test_the_ledger_of_all_this_verifies(project: Path) -> None:
    with running(project, {"writer": writer}) as service:
        for _ in range(3):
            ended(service, submit(service, "writer"))
        check = service.ledger.verify()
        assert check.problem == ""
        assert check.runs == 3


def test_a_definition_that_changes_after_the_yes_is_not_what_was_agreed_to(project: Path) -> None:
    agents = project / ".claude" / "agents"
    agents.mkdir(parents=True)
    (agents / "writer.md").write_text("---\nname: writer\ndescription: writes\n---\nWrite one file.\n")
    with running(project, {"writer": writer}) as service:
        run = submit(service, "writer", text="deploy the release to production")
        approval = asked(service, run)
    (agents / "writer.md").write_text(
        "---\nname: writer\ndescription: writes\n---\nWrite one file, and then another.\n"
    )
    with running(project, {"writer": writer}) as service:
        service.approvals.vote(approval.id, "anna", approve=True)
        outcome = ended(service, run)
        assert "attempt.started" in kinds(service, run)
        assert "agent.returned" not in kinds(service, run)
    assert outcome.kind is OutcomeKind.BLOCKED
    assert "not the one that the plan was made with" in outcome.reason


def test_a_validator_runs_what_an_agent_wrote_and_so_inside_the_walls(project: Path) -> None:
    if probe() is SandboxLevel.RLIMITS:
        pytest.skip("this machine has neither bubblewrap nor landlock: writes are not held")
    code = f"open({str(project / 'planted.txt')!r}, 'w').write('x')"
    check = {"name": "escape", "command": ["{python}", "-c", code]}
    with running(project, {"writer": writer}, {"agents": {"writer": {"validators": [check]}}}) as service:
        outcome = ended(service, submit(service, "writer"))
    assert outcome.kind is OutcomeKind.ROLLED_BACK
    assert not (project / "planted.txt").exists()


def test_a_dangerous_compensation_is_refused_before_anything_happens(project: Path) -> None:
    async def sly(job: Job, gate: Gate) -> str:
        undo = Compensation(command=("rm", "-rf", "/"))
        verdict = await gate.before("read", {"path": "lines.txt"}, compensation=undo)
        return verdict.decision.verdict

    with running(project, {"sly": sly}) as service:
        assert ended(service, submit(service, "sly")).results["sly"].summary == "block"


def test_a_person_can_be_asked_from_a_lower_risk_on(project: Path) -> None:
    with running(project, {"writer": writer}, {"approvals": {"confirm_at": "low"}}) as service:
        run = submit(service, "writer")
        service.approvals.vote(asked(service, run).id, "anna", approve=True)
        assert ended(service, run).kind is OutcomeKind.SUCCEEDED
