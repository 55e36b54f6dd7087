"""A plan has everybody once, nobody before what it needs, and never two at once that must not be."""

from __future__ import annotations

from itertools import combinations
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.catalogue import load_matrices
from interlock.decide.brief import BriefContext, parts, pieces
from interlock.decide.plan import make_plan
from interlock.decide.select import evidence, select
from interlock.errors import PlanError
from interlock.model.agent import AgentSpec, Priority
from interlock.model.plan import Plan, Selection, Task

NAMES = ("a", "b", "c", "d", "e", "f")
SCHEMA = AgentSpec(
    name="schema-agent", description="Owns tables and migrations", keywords=("table", "migration"), provides=("schema",),
    owns=("db/**",), priority=Priority.HIGH, tools=("Read", "Edit"),
)  # fmt: skip
CHARTS = AgentSpec(
    name="charts-agent",
    description="Draws charts",
    keywords=("chart", "colour"),
    needs=("schema",),
    owns=("web/charts/**",),
)
REVIEW = AgentSpec(
    name="review-agent", description="Checks permissions", keywords=("permission",), exclusions=("charts-agent",)
)
TEAM = (SCHEMA, CHARTS, REVIEW)
TASK = Task(text="Add a table for jumps. Draw a chart of them in web/charts/jump.tsx. Check the permissions.")


def plan(
    task: Task = TASK, names: tuple[str, ...] = ("charts-agent", "schema-agent", "review-agent"), **context: object
) -> Plan:
    return make_plan(task, Selection(primary=names), TEAM, context=BriefContext(**context))  # type: ignore[arg-type]


def shape(made: Plan) -> list[list[str]]:
    return [[one.agent for one in phase.assignments] for phase in made.phases]


def test_needs_make_the_order_and_exclusions_keep_apart() -> None:
    made = plan()
    assert shape(made) == [["schema-agent", "review-agent"], ["charts-agent"]]
    assert made.exclusions == (("charts-agent", "review-agent"),)
    charts = made.phases[1].assignments[0]
    assert charts.needs == ("schema-agent",)
    assert made.phases[0].assignments[0].priority is Priority.HIGH


edges = st.sets(st.tuples(st.sampled_from(NAMES), st.sampled_from(NAMES)).filter(lambda pair: pair[0] != pair[1]))


def teams(needs: set[tuple[str, str]], apart: set[tuple[str, str]]) -> tuple[AgentSpec, ...]:
    return tuple(
        AgentSpec(
            name=name,
            needs=tuple(sorted(before for before, after in needs if after == name)),
            exclusions=tuple(sorted(other for one, other in apart if one == name)),
        )
        for name in NAMES
    )


@given(edges, edges, st.permutations(NAMES), st.integers(min_value=1, max_value=6))
def test_everybody_once_nobody_before_its_needs_and_exclusions_never_overlap(
    needs: set[tuple[str, str]], apart: set[tuple[str, str]], order: list[str], count: int
) -> None:
    chosen = tuple(order[:count])
    acyclic = {(one, other) for one, other in needs if one < other}
    made = make_plan(Task(text="x"), Selection(primary=chosen), teams(acyclic, apart))
    place = {name: number for number, phase in enumerate(shape(made)) for name in phase}
    assert sorted(made.agents) == sorted(chosen)
    for before, after in acyclic:
        if before in place and after in place:
            assert place[before] < place[after]
    for phase in shape(made):
        for pair in combinations(phase, 2):
            assert pair not in apart
            assert pair[::-1] not in apart


@given(edges)
def test_a_circle_of_needs_is_said_and_never_planned(needs: set[tuple[str, str]]) -> None:
    try:
        made = make_plan(Task(text="x"), Selection(primary=NAMES), teams(needs, set()))
    except PlanError as error:
        assert "circle" in str(error)  # noqa: PT017 - either end is fine, and both are checked
        return
    place = {name: number for number, phase in enumerate(shape(made)) for name in phase}
    assert all(place[before] < place[after] for before, after in needs)


def test_the_circle_is_named() -> None:
    with pytest.raises(PlanError, match="a needs b needs a"):
        make_plan(Task(text="x"), Selection(primary=("a", "b")), teams({("a", "b"), ("b", "a")}, set()))


