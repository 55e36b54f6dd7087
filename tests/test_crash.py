"""SIGKILL at any moment: the outcome is reached, nothing is lost, nothing happens twice, what is unknown is said so."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import sqlalchemy as sa
from postgres import PostgresForTests

from interlock.app import build
from interlock.config import load_settings
from interlock.model.run import OutcomeKind, RunState
from interlock.store import queue

ROAD = Path(__file__).parent / "support" / "road.py"
COMMITS = 26
"""About as many write transactions as an undisturbed walk makes; later points are simply never reached."""


def git(project: Path, *args: str) -> str:
    done = subprocess.run(["git", *args], cwd=project, capture_output=True, text=True, check=True)
    return done.stdout


@pytest.fixture
def project(tmp_path: Path) -> Path:
    place = tmp_path / "project"
    place.mkdir()
    git(place, "init", "--quiet", "--initial-branch", "main")
    (place / "README.md").write_text("a project\n")
    (place / "interlock.yaml").write_text(
        "agents:\n  second: {needs: [first]}\nworkspace: {deliver: merge}\nrollback_paths: [..]\n"
    )
    git(place, "add", "--all")
    git(place, "-c", "user.name=T", "-c", "user.email=t@example.org", "commit", "--quiet", "--message", "start")
    return place


def walk(project: Path, how: str, crash: str = "") -> int:
    command = [sys.executable, str(ROAD), str(project), how, *([crash] if crash else [])]
    return subprocess.run(command, capture_output=True, timeout=300, check=False).returncode


def check_promises(project: Path) -> OutcomeKind | None:
    """What must hold after any crash and the resume that follows it."""
    service = build(load_settings(project))
    try:
        runs = service.runs.newest()
        outside = project.parent / "outside.log"
        lines = outside.read_text().split() if outside.exists() else []
        standing = {word: lines.count(word) for word in ("one", "two")}
        standing["one"] -= lines.count("undone")
        check = service.ledger.verify()
        assert not check.problem
        with service._means.database.read() as conn:
            assert queue.list_permits(conn) == []
            assert conn.execute(sa.text("SELECT count(*) FROM il_attempt WHERE state <> 'ended'")).scalar() == 0
        files = set(git(project, "ls-tree", "--name-only", "main").split())
        assert files in ({"README.md", "interlock.yaml"}, {"README.md", "interlock.yaml", "first.txt", "second.txt"})
        assert git(project, "status", "--porcelain") == ""
        if not runs:
            assert lines == []
            return None
        (run,) = runs
        assert run.state is RunState.ENDED
        assert run.outcome is not None
        if run.outcome.kind is OutcomeKind.SUCCEEDED:
            assert standing == {"one": 1, "two": 1}
            assert "second.txt" in files
        else:
            assert run.outcome.kind is OutcomeKind.ESCALATED
            assert run.outcome.unknown or run.outcome.not_undone or "not repeated" in run.outcome.reason
            assert max(standing.values()) <= 1
            assert "second.txt" not in files
        assert len(git(project, "worktree", "list").splitlines()) == 1
        return run.outcome.kind
    finally:
        service.close()


def test_an_undisturbed_walk_succeeds(project: Path) -> None:
    assert walk(project, "submit") == 0
    assert check_promises(project) is OutcomeKind.SUCCEEDED


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("commit", range(1, COMMITS, 2))
def test_killed_at_a_commit_the_run_is_finished_by_the_next_process(project: Path, when: str, commit: int) -> None:
    code = walk(project, "submit", f"{when}:{commit}")
    assert code in {-signal.SIGKILL, 0}
    assert walk(project, "resume") == 0
    check_promises(project)


@pytest.mark.parametrize("seed", range(4))
def test_killed_twice_at_random_commits_the_run_is_still_finished(project: Path, seed: int) -> None:
    dice = random.Random(seed)  # noqa: S311 - cases, not secrets
    walk(project, "submit", f"{dice.choice(['before', 'after'])}:{dice.randrange(4, COMMITS)}")
    walk(project, "resume", f"{dice.choice(['before', 'after'])}:{dice.randrange(2, COMMITS)}")
    assert walk(project, "resume") == 0
    check_promises(project)


@pytest.mark.parametrize(("when", "commit"), [("before", 5), ("after", 7), ("before", 12), ("after", 15)])
def test_the_same_holds_on_postgres(
    project: Path, postgres: PostgresForTests, monkeypatch: pytest.MonkeyPatch, when: str, commit: int
) -> None:
    with postgres.database() as url:
        monkeypatch.setenv("INTERLOCK_STORE_URL", url)
        assert walk(project, "submit", f"{when}:{commit}") == -signal.SIGKILL
        assert walk(project, "resume") == 0
        check_promises(project)


def test_an_effect_whose_outcome_nobody_saw_is_said_to_be_unknown(project: Path) -> None:
    assert walk(project, "submit", "inside:effect") == -signal.SIGKILL
    assert walk(project, "resume") == 0
    assert check_promises(project) is OutcomeKind.ESCALATED
    service = build(load_settings(project))
    (run,) = service.runs.newest()
    service.close()
    assert run.outcome is not None
    assert run.outcome.unknown == ("journal: line=one",)
