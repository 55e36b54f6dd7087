"""What goes in and out of the API besides the nouns themselves; pydantic, because this is an edge."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, ClassVar, Generic, Literal, TypeVar

import orjson
from fastapi import Path, Response
from pydantic import BaseModel, ConfigDict, Field

from interlock.decide.alerts import AlertRule
from interlock.model.action import Surface
from interlock.model.agent import AgentSpec, Priority
from interlock.model.alert import AlertAction, Severity
from interlock.model.breaker import BreakerState
from interlock.model.decision import RuleAction, Verdict
from interlock.model.identity import Being, Role, Token
from interlock.model.metrics import AgentMetrics
from interlock.model.plain import dump
from interlock.model.risk import Factor, RiskAssessment, RiskLevel
from interlock.model.run import Run, RunState
from interlock.policies import examine_text, lint

T = TypeVar("T")

_BIG = 2**53
LONGEST_TASK = 100_000

Id = Annotated[str, Path(pattern=r"^[A-Za-z0-9_]{1,64}$")]
Name = Annotated[str, Path(pattern=r"^[A-Za-z0-9][A-Za-z0-9@._+-]{0,99}$")]
Seq = Annotated[int, Field(ge=0, le=_BIG)]


def said(value: Any, *, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """A noun, a view, or a list of them as the JSON that OpenAPI declares. No second validation: they are ours."""
    return Response(orjson.dumps(plain(value)), status_code=status, headers=headers, media_type="application/json")


def plain(value: Any) -> Any:
    """Nouns and views as JSON values."""
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    return value if value is None or isinstance(value, (str, int, float, bool)) else dump(value)


class Given(BaseModel):
    """A request's body: unknown keys are refused."""

    model_config = ConfigDict(extra="forbid")


class Page(BaseModel, Generic[T]):
    """A part of a list."""

    items: list[T]
    next: str | None = Field(description="Send it as `cursor` for what follows; null at the end.")


class TaskIn(Given):
    """A task to take on."""

    task: str = Field(min_length=1, max_length=LONGEST_TASK, description="What is to be done, in words.")
    agents: list[Annotated[str, Field(min_length=1, max_length=100)]] = Field(
        default_factory=list, max_length=50, description="Agents to insist on."
    )
    priority: Priority | None = None


class TextIn(Given):
    """A task to judge; nothing runs."""

    text: str = Field(min_length=1, max_length=LONGEST_TASK)
    agents: list[Annotated[str, Field(min_length=1, max_length=100)]] = Field(default_factory=list, max_length=50)


class CheckIn(Given):
    """An action to judge: ``text`` or ``args``, not both."""

    surface: Surface = Surface.TOOL_CALL
    tool: str = Field(default="", max_length=200)
    text: str | None = None
    args: dict[str, Any] | None = None
    agent: str = Field(default="", max_length=200)


class NoteIn(Given):
    """A word about it."""

    note: str = Field(default="", max_length=2000)


class ReasonIn(Given):
    """Why; kept in the ledger."""

    reason: str = Field(default="", max_length=2000)


class SilenceIn(Given):
    """Of what nobody is to be told."""

    lasting_s: int = Field(ge=1, le=30 * 86400, description="How long, in seconds.")
    rule: str = Field(default="*", min_length=1, max_length=200, description="A rule's name, or a glob.")
    agent: str = Field(default="*", max_length=200, description="An agent's name, or a glob.")
    reason: str = Field(default="", max_length=2000)


class RolloutIn(Given):
    """A version to try."""

    agent: str = Field(min_length=1, max_length=100, description="Its name, or `policies`.")
    version: str = Field(
        min_length=1,
        max_length=100,
        description="Its name under `versions`, or `policies.versions`, in the configuration.",
    )
    steps: list[Annotated[int, Field(ge=0, le=99)]] = Field(
        default_factory=list, max_length=20, description="Percentages on the way, rising; else the configured ones."
    )


class PromoteIn(Given):
    """How far."""

    fully: bool = Field(default=False, description="To everybody, not only the next step.")


class LimitIn(Given):
    """A limit."""

    most: int | None = Field(ge=0, le=1_000_000, description="0: never; null: as configured.")


class CorrectionIn(Given):
    """Who was right."""

    text: str = Field(min_length=1, max_length=LONGEST_TASK, description="The task in words.")
    agents: list[Annotated[str, Field(min_length=1, max_length=100)]] = Field(min_length=1, max_length=50)


class PolicyTextIn(Given):
    """A policy file."""

    text: str = Field(max_length=500_000, description="YAML, as in a file.")


class CollectIn(Given):
    """What is old enough."""

    days: int | None = Field(default=None, ge=0, le=36_500, description="Instead of `retention_days`.")
    dry: bool = Field(default=False, description="Only count.")


class AnswerIn(Given):
    """A person's answer."""

    digest: str = Field(max_length=100, description="The digest of the question as you have seen it.")
    note: str = Field(default="", max_length=2000)


class BreakerIn(Given):
    """What an operator wants of a breaker."""

    state: Literal["open", "closed", "reset"]
    reason: str = Field(default="by hand", max_length=2000)


class TokenIn(Given):
    """A token to make."""

    name: str = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9@._+-]{0,63}(/[A-Za-z0-9][A-Za-z0-9@._+-]{0,63})?$",
        description="A person's name, or person/program.",
    )
    being: Being
    role: Role
    days: int = Field(default=90, ge=1, le=366)


class TokenMade(BaseModel):
    """A new token with its secret, which is shown here and never again."""

    shown_once: ClassVar[bool] = True
    """Not kept for whoever sends the same idempotency key again."""
    token: Token
    secret: str


