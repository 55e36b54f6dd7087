"""A plan as a picture: phases from top to bottom, agents side by side, lines for what one needs of another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from interlock.model.plan import Plan
from interlock.model.run import Attempt, AttemptState

_WIDTH, _HEIGHT, _GAP_X, _GAP_Y, _EDGE = 288, 54, 24, 44, 8
_LABEL = 33


@dataclass(frozen=True, kw_only=True, slots=True)
class Node:
    """One agent's place; ``state`` is a word of :class:`AttemptState`, ``failed`` or ``planned``."""

    agent: str
    label: str
    state: str
    x: int
    y: int
    width: int = _WIDTH
    height: int = _HEIGHT


@dataclass(frozen=True, kw_only=True, slots=True)
class Graph:
    """The whole picture; ``words`` says the same to those who do not see it."""

    nodes: tuple[Node, ...]
    lines: tuple[tuple[int, int, int, int], ...]
    width: int
    height: int
    words: str


def draw(plan: Plan, attempts: Sequence[Attempt] = ()) -> Graph:
    """The picture of a plan, and of how far it has come."""
    states = {each.assigned: state_of(each) for each in sorted(attempts, key=lambda each: each.number)}
    widest = max((len(phase.assignments) for phase in plan.phases), default=1)
    width = widest * _WIDTH + (widest - 1) * _GAP_X + 2 * _EDGE
    nodes: dict[str, Node] = {}
    for row, phase in enumerate(plan.phases):
        taken = len(phase.assignments) * _WIDTH + (len(phase.assignments) - 1) * _GAP_X
        for place, one in enumerate(phase.assignments):
            nodes[one.agent] = Node(
                agent=one.agent, label=_cut(one.agent), state=states.get(one.agent, "planned"),
                x=(width - taken) // 2 + place * (_WIDTH + _GAP_X), y=_EDGE + row * (_HEIGHT + _GAP_Y),
            )  # fmt: skip
    words = "; then ".join(
        ", ".join(f"{one.agent} ({nodes[one.agent].state})" for one in phase.assignments) for phase in plan.phases
    )
    height = len(plan.phases) * _HEIGHT + max(0, len(plan.phases) - 1) * _GAP_Y + 2 * _EDGE
    return Graph(nodes=tuple(nodes.values()), lines=_lines(plan, nodes), width=width, height=height, words=words)


def state_of(attempt: Attempt) -> str:
    """The attempt's state in one word, with ``failed`` and ``done`` for the two ways to end."""
    if attempt.state is AttemptState.ENDED:
        return "failed" if attempt.error else "done"
    return attempt.state.value


def _lines(plan: Plan, nodes: Mapping[str, Node]) -> tuple[tuple[int, int, int, int], ...]:
    found: list[tuple[int, int, int, int]] = []
    for before, phase in zip((None, *plan.phases), plan.phases, strict=False):
        for one in phase.assignments:
            to = nodes[one.agent]
            sources = [name for name in one.needs if name in nodes and name != one.agent]
            if not sources and before is not None:
                sources = [each.agent for each in before.assignments]
            found += [_line(nodes[name], to) for name in sources if nodes[name].y < to.y]
    return tuple(found)


def _line(source: Node, to: Node) -> tuple[int, int, int, int]:
    return (source.x + source.width // 2, source.y + source.height, to.x + to.width // 2, to.y)


def _cut(name: str) -> str:
    return name if len(name) <= _LABEL else f"{name[: _LABEL - 1]}…"
