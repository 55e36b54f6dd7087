"""What history teaches about whose work a task is: counts of stems per agent, kept so that a person can read them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any, Literal

from interlock.decide import words
from interlock.model.choosing import Lesson, Memory
from interlock.model.run import OutcomeKind, Run

_SMOOTHING = 6.0
"""As if every word had been seen six times more, spread as in history as a whole: one commit proves little."""
_STRENGTH = 3.2
"""What a word is worth that history knows from one agent alone; a keyword of one agent is worth about 1."""
_HALF_TRUST = 40
"""After this many lessons what was learned counts half as much as it can."""
_AGENTS = 20
"""A usual number of agents: before the first lesson each has an equal share."""
_FEW = 10
_PRIOR = 0.05
OFTEN = "(how often)"
_KEPT = {"recent": 400, "outcomes": 1000, "corrections": 10_000}
"""How many lessons of each origin are kept by name; the counts keep all."""
MOST_FILES = 60
"""A change of more files (a formatter, a move) teaches nothing about whose work its words are."""
_LEAST_SHARE = 0.25
"""An agent shares in a change when this part of the owned files is its own."""
LONGEST_SUBJECT = 300
_MOST_NAMES = 8
CORRECTION_WEIGHT = 5
"""A person's correction teaches as much as this many commits."""


def features(text: str) -> list[str]:
    """The stems of a subject that can be learned from, each once."""
    return list(dict.fromkeys(words.terms(text)))


def subject_of(subject: str, files: Sequence[str]) -> str:
    """What a commit can teach: the words of its subject, and of the names of the files and folders that it touched."""
    named = [" ".join(file.rsplit(".", 1)[0].split("/")[-2:]) for file in files[:_MOST_NAMES]]
    told = features(subject[:LONGEST_SUBJECT])
    return " ".join(dict.fromkeys((*told, *features(" ".join(named))))) if told else ""


def mix(text: str, memory: Memory, names: Sequence[str], parts: dict[str, dict[str, float]]) -> None:
    """Add to ``parts`` what each word of ``text`` speaks for or against each agent, by ``memory``."""
    if not memory.total:
        return
    trust = _STRENGTH * memory.total / (memory.total + _HALF_TRUST)
    everywhere = _everywhere(memory)
    for name in names:
        share = (memory.lessons.get(name, 0) + 1) / (memory.total + len(names))
        parts[name][OFTEN] = trust * _PRIOR * _heard_of(memory, name) * math.log(share * len(names))
    for term in features(text):
        seen = everywhere.get(term, 0)
        if not seen:
            continue
        for name in names:
            weight = trust * lift(memory, name, term, seen)
            parts[name][term] = parts[name].get(term, 0.0) + weight


def lift(memory: Memory, name: str, term: str, seen: int) -> float:
    """How much likelier this agent is in lessons with ``term`` than in lessons at large, from -1 to 1."""
    share = (memory.lessons.get(name, 0) + 1) / (memory.total + _AGENTS)
    likely = (memory.counts.get(name, {}).get(term, 0) + _SMOOTHING * share) / (seen + _SMOOTHING)
    said = likely - share
    return said if said > 0 else said * _heard_of(memory, name)


def _heard_of(memory: Memory, name: str) -> float:
    """Silence is no evidence: history speaks against an agent only as far as it has seen the agent at work."""
    lessons = memory.lessons.get(name, 0)
    return lessons / (lessons + _FEW)


def _everywhere(memory: Memory) -> dict[str, int]:
    """In how many lessons each stem occurred; under ``*`` the memory keeps it for all agents together."""
    return dict(memory.counts.get("*", {}))


Origin = Literal["recent", "outcomes", "corrections"]


def teach(memory: Memory, lessons: Iterable[Lesson], *, origin: Origin = "recent") -> Memory:
    """``memory`` with more lessons, the given ones in order from old to new."""
    counts = {name: dict(found) for name, found in memory.counts.items()}
    taught, fresh = dict(memory.lessons), list[Lesson]()
    weight = CORRECTION_WEIGHT if origin == "corrections" else 1
    for lesson in lessons:
        fresh.append(lesson)
        for name in (*lesson.agents, "*"):
            held = counts.setdefault(name, {})
            for term in lesson.subject.split():
                held[term] = held.get(term, 0) + weight
        for name in lesson.agents:
            taught[name] = taught.get(name, 0) + weight
    kept = (*reversed(fresh), *getattr(memory, origin))[: _KEPT[origin]]
    named: dict[str, Any] = {origin: kept}
    return replace(memory, counts=counts, lessons=taught, total=memory.total + weight * len(fresh), **named)


def anew(memory: Memory | None) -> Memory:
    """Only what cannot be read from the history again: corrections, and what runs taught."""
    fresh = Memory()
    for origin in ("outcomes", "corrections") if memory else ():
        fresh = teach(fresh, reversed(getattr(memory, origin)), origin=origin)
    return fresh


def sharing(files: Iterable[str], owner: Callable[[str], Iterable[str]]) -> tuple[str, ...]:
    """The agents that share in a change of these files: those that own a good part of what is owned at all."""
    owned = [names for file in files if (names := tuple(owner(file)))]
    counted = Counter(name for names in owned for name in names)
    return tuple(sorted(name for name, count in counted.items() if count >= _LEAST_SHARE * len(owned)))


def of_run(run: Run, owner: Callable[[str], Iterable[str]]) -> Lesson | None:
    """What a run that succeeded teaches: whose the files are that it changed, else who worked on it."""
    outcome = run.outcome
    if outcome is None or outcome.kind is not OutcomeKind.SUCCEEDED or len(outcome.changed) > MOST_FILES:
        return None
    agents = sharing(outcome.changed, owner) or tuple(sorted(outcome.results))
    subject = " ".join(features(run.task.text[:LONGEST_SUBJECT]))
    return Lesson(ref=run.id, agents=agents, subject=subject) if agents and subject else None


def correct(memory: Memory, text: str, agents: Sequence[str], *, ref: str) -> Memory:
    """``memory`` after a person said which agents a task was for."""
    lesson = Lesson(ref=ref, agents=tuple(sorted(agents)), subject=" ".join(features(text)))
    return teach(memory, [lesson], origin="corrections")


def alike(text: str, memory: Memory, agent: str, *, most: int = 3, least: int = 1) -> tuple[Lesson, ...]:
    """The past tasks of ``agent`` that share the most words (``least`` of them) with ``text``: why it is chosen."""
    wanted = set(features(text))
    shared = [
        (len(wanted & set(lesson.subject.split())), -place, lesson)
        for place, lesson in enumerate((*memory.corrections, *memory.outcomes, *memory.recent))
        if agent in lesson.agents
    ]
    best = sorted((found for found in shared if found[0] >= least), key=lambda found: found[:2], reverse=True)
    return tuple(lesson for _, _, lesson in best[:most])
