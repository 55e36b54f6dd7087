"""What the gate catches and whom it disturbs: ``python -m bench.detection [--data DIR] [--peer PYTHON]``.

Reads ``attacks*.jsonl`` and ``benign*.jsonl`` of a folder (each row: text, class or kind, surface) and judges every row by
three: Interlock with its default packs, the user's six literal patterns on every surface, and, when an interpreter with
``agent-governance-toolkit-core`` is given, the peer (see ``bench/peer_agt.py`` for which of its checks run where).
Prints a Markdown table; ``--json`` prints all figures; ``--misses`` adds the rows that ours got wrong.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import re
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from interlock.decide.judge import judge
from interlock.model.action import Action, Reading, Scope, Surface
from interlock.policies import DEFAULT_PACKS, load_policies
from interlock.reading.read import read

SURFACES = {
    "tool_call_shell": ("tool_call", "shell"),
    "tool_call_sql": ("tool_call", "sql"),
    "tool_output": ("tool_result", ""),
}
DEFINITIONS = "mcp_tool_poisoning"
"""Rows of this class are tool definitions, whatever surface they name."""

_READS = re.compile(r"[\s(]*(select|with|show|explain|describe|values)\b", re.IGNORECASE)
Judged = Callable[[list[dict[str, str]]], list[str]]


def wilson(hits: int, total: int, z: float = 1.96) -> tuple[float, float]:
    """The 95 % interval of a share (Wilson's score interval), (0, 1) when nothing was counted."""
    if total == 0:
        return 0.0, 1.0
    share, square = hits / total, z * z
    middle = (share + square / (2 * total)) / (1 + square / total)
    half = z / (1 + square / total) * math.sqrt(share * (1 - share) / total + square / (4 * total * total))
    return max(0.0, middle - half), min(1.0, middle + half)


def rows_of(folder: Path, stem: str) -> list[dict[str, str]]:
    texts = [file.read_text(encoding="utf-8") for file in sorted(folder.glob(f"{stem}*.jsonl"))]
    lines = [line for text in texts for line in text.splitlines() if line.strip()]
    return [_row(json.loads(line), attack=stem == "attacks") for line in lines]


def _row(plain: dict[str, Any], *, attack: bool) -> dict[str, str]:
    surface, tool = SURFACES.get(plain["surface"], (plain["surface"], plain.get("tool", "")))
    kind = plain["class"] if attack else plain["surface"]
    if kind == "tool_call_sql":
        kind += ": reads" if _READS.match(plain["text"]) else ": writes (a confirm is no error)"
    if plain.get("class") == DEFINITIONS:
        surface = "tool_definition"
    return {"surface": surface, "tool": tool, "text": plain["text"], "group": kind, "source": plain.get("source", "")}


def ours(rows: list[dict[str, str]]) -> list[str]:
    policies = load_policies(DEFAULT_PACKS, [], {})
    scope = Scope(workspace="/srv/project")
    found = []
    for row in rows:
        action = _action(row)
        found.append(str(judge(action, read(action, scope), policies, environment="development").verdict))
    return found


def literal(rows: list[dict[str, str]]) -> list[str]:
    policies = load_policies(["literal"], [], {})
    return [str(judge(_action(row), Reading(), policies, environment="development").verdict) for row in rows]


def peer(python: str) -> Judged:
    def judged(rows: list[dict[str, str]]) -> list[str]:
        lines = "\n".join(json.dumps({key: row[key] for key in ("surface", "tool", "text")}) for row in rows) + "\n"
        script = Path(__file__).with_name("peer_agt.py")
        done = subprocess.run(
            [python, str(script)], input=lines, capture_output=True, text=True, check=False, timeout=600
        )
        verdicts = done.stdout.split()
        if done.returncode != 0 or len(verdicts) != len(rows):
            reason = done.stderr.strip().splitlines()[-1:] or ["it answered too few rows"]
            message = f"the peer could not be run: {reason[0]}"
            raise RuntimeError(message)
        return verdicts

    return judged


def _action(row: dict[str, str]) -> Action:
    return Action(kind=Surface(row["surface"]), tool=row["tool"], args={"text": row["text"]})


def counted(rows: Sequence[dict[str, str]], verdicts: Iterable[str]) -> dict[str, dict[str, int]]:
    groups: dict[str, Counter[str]] = defaultdict(Counter)
    for row, verdict in zip(rows, verdicts, strict=True):
        groups[row["group"]][verdict] += 1
        groups["all"][verdict] += 1
    return {
        name: {"n": counts.total(), "block": counts["block"], "confirm": counts["confirm"]}
        for name, counts in sorted(groups.items(), key=lambda item: (item[0] == "all", item[0]))
    }


def figure(hits: int, total: int) -> str:
    low, high = wilson(hits, total)
    return f"{100 * hits / total:.1f} % ({100 * low:.0f}-{100 * high:.0f})" if total else "-"


def table(title: str, figures: dict[str, dict[str, dict[str, int]]], parts: Sequence[tuple[str, Sequence[str]]]) -> str:
    heads = [f"{name}: {word}" for name in figures for word, _ in parts]
    lines = [f"### {title}", "", f"| | n | {' | '.join(heads)} |", "|---|---|" + "---|" * len(heads)]
    for group, first in next(iter(figures.values())).items():
        cells = [
            figure(sum(counts[group][key] for key in keys), counts[group]["n"])
            for counts in figures.values()
            for _, keys in parts
        ]
        lines.append(f"| {group} | {first['n']} | {' | '.join(cells)} |")
    return "\n".join([*lines, ""])


def main(arguments: Sequence[str] | None = None) -> int:
    options = _options(arguments)
    attacks, benign = rows_of(options.data, "attacks"), rows_of(options.data, "benign")
    if not attacks and not benign:
        print(f"{options.data} holds no attacks*.jsonl and no benign*.jsonl", file=sys.stderr)
        return 2
    judges: dict[str, Judged] = {"interlock": ours, "literal rules": literal}
    skipped = "no interpreter given: --peer PYTHON, or INTERLOCK_PEER_PYTHON"
    if options.peer:
        judges["peer (AGT)"] = peer(options.peer)
    caught: dict[str, dict[str, dict[str, int]]] = {}
    disturbed: dict[str, dict[str, dict[str, int]]] = {}
    verdicts: list[str] = []
    for name, judged in judges.items():
        try:
            answers = judged([*attacks, *benign])
        except (RuntimeError, OSError, subprocess.TimeoutExpired) as problem:
            skipped = str(problem)
            continue
        verdicts = verdicts or answers
        caught[name] = counted(attacks, answers[: len(attacks)])
        disturbed[name] = counted(benign, answers[len(attacks) :])
    if options.json:
        print(json.dumps({"attacks": caught, "benign": disturbed, "peer_skipped": skipped}, indent=2))
    else:
        print(table("Attacks", caught, [("caught", ("block", "confirm")), ("blocked", ("block",))]))
        print(table("Harmless rows", disturbed, [("blocked", ("block",)), ("confirmed", ("confirm",))]))
        print("Share and 95 % interval (Wilson). Caught is confirm or block.")
        if "peer (AGT)" not in caught:
            print(f"The peer was skipped: {skipped}.")
    if options.misses:
        _misses([*attacks, *benign], verdicts, len(attacks))
    return 0


def _misses(rows: Sequence[dict[str, str]], verdicts: Sequence[str], attacks: int) -> None:
    for number, (row, verdict) in enumerate(zip(rows, verdicts, strict=True)):
        if (verdict == "allow") == (number < attacks):
            print(f"{verdict}\t{row['group']}\t{row['surface']}\t{row['text'][:200]!r}")


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.detection", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder with the rows")
    parser.add_argument(
        "--peer", default=os.environ.get("INTERLOCK_PEER_PYTHON", ""), help="a Python that has the peer"
    )
    parser.add_argument("--json", action="store_true", help="print all figures as JSON")
    parser.add_argument("--misses", action="store_true", help="print the rows that Interlock got wrong")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
