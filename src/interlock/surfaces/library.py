"""Interlock as a library: the same road from Python, with Python functions as agents if you like."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from interlock.app import build
from interlock.config import load_settings
from interlock.errors import UsageError
from interlock.model.agent import Priority
from interlock.model.approval import Approval, ApprovalState
from interlock.model.ledger import LedgerEntry
from interlock.model.plan import Plan, Task
from interlock.model.risk import RiskAssessment
from interlock.model.run import Outcome, Run, RunState
from interlock.ports import AgentFunction
from interlock.service import RunView, Service

Approver = Callable[[Approval], Awaitable[bool | None]]
"""Asked about every question of a run: True is yes, False is no, None leaves it for somebody else."""

_POLL_S = 0.05


class Orchestrator:
    """One project's Interlock, executing in this process.

    ```python
    from interlock import Orchestrator


    async def writer(job, gate):
        "Writes the changelog."
        (job.workspace / "CHANGELOG.md").write_text("# Changes")
        return "changelog written"


    async with Orchestrator("path/to/project", agents={"writer": writer}) as interlock:
        outcome = await interlock.run("Write the changelog")
        print(outcome.kind, outcome.branch)
    ```

    DBOS, the engine underneath, is one per process: so is a started orchestrator.

    Args:
        project: a directory of the project; its ``interlock.yaml`` is used when there is one.
        env: the environment; else INTERLOCK_ENV, the file's own, or development.
        agents: Python functions as agents, by name; their docstring is their description.
        submitter: who asks, as the ledger names it.
        approver: who answers questions here. Without one they wait for ``interlock approvals``.
        voter: the name under which the approver's answers count.
    """

    def __init__(
        self,
        project: str | Path = ".",
        *,
        env: str | None = None,
        config: Path | None = None,
        agents: Mapping[str, AgentFunction] | None = None,
        submitter: str = "library",
        approver: Approver | None = None,
        voter: str = "approver",
    ) -> None:
        self._project = Path(project)
        self._env = env
        self._config = config
        self._agents = dict(agents or {})
        self._submitter = submitter
        self._approver = approver
        self._voter = voter
        self._service: Service | None = None

    async def __aenter__(self) -> Self:
        """Open the store and begin to execute.

        Raises:
            ConfigError: when the configuration, a policy or an agent definition is not usable.
        """
        self._service = await asyncio.to_thread(self._opened)
        return self

    def _opened(self) -> Service:
        settings = load_settings(self._project, env=self._env, file=self._config)
        service = build(settings, functions=self._agents)
        service.start()
        return service

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop executing; what is under way is resumed by the next process."""
        service, self._service = self.service, None
        await asyncio.to_thread(service.close)

    @property
    def service(self) -> Service:
        """All use-cases, synchronous.

        Raises:
            UsageError: outside of ``async with``.
        """
        if self._service is None:
            raise UsageError("open the orchestrator first: async with Orchestrator(…) as interlock")
        return self._service

    async def run(
        self, task: str, *, agents: Sequence[str] = (), priority: Priority | None = None, key: str = ""
    ) -> Outcome:
        """Have a task done, to its outcome. A question waits for the approver, or for anybody's answer elsewhere.

        Raises:
            PlanError: when nobody suits, or an agent is unknown.
        """
        run = await self.submit(task, agents=agents, priority=priority, key=key)
        return await self.outcome(run.id)

    async def submit(
        self, task: str, *, agents: Sequence[str] = (), priority: Priority | None = None, key: str = ""
    ) -> Run:
        """Take a task on, durably, and return at once."""
        made = Task(text=task, submitter=self._submitter, agents=tuple(agents), priority=priority, idempotency_key=key)
        return await asyncio.to_thread(self.service.runs.submit, made)

    async def outcome(self, run_id: str) -> Outcome:
        """Wait for a run's outcome, answering its questions with the approver."""
        seen: set[str] = set()
        while True:
            view = await asyncio.to_thread(self.service.runs.view, run_id)
            if view.run.state is RunState.ENDED and view.run.outcome is not None:
                return view.run.outcome
            await self._answer(view, seen)
            await asyncio.sleep(_POLL_S)

    async def _answer(self, view: RunView, seen: set[str]) -> None:
        for approval in view.approvals:
            if self._approver is None or approval.state is not ApprovalState.PENDING or approval.id in seen:
                continue
            seen.add(approval.id)
            answer = await self._approver(approval)
            if answer is not None:
                await asyncio.to_thread(self.service.approvals.vote, approval.id, self._voter, approve=answer)

    async def events(self, run_id: str) -> AsyncIterator[LedgerEntry]:
        """The run's records as they come, until it has ended."""
        after = 0
        while True:
            run = await asyncio.to_thread(self.service.runs.find, run_id)
            page = await asyncio.to_thread(self.service.ledger.entries, run_id=run_id, after=after)
            for entry in page:
                after = entry.seq
                yield entry
            if run.state is RunState.ENDED and not page:
                return
            await asyncio.sleep(_POLL_S)

    async def assess(self, task: str) -> RiskAssessment:
        """What a task risks."""
        return await asyncio.to_thread(self.service.plans.assess, Task(text=task, submitter=self._submitter))

    async def plan(self, task: str) -> Plan:
        """Who would do what, in which order.

        Raises:
            PlanError: when there is no sound plan.
        """
        return await asyncio.to_thread(self.service.plans.make, Task(text=task, submitter=self._submitter))

    async def cancel(self, run_id: str) -> None:
        """End a run cleanly."""
        await asyncio.to_thread(self.service.runs.cancel, run_id, self._submitter)
