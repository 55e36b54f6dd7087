"""Settings by environment: read once, checked as a whole, then handed around frozen."""

from interlock.config.agents import AgentSettings, ValidatorSettings
from interlock.config.base import RunnerSettings
from interlock.config.containment import SandboxSettings, WorkspaceSettings
from interlock.config.judging import (
    ApprovalSettings,
    PolicySettings,
    RiskSettings,
    ScopeSettings,
    ToolSettings,
    Undo,
)
from interlock.config.limits import BreakerSettings, BudgetSettings, LimitSettings
from interlock.config.load import effective, find_project, json_schema, load_settings, problems
from interlock.config.processes import ServerSettings, WorkerSettings
from interlock.config.recovery import RecoveryRule, RecoverySettings, Strategy
from interlock.config.settings import Settings
from interlock.config.text import Tree, read_yaml
from interlock.config.watching import (
    AlertRuleSettings,
    AlertSettings,
    EscalationStep,
    HealthSettings,
    NotifySettings,
    RolloutSettings,
    TelemetrySettings,
    VersionSettings,
)

__all__ = [
    "AgentSettings",
    "AlertRuleSettings",
    "AlertSettings",
    "ApprovalSettings",
    "BreakerSettings",
    "BudgetSettings",
    "EscalationStep",
    "HealthSettings",
    "LimitSettings",
    "NotifySettings",
    "PolicySettings",
    "RecoveryRule",
    "RecoverySettings",
    "RiskSettings",
    "RolloutSettings",
    "RunnerSettings",
    "SandboxSettings",
    "ScopeSettings",
    "ServerSettings",
    "Settings",
    "Strategy",
    "TelemetrySettings",
    "ToolSettings",
    "Tree",
    "Undo",
    "ValidatorSettings",
    "VersionSettings",
    "WorkerSettings",
    "WorkspaceSettings",
    "effective",
    "find_project",
    "json_schema",
    "load_settings",
    "problems",
    "read_yaml",
]
