"""``interlock mcp``: a Model Context Protocol server for other agents. They may submit, check and look; never approve."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from interlock.decide.alerts import by_urgency
from interlock.errors import MissingExtraError
from interlock.model.agent import Priority
from interlock.model.approval import ApprovalState
from interlock.model.plain import dump
from interlock.model.plan import Task
from interlock.model.run import RunState

if TYPE_CHECKING:
    from fastmcp import FastMCP

    from interlock.service import Service

ABOUT = (
    "Interlock runs tasks with a team's agents inside hard limits. Submit a task with submit_task and follow it with "
    "run_status; ask check_action before you do something risky yourself and obey the verdict: allow, confirm (a person "
    "must agree first) or block. You cannot approve anything: people do that elsewhere."
)
_LONGEST_WAIT_S = 60.0
_POLL_S = 0.2
_DIFF = 50_000
_SOON_S = 1.0


def make_mcp(service: Service, *, caller: str) -> FastMCP:
    """The server over a service. ``caller`` is who submits, as ``person/program``.

    Raises:
        MissingExtraError: when fastmcp is not installed.
    """
    try:
        from fastmcp import FastMCP  # noqa: PLC0415 - an extra
    except ModuleNotFoundError as missing:
        raise MissingExtraError("the MCP server", "mcp") from missing
    server: FastMCP = FastMCP("interlock", instructions=ABOUT)
    _add_judgements(server, service, caller)
    _add_runs(server, service, caller)
    _add_looks(server, service)
    return server


_LOOKS = {"readOnlyHint": True, "openWorldHint": False}


def _add_judgements(server: FastMCP, service: Service, caller: str) -> None:
    from interlock.surfaces.cli.judging import action_of, as_json  # noqa: PLC0415 - with the extra only

    @server.tool(annotations=_LOOKS)
    def check_action(
        tool: str, text: str = "", args: dict[str, Any] | None = None, surface: str = "tool_call"
    ) -> dict[str, Any]:
        """Judge an action before you take it: allow, confirm or block, and why. Give text or args."""
        row: dict[str, Any] = {"surface": surface, "tool": tool, "actor": caller}
        row.update({"args": args} if args is not None else {"text": text})
        return as_json(service.policies.judge(action_of(row, environment=service.settings.environment)))

    @server.tool(annotations=_LOOKS)
    def assess_task(text: str) -> dict[str, Any]:
        """Say how dangerous a task is, and why."""
        risk = service.plans.assess(Task(text=text, submitter=caller))
        return {**dump(risk), "confirmation_required": risk.confirmation_required}

    @server.tool(annotations=_LOOKS)
    def plan_task(text: str) -> dict[str, Any]:
        """Say which agents would do a task, in which order. Nothing runs."""
        plan = service.plans.make(Task(text=text, submitter=caller))
        return {"phases": [[one.agent for one in phase.assignments] for phase in plan.phases], "digest": plan.digest}


def _add_runs(server: FastMCP, service: Service, caller: str) -> None:
    @server.tool(annotations={"readOnlyHint": False, "destructiveHint": False, "idempotentHint": True})
    def submit_task(
        task: str, idempotency_key: str, agents: list[str] | None = None, priority: Priority | None = None
    ) -> dict[str, Any]:
        """Have a task done. The same idempotency key is the same run. Returns the run's id at once."""
        run = service.runs.submit(
            Task(
                text=task, submitter=caller, agents=tuple(agents or ()), priority=priority,
                idempotency_key=f"{caller}:{idempotency_key}",
            )
        )  # fmt: skip
        return _brief(service, run.id)

    @server.tool(annotations=_LOOKS)
    async def run_status(run_id: str, wait_s: float = 0) -> dict[str, Any]:
        """Say how a run stands; with wait_s, wait up to so many seconds (60 at most) for its end or a question."""
        until = asyncio.get_running_loop().time() + min(max(0.0, wait_s), _LONGEST_WAIT_S)
        while True:
            said = await asyncio.to_thread(_brief, service, run_id)
            done = said["state"] == RunState.ENDED or said["questions"]
            if done or asyncio.get_running_loop().time() >= until:
                return said
            await asyncio.sleep(_POLL_S)

    @server.tool(annotations=_LOOKS)
    def run_diff(run_id: str) -> str:
        """Give what a run has changed so far, as a unified diff."""
        diff = service.runs.diff(run_id)
        return diff if len(diff) <= _DIFF else f"{diff[:_DIFF]}\n… {len(diff) - _DIFF} more characters"


def _add_looks(server: FastMCP, service: Service) -> None:
    @server.tool(annotations=_LOOKS)
    def list_agents() -> list[dict[str, Any]]:
        """List the agents that can be given tasks."""
        return [{"name": one.name, "description": one.description} for one in service.catalogue.values()]

    @server.tool(annotations=_LOOKS)
    def system_status() -> dict[str, Any]:
        """Say whether it is safe and why not, what runs, what waits, what fires, and which agents are cut off."""
        said: dict[str, Any] = dump(service.health.status())
        return said

    @server.tool(annotations=_LOOKS)
    def health() -> list[dict[str, Any]]:
        """Say how well Interlock itself (first) and all agents are, and what to do about it."""
        return [dump(one) for one in (service.health.system(), *service.health.agents(within_s=_SOON_S))]

    @server.tool(annotations=_LOOKS)
    def list_alerts() -> list[dict[str, Any]]:
        """List the alerts that are not over, the most urgent first. People acknowledge them elsewhere."""
        return [dump(one) for one in by_urgency(service.alarms.alerts())]


def _brief(service: Service, run_id: str) -> dict[str, Any]:
    view = service.runs.view(run_id)
    run = view.run
    return {
        "run_id": run.id, "state": run.state, "risk": run.risk.level if run.risk else None,
        "outcome": run.outcome.kind if run.outcome else None, "reason": run.outcome.reason if run.outcome else "",
        "branch": run.outcome.branch if run.outcome else "", "changed": list(run.outcome.changed) if run.outcome else [],
        "waits_for": view.waits_for,
        "questions": [one.id for one in view.approvals if one.state is ApprovalState.PENDING],
        "agents": [{"agent": one.agent, "state": one.state, "error": one.error.message if one.error else ""}
                   for one in view.attempts],
    }  # fmt: skip
