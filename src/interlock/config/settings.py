"""What can be configured: frozen, every key with its unit, unknown keys refused.

The numbers are the user's (spec 2, 3, 6, 12) where they gave one; the others say where they come from.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, PrivateAttr, ValidationInfo, field_validator, model_validator

from interlock.config.base import PART, Command, Count, Fraction, Money, RunnerSettings, Seconds, Section, Tokens, Word
from interlock.config.watching import (
    AlertSettings,
    HealthSettings,
    NotifySettings,
    RolloutSettings,
    TelemetrySettings,
    VersionSettings,
)
from interlock.model.agent import OnFailure, Priority
from interlock.model.decision import Enforcement
from interlock.model.risk import RiskLevel
from interlock.model.run import ErrorKind
from interlock.model.sandbox import SandboxLevel


class LimitSettings(Section):
    """The governor's limits. 0 means never, not "default"."""

    max_concurrent: Count = 3
    """Agents at work at once in all, over all processes."""
    per_agent: Count = 2
    """Executions of one agent at once, where the agent itself says nothing."""
    tags: Mapping[Word, Count] = Field(default_factory=dict)
    """Executions at once of all agents that have a tag (``agents.NAME.tags``): a database, a test system, a licence."""
    per_minute: Count = 10
    """Agent starts in any 60 seconds."""
    timeout_s: Seconds = 300
    """Longest execution of an agent, in seconds."""
    max_retries: Annotated[int, Field(strict=True, ge=0, le=20)] = 2
    """Most further attempts after the first, whatever the recovery rules say."""
    context_tokens: Tokens = 8000
    """Tokens of context that one agent gets."""
    ageing_s: Annotated[Seconds, Field(ge=1)] = 60
    """Waiting time, in seconds, that lifts an attempt by one class of priority, so that low priority never starves."""


class BudgetSettings(Section):
    """What may be spent. Nothing written: no limit. 0: nothing may be spent. Days are UTC days."""

    tokens_per_run: Tokens | None = None
    """Input and output tokens of all agents of one run."""
    tokens_per_day: Tokens | None = None
    """The same for all runs of one day."""
    tokens_per_agent_day: Tokens | None = None
    """The same for one agent."""
    tokens_per_submitter_day: Tokens | None = None
    """The same for all runs of one submitter."""
    cost_per_run_usd: Money | None = None
    """Dollars for one run, to a millionth."""
    cost_per_day_usd: Money | None = None
    """Dollars for one day."""
    cost_per_agent_day_usd: Money | None = None
    """Dollars for one agent and day."""
    cost_per_submitter_day_usd: Money | None = None
    """Dollars for one submitter and day."""
    calls_per_run: Tokens | None = None
    """Tool calls of all agents of one run."""
    calls_per_day: Tokens | None = None
    """Tool calls of one day."""
    calls_per_agent_day: Tokens | None = None
    """Tool calls of one agent and day."""
    calls_per_submitter_day: Tokens | None = None
    """Tool calls of one submitter and day."""
    work_per_run_s: Seconds | None = None
    """Seconds that agents work for one run, added up."""
    work_per_day_s: Seconds | None = None
    """Seconds that agents work in one day."""
    work_per_agent_day_s: Seconds | None = None
    """Seconds that one agent works in one day."""
    work_per_submitter_day_s: Seconds | None = None
    """Seconds that agents work for one submitter in one day."""

    def caps(self, period: str) -> dict[str, int]:
        """The limits of one period (``run``, ``day``, ``agent_day``, ``submitter_day``) by kind, in whole units."""
        work = getattr(self, f"work_per_{period}_s")
        found = {
            "tokens": getattr(self, f"tokens_per_{period}"),
            "cost_micros": _micros(getattr(self, f"cost_per_{period}_usd")),
            "calls": getattr(self, f"calls_per_{period}"),
            "millis": None if work is None else work * 1000,
        }
        return {kind: most for kind, most in found.items() if most is not None}

    @property
    def cost_per_run_micros(self) -> int | None:
        """The run's limit in millionths of a dollar."""
        return _micros(self.cost_per_run_usd)

    @property
    def cost_per_day_micros(self) -> int | None:
        """The day's limit in millionths of a dollar."""
        return _micros(self.cost_per_day_usd)


