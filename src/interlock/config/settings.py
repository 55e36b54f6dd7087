"""What can be configured: frozen, every key with its unit, unknown keys refused.

The numbers are the user's (spec 2, 3, 6, 12) where they gave one; the others say where they come from.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, PrivateAttr

from interlock.config.agents import BUILT_IN_AGENTS, AgentSettings
from interlock.config.base import Section, Word
from interlock.config.containment import CredentialSettings, SandboxSettings, WorkspaceSettings
from interlock.config.judging import ApprovalSettings, PolicySettings, RiskSettings, ScopeSettings, ToolSettings
from interlock.config.limits import BreakerSettings, BudgetSettings, LimitSettings
from interlock.config.processes import ServerSettings, WorkerSettings
from interlock.config.recovery import RecoverySettings
from interlock.config.watching import (
    AlertSettings,
    HealthSettings,
    NotifySettings,
    RolloutSettings,
    TelemetrySettings,
    VersionSettings,
)


class Sections(Section):
    """Everything that a file may say at its top level and for one environment."""

    store_url: str = ""
    """The database, an SQLAlchemy URL (SQLite or Postgres); empty: SQLite in the state directory."""
    state_dir: Path = Path(".interlock")
    """Where Interlock keeps its state, relative to the project."""
    verbose: bool = False
    """Whether logs hold details."""
    limits: LimitSettings = LimitSettings()
    budgets: BudgetSettings = BudgetSettings()
    breaker: BreakerSettings = BreakerSettings()
    approvals: ApprovalSettings = ApprovalSettings()
    recovery: RecoverySettings = RecoverySettings()
    risk: RiskSettings = RiskSettings()
    policies: PolicySettings = PolicySettings()
    agents_dir: Word = ".claude/agents"
    """Where the agents' Markdown definitions are, relative to the project."""
    agents: Mapping[Word, AgentSettings] = Field(default_factory=lambda: dict(BUILT_IN_AGENTS))
    """By agent name: what the project adds to its definition."""
    matrix: Mapping[str, Any] | None = None
    """An own decision matrix; nothing: the original's."""
    tools: Mapping[Word, ToolSettings] = Field(default_factory=dict)
    """Tools by name, and how their effects are undone; what is not named is judged by what it does."""
    workspace: WorkspaceSettings = WorkspaceSettings()
    scope: ScopeSettings = ScopeSettings()
    sandbox: SandboxSettings = SandboxSettings()
    credentials: Mapping[Word, CredentialSettings] = Field(default_factory=dict)
    """By name: secrets that are used for agents and never shown to them."""
    worker: WorkerSettings = WorkerSettings()
    health: HealthSettings = HealthSettings()
    alerts: AlertSettings = AlertSettings()
    notify: NotifySettings = NotifySettings()
    versions: Mapping[Word, Mapping[Word, VersionSettings]] = Field(default_factory=dict)
    """By agent name, then by version name: what a new version of the agent has that is different; ``interlock rollout``."""
    rollouts: RolloutSettings = RolloutSettings()
    telemetry: TelemetrySettings = TelemetrySettings()
    server: ServerSettings = ServerSettings()
    rollback_env: tuple[Word, ...] = ()
    """Environment variables that compensations and rollback commands get, such as a database's URL; agents do not get them."""
    rollback_paths: tuple[Word, ...] = ()
    """Paths outside of the project that compensations and rollback commands may write to (a directory of dumps, of a database's socket)."""
    retention_days: Annotated[int, Field(strict=True, ge=1, le=36500)] = 365
    """Days after which ended runs may be archived."""


class Settings(Sections):
    """All settings of one project in one environment."""

    environment: str
    """The environment's name."""
    project: Path
    """The project's directory, absolute."""
    _sources: Mapping[str, str] = PrivateAttr(default_factory=dict)

    def source(self, key: str) -> str:
        """Where the value at the dotted ``key`` comes from.

        One of ``default``, ``environment production (built in)``, ``interlock.yaml:12``, ``variable INTERLOCK_ENV``,
        ``option --env``.
        """
        return source_of(self._sources, key)

    @property
    def sources(self) -> Mapping[str, str]:
        """The source of every leaf that is not a default, by dotted key."""
        return dict(self._sources)


def source_of(sources: Mapping[str, str], key: str) -> str:
    """The source of a key, of the last thing said inside it, or of the whole that it is part of."""
    if key in sources:
        return sources[key]
    inside = [source for known, source in sources.items() if known.startswith(f"{key}.")]
    around = [source for known, source in sources.items() if key.startswith(f"{known}.")]
    return (inside or around or ["default"])[-1]
