"""What history teaches about whose work a task is: counts of stems per agent, kept so that a person can read them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from interlock.decide import words
from interlock.model.choosing import Lesson, Memory

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
_KEPT = 400
CORRECTION_WEIGHT = 5
"""A person's correction teaches as much as this many commits."""


def features(text: str) -> list[str]:
    """The stems of a subject that can be learned from, each once."""
    return list(dict.fromkeys(words.terms(text)))


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


def teach(memory: Memory, lessons: Iterable[Lesson], *, weight: int = 1, corrections: bool = False) -> Memory:
    """``memory`` with more lessons, the given ones in order from old to new."""
    counts = {name: dict(found) for name, found in memory.counts.items()}
    taught, pairs = dict(memory.lessons), dict(memory.pairs)
    total, fresh = memory.total, []
    for lesson in lessons:
        total += weight
        fresh.append(lesson)
        for name in (*lesson.agents, "*"):
            held = counts.setdefault(name, {})
            for term in lesson.subject.split():
                held[term] = held.get(term, 0) + weight
        for name in lesson.agents:
            taught[name] = taught.get(name, 0) + weight
        for place, name in enumerate(sorted(lesson.agents)):
            for other in sorted(lesson.agents)[place + 1 :]:
                pairs[f"{name}+{other}"] = pairs.get(f"{name}+{other}", 0) + weight
    newest = tuple(reversed(fresh))
    return Memory(
        counts=counts,
        lessons=taught,
        total=total,
        pairs=pairs,
        recent=memory.recent if corrections else (*newest, *memory.recent)[:_KEPT],
        corrections=(*newest, *memory.corrections) if corrections else memory.corrections,
        head=memory.head,
        catalogue=memory.catalogue,
    )


def correct(memory: Memory, text: str, agents: Sequence[str], *, ref: str) -> Memory:
    """``memory`` after a person said which agents a task was for."""
    lesson = Lesson(ref=ref, agents=tuple(sorted(agents)), subject=" ".join(features(text)))
    return teach(memory, [lesson], weight=CORRECTION_WEIGHT, corrections=True)


def alike(text: str, memory: Memory, agent: str, *, most: int = 3) -> tuple[Lesson, ...]:
    """The past tasks of ``agent`` that share the most words with ``text``: why it is chosen."""
    wanted = set(features(text))
    shared = [
        (len(wanted & set(lesson.subject.split())), -place, lesson)
        for place, lesson in enumerate((*memory.corrections, *memory.recent))
        if agent in lesson.agents
    ]
    best = sorted((found for found in shared if found[0]), key=lambda found: found[:2], reverse=True)
    return tuple(lesson for _, _, lesson in best[:most])
