"""The commands `plan`, `assess` and `agents`: contracts for programs, sentences for people."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from interlock.surfaces.cli.agents import app as agents_app
from interlock.surfaces.cli.assess import assess
from interlock.surfaces.cli.plan import plan

app = typer.Typer()
app.command()(plan)
app.command()(assess)
app.add_typer(agents_app, name="agents")
runner = CliRunner()


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / ".claude" / "agents"
    folder.mkdir(parents=True)
    (folder / "painter.md").write_text(
        "---\nname: painter\ndescription: Draws charts and dashboards.\n---\nWorks in `web/charts/`.\n",
        encoding="utf-8",
    )
    (folder / "keeper.md").write_text(
        "---\nname: keeper\ndescription: Owns the database schema.\n---\nWorks in `db/`.\n", encoding="utf-8"
    )
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*args: str, said: str = "") -> tuple[int, str]:
    done = runner.invoke(app, list(args), input=said)
    return done.exit_code, done.output


def lines(output: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in output.splitlines()]


def test_plan_answers_line_by_line_in_order_with_the_agreed_keys(project: Path) -> None:
    said = '{"text": "Draw a chart"}\n\n{"text": "Add a table to the database schema"}\n{"text": "Boil an egg"}\n'
    code, output = run("plan", "--jsonl", "-", said=said)
    first, second, third = lines(output)
    assert code == 0
    assert {"primary", "fallback", "exclusions", "phases", "scores", "abstained"} <= set(first)
    assert first["primary"] == ["painter"]
    assert first["phases"] == [["painter"]]
    assert second["primary"] == ["keeper"]
    assert third["abstained"] is True
    assert third["primary"] == []


def test_assess_answers_with_the_agreed_keys(project: Path) -> None:
    code, output = run("assess", "--jsonl", "-", said='{"text": "Wipe all customers"}\n')
    (row,) = lines(output)
    assert code == 0
    assert row["level"] == "critical"
    assert row["mitigation_required"] is True
    assert row["confirmation_required"] is True
    assert {"name", "level", "evidence", "reason"} == set(row["factors"][0])


@pytest.mark.parametrize("command", ["plan", "assess"])
@pytest.mark.parametrize("bad", ["{", "[]", "3", '{"txt": "x"}', '{"text": 3}', "\x00"])
def test_a_malformed_line_gets_an_error_in_its_place_and_the_run_fails_at_the_end(
    project: Path, command: str, bad: str
) -> None:
    code, output = run(command, "--jsonl", "-", said=f'{{"text": "Draw a chart"}}\n{bad}\n{{"text": "Draw a chart"}}\n')
    answers = lines(output)
    assert code == 1
    assert [("error" in answer) for answer in answers] == [False, True, False]
    assert answers[0] == answers[2]


def test_a_file_is_read_like_standard_input_and_a_missing_one_is_a_usage_error(project: Path) -> None:
    (project / "tasks.jsonl").write_text('{"text": "Draw a chart"}\n', encoding="utf-8")
    assert run("plan", "--jsonl", "tasks.jsonl")[0] == 0
    assert run("plan", "--jsonl", "nowhere.jsonl")[0] == 2
    assert run("plan")[0] == 2


def test_people_read_phases_and_reasons_within_80_columns(project: Path) -> None:
    code, output = run("plan", "Draw a chart of the database schema and its tables", "--prompts")
    assert code == 0
    assert "phase 1" in output
    assert "why" in output
    head = [line for line in output.splitlines() if "|" not in line]
    assert max(map(len, head)) <= 80
    code, output = run("assess", "Wipe all customers")
    assert code == 0
    assert output.startswith("risk critical: a person must confirm")
    assert max(map(len, output.splitlines())) <= 80


def test_an_abstention_fails_with_guesses_and_an_unknown_agent_with_a_suggestion(project: Path) -> None:
    assert run("plan", "Boil an egg")[0] == 2
    code, output = run("plan", "Draw a chart", "--agent", "paintr")
    assert code == 2
    assert 'did you mean "painter"' in output
    code, output = run("plan", "Boil an egg", "--agent", "painter", "--json")
    assert code == 0
    assert json.loads(output)["primary"] == ["painter"]


def test_another_catalogue_can_be_given(project: Path) -> None:
    (project / "cooks.json").write_text('{"agents": [{"name": "cook", "keywords": ["egg"]}]}', encoding="utf-8")
    code, output = run("plan", "Boil an egg", "--agents", "cooks.json", "--json")
    assert code == 0
    assert json.loads(output)["primary"] == ["cook"]


def test_a_correction_is_kept_and_counts(project: Path) -> None:
    code, output = run("plan", "Tidy the frobnicator", "--correct", "keeper")
    assert code == 0
    assert "learned" in output
    assert "already known" in run("plan", "Tidy the frobnicator", "--correct", "keeper")[1]
    assert (project / ".interlock-memory.json").exists()
    assert run("plan", "Tidy the frobnicator", "--correct", "nobody")[0] == 2


def test_agents_are_listed_shown_learned_and_explained(project: Path) -> None:
    assert "painter" in run("agents", "list")[1]
    assert json.loads(run("agents", "show", "keeper", "--json")[1])["owns"] == ["db/"]
    code, output = run("agents", "show", "keper")
    assert code == 2
    assert 'did you mean "keeper"' in output
    git = ["git", "-c", "user.name=S", "-c", "user.email=s@example.org", "-c", "commit.gpgsign=false"]
    (project / "db").mkdir()
    (project / "db" / "one.sql").write_text("x", encoding="utf-8")
    subprocess.run([*git, "init", "-q"], check=True)
    subprocess.run([*git, "add", "db"], check=True)
    subprocess.run([*git, "commit", "-q", "-m", "Tune the frobnicator"], check=True)
    code, output = run("agents", "learn", "--json")
    assert code == 0
    assert json.loads(output)["agents"] == {"keeper": 1}
    code, output = run("agents", "why", "Tune the frobnicator", "keeper", "--json")
    assert code == 0
    assert json.loads(output)[0]["past"]


def test_a_broken_definition_is_one_sentence_with_exit_2(project: Path) -> None:
    (project / ".claude" / "agents" / "bad.md").write_text("---\nname: a\n", encoding="utf-8")
    code, output = run("plan", "Draw a chart")
    assert code == 2
    assert "bad.md:1" in output
    assert "Traceback" not in output
