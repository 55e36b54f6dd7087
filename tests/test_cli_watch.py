"""What is watched can be seen and steered from the terminal, by people and by programs."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner, Result

from interlock.app import build
from interlock.config import load_settings
from interlock.doctor import Finding, Grade, examine
from interlock.engine.watch import Watch
from interlock.errors import NotFoundError, UsageError
from interlock.service import Service
from interlock.surfaces.cli.main import command_line

CONFIG: dict[str, Any] = {
    "agents": {
        "writer": {"description": "writes", "runner": {"kind": "command", "command": ["{python}", "writer.py"]}}
    },
    "versions": {"writer": {"v2": {"model": "m2"}}},
}


def git(project: Path, *args: str) -> None:
    subprocess.run(["git", "-c", "user.name=T", "-c", "user.email=t@example.org", *args], cwd=project, check=True)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("INTERLOCK_ENV", raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "writer.py").write_text("")
    (tmp_path / "interlock.yaml").write_text(yaml.safe_dump(CONFIG))
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", "--all")
    git(tmp_path, "commit", "-q", "-m", "start")
    return tmp_path


@pytest.fixture
def service(project: Path) -> Iterator[Service]:
    made = build(load_settings(project))
    yield made
    made.close()


@pytest.fixture
def failing(service: Service) -> Service:
    """A project whose writer has failed five times, and whose evaluator has looked."""
    with service._means.database.write() as conn:
        for number in range(5):
            facts: dict[str, Any] = {"agent": "writer", "attempt": f"a{number}"}
            service._means.ledger.append(conn, "run_1", "attempt.started", facts, actor="interlock")
            facts |= {"duration_ms": 40_000, "error": "crashed", "message": "it broke"}
            service._means.ledger.append(conn, "run_1", "attempt.failed", facts, actor="interlock")
    Watch(service._means, service.alarms, service.rollouts).once()
    return service


def run(*words: str) -> Result:
    return CliRunner().invoke(command_line(), list(words))


def said(*words: str) -> Any:
    result = run(*words, "--json")
    assert result.exit_code in {0, 1}, result.output
    return json.loads(result.output)


def test_metrics_are_shown_to_people_and_programs(failing: Service) -> None:
    assert "writer" in run("metrics").output
    assert "it broke" in run("metrics", "--window", "1h").output
    assert said("metrics", "--window", "15m")["agents"][0]["failures"] == 5
    assert (
        'interlock_agent_executions_total{agent="writer",result="failure"} 5.0' in run("metrics", "--prometheus").output
    )


@pytest.mark.parametrize("window", ["soon", "0s", "-1h"])
def test_a_window_that_is_none_is_refused_with_an_example(project: Path, window: str) -> None:
    result = run("metrics", f"--window={window}")
    assert isinstance(result.exception, UsageError)
    assert "15m" in str(result.exception)


def test_top_is_one_look_in_a_pipe(failing: Service) -> None:
    result = run("top")
    assert result.exit_code == 0
    assert "writer" in result.output


def test_health_says_what_is_wrong_and_exits_one_when_an_agent_is_unhealthy(failing: Service) -> None:
    found = said("health", "writer")
    assert (found["status"], found["subject"]) == ("degraded", "writer")
    assert run("health", "writer").exit_code == 0
    with failing._means.database.write() as conn:
        usage = {"agent": "writer", "attempt": "a", "usage": {"input_tokens": 9000, "output_tokens": 0}}
        failing._means.ledger.append(conn, "run_1", "agent.returned", usage, actor="interlock")
    result = run("health", "writer")
    assert result.exit_code == 1
    assert "unhealthy" in result.output
    assert run("health").exit_code == 1


def test_health_of_an_unknown_agent_names_the_nearest(project: Path) -> None:
    result = run("health", "writr")
    assert isinstance(result.exception, NotFoundError)
    assert 'did you mean "writer"' in str(result.exception)


def test_alerts_are_listed_acknowledged_and_silenced(failing: Service) -> None:
    listed = run("alerts", "list")
    assert listed.exit_code == 1, "something fires that nobody looks after"
    assert "Agent error rate exceeds 25%" in listed.output
    for alert in said("alerts", "list")["alerts"]:
        assert said("alerts", "ack", alert["id"], "--note", "on it")["state"] == "acknowledged"
    assert run("alerts", "list").exit_code == 0
    silence = said("alerts", "silence", "2h", "--agent", "writer", "--reason", "migration")
    assert "migration" in run("alerts", "list").output
    assert said("alerts", "unsilence", silence["id"])["id"] == silence["id"]
    assert said("alerts", "list")["silences"] == []


def test_alert_rules_are_shown_and_can_be_tried_out(failing: Service) -> None:
    assert [rule["condition"] for rule in said("alerts", "rules")] == [
        "errorRate > 0.25", "consecutiveFailures >= 3", "executionTime > 30000", "checksFailed > 0",
    ]  # fmt: skip
    assert [(trial["agent"], trial["holds"]) for trial in said("alerts", "test", "error-rate")] == [("writer", True)]
    assert "it would: escalate, circuit-break" in run("alerts", "test", "error-rate").output


def test_a_rollout_is_started_shown_and_stopped(project: Path) -> None:
    assert said("rollout", "start", "writer", "v2", "--steps", "10,50")["steps"] == [10, 50]
    assert "v2 for 10 %" in run("rollout", "status").output
    assert said("rollout", "status", "writer")[0]["next"] == "wait"
    assert "v2 for 50 %" in run("rollout", "promote", "writer").output
    assert "aborted" in run("rollout", "abort", "writer", "--reason", "no").output


# The doctor


def found(project: Path, grade: Grade) -> list[Finding]:
    return [each for each in examine(project) if each.grade is grade]


def test_a_sound_project_has_no_problem(project: Path) -> None:
    assert found(project, Grade.PROBLEM) == []
    assert run("doctor").exit_code == 0


@pytest.mark.parametrize(
    ("config", "says", "advises"),
    [
        ({"agents": {}}, "there is none", "interlock init"),
        ({"agents": {"writer": {"description": "x"}}}, "nothing says how it is run", "runner:"),
        ({"agents": {"writer": {"runner": {"kind": "command", "command": ["no-such-program"]}}}}, "no-such-program", "Install"),
        ({"agents": {"writer": {"runner": {"kind": "command", "command": ["{python}", "gone.py"]}}}}, "gone.py", "Correct"),
        ({"policies": {"files": ["gone.yaml"]}}, "gone.yaml", "policy lint"),
        ({"notify": {"targets": {"chat": "env:INTERLOCK_NOT_SET"}}}, "INTERLOCK_NOT_SET", "Set it"),
        ({"limitz": {}}, "unknown key", "Correct"),
        ({"store_url": "postgresql://kim:sesame@127.0.0.1:1/il"}, "refused", "PostgreSQL answers at 127.0.0.1:1/il and lets kim in"),
        ({"agents": {"writer": {"runner": {"kind": "comand"}}}}, "agents.writer.runner.kind", "Correct"),
        ({"alerts": {"rules": {"mine": {"condition": "eror_rate > 1"}}}}, "error_rate", "Correct"),
    ],
)  # fmt: skip
def test_the_doctor_finds_what_is_wrong_and_says_what_to_do(
    project: Path, config: dict[str, Any], says: str, advises: str
) -> None:
    (project / "interlock.yaml").write_text(yaml.safe_dump(config))
    problems = found(project, Grade.PROBLEM)
    assert any(says in each.seen and advises in each.advice for each in problems), problems
    assert run("doctor").exit_code == 1


def test_the_doctor_warns_of_what_is_not_committed_and_of_an_open_state(project: Path) -> None:
    build(load_settings(project)).close()
    (project / "interlock.yaml").write_text(yaml.safe_dump({**CONFIG, "verbose": True}))
    (project / ".interlock").chmod(0o755)
    warnings = {each.subject: each.advice for each in found(project, Grade.WARNING)}
    assert {"uncommitted", "state", "notify"} <= warnings.keys()
    assert warnings["state"].startswith("chmod 700")


def test_the_doctor_names_the_extra_that_an_agent_lacks(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (project / "interlock.yaml").write_text(yaml.safe_dump({"agents": {"writer": {"runner": {"kind": "claude"}}}}))
    monkeypatch.setitem(sys.modules, "claude_agent_sdk", None)
    assert any(re.search(r'pip install .*\[claude\]"', each.seen) for each in found(project, Grade.PROBLEM))


def test_the_doctor_does_not_faint_over_a_place_that_it_may_not_use(project: Path) -> None:
    (project / ".interlock").write_text("not a directory")
    assert {each.subject for each in found(project, Grade.PROBLEM)} == {"state"}


def test_the_doctor_says_each_thing_once(project: Path) -> None:
    (project / "bad.yaml").write_text("name: x\nrules: [{match: {tool: a}, action: blok}]\n")
    (project / "interlock.yaml").write_text(yaml.safe_dump({**CONFIG, "policies": {"files": ["bad.yaml"]}}))
    seen = [each for each in examine(project) if "blok" in each.seen or each.subject == "policies"]
    assert [(each.grade, each.subject) for each in seen] == [(Grade.PROBLEM, "policies")]


def test_without_git_a_repository_is_a_problem_and_a_mere_directory_is_not(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", os.fspath(project))
    assert any(each.subject == "git" and "copy" in each.advice for each in found(project, Grade.PROBLEM))


def test_the_doctor_works_without_git(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (project / "interlock.yaml").write_text(yaml.safe_dump({**CONFIG, "workspace": {"isolation": "copy"}}))
    monkeypatch.setenv("PATH", os.fspath(project))
    assert any(each.subject == "git" and "not on PATH" in each.seen for each in found(project, Grade.WARNING))


def test_the_doctor_sees_a_clock_that_has_jumped_back(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from datetime import timedelta

    import interlock.doctor as module
    from interlock.clock import SystemClock

    class Ahead(SystemClock):
        def now(self) -> Any:
            return super().now() + timedelta(hours=1)

    service = build(load_settings(project), clock=Ahead())
    with service._means.database.write() as conn:
        service._means.ledger.append(conn, "run_1", "task.submitted", {}, actor="x")
        service._means.ledger.append(conn, "run_1", "run.ended", {}, actor="x")
    service.close()
    assert any(each.subject == "clock" for each in module.examine(project))
