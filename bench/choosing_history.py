"""How learning from a repository's own history helps: a learning curve on a time split.

    python -m bench.choosing_history REPO NAME

REPO is a git repository, NAME a catalogue of history_catalogues.yaml. The newest 300 commits with an owner are measured:
a commit's agents are the owners of the files that it touched, and the one with the most is not known, so an answer is
right when the first agent chosen is one of them.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import yaml

from interlock import history
from interlock.catalogue import apply_settings
from interlock.decide import learn
from interlock.decide.select import select
from interlock.model.agent import AgentSpec
from interlock.model.choosing import Lesson, Memory

MEASURED = 300


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("repo", type=Path)
    parser.add_argument("name")
    asked = parser.parse_args()
    catalogues = yaml.safe_load((Path(__file__).parent / "history_catalogues.yaml").read_text(encoding="utf-8"))
    team = tuple(
        apply_settings(AgentSpec(name=name), settings, file="bench", strict=True)
        for name, settings in catalogues[asked.name].items()
    )
    start = time.perf_counter()
    memory = history.learn(asked.repo, team)
    print(f"{memory.total} lessons in {time.perf_counter() - start:.1f} s")
    lessons = list(history.lessons(asked.repo, team))
    past, measured = lessons[:-MEASURED], lessons[-MEASURED:]
    for count in (0, 50, 200, 800):
        known = learn.teach(Memory(), past[len(past) - count :] if count else [])
        print(f"{min(count, len(past)):>4} past tasks  {score(measured, team, known)}")
        if count >= len(past):
            break


def score(rows: Sequence[Lesson], team: Sequence[AgentSpec], memory: Memory) -> str:
    by: dict[str, list[bool]] = defaultdict(list)
    overlaps = []
    for row in rows:
        chosen = select(row.subject, team, memory=memory).primary
        for name in row.agents:
            by[name].append(bool(chosen) and chosen[0] in row.agents)
        overlaps.append(2 * len(set(row.agents) & set(chosen)) / (len(row.agents) + len(chosen)))
    macro = statistics.mean(sum(hits) / len(hits) for hits in by.values())
    return f"top-1 macro {macro:.3f}, set F1 {statistics.mean(overlaps):.3f}, {len(rows)} commits"


if __name__ == "__main__":
    main()
