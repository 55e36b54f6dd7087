"""A task under way: runs, attempts, effects, outcomes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from interlock.model.agent import AgentResult
from interlock.model.plan import Plan, Task
from interlock.model.risk import RiskAssessment


class RunState(StrEnum):
    """What a run is doing."""

    STARTING = "starting"
    WAITING = "waiting"
    """For a person."""
    RUNNING = "running"
    ROLLING_BACK = "rolling_back"
    ENDED = "ended"
    SESSION = "session"
    """Nothing to execute: an agent that somebody runs by hand asks the gate about its calls (``interlock hook``)."""


class OutcomeKind(StrEnum):
    """Every way in which a run can end."""

    SUCCEEDED = "succeeded"
    BLOCKED = "blocked"
    DENIED = "denied"
    FAILED = "failed"
    ROLLED_BACK = "rolled_back"
    ESCALATED = "escalated"
    CANCELLED = "cancelled"
    EXPIRED = "expired"


@dataclass(frozen=True, kw_only=True, slots=True)
class Conflict:
    """Two agents whose results do not go together, and what to do about it."""

    agents: tuple[str, ...]
    paths: tuple[str, ...] = ()
    what: str = ""
    advice: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """How a run ended, in one of the named ways, with what each agent delivered."""

    kind: OutcomeKind
    reason: str = ""
    results: Mapping[str, AgentResult] = field(default_factory=dict)
    branch: str = ""
    """Where the changes are to be reviewed, empty when there are none or they were merged."""
    patch: str = ""
    """The file that holds the changes as a patch, when so configured."""
    changed: tuple[str, ...] = ()
    """Paths that differ from where the run began."""
    conflicts: tuple[Conflict, ...] = ()
    undone: tuple[str, ...] = ()
    not_undone: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    """Effects of which nobody knows whether they happened."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """One task on its way to one outcome."""

    id: str
    task: Task
    environment: str
    state: RunState = RunState.STARTING
    risk: RiskAssessment | None = None
    plan: Plan | None = None
    outcome: Outcome | None = None
    submitted_at: datetime
    ended_at: datetime | None = None


class AttemptState(StrEnum):
    """Where one execution of one agent stands."""

    READY = "ready"
    """Queued, durably."""
    ADMITTED = "admitted"
    RUNNING = "running"
    WAITING = "waiting"
    """For a person, without a permit."""
    ENDED = "ended"


class ErrorKind(StrEnum):
    """Classified errors of an attempt (spec 6)."""

    TIMEOUT = "timeout"
    SCHEMA_CONFLICT = "schema_conflict"
    SECURITY_VIOLATION = "security_violation"
    RENDERING_FAILURE = "rendering_failure"
    TRANSIENT = "transient"
    CRASHED = "crashed"
    CONFLICT = "conflict"
    """Its changes do not apply on top of what another agent has integrated meanwhile."""
    VALIDATION = "validation"
    CIRCUIT_OPEN = "circuit_open"
    BLOCKED = "blocked"
    DENIED = "denied"
    CANCELLED = "cancelled"
    BUDGET = "budget"
    """A budget is used up."""
    UNKNOWN_EFFECT = "unknown_effect"
    UNKNOWN = "unknown"


@dataclass(frozen=True, kw_only=True, slots=True)
class AgentError:
    """Why an attempt failed."""

    kind: ErrorKind
    message: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Attempt:
    """One execution of one agent for one assignment."""

    id: str
    run_id: str
    phase: int
    assigned: str
    """The agent that the plan names; ``agent`` may be its fallback."""
    agent: str
    number: int
    version: str = ""
    """The version of the agent that it got from a rollout; empty when the agent had none."""
    version_digest: str = ""
    """What that version was when the rollout began."""
    rollout: str = ""
    """The rollout whose evidence it is part of."""
    state: AttemptState = AttemptState.READY
    queued_at: datetime
    admitted_at: datetime | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    result: AgentResult | None = None
    error: AgentError | None = None

    @property
    def succeeded(self) -> bool:
        """Whether it has ended well."""
        return self.state is AttemptState.ENDED and self.error is None

    @property
    def failed(self) -> bool:
        """Whether it has ended with an error."""
        return self.state is AttemptState.ENDED and self.error is not None


class EffectState(StrEnum):
    """What is known about an effect. After a crash an intent without an outcome is UNKNOWN."""

    INTENDED = "intended"
    DONE = "done"
    FAILED = "failed"
    UNKNOWN = "unknown"
    UNDONE = "undone"


@dataclass(frozen=True, kw_only=True, slots=True)
class Compensation:
    """How an effect outside the workspace is undone."""

    command: tuple[str, ...]
    validate: tuple[str, ...] = ()
    """A command that must succeed afterwards, else the undo has failed."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Effect:
    """One tool call that passed the gate."""

    id: str
    run_id: str
    attempt_id: str
    number: int
    tool: str
    summary: str
    """What it does, redacted."""
    action_digest: str
    state: EffectState = EffectState.INTENDED
    idempotent: bool = False
    compensation: Compensation | None = None
    snapshot: str = ""
    """The attempt's files before the call, under the name that its workspaces know; empty when it has none."""


@dataclass(frozen=True, kw_only=True, slots=True)
class QueuePlace:
    """Where a waiting attempt stands."""

    attempt_id: str
    run_id: str
    agent: str
    position: int
    """1 is next."""
    reason: str
    estimate_ms: int | None = None
    """Within which half of such attempts have started; None while too little is known."""
    estimate_p90_ms: int | None = None