def test_an_unknown_agent_gets_a_suggestion() -> None:
    with pytest.raises(PlanError, match='did you mean "charts-agent"'):
        plan(names=("chart-agent",))


def test_an_abstention_is_no_plan_and_names_the_nearest() -> None:
    selection = select("Boil the eggs and lay the table for six", (*TEAM[:2], AgentSpec(name="x", keywords=("table",))))
    abstained = Selection(abstained=True, matches=selection.matches, reason="nobody knows eggs")
    with pytest.raises(PlanError, match=r"nobody knows eggs.*--agent"):
        make_plan(TASK, abstained, TEAM)


def test_an_emergency_is_critical_whoever_does_it() -> None:
    made = make_plan(TASK, Selection(primary=("charts-agent",), emergency=True), TEAM)
    assert made.phases[0].assignments[0].priority is Priority.CRITICAL
    low = make_plan(Task(text="x", priority=Priority.LOW), Selection(primary=("schema-agent",)), TEAM)
    assert low.phases[0].assignments[0].priority is Priority.LOW


def test_declared_needs_hold_whatever_the_matrix_says() -> None:
    names = ("database-schema-agent", "analytics-visualization-agent", "security-authentication-agent")
    team = (
        AgentSpec(name=names[0], needs=(names[1],)),
        AgentSpec(name=names[1]),
        AgentSpec(name=names[2]),
    )
    made = make_plan(Task(text="Implement a dashboard"), Selection(primary=names), team, matrix=load_matrices())
    place = {name: number for number, phase in enumerate(shape(made)) for name in phase}
    assert place[names[1]] < place[names[0]]


@pytest.mark.parametrize(
    ("verb", "phases"),
    [("Refactor", [{"d"}, {"s"}, {"v"}]), ("Implement", [{"d", "s"}, {"v"}]), ("Add", [{"d", "s", "v"}])],
)
def test_the_kind_of_work_decides_the_order_of_the_three_specialists(verb: str, phases: list[set[str]]) -> None:
    letters = {"database-schema-agent": "d", "security-authentication-agent": "s", "analytics-visualization-agent": "v"}
    team = (*(AgentSpec(name=name) for name in letters), AgentSpec(name="spare", fallback_only=True))
    text, matrices = f"{verb} the team dashboard with membership and database schema", load_matrices()
    made = make_plan(Task(text=text), select(text, team, matrix=matrices), team, matrix=matrices)
    assert [{letters[name] for name in phase} for phase in shape(made)] == phases


# --- what must not matter

THINGS = ("invoice", "chart", "migration", "tutorial", "lighthouse", "parser")
IRRELEVANT = (
    "Good morning everybody.",
    "Thanks a lot in advance.",
    "It rains in Bergen.",
    "Anna was on holiday last week.",
)
SPECIALISTS = tuple(
    AgentSpec(name=name, keywords=tuple(said.split()))
    for name, said in {
        "database-schema-agent": "schema database table migration",
        "analytics-visualization-agent": "chart analytics graph",
        "security-authentication-agent": "auth permission login",
    }.items()
)


def planned(text: str, team: tuple[AgentSpec, ...]) -> list[set[str]] | None:
    matrices = load_matrices()
    selection = select(text, team, matrix=matrices)
    if selection.abstained:
        return None
    return [set(phase) for phase in shape(make_plan(Task(text=text), selection, team, matrix=matrices))]


@given(
    st.dictionaries(st.sampled_from(NAMES), st.sets(st.sampled_from(THINGS), min_size=1), min_size=1),
    st.lists(st.sampled_from(THINGS), min_size=1, max_size=3),
    st.randoms(use_true_random=False),
)
def test_the_order_of_the_catalogue_is_irrelevant_for_the_whole_plan(
    known: dict[str, set[str]], wanted: list[str], dice: Random
) -> None:
    team = [AgentSpec(name=name, keywords=tuple(sorted(said))) for name, said in known.items()]
    mixed = list(team)
    dice.shuffle(mixed)
    task = Task(text=f"Improve the {' and the '.join(wanted)}")
    plans = [
        None if (selection := select(task.text, order)).abstained else make_plan(task, selection, order).digest
        for order in (team, mixed)
    ]
    assert plans[0] == plans[1]


