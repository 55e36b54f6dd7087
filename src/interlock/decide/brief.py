"""Each agent's own prompt: its part of the task, what it gets and hands on, the files and limits that matter (spec 5).

The task is cut into pieces; a piece is for whoever knows its words best among those chosen. Who has words in a piece of
somebody else's is told which; who has none is told whose work it prepares or checks. Nobody gets a generic paste.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from interlock.decide import globs, words
from interlock.model.agent import AgentSpec
from interlock.model.plan import Task

_CUT = re.compile(
    r"(?<=[.!?;])\s+|\n+|\s+[-–—]\s+|,?\s+(?:and then|then|afterwards|after that|finally)\s+|,\s+(?:and|but|plus|also)\s+"
)
_AND = re.compile(r"\s+and\s+(?=(?:also\s+|please\s+)?([a-z]+))")
_VERBS = frozenset(
    words.stem(word)
    for word in [
        "add",
        "build",
        "change",
        "check",
        "chart",
        "clean",
        "compute",
        "connect",
        "convert",
        "create",
        "delete",
        "deploy",
        "describe",
        "design",
        "document",
        "draw",
        "drop",
        "email",
        "enable",
        "explain",
        "export",
        "extend",
        "fetch",
        "find",
        "fix",
        "give",
        "hide",
        "implement",
        "import",
        "improve",
        "index",
        "limit",
        "link",
        "list",
        "load",
        "log",
        "make",
        "mask",
        "measure",
        "merge",
        "migrate",
        "move",
        "notify",
        "optimize",
        "plot",
        "prepare",
        "publish",
        "put",
        "query",
        "refactor",
        "remove",
        "rename",
        "render",
        "replace",
        "report",
        "review",
        "rewrite",
        "save",
        "scale",
        "secure",
        "send",
        "set",
        "show",
        "speed",
        "store",
        "sync",
        "test",
        "translate",
        "tune",
        "update",
        "upgrade",
        "upload",
        "validate",
        "verify",
        "warn",
        "write",
    ]
)
"""Verbs of work: after one, “and” joins two deeds; otherwise it joins two things of one deed."""
_LEAST = 0.35
"""Less evidence than this in a piece is chance."""
_EQUAL = 0.9
"""Who knows a piece nearly as well as the best does it too."""
_WORD_LEAST = 0.2
_MOST_PIECES = 20
_MOST_WORDS = 6


Evidence = Callable[[str], Mapping[str, Mapping[str, float]]]
"""From a text to what in it speaks for which agent, and how much."""


@dataclass(frozen=True, kw_only=True, slots=True)
class BriefContext:
    """What a brief may tell besides the task and the team."""

    environment: str = "development"
    protected: tuple[str, ...] = ()
    """Globs of files that only people change."""
    notes: tuple[str, ...] = ()
    """Constraints of the project, one sentence each."""
    past: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """For each agent, its past tasks that are like this one (commits, runs)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """What of the task is one agent's."""

    own: tuple[str, ...] = ()
    """Pieces that are its alone, or that it knows as well as anybody."""
    shared: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """Pieces that are somebody else's, with the words in them that concern it."""
    common: tuple[str, ...] = ()
    """Pieces of which nobody knows a word: they are for everybody."""


def pieces(text: str) -> list[str]:
    """The deeds that ``text`` asks for, each as it is said."""
    found: list[str] = []
    for part in _CUT.split(text):
        start = 0
        for joint in _AND.finditer(part):
            if words.stem(joint.group(1)) in _VERBS:
                found.append(part[start : joint.start()])
                start = joint.end()
        found.append(part[start:])
    tidy = [piece.strip(" ,;.\t") for piece in found]
    return [piece for piece in tidy if piece][:_MOST_PIECES]


def parts(text: str, team: Sequence[AgentSpec], evidence: Evidence) -> dict[str, Part]:
    """For each agent of the team, its part of the task; ``evidence`` says what in a text speaks for which agent."""
    names = [spec.name for spec in team]
    own: dict[str, list[str]] = {name: [] for name in names}
    shared: dict[str, list[tuple[str, tuple[str, ...]]]] = {name: [] for name in names}
    common = []
    for piece in pieces(text):
        found = evidence(piece)
        points = {name: sum(found.get(name, {}).values()) for name in names}
        best = max(points.values(), default=0.0)
        if best < _LEAST:
            common.append(piece)
            continue
        for name, reached in points.items():
            if reached >= _EQUAL * best:
                own[name].append(piece)
            elif reached >= _LEAST and (telling := _telling(piece, found[name])):
                shared[name].append((piece, telling))
    return {name: Part(own=tuple(own[name]), shared=tuple(shared[name]), common=tuple(common)) for name in names}


