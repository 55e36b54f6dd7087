"""What Interlock adds to one tool call of each kind of runner, and to the start of its agent: ``python -m bench.runners [CALLS]``.

A whole run through the engine on a store of its own, against the scripted model where there is a model. The cost of a call is what
a run with many calls takes longer than a run with one, divided by their number. Snapshots before each call are in it, as by default. The minimum of three rounds counts.
Claude Code is measured where its SDK is found: ``PYTHONPATH=.venv/claude`` after ``make test-claude``.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from interlock.app import build
from interlock.config import load_settings
from interlock.model.plan import Task
from interlock.model.run import OutcomeKind, RunState
from interlock.ports import Gate, Job
from interlock.testing import ScriptedModel

ROUNDS = 3
COMMAND = """
import sys
from interlock import agent
job = agent.job()
for number in range(int(sys.argv[1])):
    with job.call("edit", {"path": f"f{number}.txt", "content": "x"}):
        open(f"f{number}.txt", "w").write("x")
"""


def projects(place: Path, runner: Mapping[str, Any]) -> Path:
    """A repository of one file, and one agent."""
    project = place / "project"
    project.mkdir()
    (project / "a.txt").write_text("a\n")
    agents = {"worker": {"description": "Works.", **({"runner": dict(runner)} if runner else {})}}
    said = {"agents": agents, "limits": {"per_minute": 1000}}
    (project / "interlock.yaml").write_text(json.dumps(said))
    (project / "agent.py").write_text(COMMAND)
    for words in (
        ("init", "-q"),
        ("add", "."),
        ("-c", "user.name=b", "-c", "user.email=b@example.org", "commit", "-qm", "0"),
    ):
        subprocess.run(("git", *words), cwd=project, check=True)
    return project


def whole(runner: Mapping[str, Any], functions: Mapping[str, Any]) -> float:
    """Milliseconds from the attempt's start to its end, by the ledger."""
    with tempfile.TemporaryDirectory(prefix="interlock-bench-") as name:
        service = build(load_settings(projects(Path(name), runner)), functions=functions)
        service.start()
        try:
            run = service.runs.submit(Task(text="work", agents=("worker",)))
            while (view := service.runs.view(run.id)).run.state is not RunState.ENDED:
                time.sleep(0.01)
            assert view.run.outcome is not None
            assert view.run.outcome.kind is OutcomeKind.SUCCEEDED, view.run.outcome
            at = {entry.kind: entry.at for entry in service.ledger.stream(run_id=run.id)}
            return (at["agent.returned"] - at["attempt.started"]).total_seconds() * 1000
        finally:
            service.close()


def by_command(calls: int) -> float:
    return whole({"kind": "command", "command": ["{python}", "{project}/agent.py", str(calls)]}, {})


def by_function(calls: int) -> float:
    async def worker(job: Job, gate: Gate) -> str:
        for number in range(calls):
            verdict = await gate.before("edit", {"path": f"f{number}.txt", "content": "x"})
            await asyncio.to_thread((job.workspace / f"f{number}.txt").write_text, "x")
            await gate.after(verdict.effect_id, ok=True)
        return "done"

    return whole({}, {"worker": worker})


def by_model(calls: int) -> float:
    steps: list[Any] = [{"tool": "write_file", "args": {"path": f"f{n}.txt", "content": "x"}} for n in range(calls)]
    with ScriptedModel([*steps, {"tool": "hand_over", "args": {"summary": "done"}}]) as model:
        return whole({"kind": "llm", "model": "m", "base_url": f"{model.url}/v1", "max_steps": 1000}, {})


def by_model_in_a_shell(calls: int) -> float:
    steps: list[Any] = [{"tool": "run_command", "args": {"command": f"echo x > f{n}.txt"}} for n in range(calls)]
    with ScriptedModel([*steps, {"tool": "hand_over", "args": {"summary": "done"}}]) as model:
        return whole({"kind": "llm", "model": "m", "base_url": f"{model.url}/v1", "max_steps": 1000}, {})


def by_claude(calls: int) -> float:
    os.environ.setdefault("BENCH_KEY", "none")  # the scripted model does not look at it
    steps: list[Any] = [
        {"tool": "Bash", "args": {"command": f"echo x > f{n}.txt", "description": "w"}} for n in range(calls)
    ]
    with ScriptedModel([*steps, {"text": "done"}]) as model:
        return whole({"kind": "claude", "base_url": model.url, "api_key_env": "BENCH_KEY", "max_turns": 1000}, {})


def main() -> None:
    calls = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    kinds: dict[str, Callable[[int], float]] = {
        "function": by_function, "command": by_command, "llm, a file tool": by_model, "llm, a command": by_model_in_a_shell,
    }  # fmt: skip
    if find_spec("claude_agent_sdk") is not None:
        kinds["claude, a command"] = by_claude
    print("| runner | start and one call, ms | each further call, ms |\n|---|---|---|")
    for name, kind in kinds.items():
        one = min(kind(1) for _ in range(ROUNDS))
        many = min(kind(1 + calls) for _ in range(ROUNDS))
        print(f"| {name} | {one:.0f} | {(many - one) / calls:.1f} |", flush=True)


if __name__ == "__main__":
    main()
