"""New versions of agents, and of the policies, tried on a share of the work first."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from interlock.model.decision import Policy, Verdict

POLICIES = "policies"
"""Whose rollout a rollout of policies is: where one of an agent names the agent."""


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
    """One new version of one agent, or of the policies, on its way to everyone."""

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
    """Percentages on the way, rising. 0, the first one of policies: the new set judges beside the present one, and nobody obeys it."""
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


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """One call on which two sets of policies disagree."""

    run: str
    agent: str
    tool: str
    call: str
    """One redacted line."""
    old: Verdict
    """What the present set says."""
    new: Verdict
    tighter: bool
    why: str
    """The reason of the stricter one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Judgements:
    """What two sets of policies have said of the same calls, in all runs since the rollout began."""

    runs: int = 0
    canary_runs: int = 0
    calls: int = 0
    canary_calls: int = 0
    """Calls that the new set has judged for real."""
    tighter: int = 0
    looser: int = 0
    errors: int = 0
    """Calls that the new set could not judge, though the present one could."""
    left_out: int = 0
    """Calls that were judged by one set only, because the other one took too long."""
    more_blocked: int = 0
    """Runs in which the new set blocks something and the present one nothing."""
    fewer_blocked: int = 0
    """Runs in which the present set blocks something and the new one nothing."""
    more_asked: int = 0
    """The same of questions to people."""
    fewer_asked: int = 0
    examples: tuple[Difference, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class PolicyText:
    """A set of policies as it is kept in the store: every worker judges by the same rules, whatever its files say."""

    policies: tuple[Policy, ...]
    no_accept_in: tuple[str, ...] = ()
    """Environments in which no rule accepts a danger."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Compared:
    """What one more call adds to the sums: how it was judged by the present set and by the new one."""

    old_blocked: bool = False
    new_blocked: bool = False
    old_asked: bool = False
    new_asked: bool = False
    error: bool = False
    left_out: bool = False
    difference: Difference | None = None
