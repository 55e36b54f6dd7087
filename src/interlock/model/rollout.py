"""New versions of agents, tried on a share of the executions first."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class RolloutState(StrEnum):
    """Where a rollout stands."""

    RUNNING = "running"
    PAUSED = "paused"
    """For a person: the share stays as it is, nothing is decided by itself."""
    PROMOTED = "promoted"
    """Everybody gets the new version."""
    ABORTED = "aborted"
    """Everybody gets the stable version."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Rollout:
    """One new version of one agent on its way to everyone."""

    id: str
    agent: str
    canary: str
    """The new version's name in the configuration."""
    stable: str = ""
    """The version of all others; empty: the agent as it is defined."""
    canary_digest: str = ""
    """What the new version was when the rollout began: whoever changes it later begins another one."""
    stable_digest: str = ""
    steps: tuple[int, ...]
    """Percentages on the way, rising."""
    step: int = 0
    state: RolloutState = RolloutState.RUNNING
    reason: str = ""
    """Why it stands where it stands."""
    started_by: str
    started_at: datetime
    changed_at: datetime
    pairs_before: int = 0
    """Compared pairs when this step began."""

    @property
    def percent(self) -> int:
        """The share of executions that get the new version."""
        if self.state is RolloutState.PROMOTED:
            return 100
        return 0 if self.state is RolloutState.ABORTED else self.steps[self.step]


@dataclass(frozen=True, kw_only=True, slots=True)
class Outing:
    """How one execution under a rollout ended."""

    attempt: str
    canary: bool
    ok: bool | None
    """None: it was stopped by a policy, which says nothing about whether it works."""
    blocked: bool
    """Whether any of its calls was blocked."""
    duration_ms: int | None = None
    cost_micros: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Side:
    """How the executions of one of the two versions have ended."""

    runs: int
    failed: int
    blocked: int
    """Executions of which any call was blocked."""
    median_ms: int | None = None
    """Of those that succeeded; None while none did."""
    mean_cost_micros: int | None = None
    """Of those that succeeded."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Move:
    """A change of a rollout's share."""

    at: datetime
    kind: str
    """The record's kind, such as ``rollout.advanced``."""
    percent: int
    by: str
    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Evidence:
    """What one comparison says so far. Both are e-values: under the opposite hypothesis, reaching 20 has a chance below 5 %."""

    name: str
    worse: float
    """Against "the new version is no worse"."""
    fine: float
    """Against "the new version is worse by the margin, or more"."""
    seen: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """The new version beside the stable one."""

    pairs: int
    canary_runs: int
    stable_runs: int
    evidence: tuple[Evidence, ...]
