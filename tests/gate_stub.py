"""A gate that keeps what it was told and answers as a rule says: for tests of what stands in front of a gate."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from interlock.model.action import Labels
from interlock.model.agent import AgentResult, AgentSpec
from interlock.model.decision import Decision, Verdict
from interlock.model.plan import Assignment
from interlock.model.run import Compensation
from interlock.ports import CallVerdict, Job

YES = Decision(verdict=Verdict.ALLOW, reasons=())


def no(reason: str) -> Decision:
    return Decision(verdict=Verdict.BLOCK, reasons=(reason,))


class GateStub:
    """Allows everything, unless ``rule`` (tool, args -> reason to block, or empty) or ``after_rule`` says otherwise."""

    def __init__(
        self,
        rule: Callable[[str, Mapping[str, Any]], str] = lambda _tool, _args: "",
        after_rule: Callable[[str], str] = lambda _output: "",
    ) -> None:
        self.rule = rule
        self.after_rule = after_rule
        self.asked: list[tuple[str, Mapping[str, Any]]] = []
        self.compensations: list[Compensation | None] = []
        self.labels: list[Labels | None] = []
        self.outcomes: dict[str, tuple[bool, str]] = {}

    async def before(
        self,
        tool: str,
        args: Mapping[str, Any],
        *,
        labels: Labels | None = None,
        idempotent: bool = False,  # noqa: ARG002 - part of the port
        compensation: Compensation | None = None,
    ) -> CallVerdict:
        self.asked.append((tool, dict(args)))
        self.compensations.append(compensation)
        self.labels.append(labels)
        if reason := self.rule(tool, args):
            return CallVerdict(decision=no(reason), effect_id="")
        number = len(self.asked)
        return CallVerdict(decision=YES, effect_id=f"eff_{number}", idempotency_key=f"key_{number}")

    async def after(self, effect_id: str, *, ok: bool, output: str = "", labels: Labels | None = None) -> Decision:
        self.labels.append(labels)
        self.outcomes[effect_id] = (ok, output)
        reason = self.after_rule(output)
        return no(reason) if reason else YES

    @property
    def tools(self) -> list[str]:
        return [tool for tool, _ in self.asked]


def a_job(
    workspace: Path,
    *,
    project: Path | None = None,
    task: str = "tidy up",
    agent: str = "tidy",
    handed_over: Mapping[str, AgentResult] | None = None,
) -> Job:
    return Job(
        run_id="run_1",
        attempt_id="att_1",
        number=1,
        agent=AgentSpec(name=agent, instructions="Be tidy."),
        assignment=Assignment(agent=agent, prompt=f"Your part: {task}"),
        task=task,
        workspace=workspace,
        project=project or workspace,
        handed_over=handed_over or {},
    )
