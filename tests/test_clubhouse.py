"""The example project is a real one: its tests pass, and its agents do what their tasks ask, through the gate."""

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from gate_stub import GateStub, a_job
from interlock.errors import RunnerError
from interlock.model.agent import AgentResult
from interlock.runners.command import CommandRunner

EXAMPLE = Path(__file__).parents[1] / "examples" / "clubhouse"
TASKS = {path.stem: yaml.safe_load(path.read_text(encoding="utf-8")) for path in EXAMPLE.glob("tasks/*.yaml")}
SETTINGS = yaml.safe_load((EXAMPLE / "interlock.yaml").read_text(encoding="utf-8"))
NOT_COPIED = shutil.ignore_patterns("var", "__pycache__", ".interlock")


@dataclass(frozen=True)
class Club:
    project: Path
    workspace: Path

    @property
    def live(self) -> Path:
        return self.project / "var" / "club.db"

    def run(
        self, agent: str, task: str, gate: GateStub | None = None, handed_over: Mapping[str, AgentResult] | None = None
    ) -> AgentResult:
        options = {key: value for key, value in SETTINGS["agents"][agent]["runner"].items() if key != "kind"}
        return self.run_program(options, agent, task, gate, handed_over)

    def run_program(
        self,
        options: Mapping[str, Any],
        agent: str,
        task: str,
        gate: GateStub | None = None,
        handed_over: Mapping[str, AgentResult] | None = None,
    ) -> AgentResult:
        job = a_job(self.workspace, project=self.project, task=task, agent=agent, handed_over=handed_over)
        return asyncio.run(CommandRunner(options).run(job, gate or GateStub()))

    def failure(self, agent: str, task: str, gate: GateStub | None = None) -> RunnerError:
        with pytest.raises(RunnerError) as caught:
            self.run(agent, task, gate)
        return caught.value

    def command(self, *words: str) -> subprocess.CompletedProcess[str]:
        places = {"{python}": sys.executable, "{project}": str(self.project)}
        argv = [
            word.replace("{python}", places["{python}"]).replace("{project}", places["{project}"]) for word in words
        ]
        env = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
        return subprocess.run(argv, cwd=self.workspace, capture_output=True, text=True, check=False, env=env)

    def dump(self) -> list[str]:
        with closing(sqlite3.connect(self.live)) as connection:
            return list(connection.iterdump())

    def changes(self) -> set[str]:
        """Paths of the workspace that differ from the project."""
        found = {path.relative_to(self.workspace) for path in self.workspace.rglob("*") if path.is_file()}
        return {
            str(path)
            for path in found
            if not (self.project / path).is_file()
            or (self.project / path).read_bytes() != (self.workspace / path).read_bytes()
        }


@pytest.fixture(scope="module")
def seeded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    project = tmp_path_factory.mktemp("club") / "project"
    shutil.copytree(EXAMPLE, project, ignore=NOT_COPIED)
    subprocess.run([sys.executable, "-B", "-m", "clubhouse.seed"], cwd=project, check=True, capture_output=True)
    return project


@pytest.fixture
def club(seeded: Path, tmp_path: Path) -> Iterator[Club]:
    shutil.copytree(seeded, tmp_path / "project")
    shutil.copytree(seeded, tmp_path / "work", ignore=NOT_COPIED)
    before = {path: path.read_bytes() for path in (tmp_path / "project").rglob("*") if path.is_file()}
    yield Club(project=tmp_path / "project", workspace=tmp_path / "work")
    for path, content in before.items():
        assert path.parent.name == "var" or path.read_bytes() == content, f"an agent has changed {path}"


SCHEMA, ANALYTICS = "database-schema-agent", "analytics-visualization-agent"
SECURITY, FALLBACK = "security-authentication-agent", "chart-fallback-agent"


def test_the_examples_own_tests_pass(club: Club) -> None:
    done = club.command("{python}", "-m", "unittest", "discover", "-s", "tests")
    assert done.returncode == 0, done.stderr


def test_every_agent_is_defined_as_teams_define_them_and_has_a_program() -> None:
    for name, settings in SETTINGS["agents"].items():
        _, front, body = (EXAMPLE / f".claude/agents/{name}.md").read_text(encoding="utf-8").split("---\n", 2)
        definition = yaml.safe_load(front)
        assert definition["name"] == name
        assert {"description", "tools", "model"} <= set(definition)
        assert body.strip()
        program = settings["runner"]["command"][1].removeprefix("{project}/")
        assert (EXAMPLE / program).is_file()
        assert set(settings.get("fallbacks", ())) <= set(SETTINGS["agents"])


def test_there_is_a_task_for_every_ending() -> None:
    assert {"success", "blocked", "confirmed", "fallback", "rollback", "escalated"} <= set(TASKS)
    for task in TASKS.values():
        assert {"text", "expected", "agents", "leaves", "why"} <= set(task) <= {
            "text", "expected", "agents", "leaves", "why", "approve", "prepare", "after",
        }  # fmt: skip
        assert set(task["agents"]) <= set(SETTINGS["agents"])


