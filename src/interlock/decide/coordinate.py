"""The results of all agents as one summary, with the conflicts between them and what to do about each (spec 5)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations, permutations

from interlock.decide import words
from interlock.model.agent import AgentResult
from interlock.model.choosing import Change, Summary
from interlock.model.plan import Plan
from interlock.model.run import Conflict

_OPPOSITES = tuple(
    (frozenset(words.stems(one)), frozenset(words.stems(other)))
    for one, other in (
        ("add include introduce create", "remove drop delete omit exclude"),
        ("enable activate on", "disable deactivate off"),
        ("increase raise extend widen", "decrease lower reduce shorten narrow"),
        ("allow permit open", "deny forbid block refuse"),
        ("keep retain leave", "drop remove delete replace change"),
        ("use adopt prefer switch", "avoid abandon stop"),
        ("merge combine join", "split separate"),
        ("sync synchronous", "async asynchronous"),
    )
)
_NEGATIONS = frozenset({"not", "never", "no", "without", "don", "avoid", "instead", "against"})
_MOST_SAID = 200
"""Lines that are compared, each with each."""
_SHARED = 2
"""Two recommendations are about the same thing when they share this many telling words."""


def coordinate(
    results: Mapping[str, AgentResult], changes: Mapping[str, Change], *, plan: Plan | None = None
) -> Summary:
    """One summary of all ``results``.

    ``changes`` says what each agent changed. With the ``plan`` it is known who worked side by side and who
    built on whom; without it everybody counts as side by side.
    """
    names = [name for name in (plan.agents if plan else ()) if name in results]
    names += [name for name in results if name not in names]
    conflicts = (
        *_same_files(changes, plan),
        *_missing_names(changes),
        *_stale(changes, plan),
        *_contradictions({name: (*results[name].recommendations, *results[name].next_steps) for name in names}),
    )
    return Summary(
        text=_text(names, results, changes, conflicts),
        deliverables=_each(names, results, "deliverables"),
        next_steps=_each(names, results, "next_steps"),
        blockers=_each(names, results, "blockers"),
        recommendations=_each(names, results, "recommendations"),
        conflicts=conflicts,
    )


def _each(names: Sequence[str], results: Mapping[str, AgentResult], field: str) -> tuple[str, ...]:
    """The lines of one field, each once, with the agents that say it."""
    said: dict[str, list[str]] = {}
    for name in names:
        for line in getattr(results[name], field):
            if line.strip():
                said.setdefault(" ".join(line.split()), []).append(name)
    return tuple(f"{line} ({', '.join(dict.fromkeys(by))})" for line, by in said.items())


def _text(
    names: Sequence[str],
    results: Mapping[str, AgentResult],
    changes: Mapping[str, Change],
    conflicts: Sequence[Conflict],
) -> str:
    lines = []
    for name in names:
        count = len(changes[name].paths) if name in changes else 0
        files = f" [{count} file{'' if count == 1 else 's'} changed]" if count else ""
        lines.append(f"{name}: {results[name].summary.strip() or 'no summary'}{files}")
    blocked = [name for name in names if results[name].blockers]
    if blocked:
        lines.append(f"A person is needed for {', '.join(blocked)}.")
    if conflicts:
        lines.append(f"{len(conflicts)} conflict{'' if len(conflicts) == 1 else 's'} to settle.")
    return "\n".join(lines)


def _places(plan: Plan | None) -> dict[str, int]:
    phases = plan.phases if plan else ()
    return {one.agent: number for number, phase in enumerate(phases) for one in phase.assignments}


def _same_files(changes: Mapping[str, Change], plan: Plan | None) -> Iterable[Conflict]:
    """Two who worked side by side changed one file; worse when it was the same thing in it."""
    places = _places(plan)
    for one, other in combinations(sorted(changes), 2):
        shared = _both(changes[one].paths, changes[other].paths)
        side_by_side = places.get(one) == places.get(other) or one not in places or other not in places
        side_by_side &= one not in changes[other].saw and other not in changes[one].saw
        if not shared or not side_by_side:
            continue
        same = _both(changes[one].names.touched, changes[other].names.touched)
        what = f"both changed {_listed(same)}" if same else "changed the same files in different places"
        settle = (
            f"keep one of the two, or let {other} do it again on {one}'s result"
            if same
            else f"read the changes to {_listed(shared)} together, and run the tests on both"
        )
        yield Conflict(
            agents=(one, other),
            paths=shared,
            what=f"{one} and {other} {what} without knowing of each other",
            advice=f"{settle}; for the next time give the files one owner (owns:), or let one need the other (needs:)",
        )


def _missing_names(changes: Mapping[str, Change]) -> Iterable[Conflict]:
    """Somebody uses what somebody else has taken away, and nobody defines it any more."""
    defined = {name for change in changes.values() for name in change.names.defined}
    for user, taker in permutations(sorted(changes), 2):
        gone = _both(changes[user].names.used, changes[taker].names.removed)
        gone = tuple(name for name in gone if name not in defined)
        if gone:
            yield Conflict(
                agents=(user, taker),
                paths=changes[user].paths,
                what=f"{user} uses {_listed(gone)}, which {taker} has removed",
                advice=f"run {user} again on {taker}'s result, or have {taker} put it back",
            )


def _both(one: Sequence[str], other: Sequence[str]) -> tuple[str, ...]:
    return tuple(sorted(set(one) & set(other)))


def _listed(names: Sequence[str], most: int = 3) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def _stale(changes: Mapping[str, Change], plan: Plan | None) -> Iterable[Conflict]:
    """Somebody built on a file that a third one changed at the same time or afterwards."""
    places = _places(plan)
    for assignment in (one for phase in (plan.phases if plan else ()) for one in phase.assignments):
        builder = assignment.agent
        for base in assignment.needs:
            for third in sorted(changes):
                if third in {builder, base} or places.get(third, -1) < places[builder]:
                    continue
                moved = _both(changes[base].paths, changes[third].paths) if base in changes else ()
                if moved:
                    yield Conflict(
                        agents=(builder, third),
                        paths=moved,
                        what=f"{builder} built on {base}'s {_listed(moved)}, which {third} changed meanwhile or later",
                        advice=f"run {builder} again on the present state, or check that {third}'s change leaves it valid",
                    )


def _contradictions(said: Mapping[str, Sequence[str]]) -> Iterable[Conflict]:
    lines = [(name, line) for name, recommendations in said.items() for line in recommendations]
    for (one, first), (other, second) in combinations(lines[:_MOST_SAID], 2):
        if one != other and contradicts(first, second):
            yield Conflict(
                agents=(one, other),
                what=f"{one} says “{first}”, {other} “{second}”",
                advice="a person decides which holds; tell the other agent before it runs again",
            )


def contradicts(first: str, second: str) -> bool:
    """Whether two recommendations say opposite things about the same subject. A simple rule: it misses the subtle ones."""
    one, other = words.stems(first), words.stems(second)
    verbs = frozenset().union(*(left | right for left, right in _OPPOSITES)) | _NEGATIONS
    shared = {term for term in words.terms(first) if term in words.terms(second)} - verbs
    if len(shared) < _SHARED:
        return False
    if bool(_NEGATIONS & set(one)) != bool(_NEGATIONS & set(other)):
        return not _opposed(one, other)
    return _opposed(one, other)


def _opposed(one: Sequence[str], other: Sequence[str]) -> bool:
    return any(
        (left & set(one) and right & set(other)) or (right & set(one) and left & set(other))
        for left, right in _OPPOSITES
    )
