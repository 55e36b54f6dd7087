"""How well Interlock chooses: the table of the aims, recomputed on any folder of the same form.

    python -m bench.choosing [--data DIR] [--svg FILE]

DIR holds agents.json, gold_routing.json, routing*.jsonl and risk*.jsonl (any may be missing); the catalogues and tasks
beside this file are measured in any case. Intervals are 95 %: Wilson for shares, bootstrap for macro figures.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from html import escape
from pathlib import Path
from typing import Any

import yaml

from interlock.catalogue import apply_settings, load_catalogue, load_matrices
from interlock.decide import learn
from interlock.decide.doubt import learned
from interlock.decide.doubt_examples import DANGEROUS, HARMLESS
from interlock.decide.plan import make_plan
from interlock.decide.risk import assess, assess_lexical
from interlock.decide.select import select
from interlock.decide.words import stems
from interlock.errors import PlanError
from interlock.model.agent import AgentSpec
from interlock.model.choosing import Lesson, Memory
from interlock.model.plan import Task
from interlock.model.risk import RiskLevel

HERE = Path(__file__).parent
THREE = {"database-schema-agent", "analytics-visualization-agent", "security-authentication-agent"}
Team = tuple[AgentSpec, ...]
Row = dict[str, Any]


def wilson(hits: int, of: int) -> str:
    """A share with its 95 % Wilson interval."""
    if not of:
        return "no rows"
    z, share = 1.96, hits / of
    middle = (share + z * z / (2 * of)) / (1 + z * z / of)
    half = z * math.sqrt(share * (1 - share) / of + z * z / (4 * of * of)) / (1 + z * z / of)
    return f"{hits}/{of} = {share:.1%} [{middle - half:.1%}, {middle + half:.1%}]"


def rows_of(data: Path, name: str) -> list[Row]:
    found: list[Row] = []
    for file in sorted(data.glob(f"{name}*.jsonl")):
        found += [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
    return found


def title(text: str) -> None:
    print(f"\n## {text}\n")


# --- the user's own examples


def gold(data: Path, team: Team, matrices: Any) -> None:
    rows = json.loads((data / "gold_routing.json").read_text(encoding="utf-8"))["rows"]
    three = tuple(spec for spec in team if spec.name in THREE)
    right: dict[str, list[tuple[bool, bool]]] = defaultdict(list)
    for row in rows:
        own = "athletemetrics-orchestrator.md" in row["source"]
        agents = three if own else team
        chosen = select(row["task"], agents, matrix=matrices)
        try:
            plan = make_plan(Task(text=row["task"]), chosen, agents, matrix=matrices)
            phases = [{one.agent for one in phase.assignments} for phase in plan.phases]
        except PlanError:
            phases = []
        same = set(chosen.primary) == set(row["expected_agents"])
        right["own" if own else "others"].append((same, phases == [set(phase) for phase in row["expected_phases"]]))
    title("The user's own examples")
    for name, found in right.items():
        print(
            f"{name:<8} agents {sum(a for a, _ in found)}/{len(found)}, phases {sum(p for _, p in found)}/{len(found)}"
        )


# --- real tasks


@dataclass(frozen=True, kw_only=True)
class Score:
    """How a way of choosing did on labelled rows."""

    macro: float
    micro: float
    f1: float
    low: float
    high: float
    pairs: list[tuple[str, str]]

    def __str__(self) -> str:
        return f"top-1 macro {self.macro:.3f} [{self.low:.3f}, {self.high:.3f}], micro {self.micro:.3f}, set F1 {self.f1:.3f}"


def macro(pairs: Iterable[tuple[str, str]]) -> float:
    by: dict[str, list[bool]] = defaultdict(list)
    for wanted, found in pairs:
        by[wanted].append(wanted == found)
    return statistics.mean(sum(hits) / len(hits) for hits in by.values())


def score(rows: Sequence[Row], team: Team, matrices: Any, memory: Callable[[int], Memory | None]) -> Score:
    pairs, overlaps = [], []
    for number, row in enumerate(rows):
        chosen = select(row["text"], team, memory=memory(number), matrix=matrices).primary
        pairs.append((row["primary"], chosen[0] if chosen else "(nobody)"))
        wanted = set(row["agents"])
        overlaps.append(2 * len(wanted & set(chosen)) / (len(wanted) + len(chosen)))
    dice = random.Random(7)  # noqa: S311 - a bootstrap is no secret
    drawn = sorted(macro(dice.choices(pairs, k=len(pairs))) for _ in range(400))
    micro = sum(wanted == found for wanted, found in pairs) / len(pairs)
    return Score(
        macro=macro(pairs), micro=micro, f1=statistics.mean(overlaps), low=drawn[10], high=drawn[-11], pairs=pairs
    )


def always(memory: Memory, _: int) -> Memory:
    return memory


def taught(rows: Iterable[Row]) -> Memory:
    return learn.teach(
        Memory(),
        [
            Lesson(ref=str(row.get("sha", "")), agents=tuple(sorted(row["agents"])), subject=" ".join(learn.features(row["text"])))
            for row in rows
        ],
    )  # fmt: skip


def routing(rows: Sequence[Row], team: Team, matrices: Any, svg: Path | None) -> None:
    title("Real tasks of the repository (labels are files touched, about 93 % right)")
    alone = score(rows, team, matrices, lambda _: None)
    print(f"catalogue alone    {alone}")
    folds = 5
    memories = [taught(row for number, row in enumerate(rows) if number % folds != fold) for fold in range(folds)]
    learned = score(rows, team, matrices, lambda number: memories[number % folds])
    print(f"after learning     {learned}   (5-fold)")
    print("\nAblations (catalogue alone):")
    for name, changed in {
        "without keywords": [replace(spec, keywords=(), owns=()) for spec in team],
        "without descriptions": [replace(spec, description="", instructions="") for spec in team],
        "names only": [AgentSpec(name=spec.name) for spec in team],
    }.items():
        print(f"{name:<22} {score(rows, tuple(changed), matrices, lambda _: None)}")
    bare = tuple(AgentSpec(name=f"{spec.name}") for spec in team)
    print(
        f"{'names and history':<22} {score(rows, bare, matrices, lambda number: memories[number % folds])}   (5-fold)"
    )
    print("\nLearning curve on a time split (the newest third is measured, older rows are learned):")
    cut = len(rows) // 3
    for count in (0, 50, 200, 800):
        older = list(reversed(rows[cut:]))[-count:] if count else []
        got = min(count, len(rows) - cut)
        memory = taught(older)
        print(f"{got:>4} past tasks  {score(rows[:cut], team, matrices, partial(always, memory))}")
        if got < count:
            break
    print("\nConfusion after learning (rows: wanted, columns: chosen):")
    print(confusion(learned.pairs))
    if svg:
        svg.write_text(picture(learned.pairs), encoding="utf-8")
        print(f"drawn in {svg}")


def counted(pairs: Sequence[tuple[str, str]]) -> tuple[list[str], dict[tuple[str, str], int]]:
    names = sorted({name for pair in pairs for name in pair})
    cells: dict[tuple[str, str], int] = defaultdict(int)
    for pair in pairs:
        cells[pair] += 1
    return names, cells


def confusion(pairs: Sequence[tuple[str, str]]) -> str:
    names, cells = counted(pairs)
    lines = [" " * 28 + "".join(f"{number:>4}" for number in range(1, len(names) + 1))]
    for number, wanted in enumerate(names, start=1):
        line = "".join(f"{cells.get((wanted, found), 0) or '·':>4}" for found in names)
        lines.append(f"{number:>3} {wanted.removesuffix('-agent')[:23]:<23} {line}")
    return "\n".join(lines)


def picture(pairs: Sequence[tuple[str, str]]) -> str:
    """The confusion matrix as SVG."""
    names, cells = counted(pairs)
    size, left = 26, 210
    out = []
    for y, wanted in enumerate(names):
        total = sum(cells.get((wanted, found), 0) for found in names) or 1
        out.append(f'<text x="{left - 6}" y="{left + y * size + 17}" text-anchor="end">{escape(wanted)}</text>')
        out.append(
            f'<text transform="translate({left + y * size + 17},{left - 6}) rotate(-90)">{escape(wanted)}</text>'
        )
        for x, found in enumerate(names):
            count = cells.get((wanted, found), 0)
            colour = "46,125,50" if wanted == found else "198,40,40"
            out.append(
                f'<rect x="{left + x * size}" y="{left + y * size}" width="{size - 1}" height="{size - 1}"'
                f' fill="rgba({colour},{count / total:.2f})" stroke="#ddd"/>'
            )
            if count:
                out.append(
                    f'<text x="{left + x * size + 13}" y="{left + y * size + 17}" text-anchor="middle">{count}</text>'
                )
    side = left + len(names) * size + 10
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{side}" height="{side}" font-family="sans-serif" font-size="11">'
    return head + '<rect width="100%" height="100%" fill="white"/>' + "".join(out) + "</svg>\n"


# --- teams never seen


def unseen(team: Team, matrices: Any) -> None:
    cases = yaml.safe_load((HERE / "choosing_cases.yaml").read_text(encoding="utf-8"))
    title("Teams written for this measurement, and tasks that are nobody's work")
    right = tasks = abstained = foreign = 0
    teams = [(one["name"], described(one["agents"]), one["tasks"]) for one in cases["catalogues"]]
    for name, agents, asked in teams:
        hits = sum(set(select(text, agents, matrix=matrices).primary) == set(wanted) for text, wanted in asked)
        away = sum(select(text, agents, matrix=matrices).abstained for text in cases["foreign"])
        print(f"{name:<16} right set {hits:>2}/{len(asked):<3} abstains {away}/{len(cases['foreign'])}")
        right, tasks = right + hits, tasks + len(asked)
        abstained, foreign = abstained + away, foreign + len(cases["foreign"])
    if team:
        abstained += sum(select(text, team, matrix=matrices).abstained for text in cases["foreign"])
        foreign += len(cases["foreign"])
    print(f"right set        {wilson(right, tasks)}")
    print(f"foreign          {wilson(abstained, foreign)} abstained")
    crossed = [
        select(text, agents, matrix=matrices).abstained
        for name, agents, _ in teams
        for other, _, asked in teams
        for text, _ in asked
        if name != other
    ]
    print(f"other teams' tasks {wilson(sum(crossed), len(crossed))} abstained (many are near enough to be done)")


def described(agents: Sequence[Row]) -> Team:
    return tuple(apply_settings(AgentSpec(name=one["name"]), one, file="cases", strict=False) for one in agents)


# --- risk


FOLDS = 6


def rest(texts: list[str], fold: int) -> list[str]:
    return [text for place, text in enumerate(texts) if place % FOLDS != fold]


def risk(rows: Sequence[Row]) -> None:
    dangerous, kind = DANGEROUS.strip().splitlines(), HARMLESS.strip().splitlines()
    own = [{"text": text, "label": "risky"} for text in dangerous] + [
        {"text": text, "label": "benign"} for text in kind
    ]
    caught = raised = 0
    for fold in range(FOLDS):
        weigh = learned(rest(dangerous, fold), rest(kind, fold))
        caught += sum(sum(weigh(set(stems(text))).values()) > 0 for text in dangerous[fold::FOLDS])
        raised += sum(sum(weigh(set(stems(text))).values()) > 0 for text in kind[fold::FOLDS])
    title(f"Risk: the learned doubt alone, {FOLDS}-fold over its own examples")
    print(f"dangerous {wilson(caught, len(dangerous))}\nharmless  {wilson(raised, len(kind))}")
    for name, given in (("corpus", rows), ("the examples that rules and doubt were made with (too kind)", own)):
        if not given:
            continue
        title(f"Risk: {name}")
        risky = [row["text"] for row in given if row["label"] == "risky"]
        harmless = [row["text"] for row in given if row["label"] != "risky"]
        unsaid = [text for text in risky if assess_lexical(text).level is RiskLevel.LOW]
        for how, level in (("literal", assess_lexical), ("contextual", assess)):
            noticed = {text: level(text).level for text in (*risky, *harmless)}
            medium = [text for text in risky if noticed[text] >= RiskLevel.MEDIUM]
            print(f"{how:<11} risky noticed      {wilson(len(medium), len(risky))}")
            print(f"{'':<11} without the words  {wilson(sum(text in medium for text in unsaid), len(unsaid))}")
            for least in (RiskLevel.MEDIUM, RiskLevel.HIGH):
                false = sum(noticed[text] >= least for text in harmless)
                print(f"{'':<11} harmless ≥ {least:<7} {wilson(false, len(harmless))}")
        lost = [t for t in risky if assess_lexical(t).level > RiskLevel.LOW and assess(t).level is RiskLevel.LOW]
        print(f"noticed by the literal rules only: {len(lost)}")


# --- time


def speed(team: Team, matrices: Any) -> None:
    title("Time")
    dice = random.Random(7)  # noqa: S311 - made-up agents
    known = sorted({word for spec in team for word in (*spec.keywords, *spec.description.split())}) or [
        "chart",
        "table",
    ]
    crowd = tuple(
        AgentSpec(name=f"agent-{n}", description=" ".join(dice.choices(known, k=30)), keywords=tuple(dice.choices(known, k=8)))
        for n in range(500)
    )  # fmt: skip
    tasks = [
        f"Add a {dice.choice(known)} to the {dice.choice(known)} and fix the {dice.choice(known)}" for _ in range(200)
    ]
    for agents in (team[:20] or crowd[:20], crowd):
        start = time.perf_counter()
        select(tasks[0], agents, matrix=matrices)
        first = (time.perf_counter() - start) * 1000
        taken = sorted(timed(text, agents, matrices) for text in tasks)
        print(
            f"one plan, {len(agents):>3} agents: p50 {taken[100]:.2f} ms, p99 {taken[197]:.2f} ms (the first: {first:.0f} ms)"
        )
    taken = sorted(timed_risk(text) for text in tasks)
    print(f"one assessment:       p50 {taken[100]:.2f} ms, p99 {taken[197]:.2f} ms")


def timed(text: str, agents: Team, matrices: Any) -> float:
    start = time.perf_counter()
    chosen = select(text, agents, matrix=matrices)
    if chosen.primary:
        make_plan(Task(text=text), chosen, agents, matrix=matrices)
    return (time.perf_counter() - start) * 1000


def timed_risk(text: str) -> float:
    start = time.perf_counter()
    assess(text)
    return (time.perf_counter() - start) * 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=HERE.parent.parent / "shared" / "data")
    parser.add_argument("--svg", type=Path, help="draw the confusion matrix here")
    asked = parser.parse_args()
    described_team = asked.data / "agents.json"
    team = load_catalogue(described_team) if described_team.exists() else ()
    matrices = load_matrices(described_team if team else None)
    print(f"# Choosing ({len(team)} agents)")
    if (asked.data / "gold_routing.json").exists() and team:
        gold(asked.data, team, matrices)
    rows = rows_of(asked.data, "routing")
    if rows and team:
        routing(rows, team, matrices, asked.svg)
    unseen(team, matrices)
    risk(rows_of(asked.data, "risk"))
    speed(team, matrices)


if __name__ == "__main__":
    main()