def _micros(money: Decimal | None) -> int | None:
    return None if money is None else int(money * 1_000_000)


class BreakerSettings(Section):
    """When an agent's circuit breaker opens, and how it closes again (spec 3; windows of 10 to 20 fit agents)."""

    threshold: Annotated[int, Field(strict=True, ge=1, le=1000)] = 5
    """Failures in a row that open it."""
    window: Annotated[int, Field(strict=True, ge=1, le=1000)] = 20
    """How many last results the failure rate is taken of."""
    min_calls: Annotated[int, Field(strict=True, ge=1, le=1000)] = 5
    """Fewest results in the window before the failure rate counts."""
    failure_rate_percent: Annotated[int, Field(strict=True, ge=1, le=100)] = 50
    """Share of failures in the window, in percent, that opens it."""
    slow_s: Seconds = 0
    """Seconds of work, waiting for people aside, from which an execution counts as slow, however it ends; 0: none does."""
    slow_rate_percent: Annotated[int, Field(strict=True, ge=1, le=100)] = 80
    """Share of slow executions in the window, in percent, that opens it."""
    cooldown_s: Seconds = 300
    """Seconds until an open breaker admits a probe; doubles at each opening without a close in between."""
    max_cooldown_s: Seconds = 3600
    """Longest cool-down in seconds."""
    probes: Annotated[int, Field(strict=True, ge=1, le=100)] = 1
    """How many attempts a half-open breaker admits at once."""

    @model_validator(mode="after")
    def _fits(self, info: ValidationInfo) -> Self:
        if info.context is PART:
            return self
        if self.max_cooldown_s < self.cooldown_s:
            raise ValueError("max_cooldown_s must not be shorter than cooldown_s")
        if self.min_calls > self.window:
            raise ValueError("min_calls must not be more than window: the failure rate would never count")
        return self


class ApprovalSettings(Section):
    """When people are asked, and how many must agree."""

    confirm_at: RiskLevel = RiskLevel.HIGH
    """The risk from which a person must confirm."""
    expires_s: Annotated[Seconds, Field(ge=1)] = 86400
    """Seconds after which an unanswered question, or an unused yes, is void."""
    quorum: Annotated[int, Field(strict=True, ge=1, le=10)] = 1
    """How many people must agree."""
    critical_quorum: Annotated[int, Field(strict=True, ge=1, le=10)] = 1
    """How many people must agree to critical work; production starts with 2."""
    separate_requester: bool = False
    """Whether the requester's own vote does not count for critical work; production starts with true."""


class Strategy(StrEnum):
    """What is done about a failed attempt (spec 6)."""

    RETRY = "retry"
    FALLBACK = "fallback"
    ROLLBACK = "rollback"
    MANUAL = "manual"


class RecoveryRule(Section):
    """What one kind of error leads to."""

    strategy: Strategy = Strategy.MANUAL
    """``retry``, ``fallback``, ``rollback`` or ``manual`` (a person)."""
    attempts: Annotated[int, Field(strict=True, ge=0, le=20)] = 0
    """How many retries, or how many fallback agents, before ``then``."""
    backoff_s: Fraction = 2.0
    """Seconds before the first retry; doubles each time, with jitter."""
    max_backoff_s: Fraction = 300.0
    """Longest wait before a retry in seconds."""
    then: Strategy = Strategy.MANUAL
    """What follows when the attempts are used up (not ``retry``)."""

    @field_validator("then")
    @classmethod
    def _ends(cls, then: Strategy) -> Strategy:
        if then is Strategy.RETRY:
            raise ValueError('must be "fallback", "rollback" or "manual": a retry that follows retries would not end')
        return then


