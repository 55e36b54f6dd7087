"""How often a rollout errs: false stops and false steps by simulation, beside the stated rate; and how soon it decides.

Run: PYTHONPATH=src python bench/canary.py [ROLLOUTS]     (400 by default, about two minutes)
"""

from __future__ import annotations

import random
import statistics
import sys
from dataclasses import dataclass
from datetime import UTC, datetime

from interlock.config import RolloutSettings
from interlock.decide.policy_change import next_move as guard_rails
from interlock.decide.rollout import What, next_move
from interlock.model.rollout import Judgements, Outing, Rollout

PAIRS = 300
EVERY = 20
NOW = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Case:
    """What is true of the two versions."""

    name: str
    fails: tuple[float, float] = (0.05, 0.05)
    blocked: tuple[float, float] = (0.02, 0.02)
    slower: float = 1.0
    wrong: What | None = None
    """What would be an error."""
    right: What | None = None


CASES = (
    Case("equal, 5 % fail", wrong=What.ABORT, right=What.PROMOTE),
    Case("equal, 30 % fail", fails=(0.3, 0.3), wrong=What.ABORT, right=What.PROMOTE),
    Case("both perfect", fails=(0.0, 0.0), blocked=(0.0, 0.0), wrong=What.ABORT, right=What.PROMOTE),
    Case("better: 20 % -> 5 %", fails=(0.2, 0.05), wrong=What.ABORT, right=What.PROMOTE),
    Case("worse by the margin: 5 % -> 15 %", fails=(0.05, 0.15), wrong=What.PROMOTE, right=What.ABORT),
    Case("much worse: 5 % -> 40 %", fails=(0.05, 0.4), wrong=What.PROMOTE, right=What.ABORT),
    Case("blocked: 2 % -> 12 %", blocked=(0.02, 0.12), wrong=What.PROMOTE, right=What.ABORT),
    Case("50 % slower", slower=1.5, wrong=What.PROMOTE, right=What.ABORT),
    Case("twice as slow", slower=2.0, wrong=What.PROMOTE, right=What.ABORT),
    Case("20 % slower: tolerated", slower=1.2, wrong=What.ABORT, right=What.PROMOTE),
)


def one(dice: random.Random, case: Case, number: int, *, canary: bool) -> Outing:
    blocked = dice.random() < case.blocked[canary]
    ok = dice.random() >= case.fails[canary]
    took = dice.lognormvariate(8, 0.5) * (case.slower if canary else 1.0)
    return Outing(
        attempt=f"{canary}{number}",
        canary=canary,
        ok=ok,
        blocked=blocked,
        duration_ms=round(took),
        cost_micros=round(took),
    )


def simulate(dice: random.Random, case: Case, rules: RolloutSettings) -> tuple[What, int]:
    """What one rollout of one step ends in, and after how many pairs."""
    rollout = Rollout(id="r", agent="a", canary="v", steps=(50,), started_by="x", started_at=NOW, changed_at=NOW)
    outings: list[Outing] = []
    for number in range(1, PAIRS + 1):
        outings += [one(dice, case, number, canary=False), one(dice, case, number, canary=True)]
        if number % EVERY == 0:
            what = next_move(rollout, outings, rules).what
            if what is not What.WAIT:
                return what, number
    return What.WAIT, PAIRS


RUNS = 1000
SHARES = ((0.0, 0.0), (0.05, 0.05), (0.1, 0.0), (0.15, 0.05), (0.15, 0.0), (0.2, 0.0), (0.4, 0.0), (1.0, 0.0))
"""Of all runs, those that the new set of policies alone would block, and those that the present one alone would."""


def guarded(dice: random.Random, more: float, fewer: float, rules: RolloutSettings) -> int:
    """After how many runs a new set of policies is taken back by itself; 0: not within :data:`RUNS`."""
    rollout = Rollout(id="r", agent="policies", canary="v", steps=(0,), started_by="x", started_at=NOW, changed_at=NOW)
    sums = [0, 0]
    for number in range(1, RUNS + 1):
        drawn = dice.random()
        sums[0] += drawn < more
        sums[1] += more <= drawn < more + fewer
        found = Judgements(runs=number, calls=number, more_blocked=sums[0], fewer_blocked=sums[1])
        if guard_rails(rollout, found, rules).what is What.ABORT:
            return number
    return 0


def policies(count: int, rules: RolloutSettings) -> None:
    """The table of policy rollouts."""
    print(f"\npolicies, {count} rollouts each, looked at after every run, {RUNS} runs at most\n")
    print(
        "| the new set alone blocks | the present set alone blocks | taken back % | median runs until then |\n|---|---|---|---|"
    )
    for number, (more, fewer) in enumerate(SHARES):
        dice = random.Random(number)  # noqa: S311 - a simulation
        ends = [guarded(dice, more, fewer, rules) for _ in range(count)]
        back = [end for end in ends if end]
        print(
            f"| {more:.0%} | {fewer:.0%} | {100 * len(back) / count:.1f} | {statistics.median(back) if back else '-'} |"
        )


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 400
    rules = RolloutSettings()
    print(f"stated: at most {rules.error_percent} % false stops, at most {rules.error_percent} % false steps")
    print(f"{count} rollouts each, looked at every {EVERY} pairs, {PAIRS} pairs at most\n")
    print("| what is true | wrong % | right % | undecided % | median pairs |")
    print("|---|---|---|---|---|")
    for case in CASES:
        dice = random.Random(case.name)  # noqa: S311 - a simulation
        ended = [simulate(dice, case, rules) for _ in range(count)]
        shares = [100 * sum(what is each for what, _ in ended) / count for each in (case.wrong, case.right, What.WAIT)]
        pairs = statistics.median(number for _, number in ended)
        print(f"| {case.name} | {shares[0]:.1f} | {shares[1]:.1f} | {shares[2]:.1f} | {pairs:.0f} |", flush=True)

    policies(count, rules)


if __name__ == "__main__":
    main()
