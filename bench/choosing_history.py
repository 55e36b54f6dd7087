"""How learning from a repository's own history helps: learning curves on a time split, for :mod:`bench.choosing`.

The newest 300 commits with an owner are measured, by their real subjects; older ones are learned. A commit's agents are
the owners of the files that it touched, and the one with the most is not known, so an answer is right when the first
agent chosen is one of them. Macro over agents; the interval is a bootstrap over commits.
"""

from __future__ import annotations

import random
import statistics
import subprocess
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import yaml
from bench.choosing_pictures import Point

from interlock import history
from interlock.catalogue import apply_settings
from interlock.decide import learn
from interlock.decide.select import select
from interlock.model.agent import AgentSpec
from interlock.model.choosing import Lesson, Memory

MEASURED = 300
STEPS = (0, 50, 200, 800)
Answers = list[tuple[tuple[str, ...], tuple[str, ...]]]
"""(wanted, chosen) for each commit."""


def histories(clones: Mapping[str, Path]) -> dict[str, list[Point]]:
    """Print what was measured on each clone; returns the learning curves."""
    catalogues = yaml.safe_load((Path(__file__).parent / "history_catalogues.yaml").read_text(encoding="utf-8"))
    curves = {}
    for name, clone in clones.items():
        team = tuple(
            apply_settings(AgentSpec(name=agent), settings, file="bench", strict=True)
            for agent, settings in catalogues[name].items()
        )
        start = time.process_time()
        memory = history.learn(clone, team)
        print(
            f"{name}: {len(team)} agents, {memory.total} commits with an owner, learned in {time.process_time() - start:.1f} s"
        )
        curves[name] = _measured(clone, team)
        print()
    return curves


def _measured(clone: Path, team: Sequence[AgentSpec]) -> list[Point]:
    said = subprocess.run(
        ["git", "-C", str(clone), "log", "--format=%H %s"], capture_output=True, text=True, check=True
    ).stdout
    subjects = dict(line.split(" ", 1) for line in said.splitlines() if " " in line)
    lessons = list(history.lessons(clone, team))
    past, measured = lessons[:-MEASURED], lessons[-MEASURED:]
    points = []
    for step in (*STEPS, len(past)):
        count = min(step, len(past))
        if points and points[-1][0] >= count:
            continue
        memory = learn.teach(Memory(), past[len(past) - count :])
        found = answers(measured, subjects, team, memory)
        points.append((count, *told(f"{count:>5} past commits", found)))
    for what, changed in {
        "without keywords": [replace(spec, keywords=()) for spec in team],
        "without descriptions": [replace(spec, description="") for spec in team],
    }.items():
        told(what, answers(measured, subjects, tuple(changed), Memory()))
    bare = tuple(AgentSpec(name=spec.name) for spec in team)
    told("names and history", answers(measured, subjects, bare, learn.teach(Memory(), past)))
    return points


def answers(rows: Sequence[Lesson], subjects: Mapping[str, str], team: Sequence[AgentSpec], memory: Memory) -> Answers:
    return [(row.agents, select(subjects[row.ref], team, memory=memory).primary) for row in rows]


def told(what: str, found: Answers) -> tuple[float, float, float]:
    """Print one line of figures; returns the macro figure and its interval."""
    dice = random.Random(7)  # noqa: S311 - a bootstrap is no secret
    drawn = sorted(macro(dice.choices(found, k=len(found))) for _ in range(200))
    overlaps = [2 * len(set(wanted) & set(chosen)) / (len(wanted) + len(chosen)) for wanted, chosen in found]
    low, high = drawn[5], drawn[-6]
    print(
        f"  {what:<22} top-1 macro {macro(found):.3f} [{low:.3f}, {high:.3f}], set F1 {statistics.mean(overlaps):.3f}"
    )
    return macro(found), low, high


def macro(found: Answers) -> float:
    by: dict[str, list[bool]] = defaultdict(list)
    for wanted, chosen in found:
        for name in wanted:
            by[name].append(bool(chosen) and chosen[0] in wanted)
    return statistics.mean(sum(hits) / len(hits) for hits in by.values())
