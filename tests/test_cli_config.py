"""`interlock init` and `interlock config` work in any repository, and a poisoned one cannot use them."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
import typer
from jsonschema import Draft202012Validator
from typer.testing import CliRunner, Result

from interlock.config import json_schema, load_settings, problems, read_yaml
from interlock.errors import ConfigError, UsageError
from interlock.surfaces.cli import config, init

app = typer.Typer()
app.command("init")(init.init)
app.add_typer(config.app, name="config")


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("INTERLOCK_ENV", raising=False)
    monkeypatch.chdir(tmp_path)
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    return tmp_path


def run(*words: str) -> Result:
    return CliRunner().invoke(app, list(words))


def define(project: Path, path: str, text: str) -> None:
    target = project / path
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text, encoding="utf-8")


def test_init_names_the_agents_it_finds_and_the_result_is_valid(project: Path) -> None:
    define(project, ".claude/agents/one.md", "---\nname: database-schema-agent\ndescription: a: b: c\n---\nDo it.\n")
    define(project, ".claude/agents/plain.md", "no front matter")
    define(project, ".github/agents/helper.agent.md", "---\ndescription: x\n---\n")
    result = run("init")
    assert result.exit_code == 0, result.output
    settings = load_settings(project)
    assert settings.agents_dir == ".claude/agents"
    assert {"database-schema-agent", "plain", "helper"} <= set(settings.agents)
    assert settings.source("agents.plain").startswith("interlock.yaml:")
    text = (project / "interlock.yaml").read_text()
    assert "defined in .github/agents" in text
    Draft202012Validator(json_schema()).validate(read_yaml(text).value)
    assert "interlock doctor" in result.output


def test_every_commented_example_in_the_first_file_is_valid_too(project: Path) -> None:
    lines = init.template([]).splitlines()
    starts = [
        place
        for place, line in enumerate(lines)
        if line.startswith("# ") and line.endswith(":") and " " not in line[2:]
    ]
    assert len(starts) >= 6
    for start in starts:
        block = [lines[start][2:]]
        for line in lines[start + 1 :]:
            if not line.startswith("#   "):
                break
            block.append(line[2:])
        (project / "interlock.yaml").write_text("\n".join(block))
        assert problems(project) == (), block
    head = [line[2:] for line in init._AGENTS_HEAD[1:]]
    (project / "interlock.yaml").write_text("agents:\n" + "\n".join(head))
    assert problems(project) == ()


def test_init_without_agents_says_how_to_get_one(project: Path) -> None:
    result = run("init")
    assert result.exit_code == 0
    assert "define an agent" in result.output
    assert problems(project) == ()
    assert "interlock hook install --for claude" in result.stdout


def test_init_never_overwrites_unless_told_to(project: Path) -> None:
    (project / "interlock.yaml").write_text("verbose: true\n")
    result = run("init")
    assert isinstance(result.exception, UsageError)
    assert "--force" in str(result.exception)
    assert (project / "interlock.yaml").read_text() == "verbose: true\n"
    assert run("init", "--force").exit_code == 0
    assert "environment: development" in (project / "interlock.yaml").read_text()
    assert not list(project.glob(".interlock.yaml*"))


@pytest.mark.parametrize("force", [[], ["--force"]])
def test_init_does_not_write_through_a_link(
    project: Path, tmp_path_factory: pytest.TempPathFactory, force: list[str]
) -> None:
    outside = tmp_path_factory.mktemp("outside") / "target"
    outside.write_text("mine")
    (project / "interlock.yaml").symlink_to(outside)
    run("init", *force)
    assert outside.read_text() == "mine"


def test_init_has_git_ignore_the_state_once_and_in_this_clone_only(project: Path) -> None:
    run("init")
    run("init", "--force")
    assert (project / ".git/info/exclude").read_text().count(".interlock/") == 1
    done = subprocess.run(
        ["git", "status", "--porcelain", "--ignored"], cwd=project, capture_output=True, text=True, check=True
    )
    assert ".gitignore" not in done.stdout


def test_init_without_git_says_what_to_ignore(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    result = run("init")
    assert result.exit_code == 0
    assert ".gitignore" in result.output


@pytest.mark.parametrize(
    "text",
    [
        "---\nname: 'x\n---\n",
        "---\nname: [a]\n---\n",
        "---\nname: a\\nenvironment: production\n---\n",
        '---\nname: "a: {}\\n  b"\n---\n',
        "---\nname: ../../etc\n---\n",
        "---\nname: a # b\n---\n",
        "---\nname: " + "a" * 5000 + "\n---\n",
        "---\n" + "x: [" * 100_000,
        "---\n&a [*a]\n---\n",
        "\x00\x1b[2J",
        "",
    ],
)
def test_a_poisoned_definition_does_not_get_into_the_file_and_breaks_nothing(project: Path, text: str) -> None:
    define(project, ".claude/agents/bad.md", text)
    define(project, ".claude/agents/good.md", "---\nname: good\n---\n")
    result = run("init", "--json")
    assert result.exit_code == 0, result.output
    names = {agent["name"] for agent in json.loads(result.output)["agents"]}
    assert "good" in names
    assert names <= {"good", "bad", "x"}
    assert load_settings(project).environment == "development"


def test_a_poisoned_file_name_cannot_add_lines(project: Path) -> None:
    define(project, ".claude/agents/a\nenvironment: production\n#.md", "no front matter")
    define(project, ".github/agents/b\n.md", "---\nname: b\n---\n")
    result = run("init")
    assert result.exit_code == 0
    assert "\nenvironment: production" not in result.output
    assert load_settings(project).environment == "development"
    assert problems(project) == ()


def test_definitions_outside_of_the_project_are_not_followed(
    project: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    outside = tmp_path_factory.mktemp("outside")
    (outside / "spy.md").write_text("---\nname: spy\n---\n")
    (project / ".claude").mkdir()
    (project / ".claude/agents").symlink_to(outside)
    define(project, ".github/agents/good.md", "")
    (project / ".github/agents/spy.md").symlink_to(outside / "spy.md")
    result = run("init", "--json")
    assert [agent["name"] for agent in json.loads(result.output)["agents"]] == ["good"]


def test_show_tells_value_and_source(project: Path) -> None:
    (project / "interlock.yaml").write_text("limits:\n  per_minute: 3\n")
    lines = run("config", "show").output.splitlines()
    assert "limits.per_minute = 3  (interlock.yaml:2)" in lines
    assert "verbose = true  (environment development (built in))" in lines
    assert "--all" in lines[-1]
    rows = {row["key"]: row for row in json.loads(run("config", "show", "--json", "--env", "production").output)}
    assert rows["breaker.threshold"] == {
        "key": "breaker.threshold",
        "value": 2,
        "source": "environment production (built in)",
    }


def test_show_refuses_what_cannot_be_used(project: Path) -> None:
    (project / "interlock.yaml").write_text("limit: {}\n")
    result = run("config", "show")
    assert isinstance(result.exception, ConfigError)
    assert result.exception.exit_code == 2


def test_check_lists_everything_and_exits_with_2(project: Path) -> None:
    assert run("config", "check").exit_code == 0
    (project / "interlock.yaml").write_text("limit: {}\nverbos: true\n")
    result = run("config", "check")
    assert result.exit_code == 2
    assert "interlock.yaml:1" in result.output
    assert "interlock.yaml:2" in result.output
    plain = run("config", "check", "--json")
    assert plain.exit_code == 2
    assert [item["line"] for item in json.loads(plain.output)["problems"]] == [1, 2]


def test_another_file_can_be_named(project: Path) -> None:
    (project / "other.yaml").write_text("limits: {per_minute: 1}\n")
    result = run("config", "show", "--config", "other.yaml")
    assert "limits.per_minute = 1  (other.yaml:1)" in result.output


def test_the_schema_is_printed_as_json(project: Path) -> None:
    assert json.loads(run("config", "schema").output) == json_schema()
