"""A Python function is an agent."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from gate_stub import GateStub, a_job
from interlock.errors import RunnerError
from interlock.model.agent import AgentResult
from interlock.ports import Gate, Job
from interlock.runners.function import FunctionRunner


def run(function: Any, gate: Gate | None = None) -> AgentResult:
    return asyncio.run(FunctionRunner(function).run(a_job(Path("/nowhere")), gate or GateStub()))


@pytest.mark.parametrize(
    ("returned", "result"),
    [
        (None, AgentResult()),
        ("all tidy", AgentResult(summary="all tidy")),
        (AgentResult(summary="x", blockers=("y",)), AgentResult(summary="x", blockers=("y",))),
    ],
)
def test_a_result_its_summary_or_nothing_is_a_hand_over(returned: Any, result: AgentResult) -> None:
    async def agent(job: Job, gate: Gate) -> Any:
        return returned

    assert run(agent) == result


def test_the_function_gets_its_job_and_the_gate() -> None:
    async def agent(job: Job, gate: Gate) -> str:
        verdict = await gate.before("shell", {"command": job.task})
        await gate.after(verdict.effect_id, ok=True)
        return job.assignment.prompt

    gate = GateStub()
    assert run(agent, gate).summary == "Your part: tidy up"
    assert gate.asked == [("shell", {"command": "tidy up"})]
    assert gate.outcomes == {"eff_1": (True, "")}


async def raising(job: Job, gate: Gate) -> str:
    raise KeyError("team")


async def out_of_time(job: Job, gate: Gate) -> str:
    raise TimeoutError("the database did not answer")


async def knowing(job: Job, gate: Gate) -> str:
    raise RunnerError("no data", kind="rendering_failure")


async def counting(job: Job, gate: Gate) -> int:
    return 7


def not_async(job: Job, gate: Gate) -> str:
    return "x"


@pytest.mark.parametrize(
    ("agent", "kind", "says"),
    [
        (raising, "crashed", "raising raised KeyError: 'team'"),
        (out_of_time, "timeout", "did not answer"),
        (knowing, "rendering_failure", "no data"),
        (counting, "crashed", "returned int"),
        (not_async, "crashed", "async def not_async"),
    ],
)
def test_what_goes_wrong_in_a_function_is_a_runner_error(agent: Any, kind: str, says: str) -> None:
    with pytest.raises(RunnerError) as caught:
        run(agent)
    assert caught.value.kind == kind
    assert says in str(caught.value)


def test_cancellation_reaches_the_function_and_goes_on_after_its_cleaning_up() -> None:
    cleaned = []

    async def agent(job: Job, gate: Gate) -> None:
        try:
            await asyncio.sleep(600)
        finally:
            cleaned.append(job.run_id)

    async def scene() -> None:
        running = asyncio.ensure_future(FunctionRunner(agent).run(a_job(Path("/nowhere")), GateStub()))
        await asyncio.sleep(0)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    asyncio.run(scene())
    assert cleaned == ["run_1"]