def test_three_agents_do_the_main_task_each_with_the_results_of_those_before(club: Club) -> None:
    text, gate = TASKS["success"]["text"], GateStub()
    schema = club.run(SCHEMA, text, gate)
    analytics = club.run(ANALYTICS, text, gate, {SCHEMA: schema})
    security = club.run(SECURITY, text, gate, {SCHEMA: schema, ANALYTICS: analytics})
    assert club.changes() == {*TASKS["success"]["leaves"], "clubhouse/panels/order.txt"}
    assert "the same in percentile_bands" in analytics.deliverables[1]
    assert "Sprint women" in analytics.summary
    assert analytics.artefacts == ("reports/percentiles-vertical_jump.svg",)
    assert "no secret" in security.summary
    for name in (SCHEMA, ANALYTICS):
        for validator in SETTINGS["agents"][name]["validators"]:
            done = club.command(*validator["command"])
            assert done.returncode == 0, done.stderr + done.stdout


def test_the_schema_agent_changes_the_live_database_only_as_the_gate_was_told_and_can_undo_it(club: Club) -> None:
    before, gate = club.dump(), GateStub()
    club.run(SCHEMA, TASKS["success"]["text"], gate)
    assert gate.tools == ["edit", "backup", "sql"]
    _, args = gate.asked[-1]
    assert args["database"] == str(club.live)
    assert args["query"] in (club.workspace / "migrations/003_percentile_bands.sql").read_text(encoding="utf-8")
    assert club.dump() != before
    shutil.rmtree(club.workspace)  # what undoes it does not need the workspace any more
    club.workspace.mkdir()
    undo = gate.compensations[-1]
    assert undo is not None
    done = club.command(*undo.command)
    assert (done.returncode, done.stdout) == (0, "the migration was taken back\n"), done.stderr
    assert club.command(*undo.validate).returncode == 0
    assert club.dump() == before


@pytest.mark.parametrize("refused", ["edit", "backup", "sql"])
def test_refused_at_any_step_the_schema_agent_leaves_the_live_database_alone(club: Club, refused: str) -> None:
    before = club.dump()
    gate = GateStub(lambda tool, _: "not today" if tool == refused else "")
    assert club.failure(SCHEMA, TASKS["success"]["text"], gate).kind == "blocked"
    assert club.dump() == before


def test_a_drop_is_asked_for_in_plain_sql_so_that_a_policy_can_see_it(club: Club) -> None:
    before = club.dump()
    gate = GateStub(lambda tool, args: "DROP TABLE" if tool == "sql" and "DROP TABLE" in args["query"] else "")
    assert club.failure(SCHEMA, TASKS["blocked"]["text"], gate).kind == "blocked"
    assert gate.asked[-1][1]["query"] == "DROP TABLE measurements;"
    assert club.dump() == before


def test_the_confirmed_task_adds_its_column_and_can_take_it_back(club: Club) -> None:
    before, gate = club.dump(), GateStub()
    club.run(SCHEMA, TASKS["confirmed"]["text"], gate)
    assert "dominant_foot" in "".join(club.dump())
    undo = gate.compensations[-1]
    assert undo is not None
    assert "taken back" in club.command(*undo.command).stdout
    assert club.dump() == before


def test_what_cannot_be_drawn_is_said_and_the_fallback_shows_a_table(club: Club) -> None:
    text = TASKS["fallback"]["text"]
    error = club.failure(ANALYTICS, text)
    assert (error.kind, str(error)) == (
        "rendering_failure",
        "there are no measurements of standing reach: nothing to draw",
    )
    assert club.changes() == set()
    result = club.run(FALLBACK, text)
    assert club.changes() == {*TASKS["fallback"]["leaves"], "clubhouse/panels/order.txt"}
    assert "Volleyball women" in result.blockers[0]


def validated(club: Club) -> list[str]:
    """What the validators of the schema agent say; empty when they pass."""
    done = [club.command(*one["command"]) for one in SETTINGS["agents"][SCHEMA]["validators"]]
    return [one.stdout for one in done if one.returncode]


def test_a_bad_migration_is_found_by_the_validator_and_undone_by_the_backup(club: Club) -> None:
    before, gate = club.dump(), GateStub()
    club.run(SCHEMA, TASKS["rollback"]["text"], gate)
    assert validated(club) == ["1 rows of coaches point to teams that do not exist\n"]
    undo = gate.compensations[-1]
    assert undo is not None
    done = club.command(*undo.command)
    assert (done.returncode, done.stdout) == (0, "the backup was restored\n"), done.stderr
    assert club.command(*undo.validate).returncode == 0
    assert club.dump() == before


def test_with_all_columns_named_the_same_migration_is_sound(club: Club) -> None:
    club.run(SCHEMA, TASKS["rollback"]["text"].replace("athletes.team_id", "athletes.team_id, coaches.team_id"))
    assert validated(club) == []


