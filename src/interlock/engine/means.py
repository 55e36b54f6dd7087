"""What the engine's parts share: the adapters and the other parts, put together once by :mod:`interlock.app`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import sqlalchemy as sa

from interlock.config import Settings
from interlock.decide.alerts import AlertRule
from interlock.engine.approvals import Approvals
from interlock.engine.choose import Chooser
from interlock.engine.durable import Durable
from interlock.engine.governor import Governor
from interlock.engine.judging import Gate, Judged, failed, scope_of
from interlock.engine.ledger import Ledger
from interlock.engine.meter import Meter
from interlock.engine.rollouts import Rollouts
from interlock.engine.validate import Contain
from interlock.errors import NotFoundError, StoreError
from interlock.model.action import Action, Reading, Scope
from interlock.model.agent import AgentSpec
from interlock.model.history import History
from interlock.model.risk import RiskLevel
from interlock.model.run import Run
from interlock.ports import Clock, Notifier, Observer, Runner, UndoableWorkspaces
from interlock.store import rows
from interlock.store.database import Database

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True, slots=True)
class Means:
    """Everything that a run needs."""

    settings: Settings
    catalogue: Mapping[str, AgentSpec]
    database: Database
    ledger: Ledger
    durable: Durable
    governor: Governor
    approvals: Approvals
    gate: Gate
    chooser: Chooser
    workspaces: UndoableWorkspaces
    runner_of: Callable[[AgentSpec], Runner]
    contain: Contain
    """Puts this machine's sandbox in front of a validator."""
    contain_undo: Contain
    """The same in front of a compensation, which may write to the project."""
    containment: Callable[[str], str]
    """What holds the agent of that name on this machine; may take a moment the first time."""
    meter: Meter
    rollouts: Rollouts
    alert_rules: tuple[AlertRule, ...]
    notifier: Notifier
    observers: Mapping[str, Observer]
    """Told of every ledger entry after it was committed, by name."""
    clock: Clock
    worker_id: str

    def spec(self, agent: str) -> AgentSpec:
        """The agent of that name; one that left the catalogue meanwhile is a bare name."""
        return self.catalogue.get(agent) or AgentSpec(name=agent)

    def run(self, run_id: str) -> Run:
        """The run as stored.

        Raises:
            NotFoundError: when there is none of that id.
        """
        run = self.database.look(lambda conn: rows.find_run(conn, run_id))
        if run is None:
            message = f"there is no run {run_id}"
            raise NotFoundError(message)
        return run

    def record(self, conn: sa.Connection, run_id: str, kind: str, data: Mapping[str, Any], *, once: str = "") -> None:
        """Write a ledger record in the engine's own name."""
        self.ledger.append(conn, run_id, kind, data, actor="interlock", once=once)

    async def write(self, work: Callable[[sa.Connection], T]) -> T:
        """Do ``work`` in one transaction, off the event loop; see :meth:`Database.transact`."""
        return await asyncio.to_thread(self.database.transact, work)

    async def read(self, work: Callable[[sa.Connection], T]) -> T:
        """Read, off the event loop; see :meth:`Database.look`."""
        return await asyncio.to_thread(self.database.look, work)

    def judge(
        self,
        action: Action,
        workspace: str = "",
        *,
        run_id: str = "",
        history: History | None = None,
        floor: RiskLevel = RiskLevel.LOW,
    ) -> Judged:
        """The gate's decision by the policies that this run obeys. Whatever goes wrong is a block.

        Raises:
            StoreError: when the store is away for now, so that nothing is decided yet.
        """
        try:
            course = self.rollouts.policies.course(run_id)
        except Exception as error:
            if isinstance(error, StoreError) and error.passing:
                raise
            return Judged(decision=failed(action, f"{type(error).__name__}: {error}"), reading=Reading())
        return self.gate.judge(action, self.scope(workspace), history=history, floor=floor, course=course)

    def scope(self, workspace: str = "") -> Scope:
        """Where an action would take effect."""
        return scope_of(self.settings, workspace)