@pytest.mark.parametrize(
    "task",
    [
        "Add a database table for charts of the permissions",
        "Refactor the schema behind the chart and the login",
        "Fix the login",
        "Chart the migrations",
    ],
)
@pytest.mark.parametrize("noise", IRRELEVANT)
@pytest.mark.parametrize("front", [True, False])
def test_an_irrelevant_sentence_does_not_change_the_plan_wherever_it_stands(
    task: str, noise: str, *, front: bool
) -> None:
    said = f"{noise} {task}." if front else f"{task}. {noise}"
    assert planned(said, SPECIALISTS) == planned(task, SPECIALISTS) != None  # noqa: E711 - compared in a chain


# --- prompts


def prompts(made: Plan) -> dict[str, str]:
    return {one.agent: one.prompt for phase in made.phases for one in phase.assignments}


def test_each_agent_gets_its_own_part_and_not_the_others() -> None:
    told = prompts(plan())
    assert len(set(told.values())) == len(told)
    schema = told["schema-agent"].split("Others do the rest")[0]
    assert "- Add a table for jumps\n" in schema
    assert "- Draw a chart" not in schema
    assert "- Draw a chart" in told["charts-agent"].split("Others do the rest")[0]


@pytest.mark.parametrize(
    ("text", "cut"),
    [
        ("Add a table. Draw a chart", ["Add a table", "Draw a chart"]),
        ("Add a table and draw a chart of it", ["Add a table", "draw a chart of it"]),
        ("Add a table, and have it reviewed", ["Add a table", "have it reviewed"]),
        ("Add a table for athletes and teams", ["Add a table for athletes and teams"]),
        ("Fix a.b and then update docs/x.md", ["Fix a.b", "update docs/x.md"]),
        ("Add a table\n- draw a chart\n- check it", ["Add a table", "- draw a chart", "- check it"]),
    ],
)
def test_a_task_is_cut_into_deeds_not_into_things(text: str, cut: list[str]) -> None:
    assert pieces(text) == cut


@given(st.lists(st.sampled_from(["Add a table", "draw a chart", "check a permission", "sing a song", "x"]), max_size=8))
def test_every_piece_of_a_task_is_somebodys_or_everybodys(said: list[str]) -> None:
    text = ". ".join(said)
    divided = parts(text, TEAM, lambda piece: evidence(piece, TEAM))
    given_out = {piece for part in divided.values() for piece in (*part.own, *part.common)}
    assert given_out == set(pieces(text))


def test_who_knows_no_word_of_the_task_is_told_whom_to_serve_and_gets_no_paste_of_it() -> None:
    told = prompts(plan(Task(text="Draw a chart in red")))
    own = told["schema-agent"].split("Others do the rest")[0].split("Your part", 1)[1]
    assert "what charts-agent needs from you first (schema)" in own
    assert "Draw" not in own


def test_a_prompt_tells_what_is_handed_over_whose_files_are_whose_and_the_limits() -> None:
    told = prompts(plan(environment="production", protected=("secrets/**",), notes=("No new dependencies.",)))
    assert "You get the results of: schema-agent (schema)" in told["charts-agent"]
    assert "your files: web/charts/jump.tsx" in told["charts-agent"]
    assert "not your files (they are schema-agent's): db/**" in told["charts-agent"]
    assert "After you come charts-agent" in told["schema-agent"]
    assert "at the same time works: review-agent" in told["schema-agent"]
    for prompt in told.values():
        assert "only people change: secrets/**" in prompt
        assert "No new dependencies." in prompt
        assert "environment: production" in prompt


def test_one_agent_alone_does_the_whole_task() -> None:
    told = prompts(plan(names=("schema-agent",)))["schema-agent"]
    assert "- the whole task" in told
    assert "Others" not in told


def test_the_same_input_gives_the_same_digest_and_a_changed_prompt_another() -> None:
    assert plan().digest == plan().digest
    assert plan().digest != plan(notes=("Be quick.",)).digest
