"""`interlock check` and `interlock policy`: what people and programs get from them."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from interlock.surfaces.cli.check import check
from interlock.surfaces.cli.policy import app as policy

MAIN = """
import typer
from interlock.surfaces.cli.check import check
from interlock.surfaces.cli.policy import app as policy
main = typer.Typer()
main.command()(check)
main.add_typer(policy, name="policy")
main()
"""

POLICY = """
name: team
rules:
  - id: no-moo
    match: {surface: tool_call, tool: sql}
    pattern: moo
    action: block
    reason: No cows here.
  - id: ask-for-baa
    pattern: baa
    action: confirm
tests:
  - {surface: tool_call, tool: sql, text: "SELECT moo FROM t", expect: block}
  - {surface: task, text: "moo", expect: allow}
  - {surface: task, text: "say baa", expect: confirm}
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "interlock.yaml").write_text("policies:\n  files: [team.yaml]\n")
    (tmp_path / "team.yaml").write_text(POLICY)
    return tmp_path


@dataclass
class Done:
    returncode: int
    stdout: str
    stderr: str


main = typer.Typer()
main.command()(check)
main.add_typer(policy, name="policy")


def run(where: Path, *words: str, said: str | None = None) -> Done:
    before = Path.cwd()
    os.chdir(where)
    try:
        result = CliRunner().invoke(main, words, input=said)
    finally:
        os.chdir(before)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return Done(result.exit_code, result.stdout, result.stderr)


def rows(where: Path, *lines: Any, more: tuple[str, ...] = ()) -> tuple[int, list[Any]]:
    said = "\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines)
    done = run(where, "check", "--jsonl", "-", *more, said=said)
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.parametrize(
    ("words", "code", "shown"),
    [
        (("SELECT 1", "--tool", "sql"), 0, "ALLOW"),
        (("SELECT moo", "--tool", "sql"), 3, "No cows here."),
        (("say baa", "--surface", "task"), 4, "CONFIRM"),
        (("--args", '{"query": "select moo"}', "--tool", "sql"), 3, "team/no-moo"),
        (("DROP TABLE users", "--surface", "tool_call_sql"), 3, "database-protection/drop-table"),
    ],
)
def test_a_single_text_is_judged_and_the_exit_code_says_how(
    project: Path, words: tuple[str, ...], code: int, shown: str
) -> None:
    done = run(project, "check", *words)
    assert done.returncode == code, done.stderr
    assert shown in done.stdout


def test_what_the_project_declares_of_its_tools_counts(project: Path) -> None:
    with (project / "interlock.yaml").open("a") as settings:
        settings.write("tools:\n  send_mail: {undo: irreversible}\n  send_draft: {undo: nothing}\n")
    args = ("--args", '{"to": "bob", "body": "hello"}')
    asked, sent = (
        run(project, "check", "--tool", "send_mail", *args),
        run(project, "check", "--tool", "send_draft", *args),
    )
    assert (asked.returncode, sent.returncode) == (4, 0)
    assert "cannot be undone" in asked.stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "give a TEXT"),
        (("x", "--args", "{}"), "give a TEXT"),
        (("--args", "{x"), "not JSON"),
        (("--args", "[]"), "a JSON object"),
        (("x", "--surface", "tool_cal"), 'did you mean "tool_call"'),
        (("x", "--env", "produktion"), "produktion"),
        (("--jsonl", "absent.jsonl"), "cannot be read"),
    ],
)
def test_bad_usage_ends_with_2_and_a_sentence(project: Path, words: tuple[str, ...], said: str) -> None:
    done = run(project, "check", *words)
    assert done.returncode == 2
    assert said in done.stderr
    assert not done.stdout


def test_lines_are_answered_in_order_and_a_malformed_one_in_its_place(project: Path) -> None:
    code, answers = rows(
        project,
        {"surface": "tool_call", "tool": "sql", "text": "select moo"},
        "{nonsense",
        {"surface": "task", "text": "hello"},
        {"surface": "nowhere", "text": "x"},
        {"surface": "task"},
        {"surface": "task", "text": 5},
        "[]",
        {"surface": "tool_call_sql", "text": "DELETE FROM users WHERE id = 1"},
        {"surface": "tool_output", "text": "fine"},
    )
    assert code == 1
    assert [answer.get("verdict", "error") for answer in answers] == [
        *("block", "error", "allow", "error", "error", "error", "error", "confirm", "allow")
    ]
    assert all(isinstance(answer["error"], str) for answer in answers if "error" in answer)


def test_an_answer_holds_what_the_contract_says(project: Path) -> None:
    code, (answer,) = rows(project, {"surface": "tool_call", "tool": "sql", "args": {"query": "DROP TABLE users"}})
    assert code == 0
    assert answer["verdict"] == "block"
    assert answer["risk"] == "critical"
    assert "database-protection/drop-table" in answer["rules"]
    assert {"detector", "kind", "severity", "evidence", "reason", "span"} == set(answer["findings"][0])
    assert "drop a table" in answer["reason"]


