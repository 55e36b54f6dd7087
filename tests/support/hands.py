"""A worker process for the tests of many at once: four agents that leave one line outside each, and fail at random if told to.

usage: hands.py PROJECT        (the store comes from INTERLOCK_STORE_URL or the project's settings)
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import sys
from collections.abc import Mapping
from pathlib import Path

from interlock.app import build
from interlock.config import load_settings
from interlock.errors import RunnerError
from interlock.model.agent import AgentResult, Usage
from interlock.ports import AgentFunction, Gate, Job
from interlock.surfaces.cli.worker import serve

AGENTS = ("anna", "bert", "cleo", "dora")
WORK_MS = int(os.environ.get("HANDS_WORK_MS", "60"))
UNTIL = os.environ.get("HANDS_UNTIL", "")
"""A file: the work takes until it is there."""
FAIL_PERCENT = int(os.environ.get("HANDS_FAIL_PERCENT", "0"))


def chance(*words: object) -> int:
    """0 to 99, the same for the same words."""
    return hashlib.sha256(" ".join(map(str, words)).encode()).digest()[0] * 100 // 256


async def work(job: Job, gate: Gate) -> AgentResult:
    """Leaves one line outside, which must never be there twice."""
    if chance(job.attempt_id, "before") < FAIL_PERCENT:
        raise RunnerError("bad luck", kind="transient")
    call = await gate.before("journal", {"line": job.run_id}, idempotent=False)
    if not call.effect_id:
        raise RunnerError(f"blocked: {call.decision.reason}", kind="blocked")
    handle = os.open(job.project.parent / "outside.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(handle, f"{job.run_id}\n".encode())
    os.close(handle)
    await asyncio.sleep(chance(job.attempt_id, "work") * WORK_MS / 100_000)
    while UNTIL and not Path(UNTIL).exists():  # noqa: ASYNC110, ASYNC240 - another process makes it
        await asyncio.sleep(0.05)
    await gate.after(call.effect_id, ok=True, output="written")
    return AgentResult(summary="done", usage=Usage(input_tokens=10, output_tokens=5, cost_micros=100))


def functions() -> dict[str, AgentFunction]:
    return dict.fromkeys(AGENTS, work)


def main(functions: Mapping[str, AgentFunction]) -> None:
    """Be a worker of these agents in the project that the command line names, until told to stop."""
    service = build(load_settings(Path(sys.argv[1])), functions=functions)
    service.start(shared=True)
    try:
        serve(service, as_json=True)
    finally:
        service.close()


if __name__ == "__main__":
    main(functions())