def _rule(
    strategy: Strategy, attempts: int = 0, then: Strategy = Strategy.MANUAL, backoff_s: float = 2.0
) -> RecoveryRule:
    return RecoveryRule(strategy=strategy, attempts=attempts, then=then, backoff_s=backoff_s)


class RecoverySettings(Section):
    """What each kind of error leads to: the mapping of spec 6, and the same thought for the kinds that it does not name."""

    timeout: RecoveryRule = _rule(Strategy.RETRY, 2, Strategy.FALLBACK)
    """The agent's time was over."""
    schema_conflict: RecoveryRule = _rule(Strategy.MANUAL)
    """The database is not as the agent expects."""
    security_violation: RecoveryRule = _rule(Strategy.ROLLBACK)
    """A secret or something dangerous in what the agent made. Only ``rollback`` or ``manual``."""
    rendering_failure: RecoveryRule = _rule(Strategy.FALLBACK, 1)
    """A chart or page could not be drawn."""
    transient: RecoveryRule = _rule(Strategy.RETRY, 2, Strategy.FALLBACK)
    """A network, a rate limit, a busy resource: likely gone soon."""
    crashed: RecoveryRule = _rule(Strategy.RETRY, 1, Strategy.FALLBACK)
    """The agent's process was killed or its worker died."""
    conflict: RecoveryRule = _rule(Strategy.RETRY, 1, backoff_s=0)
    """Another agent changed the same lines: once more on the new base, then a person."""
    validation: RecoveryRule = _rule(Strategy.ROLLBACK)
    """A declared validator failed and names no action of its own."""
    circuit_open: RecoveryRule = _rule(Strategy.FALLBACK, 20)
    """The agent's breaker did not admit it: whoever may replace it, then a person."""
    blocked: RecoveryRule = _rule(Strategy.ROLLBACK)
    """A policy forbade what the agent wanted. Only ``rollback`` or ``manual``: another agent is no way round a policy."""
    denied: RecoveryRule = _rule(Strategy.ROLLBACK)
    """A person said no. Only ``rollback`` or ``manual``."""
    cancelled: RecoveryRule = _rule(Strategy.ROLLBACK)
    """Somebody cancelled. Only ``rollback`` or ``manual``."""
    budget: RecoveryRule = _rule(Strategy.MANUAL)
    """A budget is used up: a person decides. Only ``rollback`` or ``manual``: trying again would spend more."""
    unknown_effect: RecoveryRule = _rule(Strategy.MANUAL)
    """Nobody knows whether an effect happened. Always ``manual``."""
    unknown: RecoveryRule = _rule(Strategy.MANUAL)
    """Everything else goes to a person (spec 6)."""

    @field_validator("security_violation", "blocked", "denied", "cancelled", "budget", "unknown_effect")
    @classmethod
    def _never_again(cls, rule: RecoveryRule) -> RecoveryRule:
        if {rule.strategy, rule.then} & {Strategy.RETRY, Strategy.FALLBACK}:
            raise ValueError('must be "rollback" or "manual": trying again would go round a decision')
        return rule

    def rule(self, kind: ErrorKind) -> RecoveryRule:
        """The rule for this kind of error."""
        found: RecoveryRule = getattr(self, kind.value)
        return found


class RiskSettings(Section):
    """How risk is assessed."""

    classifier: Literal["contextual", "lexical"] = "contextual"
    """``contextual`` reads words in their context; ``lexical`` is the user's literal rule."""


class PolicyVersionSettings(Section):
    """What a version of the policies has that is different; it keeps every pack that is on."""

    packs: tuple[Word, ...] = ()
    """Packs on top of those that are on."""
    files: tuple[Word, ...] | None = None
    """Policy files instead of ``policies.files``, relative to the project; nothing written: the same."""
    enforcement: Mapping[Word, Enforcement] | None = None
    """Enforcements instead of ``policies.enforcement``; nothing written: the same."""


