"""Results come together in one summary, and what does not fit together is said with advice."""

from __future__ import annotations

import pytest

from interlock.decide.coordinate import contradicts, coordinate
from interlock.model.agent import AgentResult
from interlock.model.plan import Assignment, Phase, Plan


def plan(*phases: tuple[tuple[str, tuple[str, ...]], ...]) -> Plan:
    return Plan(
        task="x",
        phases=tuple(
            Phase(assignments=tuple(Assignment(agent=name, prompt="", needs=needs) for name, needs in phase))
            for phase in phases
        ),
    )


A = AgentResult(
    summary="made the table",
    deliverables=("table jumps",),
    next_steps=("index it",),
    recommendations=("Keep the index",),
)
B = AgentResult(summary="drew it", deliverables=("chart", "table jumps"), blockers=("which colours?",))


def test_everything_is_in_one_summary_with_who_said_it_and_the_same_line_once() -> None:
    summary = coordinate({"b": B, "a": A}, {"a": ("x.sql",)}, plan=plan((("a", ()),), (("b", ("a",)),)))
    assert summary.deliverables == ("table jumps (a, b)", "chart (b)")
    assert summary.next_steps == ("index it (a)",)
    assert summary.blockers == ("which colours? (b)",)
    assert summary.recommendations == ("Keep the index (a)",)
    assert summary.text.splitlines()[0] == "a: made the table [1 file changed]"
    assert "A person is needed for b." in summary.text
    assert summary.conflicts == ()


def test_two_side_by_side_that_changed_one_file_are_a_conflict_with_advice() -> None:
    made = plan((("a", ()), ("b", ())))
    (conflict,) = coordinate({"a": A, "b": B}, {"a": ("f", "g"), "b": ("g", "h")}, plan=made).conflicts
    assert conflict.agents == ("a", "b")
    assert conflict.paths == ("g",)
    assert conflict.advice


def test_two_in_order_may_change_one_file_and_without_a_plan_nobody_is_in_order() -> None:
    changes = {"a": ("f",), "b": ("f",)}
    assert coordinate({"a": A, "b": B}, changes, plan=plan((("a", ()),), (("b", ("a",)),))).conflicts == ()
    assert len(coordinate({"a": A, "b": B}, changes).conflicts) == 1


def test_a_result_built_on_what_changed_afterwards_is_said() -> None:
    made = plan((("a", ()),), (("b", ("a",)),), (("c", ()),))
    results = {"a": A, "b": B, "c": AgentResult(summary="renamed")}
    (conflict,) = coordinate(
        results, {"a": ("schema.sql",), "b": ("chart.ts",), "c": ("schema.sql",)}, plan=made
    ).conflicts
    assert conflict.agents == ("b", "c")
    assert conflict.paths == ("schema.sql",)
    assert "run b again" in conflict.advice


@pytest.mark.parametrize(
    ("one", "other", "opposed"),
    [
        ("Add an index on the jumps table", "Remove the index on the jumps table", True),
        ("Enable caching of the team report", "Disable caching of the team report", True),
        ("Do not cache the team report", "Cache the team report", True),
        ("Add an index on the jumps table", "Add an index on the teams table", False),
        ("Add a chart", "Remove the index", False),
        ("Never remove the jumps index", "Keep the jumps index", False),
        ("Cache the team report", "Cache the team report", False),
    ],
)
def test_recommendations_that_say_the_opposite_of_one_thing_contradict(one: str, other: str, *, opposed: bool) -> None:
    assert contradicts(one, other) is opposed
    assert contradicts(other, one) is opposed


def test_a_contradiction_is_a_conflict_between_two_agents_and_not_within_one() -> None:
    first, second = "Add an index on jumps height", "Drop the index on jumps height"
    two = {"a": AgentResult(recommendations=(first,)), "b": AgentResult(recommendations=(second,))}
    assert [conflict.agents for conflict in coordinate(two, {}).conflicts] == [("a", "b")]
    assert coordinate({"a": AgentResult(recommendations=(first, second))}, {}).conflicts == ()


def test_nothing_is_summed_up_as_nothing() -> None:
    assert coordinate({}, {}).text == ""
