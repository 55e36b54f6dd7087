"""Agents as teams define them are read as they mean them, or refused with file, line and a suggestion."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.catalogue import load_catalogue, load_matrices
from interlock.errors import ConfigError
from interlock.model.agent import OnFailure, Priority

DEFINITION = """---
name: schema-agent
description: Owns the data model.
tools: Read, Edit, Bash(git:*, npm test)
model: sonnet
color: purple
---
Work in `db/migrations/` only.
"""


def write(folder: Path, name: str, text: str) -> Path:
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")
    return file


def test_a_definition_with_front_matter_is_read_and_keys_of_other_tools_are_passed_over(tmp_path: Path) -> None:
    write(tmp_path, "schema.md", DEFINITION)
    (spec,) = load_catalogue(tmp_path)
    assert spec.name == "schema-agent"
    assert spec.tools == ("Read", "Edit", "Bash(git:*, npm test)")
    assert spec.model == "sonnet"
    assert spec.owns == ("db/migrations/",)
    assert "Work in" in spec.instructions
    assert spec.source.endswith("schema.md")


@pytest.mark.parametrize("tools", ["[Read, Edit]", "\n  - Read\n  - Edit", "Read, Edit"])
def test_tools_are_a_list_or_words_with_commas(tmp_path: Path, tools: str) -> None:
    write(tmp_path, "a.md", f"---\nname: a\ntools: {tools}\n---\n")
    assert load_catalogue(tmp_path)[0].tools == ("Read", "Edit")


def test_a_file_without_front_matter_is_no_agent_and_one_without_a_name_is_named_by_its_file(tmp_path: Path) -> None:
    write(tmp_path, "README.md", "# Our agents\n")
    write(tmp_path, "deep/helper.md", "---\ndescription: helps\n---\n")
    assert [spec.name for spec in load_catalogue(tmp_path)] == ["helper"]


def test_an_orchestrator_among_the_definitions_is_never_chosen_unless_the_project_says_so(tmp_path: Path) -> None:
    write(tmp_path, "team-orchestrator.md", "---\nname: team-orchestrator\ndescription: Draws charts.\n---\n")
    assert load_catalogue(tmp_path)[0].fallback_only
    assert not load_catalogue(tmp_path, {"team-orchestrator": {"fallback_only": False}})[0].fallback_only
    assert load_catalogue(None) == ()


def test_example_requests_and_keyword_lines_in_the_text_are_found(tmp_path: Path) -> None:
    description = (
        "Use this agent for charts. Examples: <example>Context: x. user: 'Draw the jumps' assistant: 'I will deploy it'"
        " <commentary>because</commentary></example>"
    )
    body = "**Keywords**: chart, `box plot`\n\nTriggers: histogram\n"
    write(tmp_path, "a.md", f"---\nname: a\ndescription: {description}\n---\n{body}")
    (spec,) = load_catalogue(tmp_path)
    assert spec.examples == ("Draw the jumps",)
    assert spec.keywords == ("chart", "box plot", "histogram")
    assert "deploy" not in spec.description
    assert spec.description.startswith("Use this agent for charts.")


def test_an_unquoted_colon_in_a_description_is_understood(tmp_path: Path) -> None:
    write(tmp_path, "a.md", "---\nname: a\ndescription: Use this agent: it does one thing: well\n---\n")
    assert load_catalogue(tmp_path)[0].description == "Use this agent: it does one thing: well"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("---\nname: a\n", "no end"),
        ("---\nname: [a\n---\n", "not YAML"),
        ("---\nname: [1, 2]\n---\n", "name must be text"),
        ("---\nname: ../etc/passwd\n---\n", "cannot name an agent"),
        ("---\nname: a\npriority: urgent\n---\n", "a.md:3"),
        ("---\nname: a\nmax_concurrent: many\n---\n", "whole number"),
        ("---\nname: a\ntimeout_s: 0\n---\n", "seconds above 0"),
        ("---\n- a\n- b\n---\n", "keys and values"),
    ],
)
def test_a_bad_definition_is_refused_with_its_file(tmp_path: Path, text: str, said: str) -> None:
    file = write(tmp_path, "a.md", text)
    with pytest.raises(ConfigError) as caught:
        load_catalogue(tmp_path)
    assert said in str(caught.value)
    assert caught.value.file == str(file)
    assert caught.value.exit_code == 2


def test_bytes_that_are_no_text_and_a_missing_folder_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_bytes(b"---\nname: \xff\xfe\n---\n")
    with pytest.raises(ConfigError, match="UTF-8"):
        load_catalogue(tmp_path)
    with pytest.raises(ConfigError, match="no such folder"):
        load_catalogue(tmp_path / "nowhere")


def test_two_definitions_of_one_name_are_refused(tmp_path: Path) -> None:
    write(tmp_path, "a.md", "---\nname: same\n---\n")
    write(tmp_path, "b.md", "---\nname: same\n---\n")
    with pytest.raises(ConfigError, match="two definitions of same"):
        load_catalogue(tmp_path)


def test_the_projects_settings_win_and_are_turned_into_their_types(tmp_path: Path) -> None:
    write(tmp_path, "a.md", "---\nname: a\nkeywords: [old]\n---\n")
    settings: dict[str, Any] = {
        "keywords": ["new"],
        "priority": "high",
        "timeout_s": 90,
        "max_concurrent": 0,
        "runner": {"kind": "command", "command": ["true"]},
        "validators": [{"name": "tests", "command": ["pytest"], "on_failure": "block"}],
        "rollback": [["undo", "it"]],
        "idempotent": True,
    }
    (spec,) = load_catalogue(tmp_path, {"a": settings})
    assert spec.keywords == ("new",)
    assert spec.priority is Priority.HIGH
    assert spec.timeout == timedelta(seconds=90)
    assert spec.max_concurrent == 0
    assert spec.runner is not None
    assert spec.runner.options == {"command": ["true"]}
    assert spec.validators[0].on_failure is OnFailure.BLOCK
    assert spec.rollback == (("undo", "it"),)
    assert spec.idempotent


def test_a_mistyped_setting_is_refused_because_a_limit_would_not_be_kept(tmp_path: Path) -> None:
    write(tmp_path, "a.md", "---\nname: a\n---\n")
    with pytest.raises(ConfigError, match='did you mean "max_concurrent"'):
        load_catalogue(tmp_path, {"a": {"max_concurent": 1}})


def test_settings_define_an_agent_only_when_they_say_what_it_is(tmp_path: Path) -> None:
    write(tmp_path, "a.md", "---\nname: painter\n---\n")
    extra: dict[str, dict[str, Any]] = {"stranger": {"max_concurrent": 1}, "own": {"runner": {"kind": "function"}}}
    assert [spec.name for spec in load_catalogue(tmp_path, extra)] == ["own", "painter"]
    with pytest.raises(ConfigError, match='did you mean "painter"'):
        load_catalogue(tmp_path, {"paintr": {"max_concurrent": 1}})


def test_a_described_team_in_json_or_yaml_is_a_catalogue(tmp_path: Path) -> None:
    team = {
        "agents": [
            {
                "name": "a",
                "keywords": ["chart"],
                "triggers": ["Charts in `web/charts/`"],
                "base_orchestrator": {"keywords": ["plot"]},
                "limits": {"max_concurrent": 2, "timeout_ms": 120000, "priority": "medium"},
            },
            {"name": "router", "kind": "meta"},
        ],
        "ordering": [{"before": "b", "after": "a", "basis": "because"}],
    }
    file = write(tmp_path, "agents.json", json.dumps(team))
    (spec,) = load_catalogue(file)
    assert load_catalogue(tmp_path) == (spec,)
    assert "chart" in spec.keywords
    assert "plot" in spec.instructions  # a router's words for its few agents say less about each of many
    assert spec.owns == ("web/charts/",)
    assert spec.timeout == timedelta(seconds=120)
    assert load_matrices(file)[-1].order == (("b", "a"),)
    write(tmp_path / "y", "agents.yaml", "a:\n  keywords: [chart]\nb:\n  keywords: [sql]\n")
    assert [spec.name for spec in load_catalogue(tmp_path / "y")] == ["a", "b"]


def test_broken_json_names_its_line(tmp_path: Path) -> None:
    file = write(tmp_path, "agents.json", '{"agents": [\n{"name": }\n]}')
    with pytest.raises(ConfigError) as caught:
        load_catalogue(file)
    assert caught.value.line == 2


def test_an_own_matrix_replaces_the_shipped_ones_and_a_mistyped_key_is_refused() -> None:
    (own,) = load_matrices(None, {"name": "ours", "agents": ["a"], "domains": [{"agent": "a", "words": ["x"]}]})
    assert own.name == "ours"
    with pytest.raises(ConfigError, match='did you mean "domains"'):
        load_matrices(None, {"domain": []})


@given(st.text(max_size=200))
def test_no_front_matter_whatever_breaks_anything_but_a_configuration_error(
    tmp_path_factory: pytest.TempPathFactory, text: str
) -> None:
    folder = tmp_path_factory.mktemp("agents")
    (folder / "a.md").write_text(f"---\n{text}\n---\nbody", encoding="utf-8", errors="replace")
    try:
        specs = load_catalogue(folder)
    except ConfigError:
        return
    assert len(specs) <= 1


@pytest.mark.parametrize("name", ["matrix.yaml", "agents.yaml"])
def test_a_folder_of_agents_carries_its_matrix_and_the_configuration_wins(tmp_path: Path, name: str) -> None:
    matrix = "name: ours\nagents: [one]\ndomains: [{agent: one, words: [gravel]}]\n"
    indented = "agents: [{name: one}]\nmatrix:\n  " + matrix.replace("\n", "\n  ")
    (tmp_path / name).write_text(matrix if name == "matrix.yaml" else indented, encoding="utf-8")
    assert [one.name for one in load_matrices(tmp_path)] == ["ours"]
    assert [one.name for one in load_matrices(tmp_path, {"name": "configured"})] == ["configured"]
    (tmp_path / name).write_text((tmp_path / name).read_text().replace("words:", "word:"), encoding="utf-8")
    with pytest.raises(ConfigError, match="did you mean"):
        load_matrices(tmp_path)


def test_a_matrix_beside_the_agents_is_no_agent(tmp_path: Path) -> None:
    (tmp_path / "agents.yaml").write_text("one: {description: Sweeps.}\nmatrix: {name: ours}\n", encoding="utf-8")
    assert [spec.name for spec in load_catalogue(tmp_path)] == ["one"]
