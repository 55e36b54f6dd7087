"""How long one decision takes: ``python -m bench.latency_gate [--rounds N] [--repeat N] [--peer PYTHON]``.

Every input is distinct (a repeated text is a lie: RE2's automata, parsers' caches and the branch predictor are warm), every
figure includes reading the action, matching the policies and building the decision with its digests. Nothing is stored:
the ledger's commit is measured elsewhere. The peer, when its interpreter is given, gets the same inputs in a process of its
own, with the checks that ``bench/peer_agt.py`` names; it reads a call as words and knows no policies of the user's.

Each line is measured several times, on new inputs, and the quickest is shown: other work on the machine only ever adds.
"""

from __future__ import annotations

import argparse
import gc
import json
import random
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from interlock.decide.judge import judge
from interlock.decide.policy import PolicySet
from interlock.model.action import Action, Scope, Surface
from interlock.model.decision import Policy, Rule, RuleAction
from interlock.policies import DEFAULT_PACKS, load_policies
from interlock.reading.read import read

_SCOPE = Scope(workspace="/srv/project")
_LETTERS = "abcdefghijklmnopqrstuvwxyz"


def word(dice: random.Random, least: int = 4, most: int = 9) -> str:
    return "".join(dice.choices(_LETTERS, k=dice.randint(least, most)))


def generic(dice: random.Random) -> Action:
    args = {"city": word(dice), "unit": dice.choice(["c", "f"]), "days": dice.randint(1, 14), "note": word(dice)}
    return Action(kind=Surface.TOOL_CALL, tool="weather", args=args)


def shell(dice: random.Random) -> Action:
    shapes = ["ls -l src/{0}", "git diff {0}..{1}", "grep -rn {0} src/{1}", "python -m pytest tests/test_{0}.py -k {1}"]
    command = dice.choice(shapes).format(word(dice), word(dice))
    return Action(kind=Surface.TOOL_CALL, tool="shell", args={"command": command})


def sql(dice: random.Random) -> Action:
    shapes = ["SELECT {0}, {1} FROM {2} WHERE {0} = {3}", "UPDATE {2} SET {0} = {3} WHERE {1} = {3}"]
    query = dice.choice(shapes).format(word(dice), word(dice), word(dice), dice.randint(1, 10**6))
    return Action(kind=Surface.TOOL_CALL, tool="sql", args={"query": query})


def prose(dice: random.Random) -> Action:
    return Action(kind=Surface.TOOL_RESULT, args={"text": " ".join(word(dice, 2, 9) for _ in range(330))})


def rules(dice: random.Random, count: int) -> PolicySet:
    """Rules as a large team would have: most about one tool or program, a third patterns on all tool calls."""

    def rule(number: int) -> Rule:
        kind = number % 3
        match: dict[str, tuple[str, ...]] = {"surface": ("tool_call",)}
        if kind == 0:
            match["tool"] = (f"mcp__{word(dice)}__{word(dice)}",)
        if kind == 1:
            match["program"] = (word(dice),)
        pattern = f"{word(dice)}.*{word(dice)}" if kind == 2 else ""  # noqa: PLR2004 - the third kind
        return Rule(id=f"team/{number}", action=RuleAction.CONFIRM, match=match, pattern=pattern)

    return PolicySet.compile([Policy(name="team", rules=tuple(rule(number) for number in range(count)))])


def measured(
    make: Callable[[random.Random], Action], policies: PolicySet, rounds: int, seed: int
) -> tuple[float, float]:
    """p50 and p99 in microseconds over ``rounds`` distinct actions."""
    dice = random.Random(seed)  # noqa: S311 - inputs, not secrets
    actions = [make(dice) for _ in range(rounds)]
    warm = [make(dice) for _ in range(50)]
    for action in warm:
        judge(action, read(action, _SCOPE), policies, environment="development")
    taken = []
    gc.collect()
    gc.disable()
    for action in actions:
        start = time.perf_counter_ns()
        judge(action, read(action, _SCOPE), policies, environment="development")
        taken.append((time.perf_counter_ns() - start) / 1000)
    gc.enable()
    taken.sort()
    return taken[rounds // 2], taken[int(rounds * 0.99)]


CHECKS = {
    generic: ("every argument's looks, secrets, policies, digests", "word lists by tool, default rules"),
    shell: ("the command as bash reads it, its paths, secrets, policies, digests", "word lists by tool, default rules"),
    sql: (
        "the statement's syntax tree and words, secrets, policies, digests",
        "word lists by tool, default rules, SQL",
    ),
    prose: ("injected orders, hidden text, links, secrets, policies, digests", "injection patterns, response patterns"),
}
"""What ours and the peer's checks are, by input."""


def quickest(once: Callable[[int], tuple[float, float]], repeat: int, seed: int) -> tuple[float, float]:
    """The lowest p50 and the lowest p99 of several measurements."""
    found = [once(seed + 100 * again) for again in range(repeat)]
    return min(half for half, _ in found), min(tail for _, tail in found)


def peer(python: str, make: Callable[[random.Random], Action], rounds: int, seed: int) -> tuple[float, float]:
    """The peer's p50 and p99 in microseconds over the same inputs."""
    dice = random.Random(seed)  # noqa: S311 - inputs, not secrets
    actions = [make(dice) for _ in range(rounds)]
    rows = [
        {"surface": str(it.kind), "tool": it.tool, "text": it.text or json.dumps(dict(it.args))}
        for it in [*actions[-50:], *actions]
    ]
    script = Path(__file__).with_name("peer_agt.py")
    lines = "\n".join(json.dumps(row) for row in rows)
    done = subprocess.run([python, str(script), "--time"], input=lines, capture_output=True, text=True, check=True)
    half, tail = done.stdout.split()
    return float(half), float(tail)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.latency_gate", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=2000, help="distinct inputs a line")
    parser.add_argument("--repeat", type=int, default=3, help="measurements a line, of which the quickest is shown")
    parser.add_argument("--peer", default="", help="a Python that has the peer")
    options = parser.parse_args(arguments)
    rounds, repeat = options.rounds, options.repeat
    packs = load_policies(DEFAULT_PACKS, [], {})
    dice = random.Random(1)  # noqa: S311 - inputs, not secrets
    few, many = rules(dice, 10), rules(dice, 1000)
    cases = [
        ("generic call, default packs", generic, packs),
        ("short shell, cold, default packs", shell, packs),
        ("short SQL, cold, default packs", sql, packs),
        ("tool result of 2 kB, default packs", prose, packs),
        ("generic call, 10 rules", generic, few),
        ("generic call, 1,000 rules", generic, many),
        ("short shell, 10 rules", shell, few),
        ("short shell, 1,000 rules", shell, many),
    ]
    print("| one decision, distinct inputs | p50 µs | p99 µs | checked |\n|---|---|---|---|")
    for seed, (name, make, policies) in enumerate(cases):
        half, tail = quickest(partial(measured, make, policies, rounds), repeat, seed)
        print(f"| {name} | {half:.0f} | {tail:.0f} | {CHECKS[make][0]} |")
        if options.peer and policies is packs:
            half, tail = quickest(partial(peer, options.peer, make, rounds), repeat, seed)
            print(f"| — the peer (AGT) | {half:.0f} | {tail:.0f} | {CHECKS[make][1]} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
