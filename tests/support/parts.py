"""The engine's parts on one store, with a clock that tests set: what ``interlock.app`` puts together, without a project."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from interlock.config import Settings, load_settings
from interlock.decide.policy import PolicySet
from interlock.engine.approvals import Approvals, Question
from interlock.engine.durable import Durable
from interlock.engine.governor import Governor
from interlock.engine.ledger import Ledger
from interlock.engine.policy_rollouts import PolicyRollouts
from interlock.engine.rollouts import Rollouts
from interlock.model.agent import AgentSpec, Priority
from interlock.model.ids import new_id
from interlock.model.plan import Task
from interlock.model.run import AgentError, Attempt, Run
from interlock.store import rows
from interlock.store.database import Database

START = datetime(2030, 1, 1, tzinfo=UTC)


@dataclass(slots=True)
class SetClock:
    """A clock that stands still until a test moves it."""

    at: datetime = START

    def now(self) -> datetime:
        return self.at

    def forward(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds)


@dataclass(kw_only=True, slots=True)
class Parts:
    database: Database
    settings: Settings
    anchor: Path | None = None
    agents: Mapping[str, AgentSpec] = field(default_factory=dict)
    clock: SetClock = field(default_factory=SetClock)
    ledger: Ledger = field(init=False)
    durable: Durable = field(init=False)
    governor: Governor = field(init=False)
    approvals: Approvals = field(init=False)
    policies: PolicyRollouts = field(init=False)

    def __post_init__(self) -> None:
        self.ledger = Ledger(self.database, self.clock, self.anchor)
        self.durable = Durable(self.database)
        self.policies = PolicyRollouts(
            self.database,
            self.ledger,
            self.clock,
            self.settings,
            PolicySet.compile([]),
            lambda _: PolicySet.compile([]),
        )
        self.governor = Governor(
            self.database, self.ledger, self.durable, self.clock, self.settings,
            lambda name: self.agents.get(name) or AgentSpec(name=name),
            Rollouts(self.database, self.ledger, self.clock, self.settings, None, self.policies),
        )  # fmt: skip
        self.approvals = Approvals(self.database, self.ledger, self.durable, self.clock, lifetime=timedelta(hours=1))

    def run(self, text: str = "a task", submitter: str = "ursula") -> str:
        run = Run(
            id=new_id("run"), task=Task(text=text, submitter=submitter), environment="development",
            submitted_at=self.clock.now(),
        )  # fmt: skip
        with self.database.write() as conn:
            rows.insert_run(conn, run)
            self.ledger.append(conn, run.id, "task.submitted", {"task": text}, actor=submitter)
        return run.id

    def queue(self, run_id: str, agent: str = "anna", number: int = 1, priority: Priority = Priority.MEDIUM) -> Attempt:
        attempt = Attempt(
            id=f"{run_id}-1-{agent}-{number}", run_id=run_id, phase=0, assigned=agent, agent=agent, number=number,
            queued_at=self.clock.now(),
        )  # fmt: skip
        with self.database.write() as conn:
            self.governor.request(conn, attempt, priority=priority)
        self.clock.forward(0.001)
        return attempt

    def end(self, attempt: Attempt, error: AgentError | None = None) -> None:
        with self.database.write() as conn:
            current = rows.find_attempt(conn, attempt.id)
            assert current is not None
            self.governor.end(conn, current, error)

    def ask(self, run_id: str, digest: str = "sha256:1", *, quorum: int = 1, separate: bool = False) -> str:
        question = Question(
            run_id=run_id, subject="plan", digest=digest, shown={}, reason="it is risky", requester="ursula",
            quorum=quorum, separate=separate,
        )  # fmt: skip
        with self.database.write() as conn:
            return self.approvals.ask(conn, question).id

    def count(self, table: sa.Table) -> int:
        with self.database.read() as conn:
            found: int = conn.execute(sa.select(sa.func.count()).select_from(table)).scalar_one()
            return found


def settings_of(place: Path, **sections: Any) -> Settings:
    """Settings of a project that says only this."""
    import yaml

    (place / "interlock.yaml").write_text(yaml.safe_dump(sections))
    return load_settings(place)
