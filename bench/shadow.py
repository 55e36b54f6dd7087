"""What a second set of policies beside the first one costs a call: ``python -m bench shadow``.

Calls of several kinds are judged by the default policies alone, and by them with the same set as a bystander that nobody
obeys. Reported is the best of several rounds, in microseconds a call: on a busy machine the best one says most.
"""

from __future__ import annotations

import sys
import time

from interlock.decide.policy import PolicySet
from interlock.engine.judging import Gate
from interlock.engine.shadow import Course
from interlock.model.action import Action, Scope, Surface
from interlock.policies import DEFAULT_PACKS, load_policies

ROUNDS, CALLS = 15, 200
ACTIONS = {
    "shell": Action(kind=Surface.TOOL_CALL, tool="shell", args={"command": "git diff HEAD~1 | grep -n TODO | head -20"}),
    "sql": Action(kind=Surface.TOOL_CALL, tool="sql", args={"query": "SELECT name, team FROM athletes WHERE id = 7"}),
    "edit": Action(kind=Surface.TOOL_CALL, tool="edit", args={"path": "src/a.py", "text": "def a() -> int:\n    return 1\n" * 20}),
}  # fmt: skip


def best(gate: Gate, action: Action, course: Course) -> float:
    """The best round's microseconds a call."""
    rounds = []
    for _ in range(ROUNDS):
        begun = time.perf_counter()
        for _ in range(CALLS):
            gate.judge(action, Scope(), course=course)
        rounds.append((time.perf_counter() - begun) / CALLS * 1e6)
    return min(rounds)


def main() -> int:
    """Measure and print a table."""
    policies = load_policies(DEFAULT_PACKS, [], {})
    other = PolicySet(policies.policies, policies.no_accept_in)
    gate = Gate(policies, "development", {})
    print("| call | alone (µs) | with a bystander (µs) | more |\n|---|---|---|---|")
    for name, action in ACTIONS.items():
        alone = best(gate, action, Course(ruling=policies))
        both = best(gate, action, Course(ruling=policies, shadow=other, rollout="r"))
        print(f"| {name} | {alone:.0f} | {both:.0f} | {both - alone:.0f} µs ({both / alone:.2f}x) |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
