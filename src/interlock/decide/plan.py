"""From chosen agents to a plan: who runs when, and what exactly each is asked to do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from interlock.decide import globs, words
from interlock.decide import matrix as matrices
from interlock.decide.select import exclusions as exclusions_among
from interlock.errors import PlanError, did_you_mean
from interlock.model.agent import AgentSpec, Priority
from interlock.model.choosing import Matrix
from interlock.model.plan import Assignment, Phase, Plan, Selection, Task


@dataclass(frozen=True, kw_only=True, slots=True)
class PlanContext:
    """What a plan may tell its agents besides the task."""

    environment: str = "development"
    protected: tuple[str, ...] = ()
    """Globs of files that only people change."""
    notes: tuple[str, ...] = ()
    """Constraints of the project, one sentence each."""


def make_plan(
    task: Task,
    selection: Selection,
    catalogue: Sequence[AgentSpec],
    *,
    matrix: Matrix | Sequence[Matrix] | None = None,
    context: PlanContext | None = None,
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
    context = context or PlanContext()
    place = {name: number for number, phase in enumerate(phases) for name in phase}
    assigned = []
    for phase in phases:
        line = []
        for name in phase:
            needs = tuple(other for other in chosen if (other, name) in order and place[other] < place[name])
            line.append(
                Assignment(
                    agent=name,
                    prompt=enrich(task, by_name[name], [by_name[other] for other in chosen], needs, phases, context),
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
        raise PlanError(
            f"nobody to do it: {selection.reason or 'no agent suits'}{nearest}. Name the agents with --agent"
        )
    for name in selection.primary:
        if name not in by_name:
            hint = did_you_mean(name, by_name) or f"known are {', '.join(sorted(by_name)) or 'none'}"
            raise PlanError(f"there is no agent {name!r} in the catalogue: {hint}")
    return tuple(dict.fromkeys(selection.primary))


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
            pairs |= {(other, name) for other in chosen if other != name and _meets(by_name[other], need)}
    circle = find_cycle(chosen, pairs)
    if circle:
        raise PlanError(f"needs go round in a circle: {' needs '.join(circle)}. Take one of these needs away")
    leading = [spec.name for spec in catalogue if not spec.fallback_only]
    for pair in sorted(matrices.order(text, chosen, leading, matrix)):
        if not find_cycle(chosen, pairs | {pair}):
            pairs.add(pair)
    return pairs


def _meets(spec: AgentSpec, need: str) -> bool:
    return need in {"*", spec.name} or need in spec.provides


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


def enrich(
    task: Task,
    spec: AgentSpec,
    team: Sequence[AgentSpec],
    needs: Sequence[str],
    phases: Sequence[Sequence[str]],
    context: PlanContext,
) -> str:
    """One agent's own prompt: its part, what it gets, what others do, its files, its limits."""
    others = [other for other in team if other.name != spec.name]
    lines = [f"Task of the whole team: {task.text}", "", *_part(task.text, spec, others)]
    if needs:
        lines += ["", "You get the results of: " + "; ".join(_gives(other) for other in others if other.name in needs)]
    after = [other.name for other in others if spec.name in _needed_by(other, spec)]
    number = next((place for place, phase in enumerate(phases) if spec.name in phase), 0)
    later = [name for phase in phases[number + 1 :] for name in phase]
    waiting = list(dict.fromkeys([name for name in later if name in after] or later))
    if waiting:
        provided = f" ({', '.join(spec.provides)})" if spec.provides else ""
        lines += ["", f"After you come {', '.join(waiting)}: say in your hand-over what they need to know{provided}."]
    lines += _constraints(task.text, spec, others, phases, context)
    return "\n".join(lines)


def _needed_by(other: AgentSpec, spec: AgentSpec) -> list[str]:
    return [spec.name for need in other.needs if _meets(spec, need)]


def _part(text: str, spec: AgentSpec, others: Sequence[AgentSpec]) -> list[str]:
    """Which sentences of the task are this agent's, by the words of its own definition."""
    own = _vocabulary(spec)
    foreign = {other.name: _vocabulary(other) - own for other in others}
    clauses = words.sentences(text)
    mine = [
        clause
        for clause in clauses
        if set(words.terms(clause)) & own or not any(set(words.terms(clause)) & theirs for theirs in foreign.values())
    ]
    role = spec.description.split(". ")[0].strip().rstrip(".") or ", ".join(spec.capabilities or spec.keywords[:6])
    lines = [f"Your part as {spec.name}" + (f" ({role})" if role else "") + ":"]
    telling = [term for term in dict.fromkeys(words.raw_words(text)) if words.stem(term) in own]
    if others and len(clauses) > 1:
        lines += [f"- {clause}" for clause in mine or clauses]
    elif others:
        lines.append(
            "- of this task, what concerns " + (", ".join(telling) if telling else "your field") + " and nothing else"
        )
    else:
        lines.append("- the whole task")
    if others:
        lines += ["", "Others do the rest; leave it to them:", *(f"- {_does(other, text)}" for other in others)]
    return lines


def _vocabulary(spec: AgentSpec) -> set[str]:
    said = (spec.name, spec.description, *spec.keywords, *spec.capabilities, *spec.owns, *spec.provides)
    return {term for text in said for term in words.terms(text)}


def _does(other: AgentSpec, text: str) -> str:
    own = _vocabulary(other)
    telling = [term for term in dict.fromkeys(words.raw_words(text)) if words.stem(term) in own and term.isalpha()]
    what = ", ".join(telling[:5]) or ", ".join(other.capabilities[:3] or other.keywords[:3]) or other.description[:80]
    return f"{other.name}: {what}" if what else other.name


def _gives(other: AgentSpec) -> str:
    return f"{other.name}" + (f" ({', '.join(other.provides)})" if other.provides else "")


def _constraints(
    text: str, spec: AgentSpec, others: Sequence[AgentSpec], phases: Sequence[Sequence[str]], context: PlanContext
) -> list[str]:
    lines = []
    named = words.paths(text)
    mine = [path for path in named if any(globs.covers(glob, path) for glob in spec.owns)]
    if mine or spec.owns:
        lines.append("- your files: " + ", ".join(mine or spec.owns[:8]))
    lines += [
        f"- not your files (they are {other.name}'s): {', '.join(other.owns[:5])}" for other in others if other.owns
    ]
    side = next((phase for phase in phases if spec.name in phase), ())
    if len(side) > 1:
        lines.append("- at the same time works: " + ", ".join(name for name in side if name != spec.name))
    if context.protected:
        lines.append("- only people change: " + ", ".join(context.protected))
    if spec.tools:
        lines.append("- your tools: " + ", ".join(spec.tools))
    lines += [f"- {note}" for note in context.notes]
    lines.append(f"- environment: {context.environment}; every call you make is checked before it takes effect")
    return ["", "Constraints:", *lines]
