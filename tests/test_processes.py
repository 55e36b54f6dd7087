"""Several ``interlock`` commands on one project: they share limits, take over from each other, and end cleanly."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from interlock.app import build
from interlock.config import load_settings
from interlock.model.run import OutcomeKind, RunState
from interlock.service import Service

PATIENCE_S = 90
COMMAND = [sys.executable, "-m", "interlock"]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    place = tmp_path / "project"
    place.mkdir()
    (place / "interlock.yaml").write_text(
        "limits: {max_concurrent: 3, per_agent: 1, per_minute: 100}\n"
        "agents:\n"
        "  sleeper:\n"
        "    description: sleeps\n"
        '    runner: {kind: command, command: ["{python}", "-c", "import time; time.sleep(0.6); print(\'slept\')"]}\n'
        "  dreamer:\n"
        "    description: sleeps for ever\n"
        '    runner: {kind: command, command: ["{python}", "-c", "import time; time.sleep(300)"]}\n'
    )
    for args in (["init", "-q", "-b", "main"], ["add", "--all"],
                 ["-c", "user.name=T", "-c", "user.email=t@example.org", "commit", "-q", "-m", "start"]):  # fmt: skip
        subprocess.run(["git", *args], cwd=place, check=True)
    return place


def start(project: Path, *args: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*COMMAND, *args],
        cwd=project,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def look(project: Path) -> Service:
    return build(load_settings(project))


def until(holds: Any) -> Any:
    give_up = time.monotonic() + PATIENCE_S
    while not (found := holds()):
        assert time.monotonic() < give_up
        time.sleep(0.05)
    return found


def test_several_commands_at_once_share_the_limits(project: Path) -> None:
    started = [start(project, "run", "sleep", "--agent", "sleeper", "--json") for _ in range(3)]
    for process in started:
        out, err = process.communicate(timeout=PATIENCE_S)
        assert process.returncode == 0, err
        assert json.loads(out)["run"]["outcome"]["kind"] == "succeeded"
    service = look(project)
    attempts = sorted(
        (attempt for run in service.runs.newest() for attempt in service.runs.view(run.id).attempts),
        key=lambda one: str(one.started_at),
    )
    check = service.ledger.verify()
    service.close()
    assert len(attempts) == 3
    for earlier, later in itertools.pairwise(attempts):
        assert earlier.ended_at is not None
        assert later.admitted_at is not None
        assert earlier.ended_at <= later.admitted_at
    assert check.problem == ""


def test_ctrl_c_cancels_cleanly_and_leaves_nothing(project: Path) -> None:
    process = start(project, "run", "sleep for ever", "--agent", "dreamer")
    service = look(project)
    run = until(lambda: next(iter(service.runs.newest()), None))
    until(lambda: any(attempt.started_at for attempt in service.runs.view(run.id).attempts))
    until(lambda: _agents_of(process.pid))
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=PATIENCE_S)
    outcome = service.runs.find(run.id).outcome
    left = service.queue.places()
    service.close()
    assert process.returncode == 1
    assert "cancelled" in out
    assert outcome is not None
    assert outcome.kind is OutcomeKind.CANCELLED
    assert left == []
    assert _mentioning(project) == []
    assert len(_git(project, "worktree", "list").splitlines()) == 1


def test_a_killed_command_takes_its_agents_with_it_and_the_next_one_goes_on(project: Path) -> None:
    process = start(project, "run", "sleep", "--agent", "sleeper")
    service = look(project)
    run = until(lambda: next(iter(service.runs.newest()), None))
    until(lambda: any(attempt.started_at for attempt in service.runs.view(run.id).attempts))
    os.kill(process.pid, signal.SIGKILL)
    process.communicate(timeout=PATIENCE_S)
    resumed = start(project, "resume")
    _, err = resumed.communicate(timeout=PATIENCE_S)
    ended = service.runs.find(run.id)
    service.close()
    assert resumed.returncode == 0, err
    assert ended.state is RunState.ENDED
    assert ended.outcome is not None
    assert ended.outcome.kind is OutcomeKind.SUCCEEDED


def test_without_a_terminal_a_question_is_exit_code_4_and_says_how_to_go_on(project: Path) -> None:
    asked = start(project, "run", "drop all tables of the production database", "--agent", "sleeper")
    out, _ = asked.communicate(timeout=PATIENCE_S)
    assert asked.returncode == 4
    assert "interlock approvals approve" in out
    assert "interlock resume" in out
    service = look(project)
    (approval,) = service.approvals.list()
    service.close()
    answered = start(project, "approvals", "approve", approval.id)
    answered.communicate(timeout=PATIENCE_S)
    assert answered.returncode == 0
    resumed = start(project, "resume", approval.run_id)
    _, err = resumed.communicate(timeout=PATIENCE_S)
    assert resumed.returncode == 0, err


def _agents_of(pid: int) -> list[psutil.Process]:
    try:
        return [
            child for child in psutil.Process(pid).children(recursive=True) if "time.sleep(300)" in str(child.cmdline())
        ]
    except psutil.Error:
        return []


def _mentioning(project: Path) -> list[str]:
    every = [process.info for process in psutil.process_iter(["pid", "cmdline", "cwd"])]
    return [str(one["cmdline"]) for one in every if str(project) in str(one["cwd"]) and one["pid"] != os.getpid()]


def _git(project: Path, *args: str) -> str:
    return subprocess.run(["git", *args], cwd=project, capture_output=True, text=True, check=True).stdout
