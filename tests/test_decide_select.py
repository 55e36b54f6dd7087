"""Selection: the right agents for any catalogue, in any order, with reasons; and none when nobody suits."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.catalogue import load_catalogue, load_matrices
from interlock.decide import learn
from interlock.decide.plan import make_plan
from interlock.decide.select import select
from interlock.model.agent import AgentSpec
from interlock.model.choosing import Lesson, Memory
from interlock.model.plan import Task

DB, VIEW, SECURITY = "database-schema-agent", "analytics-visualization-agent", "security-authentication-agent"
TEAM = (
    AgentSpec(name="billing", description="Invoices, payments and refunds.", owns=("src/billing/**",), capabilities=("money",)),
    AgentSpec(name="search", description="Full-text search, ranking and autocomplete.", owns=("src/search/**", "**/*.idx")),
    AgentSpec(name="docs", keywords=("documentation", "tutorial"), owns=("docs/**",)),
    AgentSpec(name="testing", keywords=("unit test", "coverage"), owns=("tests/**",)),
    AgentSpec(name="ledger-helper", description="Invoices.", capabilities=("money",), fallback_only=True),
)  # fmt: skip
TASKS = {
    "Refund the customer who paid twice": ("billing",),
    "Rank exact matches first in the search results": ("search",),
    "Write a tutorial": ("docs",),
    "Raise the test coverage": ("testing",),
    "Rename src/search/rank.py": ("search",),
    "Fix the words index.idx": ("search",),
    "How often do we sign in with the wrong invoice number?": ("billing",),
    "Add unit tests": ("testing",),
}


@pytest.mark.parametrize(("task", "wanted"), TASKS.items())
def test_the_agents_that_know_the_words_or_own_the_files_are_chosen(task: str, wanted: tuple[str, ...]) -> None:
    selection = select(task, TEAM)
    assert set(selection.primary) == set(wanted)
    assert all(match.evidence for match in selection.matches if match.agent in wanted)


@given(st.permutations(TEAM), st.sampled_from(list(TASKS)))
def test_the_order_of_the_catalogue_is_irrelevant(team: list[AgentSpec], task: str) -> None:
    assert select(task, team) == select(task, TEAM)


@given(st.sampled_from(list(TASKS)), st.sampled_from(["Thanks a lot in advance.", "Have a nice weekend.", "It rains."]))
def test_an_irrelevant_sentence_does_not_change_the_choice(task: str, noise: str) -> None:
    assert select(f"{task}. {noise}", TEAM).primary == select(task, TEAM).primary


@pytest.mark.parametrize("task", ["Book a flight to Lisbon", "Bake bread for nine people", "", "?!", "the of and"])
def test_a_foreign_task_is_nobodys(task: str) -> None:
    selection = select(task, TEAM)
    assert selection.abstained
    assert selection.primary == ()
    assert selection.reason


def test_an_abstention_has_its_best_guesses() -> None:
    selection = select("Coverage of the wedding with documentation by candlelight, and flowers", TEAM[:1] + TEAM[3:])
    assert select("Bake a cake for the parade of the fire brigade", TEAM).matches == ()
    assert len(selection.matches) >= 1


def test_an_empty_catalogue_abstains() -> None:
    assert select("Anything", ()).abstained


def test_a_kind_of_work_that_an_agent_has_as_its_keyword_is_its_own_when_nobody_else_suits() -> None:
    fixer = AgentSpec(name="mender", keywords=("fix", "refactor"))
    team = (fixer, AgentSpec(name="docs", keywords=("documentation",)))
    assert select("Fix the pagination", team).primary == ("mender",)
    assert select("Fix the documentation", team).primary == ("docs",)
    assert not select("Pay the pagination", team).primary
    assert not select("Fix the pagination", (*team, replace(fixer, name="other"))).primary


def test_agents_that_only_replace_are_found_by_what_they_can_do_and_never_lead() -> None:
    selection = select("Refund the invoices", TEAM)
    assert selection.fallback == {"billing": ("ledger-helper",)}
    assert "ledger-helper" not in selection.primary


def test_declared_fallbacks_and_exclusions_are_kept() -> None:
    team = (
        AgentSpec(name="one", keywords=("alpha",), fallbacks=("three",), exclusions=("two",)),
        AgentSpec(name="two", keywords=("beta",)),
        AgentSpec(name="three", keywords=("gamma",)),
    )
    selection = select("alpha and beta", team)
    assert set(selection.primary) == {"one", "two"}
    assert selection.fallback["one"] == ("three",)
    assert selection.exclusions == (("one", "two"),)


def test_agents_that_the_submitter_insists_on_are_chosen_and_no_other() -> None:
    assert select("Refund the customer", TEAM, insist=("docs",)).primary == ("docs",)


def test_a_word_that_only_a_relative_knows_counts() -> None:
    team = (AgentSpec(name="gate", keywords=("authentication",)), AgentSpec(name="paint", keywords=("chart",)))
    assert select("People cannot sign in", team).primary == ("gate",)
    assert select("The histogram is empty", team).primary == ("paint",)


# --- learning


def lessons(agent: str, *subjects: str) -> Iterator[Lesson]:
    for number, subject in enumerate(subjects):
        yield Lesson(ref=f"{agent}{number}", agents=(agent,), subject=" ".join(learn.features(subject)))


def test_what_history_taught_is_known_without_the_catalogue_saying_it() -> None:
    taught = [f"tune the frobnicator {number}" for number in range(30)]
    memory = learn.teach(Memory(), [*lessons("search", *taught), *lessons("docs", *["explain the widgets"] * 30)])
    assert select("Tune the frobnicator", TEAM).abstained
    assert select("Tune the frobnicator", TEAM, memory=memory).primary == ("search",)
    assert learn.alike("Tune the frobnicator", memory, "search")[0].agents == ("search",)


def test_a_few_corrections_of_a_person_outweigh_the_catalogue() -> None:
    task = "Refund the frobnicated parcels"
    assert select(task, TEAM).primary == ("billing",)
    memory = Memory()
    for number in range(6):
        memory = learn.correct(memory, task, ["docs"], ref=f"correction:{number}")
    assert select(task, TEAM, memory=memory).primary[0] == "docs"
    assert len(memory.corrections) == 6


def test_an_empty_memory_changes_nothing() -> None:
    for task in TASKS:
        assert select(task, TEAM, memory=Memory()) == select(task, TEAM)


# --- the decision matrix of the original system (spec 5)

THREE = (
    AgentSpec(name=DB, keywords=("schema", "database")),
    AgentSpec(name=VIEW, keywords=("chart", "analytics")),
    AgentSpec(name=SECURITY, keywords=("auth", "permission")),
)


@pytest.mark.parametrize(
    ("task", "wanted"),
    [
        ("Add a database table for charts", {DB, VIEW}),
        ("Add a migration for user role data", {DB, SECURITY}),
        ("Add a chart from a database query", {DB, VIEW}),
        ("Create charts with role-based access", {VIEW, SECURITY}),
        ("Add login with a new database table", {DB, SECURITY}),
        ("Create a permission matrix for analytics", {SECURITY, VIEW}),
        ("Fix the permission check", {SECURITY}),
    ],
)
def test_the_matrix_adds_who_else_is_concerned(task: str, wanted: set[str]) -> None:
    assert set(select(task, THREE, matrix=load_matrices()).primary) == wanted


def test_an_emergency_goes_straight_to_security() -> None:
    selection = select("Critical security issue: charts of other teams in the database", THREE, matrix=load_matrices())
    assert selection.primary == (SECURITY,)
    assert selection.emergency


def test_a_matrix_is_silent_where_its_agents_are_not() -> None:
    assert select("Add a database table for charts", TEAM, matrix=load_matrices()).abstained


def phases_of(task: str, team: tuple[AgentSpec, ...], matrices: Any) -> list[set[str]]:
    selection = select(task, team, matrix=matrices)
    plan = make_plan(Task(text=task), selection, team, matrix=matrices)
    return [{one.agent for one in phase.assignments} for phase in plan.phases]


def test_the_users_examples_are_routed_as_the_original_says() -> None:
    data = Path(os.environ.get("INTERLOCK_DATA", Path(__file__).parents[2] / "shared" / "data"))
    if not (data / "gold_routing.json").exists():
        pytest.skip("the user's examples are not here: set INTERLOCK_DATA to the folder with gold_routing.json")
    team, matrices = load_catalogue(data / "agents.json"), load_matrices(data / "agents.json")
    three = tuple(spec for spec in team if spec.name in {DB, VIEW, SECURITY})
    right = {"own": 0, "others": 0}
    for row in json.loads((data / "gold_routing.json").read_text(encoding="utf-8"))["rows"]:
        own = "athletemetrics-orchestrator.md" in row["source"]
        found = phases_of(row["task"], three if own else team, matrices)
        right["own" if own else "others"] += found == [set(phase) for phase in row["expected_phases"]]
    assert right["own"] == 20
    assert right["others"] >= 7


def test_a_keyword_goes_before_kinship() -> None:
    team = (
        AgentSpec(
            name="delivery", description="Everything else.", keywords=("dependency", "pipeline", "setup", "lint")
        ),
        AgentSpec(name="changes", keywords=("release", "version", "bump", "upgrade", "package")),
    )
    assert select("Update the development dependencies", team).primary[0] == "delivery"