class Me(BaseModel):
    """Who the token belongs to, and what it may do."""

    name: str
    being: Being
    role: Role
    rights: list[str]


class RunBrief(BaseModel):
    """A run in a list."""

    id: str
    task: str = Field(description="Its first 300 characters.")
    submitter: str
    environment: str
    state: RunState
    outcome: str | None
    risk: RiskLevel | None
    submitted_at: datetime
    ended_at: datetime | None

    @classmethod
    def of(cls, run: Run) -> RunBrief:
        """The brief of a run."""
        return cls(
            id=run.id, task=run.task.text[:300], submitter=run.task.submitter, environment=run.environment,
            state=run.state, outcome=run.outcome.kind if run.outcome else None,
            risk=run.risk.level if run.risk else None, submitted_at=run.submitted_at, ended_at=run.ended_at,
        )  # fmt: skip


class FindingOut(BaseModel):
    """Something that a reader saw."""

    detector: str
    kind: str
    severity: RiskLevel
    evidence: str
    reason: str
    span: list[int | str] | None


class Judgement(BaseModel):
    """The gate's answer."""

    verdict: Verdict
    risk: RiskLevel
    findings: list[FindingOut]
    rules: list[str]
    reason: str
    warnings: list[str]
    quorum: int


class Weighed(BaseModel):
    """One rule that was considered."""

    rule: str
    action: RuleAction
    enforcement: str
    matched: bool
    why: str


class Explained(Judgement):
    """The gate's answer with every rule that was considered."""

    considered: list[Weighed]


class Assessed(BaseModel):
    """What a task risks."""

    level: RiskLevel
    factors: list[Factor]
    mitigation_required: bool
    confirmation_required: bool

    @classmethod
    def of(cls, risk: RiskAssessment) -> Assessed:
        """The assessment with what follows from it."""
        return cls(
            level=risk.level, factors=list(risk.factors), mitigation_required=risk.mitigation_required,
            confirmation_required=risk.confirmation_required,
        )  # fmt: skip


class Planned(BaseModel):
    """Who would do a task, in which order."""

    primary: list[str]
    fallback: dict[str, list[str]]
    exclusions: list[list[str]]
    phases: list[list[str]]
    scores: dict[str, int]
    abstained: bool
    emergency: bool
    reason: str
    digest: str
    evidence: dict[str, list[str]] = Field(description="The words that speak for each agent.")


class AgentOut(BaseModel):
    """An agent of the catalogue."""

    name: str
    description: str
    tools: list[str]
    model: str
    capabilities: list[str]
    owns: list[str]
    needs: list[str]
    provides: list[str]
    fallbacks: list[str]
    exclusions: list[str]
    priority: Priority
    max_concurrent: int | None
    timeout_s: float | None
    fallback_only: bool
    runner: str | None
    breaker: BreakerState

    @classmethod
    def of(cls, spec: AgentSpec, breaker: BreakerState) -> AgentOut:
        """The agent as others may see it: how it is run, but not with what."""
        return cls(
            name=spec.name, description=spec.description, tools=list(spec.tools), model=spec.model,
            capabilities=list(spec.capabilities), owns=list(spec.owns), needs=list(spec.needs),
            provides=list(spec.provides), fallbacks=list(spec.fallbacks), exclusions=list(spec.exclusions),
            priority=spec.priority, max_concurrent=spec.max_concurrent,
            timeout_s=spec.timeout.total_seconds() if spec.timeout else None, fallback_only=spec.fallback_only,
            runner=spec.runner.kind if spec.runner else None, breaker=breaker,
        )  # fmt: skip


class AgentHour(BaseModel):
    """An agent in one hour."""

    start: datetime
    metrics: AgentMetrics


class RuleOut(BaseModel):
    """When an alert fires, and what it does then."""

    name: str
    condition: str
    severity: Severity
    message: str
    actions: list[AlertAction]
    window_s: int
    for_s: int
    keep_firing_for_s: int
    at_least: int
    dry_run: bool

    @classmethod
    def of(cls, rule: AlertRule) -> RuleOut:
        """The rule for others to read."""
        return cls(
            name=rule.name, condition=rule.condition.source, severity=rule.severity, message=rule.message,
            actions=list(rule.actions), window_s=int(rule.window.total_seconds()),
            for_s=int(rule.hold.total_seconds()), keep_firing_for_s=int(rule.keep.total_seconds()),
            at_least=rule.at_least, dry_run=rule.dry_run,
        )  # fmt: skip


class LimitOut(BaseModel):
    """A limit and where it comes from."""

    name: str
    most: int
    source: str = Field(description="`configured`, or `set by hand`.")


class Learned(BaseModel):
    """What a correction has taught."""

    new: bool = Field(description="False when it was known already.")


class Linted(BaseModel):
    """What is wrong with a policy file."""

    errors: list[str]
    warnings: list[str]
    rules: int

    @classmethod
    def of(cls, text: str) -> Linted:
        """What is wrong with that text."""
        found = lint([examine_text(text, "policy")])
        return cls(errors=list(found.errors), warnings=list(found.warnings), rules=found.rules)


class StoreCheck(BaseModel):
    """What is wrong with the store; empty when all is well."""

    problems: list[str]


class PolicyOut(BaseModel):
    """A policy in force."""

    name: str
    enforcement: str
    rules: list[dict[str, Any]]


class Setting(BaseModel):
    """One effective value. What may be a secret is masked."""

    key: str
    value: Any
    source: str


class Diff(BaseModel):
    """A run's changes."""

    run_id: str
    diff: str


class Ready(BaseModel):
    """Whether this process can serve, and whether anybody executes."""

    status: Literal["ready", "not ready"]
    store: bool
    worker: bool