class PolicySettings(Section):
    """Which safety policies act. Most restrictive wins; none of them can switch off the security scans."""

    packs: tuple[Word, ...] = ("defaults", "databases", "git", "cloud", "kubernetes", "secrets", "forbidden-operations")
    """Policy packs that come with Interlock; production adds ``production``."""
    files: tuple[Word, ...] = ()
    """Own policy files, relative to the project."""
    enforcement: Mapping[Word, Enforcement] = Field(default_factory=dict)
    """``strict``, ``advisory`` (records what strict would have done) or ``disabled`` by policy name; production refuses ``disabled``."""
    versions: Mapping[Word, PolicyVersionSettings] = Field(default_factory=dict)
    """Other sets of policies by name, to be tried with ``interlock rollout start policies NAME``."""

    @property
    def every_file(self) -> tuple[str, ...]:
        """The policy files of this set and of all versions."""
        named = (*self.files, *(file for version in self.versions.values() for file in version.files or ()))
        return tuple(dict.fromkeys(named))


class ValidatorSettings(Section):
    """A command that must succeed in the workspace after the agent has finished."""

    name: Word
    """How reports call it."""
    command: Command
    """The program and its arguments; no shell."""
    on_failure: OnFailure = OnFailure.ROLLBACK
    """``rollback``, ``alert`` or ``block``."""
    timeout_s: Seconds = 60
    """Longest run in seconds; a time-out is a failure."""


class AgentSettings(Section):
    """What the project adds to an agent's definition; what it does not say stays as defined."""

    description: str = ""
    """What the agent is for, where it has no definition or another one is wanted."""
    instructions: str = ""
    """The same for its instructions."""
    tools: tuple[Word, ...] = ()
    """Tools that it may use."""
    model: str = ""
    """The model that it uses."""
    keywords: tuple[Word, ...] = ()
    """Words of tasks that are this agent's."""
    capabilities: tuple[Word, ...] = ()
    """What it can do, in a few words each."""
    examples: tuple[Word, ...] = ()
    """Tasks that are this agent's work."""
    owns: tuple[Word, ...] = ()
    """Globs of the files that are this agent's."""
    needs: tuple[Word, ...] = ()
    """Capabilities or agents whose results it reads: those run before it."""
    provides: tuple[Word, ...] = ()
    """Capabilities that others may need."""
    fallbacks: tuple[Word, ...] = ()
    """Agents that replace it when it fails, in this order."""
    exclusions: tuple[Word, ...] = ()
    """Agents that must not run at the same time."""
    tags: tuple[Word, ...] = ()
    """Scarce things that it uses; ``limits.tags`` says how many agents may use each at once."""
    credentials: tuple[Word, ...] = ()
    """Names of ``credentials`` that are used for it."""
    priority: Priority = Priority.MEDIUM
    """``low``, ``medium``, ``high`` or ``critical``."""
    max_concurrent: Count | None = None
    """Executions at once; nothing: ``limits.per_agent``; 0: never."""
    timeout_s: Seconds | None = None
    """Longest execution in seconds; nothing: ``limits.timeout_s``."""
    max_retries: Annotated[int, Field(strict=True, ge=0, le=20)] | None = None
    """Most further attempts; nothing: ``limits.max_retries``."""
    context_tokens: Tokens | None = None
    """Tokens of context; nothing: ``limits.context_tokens``."""
    runner: RunnerSettings | None = None
    """How it is run."""
    validators: tuple[ValidatorSettings, ...] = ()
    """Commands that must succeed in the workspace before its changes are taken."""
    rollback: tuple[Command, ...] = ()
    """Commands that undo what it did outside its workspace, in the order in which they run."""
    idempotent: bool = False
    """Whether a second execution after a crash is harmless outside the workspace."""
    fallback_only: bool = False
    """Chosen only to replace another agent."""


