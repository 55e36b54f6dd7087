"""One call taken back: at work, on a branch left for review, by the gate itself, outside of the workspace, and where nothing can."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from interlock.app import build
from interlock.config import load_settings
from interlock.errors import ConflictError, NotFoundError, UsageError, WorkspaceError
from interlock.model.decision import Verdict
from interlock.model.plan import Task
from interlock.model.run import Compensation, Effect, EffectState, OutcomeKind, Run, RunState
from interlock.ports import AgentFunction, Gate, Job
from interlock.service import RunView, Service

PATIENCE_S = 60


def git(project: Path, *args: str) -> str:
    return subprocess.run(["git", *args], cwd=project, capture_output=True, text=True, check=True).stdout


@pytest.fixture
def project(tmp_path: Path) -> Path:
    place = tmp_path / "project"
    place.mkdir()
    (place / "lines.txt").write_text("".join(f"line {number}\n" for number in range(20)))
    git(place, "init", "--quiet", "--initial-branch", "main")
    git(place, "add", "--all")
    git(place, "-c", "user.name=T", "-c", "user.email=t@example.org", "commit", "--quiet", "--message", "start")
    return place


@contextmanager
def running(project: Path, agent: AgentFunction, settings: Mapping[str, Any] | None = None) -> Iterator[Service]:
    (project / "interlock.yaml").write_text(yaml.safe_dump(dict(settings or {})))
    service = build(load_settings(project), functions={"worker": agent})
    service.start()
    try:
        yield service
    finally:
        service.close()


def submit(service: Service) -> Run:
    return service.runs.submit(Task(text="do the work", agents=("worker",)))


def until(service: Service, run: Run, holds: Any) -> RunView:
    give_up = time.monotonic() + PATIENCE_S
    while not holds(view := service.runs.view(run.id)):
        assert time.monotonic() < give_up, view
        time.sleep(0.02)
    return view


def ended(service: Service, run: Run) -> RunView:
    return until(service, run, lambda view: view.run.state is RunState.ENDED)


async def edit(job: Job, gate: Gate, name: str, content: str) -> str:
    """Write a file, as an honest agent does: announced and told."""
    verdict = await gate.before("write_file", {"path": name, "content": content})
    assert verdict.decision.verdict is Verdict.ALLOW, verdict.decision
    (job.workspace / name).write_text(content)
    await gate.after(verdict.effect_id, ok=True, output="written")
    return verdict.effect_id


def changed_line(number: int, word: str, text: str) -> str:
    return text.replace(f"line {number}\n", f"line {number} {word}\n")


async def two_edits(job: Job, gate: Gate) -> str:
    """Two changes to one file, far apart, and a new file."""
    text = (job.workspace / "lines.txt").read_text()
    first = changed_line(2, "first", text)
    await edit(job, gate, "lines.txt", first)
    await edit(job, gate, "lines.txt", changed_line(15, "second", first))
    await edit(job, gate, "new.txt", "new\n")
    return "done"


def effects(service: Service, run: Run) -> tuple[Effect, ...]:
    return service.runs.view(run.id).effects


def kinds(service: Service, run: Run) -> list[str]:
    return [entry.kind for entry in service.ledger.stream(run_id=run.id)]


@pytest.mark.parametrize(
    ("number", "gone", "left"),
    [(0, "line 2 first", ["line 15 second"]), (1, "line 15 second", ["line 2 first"])],
)
def test_one_call_is_taken_out_of_a_branch_left_for_review_and_the_others_stay(
    project: Path, number: int, gone: str, left: list[str]
) -> None:
    with running(project, two_edits) as service:
        run = submit(service)
        outcome = ended(service, run).run.outcome
        assert outcome is not None
        assert outcome.kind is OutcomeKind.SUCCEEDED
        undone = service.runs.undo_call(effects(service, run)[number].id, actor="ada", why="not wanted")
        text = git(project, "show", f"{outcome.branch}:lines.txt")
        assert gone not in text
        assert all(words in text for words in left)
        assert git(project, "show", f"{outcome.branch}:new.txt") == "new\n"
        assert f"-{gone}" in undone.diff
        assert effects(service, run)[number].state is EffectState.UNDONE
        assert "effect.undone" in kinds(service, run)
        assert service.ledger.verify().problem == ""
        git(project, "fsck", "--strict")
        with pytest.raises(UsageError, match="undone already"):
            service.runs.undo_call(effects(service, run)[number].id, actor="ada")


def test_the_last_call_and_a_new_file_are_taken_out_as_well(project: Path) -> None:
    with running(project, two_edits) as service:
        run = submit(service)
        outcome = ended(service, run).run.outcome
        service.runs.undo_call(effects(service, run)[2].id, actor="ada")
        assert outcome is not None
        assert git(project, "ls-tree", "--name-only", outcome.branch) == "lines.txt\n"


def test_a_call_that_later_ones_build_upon_is_not_taken_out_and_nothing_changes(project: Path) -> None:
    async def twice(job: Job, gate: Gate) -> str:
        await edit(job, gate, "lines.txt", "one\n")
        await edit(job, gate, "lines.txt", "two\n")
        return "done"

    with running(project, twice) as service:
        run = submit(service)
        outcome = ended(service, run).run.outcome
        assert outcome is not None
        before = git(project, "rev-parse", outcome.branch)
        with pytest.raises(ConflictError, match=r"lines\.txt"):
            service.runs.undo_call(effects(service, run)[0].id, actor="ada")
        assert git(project, "rev-parse", outcome.branch) == before
        assert effects(service, run)[0].state is EffectState.DONE


def test_a_call_at_work_goes_back_with_all_that_came_after_it(project: Path) -> None:
    go_on = asyncio.Event()
    loops: list[asyncio.AbstractEventLoop] = []

    async def held(job: Job, gate: Gate) -> str:
        await edit(job, gate, "a.txt", "a\n")
        await edit(job, gate, "b.txt", "b\n")
        await edit(job, gate, "c.txt", "c\n")
        loops.append(asyncio.get_running_loop())
        await go_on.wait()
        return ",".join(sorted(path.name for path in job.workspace.glob("?.txt")))

    with running(project, held) as service:
        run = submit(service)
        until(service, run, lambda _: loops)
        undone = service.runs.undo_call(effects(service, run)[1].id, actor="ada")
        assert [effect.summary for effect in undone.also] == ["write_file: c.txt"]
        assert "-b" in undone.diff
        loops[0].call_soon_threadsafe(go_on.set)
        view = ended(service, run)
        assert view.run.outcome is not None
        assert view.run.outcome.results["worker"].summary == "a.txt"
        assert view.run.outcome.changed == ("a.txt",)


def test_a_call_whose_result_may_not_be_seen_is_undone_by_the_gate(project: Path) -> None:
    async def odd(job: Job, gate: Gate) -> str:
        verdict = await gate.before("write_file", {"path": "a.txt", "content": "a\n"})
        (job.workspace / "a.txt").write_text("a\n")
        decision = await gate.after(verdict.effect_id, ok=True, output="word " * 200_000)
        assert decision.verdict is Verdict.BLOCK
        return str((job.workspace / "a.txt").exists())

    with running(project, odd) as service:
        run = submit(service)
        outcome = ended(service, run).run.outcome
        assert outcome is not None
        assert outcome.results["worker"].summary == "False"
        assert effects(service, run)[0].state is EffectState.UNDONE


def test_a_call_outside_of_the_workspace_is_undone_by_its_compensation(project: Path) -> None:
    log = project.parent / "outside.txt"

    async def outside(job: Job, gate: Gate) -> str:
        script = f"open({str(log)!r}, 'w').write('undone')"
        verdict = await gate.before(
            "deploy", {"what": "it"}, compensation=Compensation(command=(sys.executable, "-c", script))
        )
        await gate.after(verdict.effect_id, ok=True)
        return "done"

    with running(project, outside, {"tools": {"deploy": {"undo": "compensable"}}, "rollback_paths": [".."]}) as service:
        run = submit(service)
        ended(service, run)
        service.runs.undo_call(effects(service, run)[0].id, actor="ada")
        assert log.read_text() == "undone"
        assert effects(service, run)[0].state is EffectState.UNDONE


def test_an_irreversible_tool_always_needs_a_yes_and_is_never_said_to_be_rolled_back(project: Path) -> None:
    async def mail(job: Job, gate: Gate) -> str:
        verdict = await gate.before("send_mail", {"to": "a@example.org", "text": "hello"})
        assert verdict.decision.verdict is Verdict.ALLOW
        await gate.after(verdict.effect_id, ok=True)
        raise ValueError("and then it fails")

    with running(project, mail, {"tools": {"send_mail": {"undo": "irreversible"}}}) as service:
        run = submit(service)
        view = until(service, run, lambda view: view.approvals)
        assert effects(service, run) == ()
        assert "cannot be undone" in view.approvals[0].reason
        service.approvals.vote(view.approvals[0].id, "ada", approve=True)
        outcome = ended(service, run).run.outcome
        assert outcome is not None
        assert outcome.kind is not OutcomeKind.ROLLED_BACK
        assert outcome.undone == ()
        with pytest.raises(UsageError, match="named nothing that undoes it"):
            service.runs.undo_call(effects(service, run)[0].id, actor="ada")
        assert effects(service, run)[0].state is EffectState.DONE


def test_without_per_call_undo_no_snapshot_is_kept_and_it_says_so(project: Path) -> None:
    with running(project, two_edits, {"workspace": {"undo": "per_attempt"}}) as service:
        run = submit(service)
        ended(service, run)
        assert {effect.snapshot for effect in effects(service, run)} == {""}
        with pytest.raises(UsageError, match="no snapshot"):
            service.runs.undo_call(effects(service, run)[0].id, actor="ada")


def test_an_unknown_call_is_said_to_be_so(project: Path) -> None:
    with running(project, two_edits) as service, pytest.raises(NotFoundError, match="interlock show"):
        service.runs.undo_call("eff_nothing", actor="ada")


def test_a_workspace_that_cannot_be_kept_does_not_stop_the_call_that_puts_it_in_order(project: Path) -> None:
    inner = (
        "git init -q {0} && cd {0} && touch x && git add -A && git -c user.name=T -c user.email=t@x.org commit -qm x"
    )

    async def nested(job: Job, gate: Gate) -> str:
        place = str(job.workspace / "inner")
        await asyncio.to_thread(subprocess.run, ["sh", "-c", inner.format(place)], check=True)
        effect = await edit(job, gate, "a.txt", "a\n")
        await asyncio.to_thread(shutil.rmtree, place)
        return effect

    with running(project, nested) as service:
        run = submit(service)
        outcome = ended(service, run).run.outcome
        assert outcome is not None
        assert outcome.kind is OutcomeKind.SUCCEEDED
        assert effects(service, run)[0].snapshot == ""


def test_without_git_a_call_at_work_goes_back_and_a_delivered_one_is_said_to_stay(tmp_path: Path) -> None:
    place = tmp_path / "plain"
    place.mkdir()
    (place / "lines.txt").write_text("".join(f"line {number}\n" for number in range(20)))
    with running(place, two_edits) as service:
        run = submit(service)
        ended(service, run)
        with pytest.raises(WorkspaceError, match="without git"):
            service.runs.undo_call(effects(service, run)[0].id, actor="ada")
