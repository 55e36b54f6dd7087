"""What can be configured about watching: health, alerts, notifications, rollouts (spec 8, 9, 11)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import Field, SecretStr, ValidationInfo, model_validator

from interlock.config.base import PART, Count, RunnerSettings, Seconds, Section, Word

Percent = Annotated[int, Field(strict=True, ge=0, le=100)]


class HealthSettings(Section):
    """When an agent is well (the user's numbers, spec 8), and when the system itself is."""

    window_s: Annotated[Seconds, Field(ge=60)] = 86400
    """How far back an agent's averages reach, in seconds: what happened a year ago says nothing about today."""
    response_ms: Count = 10000
    """The average execution must be shorter, in milliseconds."""
    error_rate_percent: Percent = 10
    """The share of failed executions must be lower, in percent."""
    token_percent: Percent = 80
    """The average tokens must be lower than this share of the agent's context, in percent."""
    idle_s: Seconds = 300
    """The last execution must be younger, in seconds."""
    queue_age_s: Seconds = 900
    """Nothing may wait longer for its place, in seconds."""
    disk_free_mb: Count = 500
    """At least this much must be free where the state is kept, in MiB."""
    verify_every_s: Seconds = 86400
    """How often a worker verifies the whole ledger, in seconds; 0: only by hand."""


Severity = Literal["info", "warning", "critical"]
Action = Literal["notify", "escalate", "circuit-break", "increase-monitoring", "log", "optimize-suggestion"]


class AlertRuleSettings(Section):
    """When an alert fires, and what is done then."""

    condition: Annotated[str, Field(max_length=500)] = ""
    """A CEL condition over the metrics' names, such as ``errorRate > 0.25 && invocations >= 10``."""
    severity: Severity = "warning"
    """``info``, ``warning`` or ``critical``."""
    message: str = ""
    """What people are told."""
    actions: tuple[Action, ...] = ("log",)
    """``notify``, ``escalate``, ``circuit-break``, ``increase-monitoring``, ``log``, ``optimize-suggestion``."""
    window_s: Annotated[Seconds, Field(ge=60)] = 3600
    """How far back the metrics reach, in seconds."""
    at_least: Annotated[int, Field(strict=True, ge=1, le=10_000)] = 5
    """Fewest finished executions in the window before a rate counts, as for the breaker: one of three is no rate."""
    for_s: Seconds = 0
    """How long the condition must hold before it fires, in seconds."""
    keep_firing_for_s: Seconds = 0
    """How long it must not hold before it is resolved, in seconds, against flapping."""
    enabled: bool = True
    """Whether it is evaluated."""
    dry_run: bool = False
    """Whether its actions are only written down."""

    @model_validator(mode="after")
    def _whole(self, info: ValidationInfo) -> Self:
        if info.context is not PART and self.enabled and not self.condition.strip():
            raise ValueError("condition is missing: say when it fires, such as errorRate > 0.25")
        return self


DEFAULT_RULES: Mapping[str, AlertRuleSettings] = {
    "error-rate": AlertRuleSettings(
        condition="errorRate > 0.25", severity="critical", message="Agent error rate exceeds 25%",
        actions=("escalate", "circuit-break"),
    ),
    "consecutive-failures": AlertRuleSettings(
        condition="consecutiveFailures >= 3", severity="warning", message="Agent has failed 3 times consecutively",
        actions=("notify", "increase-monitoring"),
    ),
    "execution-time": AlertRuleSettings(
        condition="executionTime > 30000", severity="info", message="Agent execution time exceeds 30 seconds",
        actions=("log", "optimize-suggestion"),
    ),
    "failed-check": AlertRuleSettings(
        condition="checksFailed > 0", severity="warning", message="A validator that tells somebody has failed",
        actions=("notify", "log"),
    ),
}  # fmt: skip
"""The user's three rules (spec 9), and what a validator's ``on_failure: alert`` means (spec 1). A project changes one under its name, or switches it off with ``enabled: false``."""


class AlertSettings(Section):
    """The rules, and how often they are looked at."""

    rules: Mapping[Word, AlertRuleSettings] = Field(default_factory=lambda: dict(DEFAULT_RULES))
    """By name."""
    every_s: Annotated[Seconds, Field(ge=1)] = 15
    """Seconds between two evaluations; one worker of all does them."""
    repeat_s: Annotated[Seconds, Field(ge=60)] = 14400
    """Seconds after which people are told again of an alert that nobody has acknowledged."""
    monitoring_s: Seconds = 3600
    """How long increased monitoring lasts, in seconds."""
    actions_per_hour: Annotated[int, Field(strict=True, ge=1, le=1000)] = 12
    """Most actions of one kind for one rule and agent in an hour."""
    dry_run: bool = False
    """Whether all actions are only written down."""


class EscalationStep(Section):
    """Whom to call when nobody has acknowledged yet."""

    after_s: Seconds = 0
    """Seconds after the alert has fired."""
    to: tuple[Word, ...] = ()
    """Names of targets."""


class NotifySettings(Section):
    """Who is told, and how."""

    targets: Mapping[Word, SecretStr] = Field(default_factory=dict)
    """By name: an apprise URL (``mailtos://…``, ``slack://…``, ``jsons://…``), or ``env:NAME`` for a variable that holds one."""
    notify: tuple[Word, ...] = ()
    """Targets of the action ``notify``; nothing written: all."""
    escalation: tuple[EscalationStep, ...] = ()
    """Steps of the action ``escalate``, one after the other until somebody acknowledges; nothing written: all targets at once."""

    @model_validator(mode="after")
    def _known(self, info: ValidationInfo) -> Self:
        if info.context is PART:
            return self
        for name in (*self.notify, *(name for step in self.escalation for name in step.to)):
            if name not in self.targets:
                raise ValueError(f"{name!r} is no target; targets are: {', '.join(self.targets) or 'none'}")
        return self


class TelemetrySettings(Section):
    """What is exported. Prometheus needs no setting: it asks."""

    otel: bool = False
    """Whether ended runs are exported to OpenTelemetry, to where ``OTEL_EXPORTER_OTLP_ENDPOINT`` says."""
    contents: bool = False
    """Whether traces hold the (redacted) texts of tasks and calls."""


class VersionSettings(Section):
    """What a version of an agent has that is different from its definition; everything else stays."""

    instructions: str | None = None
    """Another prompt."""
    model: str | None = None
    """Another model."""
    runner: RunnerSettings | None = None
    """Another way to run it."""


class RolloutSettings(Section):
    """How new versions are tried out (spec 11)."""

    steps: tuple[Annotated[int, Field(strict=True, ge=1, le=99)], ...] = (5, 25, 50)
    """Percentages on the way to everyone, rising."""
    sticky_by: Literal["run", "submitter"] = "run"
    """What always gets the same version: a run with all its attempts, or everything that one person or program submits."""
    error_percent: Annotated[int, Field(strict=True, ge=1, le=50)] = 5
    """The highest chance, in percent, of stopping a version that is no worse, and of taking a step with one that is worse by the margin."""
    margin_percent: Annotated[int, Field(strict=True, ge=1, le=50)] = 10
    """How many more failed, or blocked, executions in a hundred count as worse."""
    slower_percent: Annotated[int, Field(strict=True, ge=1, le=1000)] = 50
    """By how much longer, or dearer, than the stable version an execution counts as worse, in percent."""
    min_pairs: Annotated[int, Field(strict=True, ge=1, le=100_000)] = 10
    """Fewest compared executions before a step is taken."""
    max_pairs: Annotated[int, Field(strict=True, ge=10, le=100_000)] = 1000
    """Compared executions after which an undecided step is paused for a person."""
    provider: str = ""
    """``module:function`` that makes an OpenFeature provider whose flag ``interlock.rollout.AGENT`` is the percentage."""

    @model_validator(mode="after")
    def _rising(self) -> Self:
        if list(self.steps) != sorted(set(self.steps)):
            raise ValueError("steps must rise, such as [5, 25, 50]")
        return self
