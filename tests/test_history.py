"""History teaches: commits through `owns` are labelled examples, read safely, incrementally, from real repositories."""

from __future__ import annotations

import os
import subprocess
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from interlock.decide import learn as lessons
from interlock.decide.select import select
from interlock.errors import ConfigError, UsageError
from interlock.history import MEMORY_FILE, learn, learn_outcomes, load_memory, save_memory
from interlock.model.agent import AgentResult, AgentSpec
from interlock.model.choosing import Memory
from interlock.model.plan import Task
from interlock.model.run import Outcome, OutcomeKind, Run

TEAM = (
    AgentSpec(name="api", owns=("src/**",)),
    AgentSpec(name="charts", owns=("src/charts/**",)),
    AgentSpec(name="docs", owns=("docs/**", "*.md")),
)


class Repository:
    """A real repository."""

    def __init__(self, place: Path) -> None:
        self.place = place
        place.mkdir()
        self.git("init", "-q", "-b", "main")

    def git(self, *args: str) -> None:
        environment = {**os.environ, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
        who = ("-c", "user.name=Somebody", "-c", "user.email=somebody@example.org", "-c", "commit.gpgsign=false")
        subprocess.run(["git", *who, *args], cwd=self.place, check=True, capture_output=True, env=environment)

    def commit(self, subject: str, *paths: str) -> None:
        for path in paths:
            file = self.place / path
            file.parent.mkdir(parents=True, exist_ok=True)
            with file.open("a", encoding="utf-8") as out:
                out.write(subject + "\n")
        self.git("add", "-A")
        self.git("commit", "-q", "--allow-empty", "-m", subject)


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    made = Repository(tmp_path / "repo")
    made.commit("feat: draw the whiskers", "src/charts/box.ts")
    made.commit("Route the orders", "src/routes/orders.py")
    made.commit("Whiskers and orders explained", "docs/whiskers.md", "src/charts/box.ts")
    made.commit("Nobody's file", "Makefile")
    return made


def test_commits_teach_through_the_most_particular_owner(repository: Repository) -> None:
    memory = learn(repository.place, TEAM)
    assert memory.total == 3
    assert memory.lessons == {"charts": 2, "api": 1, "docs": 1}
    assert memory.counts["charts"]["whisker"] == 2
    assert "whisker" not in memory.counts["api"]
    assert len(memory.head) == 40


def test_learning_goes_on_where_it_stopped_and_gives_the_same_as_at_once(repository: Repository) -> None:
    first = learn(repository.place, TEAM)
    assert learn(repository.place, TEAM, first) == first
    repository.commit("Sort the orders", "src/routes/orders.py")
    on = learn(repository.place, TEAM, first)
    assert on == learn(repository.place, TEAM)
    assert on.total == first.total + 1
    assert on.recent[0].subject == "sort order rout"  # the last word is its folder's


def test_other_owners_or_a_rewritten_history_are_read_afresh(repository: Repository) -> None:
    first = learn(repository.place, TEAM)
    moved = (*TEAM[:1], replace(TEAM[1], owns=("web/**",)), TEAM[2])
    assert learn(repository.place, moved, first) == learn(repository.place, moved)
    gone = replace(first, head="0" * 40)
    assert learn(repository.place, TEAM, gone) == first


def test_corrections_survive_a_fresh_reading(repository: Repository) -> None:
    corrected = lessons.correct(learn(repository.place, TEAM), "Whiskers", ["api"], ref="correction:1")
    again = learn(repository.place, TEAM, replace(corrected, head=""))
    assert [lesson.ref for lesson in again.corrections] == ["correction:1"]
    assert again.counts["api"]["whisker"] == lessons.CORRECTION_WEIGHT
    assert again.total == corrected.total


def ended(task: str, *changed: str, kind: OutcomeKind = OutcomeKind.SUCCEEDED, by: str = "api") -> Run:
    outcome = Outcome(kind=kind, results={by: AgentResult(summary="done")}, changed=changed)
    at = datetime(2026, 1, 1, tzinfo=UTC)
    return Run(id=f"run_{task[:4]}", task=Task(text=task), environment="development", outcome=outcome, submitted_at=at)


def test_a_run_that_succeeded_teaches_once_whose_its_files_are(repository: Repository) -> None:
    runs = [ended("Frobnicate the axes", "src/charts/axis.ts"), ended("Greet the people", by="docs")]
    memory = learn_outcomes(Memory(), runs, TEAM)
    assert [(lesson.ref, lesson.agents) for lesson in memory.outcomes] == [
        ("run_Frob", ("charts",)),
        ("run_Gree", ("docs",)),
    ]
    assert learn_outcomes(memory, runs, TEAM) == memory
    assert lessons.alike("Frobnicate it", memory, "charts")[0].ref == "run_Frob"
    assert learn(repository.place, TEAM, memory).outcomes == memory.outcomes


@pytest.mark.parametrize("kind", [kind for kind in OutcomeKind if kind is not OutcomeKind.SUCCEEDED])
def test_a_run_that_did_not_succeed_teaches_nothing(kind: OutcomeKind) -> None:
    assert learn_outcomes(Memory(), [ended("Frobnicate the axes", "src/charts/axis.ts", kind=kind)], TEAM) == Memory()


def test_a_commit_of_everything_a_merge_and_a_revert_teach_nothing(repository: Repository) -> None:
    before = learn(repository.place, TEAM).total
    repository.commit("Format everything", *(f"src/f{number}.py" for number in range(80)))
    repository.commit('Revert "Route the orders"', "src/routes/orders.py")
    repository.git("checkout", "-q", "-b", "side")
    repository.commit("Side whiskers", "src/charts/side.ts")
    repository.git("checkout", "-q", "main")
    repository.git("merge", "-q", "--no-ff", "-m", "Merge the docs", "side")
    memory = learn(repository.place, TEAM)
    assert memory.total == before + 1
    assert "merg" not in memory.counts["*"]


def test_odd_file_names_and_subjects_are_only_data(repository: Repository) -> None:
    repository.commit("$(touch pwned) `id` --output=x \x1b[31m", "docs/sp ace\té.md")
    memory = learn(repository.place, TEAM)
    assert memory.lessons["docs"] == 2
    assert not (repository.place / "pwned").exists()


def test_programs_that_a_hostile_repository_configures_do_not_run(repository: Repository, tmp_path: Path) -> None:
    trap = tmp_path / "trap.sh"
    trap.write_text(f"#!/bin/sh\ntouch {tmp_path}/sprung\n", encoding="utf-8")
    trap.chmod(0o755)
    for key in ("core.fsmonitor", "core.pager", "gpg.program", "diff.external", "core.sshCommand", "pager.log"):
        repository.git("config", key, str(trap))
    repository.git("config", "log.showSignature", "true")
    repository.git("config", "diff.evil.textconv", str(trap))
    (repository.place / ".gitattributes").write_text("* diff=evil\n", encoding="utf-8")
    assert learn(repository.place, TEAM).total == 3
    assert not (tmp_path / "sprung").exists()


def test_what_was_learned_chooses_and_names_the_past_task(repository: Repository) -> None:
    for number in range(20):
        repository.commit(f"Tune the frobnicator {number}", "src/charts/box.ts")
        repository.commit(f"Polish the gizmo {number}", "docs/gizmo.md")
    memory = learn(repository.place, TEAM)
    assert select("Repaint the frobnicator", TEAM, memory=memory).primary == ("charts",)
    assert lessons.alike("Repaint the frobnicator", memory, "charts")[0].ref in {one.ref for one in memory.recent}


def test_a_memory_is_written_and_read_back_the_same(repository: Repository, tmp_path: Path) -> None:
    memory = learn(repository.place, TEAM)
    file = tmp_path / MEMORY_FILE
    assert load_memory(file) is None
    save_memory(file, memory)
    assert load_memory(file) == memory
    first = file.read_bytes()
    save_memory(file, memory)
    assert file.read_bytes() == first
    assert [path.name for path in tmp_path.glob(".interlock-memory*")] == [MEMORY_FILE]


@pytest.mark.parametrize("text", ["", "{", '{"total": "many"}', "[]", '{"counts": 3}'])
def test_a_broken_memory_is_said_not_guessed(tmp_path: Path, text: str) -> None:
    file = tmp_path / MEMORY_FILE
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match="learn again"):
        load_memory(file)


def test_no_owners_no_commits_and_no_repository_are_said(tmp_path: Path, repository: Repository) -> None:
    with pytest.raises(UsageError, match="owns"):
        learn(repository.place, (AgentSpec(name="a"),))
    empty = Repository(tmp_path / "empty")
    with pytest.raises(UsageError, match="no commits"):
        learn(empty.place, TEAM)
    (tmp_path / "plain").mkdir()
    with pytest.raises(UsageError):
        learn(tmp_path / "plain", TEAM)
    assert Memory().total == 0