def _telling(piece: str, found: Mapping[str, float]) -> tuple[str, ...]:
    said = (word for word in dict.fromkeys(words.raw_words(piece)) if found.get(words.stem(word), 0.0) >= _WORD_LEAST)
    return tuple(word for word in said if word not in words.FUNCTION_WORDS)[:_MOST_WORDS]


def in_one_line(part: Part, spec: AgentSpec) -> str:
    """An agent's part for a person who looks at the plan."""
    said = [*part.own, *(f"of “{piece}”: {', '.join(telling)}" for piece, telling in part.shared)]
    return "; ".join((*said, *part.common)) or f"what the others need of it ({', '.join(spec.provides) or 'its field'})"


def brief(
    task: Task,
    spec: AgentSpec,
    team: Sequence[AgentSpec],
    needs: Sequence[str],
    phases: Sequence[Sequence[str]],
    divided: Mapping[str, Part],
    context: BriefContext,
) -> str:
    """The prompt of one agent of the team; ``divided`` is what :func:`parts` made of the task."""
    others = [other for other in team if other.name != spec.name]
    lines = [f"Task of the whole team: {task.text}" if others else f"Task: {task.text}"]
    role = spec.description.split(". ")[0].strip().rstrip(".")
    lines += ["", f"Your part as {spec.name}" + (f" ({role})" if role else "") + ":"]
    lines += _own_lines(divided[spec.name], spec, others, phases) if others else ["- the whole task"]
    if others:
        lines += ["", "Others do the rest; leave it to them:"]
        lines += [f"- {other.name}: {in_one_line(divided[other.name], other)}" for other in others]
    if needs:
        lines += ["", "You get the results of: " + "; ".join(_gives(other) for other in others if other.name in needs)]
    lines += _handing_on(spec, others, phases)
    if past := context.past.get(spec.name):
        lines += ["", f"Work like this was done before in: {', '.join(past)}"]
    return "\n".join((*lines, *_constraints(task.text, spec, others, phases, context)))


def _own_lines(part: Part, spec: AgentSpec, others: Sequence[AgentSpec], phases: Sequence[Sequence[str]]) -> list[str]:
    lines = [f"- {piece}" for piece in part.own]
    lines += [f"- of “{piece}”, only what concerns {', '.join(telling)}" for piece, telling in part.shared]
    if not lines:
        place = _place(spec.name, phases)
        later = [other.name for other in others if _place(other.name, phases) > place]
        given = f" ({', '.join(spec.provides)})" if spec.provides else ""
        lines = [f"- what {' and '.join(later)} {'needs' if len(later) == 1 else 'need'} from you first{given}, and nothing else"] if later else [
            f"- look at what {' and '.join(other.name for other in others)} made from the side of your own field{given}"
        ]  # fmt: skip
    return [*lines, *(f"- (for everybody) {piece}" for piece in part.common)]


def _place(name: str, phases: Sequence[Sequence[str]]) -> int:
    return next((place for place, phase in enumerate(phases) if name in phase), 0)


def _handing_on(spec: AgentSpec, others: Sequence[AgentSpec], phases: Sequence[Sequence[str]]) -> list[str]:
    place = _place(spec.name, phases)
    later = [other for other in others if _place(other.name, phases) > place]
    waiting = [other for other in later if any(meets(spec, need) for need in other.needs)] or later
    if not waiting:
        return []
    names = ", ".join(sorted((other.name for other in waiting), key=lambda name: _place(name, phases)))
    provided = f" ({', '.join(spec.provides)})" if spec.provides else ""
    return ["", f"After you come {names}: say in your hand-over what they need to know{provided}."]


def meets(spec: AgentSpec, need: str) -> bool:
    """Whether an agent is or provides what another one needs."""
    return need in {"*", spec.name} or need in spec.provides


def _gives(other: AgentSpec) -> str:
    return f"{other.name}" + (f" ({', '.join(other.provides)})" if other.provides else "")


def _constraints(
    text: str, spec: AgentSpec, others: Sequence[AgentSpec], phases: Sequence[Sequence[str]], context: BriefContext
) -> list[str]:
    lines = []
    named = words.paths(text)
    mine = [path for path in named if any(globs.covers(glob, path) for glob in spec.owns)]
    theirs = {path for path in named for other in others if any(globs.covers(glob, path) for glob in other.owns)}
    free = [path for path in named if path not in theirs and path not in mine]
    if mine or spec.owns:
        lines.append("- your files: " + ", ".join(mine or spec.owns[:8]))
    if free:
        lines.append("- files the task names that are nobody's: " + ", ".join(free[:8]))
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