ALWAYS_PROTECTED = ("interlock.yaml", "interlock-pins.json", ".interlock/**", ".git/**")
"""An agent that could change these would configure its own gate."""


class WorkspaceSettings(Section):
    """Where agents work, and how their changes arrive."""

    isolation: Literal["auto", "git", "copy"] = "auto"
    """``auto``: a git worktree where there is git, else a copy."""
    deliver: Literal["review", "merge", "patch"] = "review"
    """``review`` leaves a branch, ``merge`` merges it into ``target``, ``patch`` writes a file."""
    undo: Literal["per_call", "per_attempt"] = "per_call"
    """``per_call`` keeps the files as they are before each call that may change them, so that one call can be undone; what that costs is in ``docs/adr/``."""
    target: str = ""
    """The branch for ``merge``; empty: the branch that was checked out when the run began."""
    protected: tuple[Word, ...] = (
        ".github/workflows/**",
        ".gitlab-ci.yml",
        ".circleci/**",
        "Jenkinsfile",
        ".claude/**",
        "CODEOWNERS",
        ".github/CODEOWNERS",
        *ALWAYS_PROTECTED,
    )
    """Globs of files that only people change. ``interlock.yaml``, ``interlock-pins.json``, ``.interlock`` and ``.git`` always are."""

    @field_validator("protected")
    @classmethod
    def _always(cls, globs: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(dict.fromkeys((*globs, *ALWAYS_PROTECTED)))


class ScopeSettings(Section):
    """What the readers may know of the place where actions take effect."""

    paths: tuple[Word, ...] = ()
    """Globs of paths outside of the workspaces that agents may use, relative to the project: its live database, say."""
    hosts: tuple[Word, ...] | None = None
    """Hosts that agents may talk to (``*.example.org`` covers subdomains); nothing written: not restricted; ``[]``: none."""
    dialect: str = ""
    """The SQL dialect of the project's database, in sqlglot's words such as ``postgres``; empty: unknown."""


class Undo(StrEnum):
    """How a tool's effect is undone."""

    NOTHING = "nothing"
    """There is nothing to undo: it reads, or what it leaves is harmless."""
    REVERSIBLE = "reversible"
    """It stays inside the workspace, which is thrown away."""
    COMPENSABLE = "compensable"
    """It lasts; the call names the command that undoes it."""
    IRREVERSIBLE = "irreversible"
    """It cannot be undone (mail, payments, a push): every call needs a person's yes."""


class ToolSettings(Section):
    """What people know of a tool that agents call; agents themselves cannot say it."""

    undo: Undo


class SandboxSettings(Section):
    """How agents' processes are contained."""

    minimum: Literal["none", "rlimits", "landlock", "bubblewrap"] = "rlimits"
    """The weakest containment that is accepted; an agent that cannot have it is not started."""
    minimum_at: Mapping[RiskLevel, SandboxLevel] = Field(
        default_factory=lambda: {RiskLevel.HIGH: SandboxLevel.LANDLOCK, RiskLevel.CRITICAL: SandboxLevel.LANDLOCK}
    )
    """The same for tasks of at least that risk, where it is more."""
    network: bool = True
    """Whether agents have the network. When not, those in bubblewrap still reach the hosts of ``scope.hosts``, through a proxy that asks the gate."""
    memory_mb: Annotated[int, Field(strict=True, ge=16)] | None = None
    """Address space of each process in MiB; nothing: no limit."""
    processes: Annotated[int, Field(strict=True, ge=1)] | None = None
    """Most processes of one agent; nothing: no limit."""
    pass_env: tuple[Word, ...] = ()
    """Environment variables that agents get besides the harmless ones (PATH, HOME, LANG, …)."""

    def level_for(self, risk: RiskLevel) -> SandboxLevel:
        """The weakest containment for a task of this risk."""
        asked = (level for at, level in self.minimum_at.items() if risk >= at)
        return max((SandboxLevel(self.minimum), *asked))


class CredentialSettings(Section):
    """A secret that is used for agents and never shown to them: exactly one of ``env``, ``file``, ``command`` says where it is."""

    env: str = ""
    """A variable of Interlock's own environment."""
    file: str = ""
    """A file, relative to the project and not in it (agents may read the project); ``~`` is your home."""
    command: tuple[Word, ...] = ()
    """A program that prints it, such as ``[pass, show, github]``; run when an attempt begins, with your rights."""
    url: Annotated[str, Field(pattern="^(https?://[^ ?#]+)?$")] = ""
    """The only address that it is sent to: requests of the agent go there through Interlock, each judged by the gate."""
    header: Annotated[str, Field(pattern=r"^[A-Za-z0-9-]+: ?[^\r\n]*\{\}[^\r\n]*$")] = "Authorization: Bearer {}"
    """The header that carries it, ``{}`` for the secret."""
    variable: Annotated[str, Field(pattern="^([A-Za-z_][A-Za-z0-9_]*)?$")] = ""
    """The variable in which the agent finds the address to use instead of ``url``."""

    @model_validator(mode="after")
    def _whole(self, info: ValidationInfo) -> Self:
        if info.context is PART:
            return self
        if sum(map(bool, (self.env, self.file, self.command))) != 1:
            raise ValueError("say where it is by exactly one of env, file and command")
        if bool(self.url) != bool(self.variable):
            raise ValueError("url and variable go together: the variable holds the address that stands for the url")
        return self


class WorkerSettings(Section):
    """Workers hold permits as leases."""

    lease_s: Annotated[Seconds, Field(ge=1)] = 30
    """Seconds after which a silent worker's work goes to another one."""
    heartbeat_s: Annotated[Seconds, Field(ge=1)] = 5
    """Seconds between signs of life; at most half the lease."""
    place: str = ""
    """Workers of one place share the project's directory and so take over from each other; empty: this host and directory."""
    drain_s: Seconds = 30
    """Seconds that a worker which is told to stop gives its agents to finish; what is left then goes to another worker."""

    @model_validator(mode="after")
    def _fits(self, info: ValidationInfo) -> Self:
        if info.context is PART:
            return self
        if self.heartbeat_s * 2 > self.lease_s:
            raise ValueError("heartbeat_s must be at most half of lease_s: one late beat would lose the work")
        return self


class ServerSettings(Section):
    """The HTTP API and the dashboard (``interlock serve``)."""

    host: Word = "127.0.0.1"
    """The address to listen on. Beyond this machine only with TLS, or behind a proxy that does it."""
    port: Annotated[int, Field(strict=True, ge=0, le=65535)] = 8377
    """The port; 0 takes a free one."""
    names: tuple[Word, ...] = ()
    """Host names under which people reach it besides ``localhost`` and the address; requests for others are refused."""
    max_body_kb: Annotated[int, Field(strict=True, ge=1, le=65536)] = 1024
    """Longest request, in KiB."""
    requests_per_minute: Annotated[int, Field(strict=True, ge=1, le=1_000_000)] = 1200
    """Requests of one token in a minute, for each server process."""
    session_s: Annotated[Seconds, Field(ge=60)] = 43200
    """How long a browser stays signed in, in seconds."""


BUILT_IN_AGENTS: Mapping[str, AgentSettings] = {
    "database-schema-agent": AgentSettings(max_concurrent=1, timeout_s=180, priority=Priority.HIGH),
    "security-authentication-agent": AgentSettings(max_concurrent=1, timeout_s=240, priority=Priority.CRITICAL),
    "analytics-visualization-agent": AgentSettings(timeout_s=120, priority=Priority.MEDIUM),
}
"""The user's own agents and their limits (spec 2); a project without them is not bothered by these lines."""


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