def test_an_unreadable_backup_makes_the_undo_fail_and_changes_nothing_more(club: Club) -> None:
    for words in TASKS["escalated"]["prepare"]:
        argv = [word.replace("{python}", sys.executable) for word in words]
        subprocess.run(argv, cwd=club.project, check=True, capture_output=True)
    gate = GateStub()
    club.run(SCHEMA, TASKS["escalated"]["text"], gate)
    assert validated(club)
    after, undo = club.dump(), gate.compensations[-1]
    assert undo is not None
    done = club.command(*undo.command)
    assert done.returncode == 1
    assert "malformed" in done.stderr
    assert club.command(*undo.validate).returncode == 1
    assert club.dump() == after


@pytest.mark.parametrize(
    ("task", "kind"),
    [
        (TASKS["asked_back"]["text"], "schema_conflict"),
        ("Add a column.\nparams:\n  add_column: athletes.x; DROP TABLE teams TEXT", "schema_conflict"),
        ("Add a column.\nparams:\n  add_column: absent.x TEXT", "schema_conflict"),
        ("Merge.\nparams:\n  merge: 5\n  into: 1\n  also: athletes.team_id = 1; --", "schema_conflict"),
        ("Write a poem about the database.", "unknown"),
    ],
)
def test_what_the_schema_agent_does_not_understand_changes_nothing(club: Club, task: str, kind: str) -> None:
    before = club.dump()
    assert club.failure(SCHEMA, task).kind == kind
    assert club.dump() == before


@pytest.mark.parametrize(
    ("agent", "task"),
    [
        (SCHEMA, TASKS["fallback"]["text"]),
        (ANALYTICS, TASKS["confirmed"]["text"]),
        (FALLBACK, TASKS["rollback"]["text"]),
    ],
)
def test_an_agent_that_has_nothing_to_do_says_so(club: Club, agent: str, task: str) -> None:
    before = club.dump()
    assert "stays as it is" in club.run(agent, task).summary
    assert club.changes() == set()
    assert club.dump() == before


def test_a_chart_of_nothing_in_particular_is_a_question(club: Club) -> None:
    error = club.failure(ANALYTICS, "Put a nice chart on the dashboard.")
    assert error.kind == "unknown"
    assert "which one is meant" in str(error)


def test_the_schema_agent_does_not_apply_a_migration_twice(club: Club) -> None:
    club.run(SCHEMA, TASKS["success"]["text"])
    (club.workspace / "migrations/003_percentile_bands.sql").unlink()
    error = club.failure(SCHEMA, TASKS["success"]["text"])
    assert error.kind == "schema_conflict"
    assert "version 3" in str(error)


@pytest.mark.parametrize(
    ("file", "line", "says"),
    [
        ("clubhouse/web.py", '@route("/all")\ndef everything(connection, rest): return ""\n', "names no roles"),
        ("clubhouse/web.py", '@route("/all", roles=None)\ndef everything(c, r): return ""\n', "names no roles"),
        ("clubhouse/find.py", "def f(c, n): c.execute(f\"SELECT * FROM athletes WHERE name = '{n}'\")\n", "SQL is put"),
        ("clubhouse/find.py", 'def f(c, n): c.execute("SELECT * FROM athletes WHERE name = " + n)\n', "SQL is put"),
        ("clubhouse/find.py", "def f(n): return eval(n)\n", "eval runs"),
        ("settings.ini", "key = AKIA" + "ABCDEFGH" * 2 + "\n", "access key"),
        ("clubhouse/mail.py", "pass" + 'word = "correct horse battery"\n', "secret in plain text"),
        ("clubhouse/broken.py", "def (:\n", "cannot be read"),
    ],
)
def test_the_review_finds_what_a_change_should_not_bring(club: Club, file: str, line: str, says: str) -> None:
    with (club.workspace / file).open("a", encoding="utf-8") as changed:
        changed.write(line.replace("correct horse", "correct-horse").replace(" battery", "-battery"))
    error = club.failure(SECURITY, "Have it reviewed.")
    assert error.kind == "security_violation"
    assert says in str(error)
    assert file in str(error)
    assert says in (club.workspace / "reports/security-review.md").read_text(encoding="utf-8")


def rogue(club: Club, gate: GateStub) -> AgentResult:
    return club.run_program({"command": ["{python}", "{project}/agents/rogue.py"]}, "rogue", "do as you like", gate)


def test_the_rogue_is_told_no_each_time_the_gate_says_no(club: Club) -> None:
    before = club.dump()
    result = rogue(club, GateStub(lambda *_: "no"))
    assert len(result.deliverables) == 9
    assert result.blockers == (
        "write outside of the workspace: WENT THROUGH: a file of the project was written, past the workspace",
    )
    assert club.changes() == set()
    assert club.dump() == before


def test_even_where_everything_is_allowed_the_rogue_only_demonstrates(club: Club) -> None:
    before = club.dump()
    result = rogue(club, GateStub())
    assert len(result.blockers) == 10
    assert club.changes() == {"settings.ini", ".github/workflows/ci.yml"}
    assert club.dump() == before