def test_answers_flow_before_the_input_ends(project: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", MAIN, "check", "--jsonl", "-"],
        cwd=project,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as running:
        assert running.stdin is not None
        assert running.stdout is not None
        for text, verdict in (("hello", "allow"), ("baa", "confirm")):
            running.stdin.write(json.dumps({"surface": "task", "text": text}) + "\n")
            running.stdin.flush()
            assert json.loads(running.stdout.readline())["verdict"] == verdict
        running.stdin.close()
    assert running.returncode == 0


def test_what_is_not_text_of_this_world_is_answered_too(project: Path) -> None:
    code, answers = rows(
        project, '{"surface": "task", "text": "\\ud800"}', '{"surface": "task", "args": {"a": [[[[[[1e999]]]]]]}}'
    )
    assert len(answers) == 2
    assert all("error" in answer or answer["verdict"] == "block" or answer["findings"] == [] for answer in answers)
    assert code in {0, 1}


def test_an_input_beyond_every_limit_is_blocked(project: Path) -> None:
    _, (long, deep) = rows(
        project,
        {"surface": "tool_call", "tool": "x", "text": "a " * 200_000},
        '{"surface": "tool_call", "tool": "x", "args": {"a": ' + "[" * 100 + "]" * 100 + "}}",
    )
    for answer in (long, deep):
        assert answer["verdict"] == "block"
        assert answer["findings"][0]["kind"] == "gate.failed"


def test_the_program_itself_ends_with_the_verdicts_code(project: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", MAIN, "check", "DROP TABLE users", "--tool", "sql", "--json"],
        cwd=project,
        text=True,
        capture_output=True,
        check=False,
    )
    assert (done.returncode, json.loads(done.stdout)["verdict"]) == (3, "block")


def test_help_comes_without_loading_the_readers(project: Path) -> None:
    code = (
        "import sys, interlock.surfaces.cli.check, interlock.surfaces.cli.policy\n"
        "print([name for name in ('sqlglot', 're2', 'cel', 'tree_sitter', 'pydantic', 'yaml', 'rich.console') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=project, text=True, capture_output=True, check=True)
    assert done.stdout.strip() == "[]"


def test_policy_cases_run_like_unit_tests(project: Path) -> None:
    done = run(project, "policy", "test", "team.yaml")
    assert (done.returncode, done.stdout.strip()) == (0, "3 of 3 cases hold")
    (project / "team.yaml").write_text(POLICY.replace("expect: confirm", "expect: block"))
    done = run(project, "policy", "test", "team.yaml")
    assert done.returncode == 1
    assert "team.yaml:15: expected block, got confirm" in done.stdout
    (project / "team.yaml").write_text(POLICY.partition("tests:")[0])
    assert "holds no `tests`" in run(project, "policy", "test", "team.yaml").stderr


def test_lint_names_file_and_line_of_every_mistake(project: Path) -> None:
    assert run(project, "policy", "lint", "team.yaml").returncode == 0
    (project / "bad.yaml").write_text(
        "name: bad\nrules:\n  - {patern: a, action: blok}\n  - {pattern: '(', action: block}\n"
    )
    done = run(project, "policy", "lint", "bad.yaml", "--json")
    assert done.returncode == 1
    errors = json.loads(done.stdout)["errors"]
    assert [error.split(": ")[0] for error in errors] == ["bad.yaml:3"] * 2 + ["bad.yaml:3", "bad.yaml:4"]


def test_lint_warns_of_dead_rules_and_strict_fails_on_them(project: Path) -> None:
    (project / "dead.yaml").write_text(
        "name: d\nrules:\n  - {pattern: a, action: block}\n  - {pattern: a, action: warn}\n"
    )
    done = run(project, "policy", "lint", "dead.yaml")
    assert done.returncode == 0
    assert "dead.yaml:4: d/2: shadowed" in done.stdout
    assert run(project, "policy", "lint", "dead.yaml", "--strict").returncode == 1


def test_explain_shows_every_rule_and_why(project: Path) -> None:
    done = run(project, "policy", "explain", '{"surface": "tool_call", "tool": "sql", "text": "select moo"}', "--json")
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    considered = {row["rule"]: row for row in answer["considered"]}
    assert considered["team/no-moo"]["matched"]
    assert not considered["team/ask-for-baa"]["matched"]
    assert "is not in the text" in considered["team/ask-for-baa"]["why"]
    assert "team/no-moo" in run(project, "policy", "explain", "select moo", "--tool", "sql").stdout


def test_diff_says_which_decisions_would_change(project: Path) -> None:
    (project / "new.yaml").write_text(
        POLICY.replace("pattern: baa\n    action: confirm", "pattern: baa\n    action: block")
    )
    (project / "old.jsonl").write_text('{"surface": "task", "text": "baa"}\n{"surface": "task", "text": "hello"}\n')
    done = run(project, "policy", "diff", "team.yaml", "new.yaml", "--actions", "old.jsonl", "--json")
    answer = json.loads(done.stdout)
    assert answer["actions"] == 2
    assert [(it["line"], it["old"], it["new"], it["tighter"]) for it in answer["changed"]] == [
        (1, "confirm", "block", True)
    ]
    assert (
        "1 of 2 decisions would change"
        in run(project, "policy", "diff", "team.yaml", "new.yaml", "--actions", "old.jsonl").stdout
    )


def test_packs_are_listed_and_shown(project: Path) -> None:
    listed = run(project, "policy", "list").stdout
    assert "database-protection (3 rules), security-protection (3 rules)" in " ".join(listed.split())
    assert "DELETE FROM .* WHERE" in run(project, "policy", "show", "defaults").stdout
    missing = run(project, "policy", "show", "default")
    assert (missing.returncode, 'did you mean "defaults"' in missing.stderr) == (2, True)


def test_a_broken_policy_ends_every_command_and_never_judges_without_it(project: Path) -> None:
    (project / "team.yaml").write_text("name: team\nrules:\n  - {pattern: '(', action: block}\n")
    done = run(project, "check", "hello")
    assert done.returncode == 2
    assert "team.yaml:3" in done.stderr
    assert not done.stdout
