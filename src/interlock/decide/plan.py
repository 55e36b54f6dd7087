"""From chosen agents to a plan: who runs when. What each is told is in :mod:`interlock.decide.brief`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from interlock.decide import matrix as matrices
from interlock.decide.brief import BriefContext, brief, in_one_line, meets, parts
from interlock.decide.select import evidence
from interlock.decide.select import exclusions as exclusions_among
from interlock.errors import PlanError, did_you_mean
from interlock.model.agent import AgentSpec, Priority
from interlock.model.choosing import Matrix
from interlock.model.plan import Assignment, Phase, Plan, Selection, Task

_NAMED = 5
"""So many agents are named when nobody suits."""


def make_plan(
    task: Task,
    selection: Selection,
    catalogue: Sequence[AgentSpec],
    *,
    matrix: Matrix | Sequence[Matrix] | None = None,
    context: BriefContext | None = None,
) -> Plan:
    """The plan for ``task`` by the agents of ``selection``.

    Needs and exclusions of the catalogue are kept whatever the matrix says; the matrix orders what they leave open.

    Raises:
        PlanError: when the selection abstained, an agent is unknown, or needs go round in a circle.
    """
    by_name = {spec.name: spec for spec in catalogue}
    chosen = _known(selection, by_name)
    order = before_pairs(task.text, chosen, catalogue, matrix)
    apart = {frozenset(pair) for pair in (*selection.exclusions, *exclusions_among([by_name[name] for name in chosen]))}
    phases = phases_of(chosen, order, apart)
    context = context or BriefContext()
    team = [by_name[name] for name in chosen]
    divided = parts(task.text, team, lambda piece: evidence(piece, catalogue))
    place = {name: number for number, phase in enumerate(phases) for name in phase}
    assigned = []
    for phase in phases:
        line = []
        for name in phase:
            needs = tuple(other for other in chosen if (other, name) in order and place[other] < place[name])
            line.append(
                Assignment(
                    agent=name,
                    prompt=brief(task, by_name[name], team, needs, phases, divided, context),
                    part=in_one_line(divided[name], by_name[name]) if len(team) > 1 else "the whole task",
                    needs=needs,
                    fallbacks=tuple(selection.fallback.get(name, by_name[name].fallbacks)),
                    priority=_priority(task, selection, by_name[name]),
                )
            )
        assigned.append(Phase(assignments=tuple(line)))
    pairs = tuple(sorted((first, second) for first, second in (sorted(pair) for pair in apart)))
    involved = [name for line in assigned for each in line.assignments for name in (each.agent, *each.fallbacks)]
    definitions = {name: by_name[name].digest for name in involved if name in by_name}
    return Plan(task=task.text, phases=tuple(assigned), exclusions=pairs, definitions=definitions)


def _known(selection: Selection, by_name: Mapping[str, AgentSpec]) -> tuple[str, ...]:
    if not selection.primary:
        guesses = [match.agent for match in selection.matches[:2]]
        nearest = f"; the nearest are {' and '.join(guesses)}" if guesses else ""
        raise PlanError(f"nobody to do it: {selection.reason or 'no agent suits'}{nearest}; {how_somebody(by_name)}")
    for name in selection.primary:
        if name not in by_name:
            hint = did_you_mean(name, by_name) or f"known are {', '.join(sorted(by_name)) or 'none'}"
            raise PlanError(f"there is no agent {name!r} in the catalogue: {hint}")
    return tuple(dict.fromkeys(selection.primary))


def how_somebody(names: Iterable[str]) -> str:
    """What to do when nobody suits, for the catalogue of these names."""
    known = sorted(names)
    if not known:
        return "define one under agents: in interlock.yaml, which `interlock init` writes with an example"
    more = ", …" if len(known) > _NAMED else ""
    return f"name the agents with --agent ({', '.join(known[:_NAMED])}{more}), or give them keywords and examples"


def _priority(task: Task, selection: Selection, spec: AgentSpec) -> Priority:
    if selection.emergency:
        return Priority.CRITICAL
    return task.priority or spec.priority


def before_pairs(
    text: str,
    chosen: Sequence[str],
    catalogue: Sequence[AgentSpec],
    matrix: Matrix | Sequence[Matrix] | None = None,
) -> set[tuple[str, str]]:
    """Pairs (before, after) among ``chosen``: first what agents declare that they need, then what the matrix asks for.

    Raises:
        PlanError: when the declared needs go round in a circle.
    """
    by_name = {spec.name: spec for spec in catalogue}
    pairs: set[tuple[str, str]] = set()
    for name in chosen:
        for need in by_name[name].needs:
            pairs |= {(other, name) for other in chosen if other != name and meets(by_name[other], need)}
    circle = find_cycle(chosen, pairs)
    if circle:
        raise PlanError(f"needs go round in a circle: {' needs '.join(circle)}. Take one of these needs away")
    leading = [spec.name for spec in catalogue if not spec.fallback_only]
    for pair in sorted(matrices.order(text, chosen, leading, matrix)):
        if not find_cycle(chosen, pairs | {pair}):
            pairs.add(pair)
    return pairs


def find_cycle(names: Sequence[str], pairs: set[tuple[str, str]]) -> tuple[str, ...]:
    """A circle of names, each needing the next, empty when there is none."""
    needs: dict[str, list[str]] = {name: sorted(before for before, after in pairs if after == name) for name in names}
    done: set[str] = set()

    def walk(name: str, way: tuple[str, ...]) -> tuple[str, ...]:
        if name in way:
            return (*way[way.index(name) :], name)
        if name in done:
            return ()
        for need in needs.get(name, ()):
            circle = walk(need, (*way, name))
            if circle:
                return circle
        done.add(name)
        return ()

    return next((circle for name in names if (circle := walk(name, ()))), ())


def phases_of(
    chosen: Sequence[str], order: set[tuple[str, str]], apart: set[frozenset[str]]
) -> tuple[tuple[str, ...], ...]:
    """Everybody once, as early as ``order`` allows, never two of ``apart`` in one phase; the better match goes first."""
    rest, phases = list(chosen), list[tuple[str, ...]]()
    while rest:
        free = [name for name in rest if not any(after == name and before in rest for before, after in order)]
        phase: list[str] = []
        for name in free:
            if not any(frozenset((name, other)) in apart for other in phase):
                phase.append(name)
        phases.append(tuple(phase))
        rest = [name for name in rest if name not in phase]
    return tuple(phases)
