"""Results come together in one summary, and what does not fit together is said with advice."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.decide.coordinate import contradicts, coordinate
from interlock.model.agent import AgentResult
from interlock.model.choosing import Change
from interlock.model.plan import Assignment, Phase, Plan
from interlock.reading.names import read_names


def plan(*phases: tuple[tuple[str, tuple[str, ...]], ...]) -> Plan:
    return Plan(
        task="x",
        phases=tuple(
            Phase(assignments=tuple(Assignment(agent=name, prompt="", needs=needs) for name, needs in phase))
            for phase in phases
        ),
    )


def change(*paths: str, diff: str = "") -> Change:
    return Change(paths=paths, names=read_names(diff))


A = AgentResult(
    summary="made the table",
    deliverables=("table jumps",),
    next_steps=("index it",),
    recommendations=("Keep the index",),
)
B = AgentResult(summary="drew it", deliverables=("chart", "table jumps"), blockers=("which colours?",))


def test_everything_is_in_one_summary_with_who_said_it_and_the_same_line_once() -> None:
    summary = coordinate({"b": B, "a": A}, {"a": change("x.sql")}, plan=plan((("a", ()),), (("b", ("a",)),)))
    assert summary.deliverables == ("table jumps (a, b)", "chart (b)")
    assert summary.next_steps == ("index it (a)",)
    assert summary.blockers == ("which colours? (b)",)
    assert summary.recommendations == ("Keep the index (a)",)
    assert summary.text.splitlines()[0] == "a: made the table [1 file changed]"
    assert "A person is needed for b." in summary.text
    assert summary.conflicts == ()


def test_two_side_by_side_that_changed_one_file_are_a_conflict_with_advice() -> None:
    made = plan((("a", ()), ("b", ())))
    (conflict,) = coordinate({"a": A, "b": B}, {"a": change("f", "g"), "b": change("g", "h")}, plan=made).conflicts
    assert conflict.agents == ("a", "b")
    assert conflict.paths == ("g",)
    assert conflict.advice


def test_two_in_order_may_change_one_file_and_without_a_plan_nobody_is_in_order() -> None:
    changes = {"a": change("f"), "b": change("f")}
    assert coordinate({"a": A, "b": B}, changes, plan=plan((("a", ()),), (("b", ("a",)),))).conflicts == ()
    assert len(coordinate({"a": A, "b": B}, changes).conflicts) == 1


def test_a_result_built_on_what_changed_afterwards_is_said() -> None:
    made = plan((("a", ()),), (("b", ("a",)),), (("c", ()),))
    results = {"a": A, "b": B, "c": AgentResult(summary="renamed")}
    (conflict,) = coordinate(
        results, {"a": change("schema.sql"), "b": change("chart.ts"), "c": change("schema.sql")}, plan=made
    ).conflicts
    assert conflict.agents == ("b", "c")
    assert conflict.paths == ("schema.sql",)
    assert "run b again" in conflict.advice


def patch(path: str, *lines: str, head: str = "") -> str:
    old, new = sum(line[0] != "+" for line in lines), sum(line[0] != "-" for line in lines)
    return "\n".join((f"--- a/{path}", f"+++ b/{path}", f"@@ -1,{old} +1,{new} @@ {head}", *lines, ""))


SIDE_BY_SIDE = plan((("a", ()), ("b", ())))


def test_two_that_changed_one_thing_are_told_apart_from_two_that_only_share_a_file() -> None:
    one = patch("f.py", "-    return 1", "+    return 2", head="def height(person):")
    two = patch("f.py", "-    return round(2)", "+    return 3", head="def height(person):")
    other = patch("f.py", "-    return 5", "+    return 6", head="def weight(person):")
    same = {"a": change("f.py", diff=one), "b": change("f.py", diff=two)}
    (conflict,) = coordinate({"a": A, "b": B}, same, plan=SIDE_BY_SIDE).conflicts
    assert "both changed f.py::height" in conflict.what
    apart = {"a": change("f.py", diff=one), "b": change("f.py", diff=other)}
    (conflict,) = coordinate({"a": A, "b": B}, apart, plan=SIDE_BY_SIDE).conflicts
    assert "in different places" in conflict.what


@pytest.mark.parametrize(
    ("takes", "uses"),
    [
        (patch("lib.py", "-def percentile_of(x):", "-    return x"), patch("app.py", "+print(percentile_of(3))")),
        (patch("lib.ts", "-export const BAND_COLOURS = []"), patch("app.ts", "+import { BAND_COLOURS } from './lib'")),
        (patch("4.sql", "+DROP VIEW jump_bands;"), patch("chart.py", '+    query = "SELECT * FROM jump_bands"')),
    ],
)
def test_who_uses_what_another_took_away_is_told_even_in_another_file(takes: str, uses: str) -> None:
    changes = {"a": change("x", diff=takes), "b": change("y", diff=uses)}
    for made in (SIDE_BY_SIDE, plan((("a", ()),), (("b", ("a",)),)), plan((("b", ()),), (("a", ()),))):
        (conflict,) = coordinate({"a": A, "b": B}, changes, plan=made).conflicts
        assert conflict.agents == ("b", "a")
        assert "which a has removed" in conflict.what
        assert conflict.advice


def test_a_name_that_was_moved_or_only_stands_in_prose_is_not_missed() -> None:
    moved = patch("lib.py", "-def render(x):", "+", "+def render(x):")
    assert (
        coordinate({}, {"a": change("x", diff=moved), "b": change("y", diff=patch("b.py", "+render(1)"))}).conflicts
        == ()
    )
    gone = patch("lib.py", "-def render(x):")
    prose = patch("README.md", "+We render the page.")
    assert coordinate({}, {"a": change("x", diff=gone), "b": change("y", diff=prose)}).conflicts == ()
    again = patch("new.py", "+def render(x):", "+    return x")
    three = {
        "a": change("x", diff=gone),
        "b": change("y", diff=patch("b.py", "+render(1)")),
        "c": change("z", diff=again),
    }
    assert coordinate({}, three).conflicts == ()


@given(
    st.text(),
    st.lists(st.sampled_from(["@@ -1 +1 @@", "+def x", "-", "+++ b/f", "--- a/f", "@@ -0,0 +1,99999999999 @@"])),
)
def test_names_of_any_text_are_few_and_never_an_error(text: str, lines: list[str]) -> None:
    names = read_names("\n".join([*lines, text, *lines]))
    assert len(names.used) <= 400


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
