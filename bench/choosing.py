"""How well Interlock chooses: the table of the aims, recomputed on any folder of the same form.

    python -m bench.choosing [--data DIR] [--history NAME=CLONE …] [--docs docs]

DIR holds agents.json, gold_routing.json, routing*.jsonl and risk*.jsonl (any may be missing); the catalogues and tasks
beside this file are measured in any case. CLONE is a git repository for which history_catalogues.yaml has a catalogue NAME.
``--docs`` writes the pictures and the figures into the documentation. Intervals are 95 %: Wilson for shares, bootstrap for
macro figures. Times are processor time.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import math
import random
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import yaml
from bench.choosing_history import histories
from bench.choosing_pictures import Point, counted, curves, picture

from interlock.catalogue import apply_settings, load_catalogue, load_matrices
from interlock.decide import learn
from interlock.decide.doubt import examples, learned
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
    f1_low: float
    f1_high: float
    pairs: list[tuple[str, str]]

    def __str__(self) -> str:
        return (
            f"top-1 macro {self.macro:.3f} [{self.low:.3f}, {self.high:.3f}], micro {self.micro:.3f},"
            f" set F1 {self.f1:.3f} [{self.f1_low:.3f}, {self.f1_high:.3f}]"
        )


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
    f1s = sorted(statistics.mean(dice.choices(overlaps, k=len(overlaps))) for _ in range(400))
    micro = sum(wanted == found for wanted, found in pairs) / len(pairs)
    return Score(
        macro=macro(pairs),
        micro=micro,
        f1=statistics.mean(overlaps),
        low=drawn[10],
        high=drawn[-11],
        f1_low=f1s[10],
        f1_high=f1s[-11],
        pairs=pairs,
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


def routing(rows: Sequence[Row], team: Team, matrices: Any) -> tuple[Score, list[Point]]:
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
    points = []
    for count in (0, 50, 200, 800):
        older = list(reversed(rows[cut:]))[-count:] if count else []
        got = min(count, len(rows) - cut)
        memory = taught(older)
        found = score(rows[:cut], team, matrices, partial(always, memory))
        print(f"{got:>4} past tasks  {found}")
        points.append((got, found.macro, found.low, found.high))
        if got < count:
            break
    print("\nConfusion after learning (rows: wanted, columns: chosen):")
    print(confusion(learned.pairs))
    return learned, points


def confusion(pairs: Sequence[tuple[str, str]]) -> str:
    names, cells = counted(pairs)
    lines = [" " * 28 + "".join(f"{number:>4}" for number in range(1, len(names) + 1))]
    for number, wanted in enumerate(names, start=1):
        line = "".join(f"{cells.get((wanted, found), 0) or '·':>4}" for found in names)
        lines.append(f"{number:>3} {wanted.removesuffix('-agent')[:23]:<23} {line}")
    return "\n".join(lines)


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
    dangerous, kind = examples()
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
        print("calibration: of the tasks at each level, this share is truly risky")
        for level in RiskLevel:
            held = [text for text in (*risky, *harmless) if assess(text).level is level]
            print(f"  {level:<9} {wilson(sum(text in risky for text in held), len(held))}")
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
        start = time.process_time()
        select(tasks[0], agents, matrix=matrices)
        first = (time.process_time() - start) * 1000
        taken = sorted(timed(text, agents, matrices) for text in tasks)
        print(
            f"one plan, {len(agents):>3} agents: p50 {taken[100]:.2f} ms, p99 {taken[197]:.2f} ms (the first: {first:.0f} ms)"
        )
    taken = sorted(timed_risk(text) for text in tasks)
    print(f"one assessment:       p50 {taken[100]:.2f} ms, p99 {taken[197]:.2f} ms")


def timed(text: str, agents: Team, matrices: Any) -> float:
    start = time.process_time()
    chosen = select(text, agents, matrix=matrices)
    if chosen.primary:
        make_plan(Task(text=text), chosen, agents, matrix=matrices)
    return (time.process_time() - start) * 1000


def timed_risk(text: str) -> float:
    start = time.process_time()
    assess(text)
    return (time.process_time() - start) * 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=HERE.parent.parent / "shared" / "data")
    parser.add_argument("--history", action="append", default=[], metavar="NAME=CLONE", help="measure learning on it")
    parser.add_argument("--docs", type=Path, help="write the figures and pictures into this documentation")
    asked = parser.parse_args()
    if asked.docs is None:
        measure(asked.data, asked.history)
        return
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        pictures = measure(asked.data, asked.history)
    for name, drawn in pictures.items():
        (asked.docs / "pictures" / f"{name}.svg").write_text(drawn, encoding="utf-8")
    page = asked.docs / "choosing.md"
    before, _, rest = page.read_text(encoding="utf-8").partition(MEASURED)
    _, _, after = rest.partition(END)
    page.write_text(f"{before}{MEASURED}\n```text\n{said.getvalue().strip()}\n```\n{END}{after}", encoding="utf-8")
    print(said.getvalue())


MEASURED, END = "<!-- measured: python -m bench.choosing --docs docs -->", "<!-- end of what was measured -->"


def measure(data: Path, clones: Sequence[str]) -> dict[str, str]:
    """Print everything; returns the pictures by name."""
    described_team = data / "agents.json"
    team = load_catalogue(described_team) if described_team.exists() else ()
    matrices = load_matrices(described_team if team else None)
    print(f"# Choosing ({len(team)} agents)")
    if (data / "gold_routing.json").exists() and team:
        gold(data, team, matrices)
    rows = rows_of(data, "routing")
    pictures, lines = {}, {}
    if rows and team:
        learned, lines["these tasks"] = routing(rows, team, matrices)
        pictures["choosing-confusion"] = picture(learned.pairs)
    if clones:
        title("Histories of other repositories (the newest 300 commits are measured)")
        lines |= histories({name: Path(clone) for name, _, clone in (said.partition("=") for said in clones)})
    if lines:
        pictures["choosing-learning"] = curves(lines, title="Top-1, macro over agents, by past tasks learned")
    unseen(team, matrices)
    risk(rows_of(data, "risk"))
    speed(team, matrices)
    return pictures


if __name__ == "__main__":
    main()
