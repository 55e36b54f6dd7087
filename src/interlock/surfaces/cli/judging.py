"""What `check` and `policy` share: rows to actions, actions to decisions, decisions to JSON and to the screen."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from interlock.errors import UsageError, did_you_mean
from interlock.model.action import Action, Scope, Surface
from interlock.surfaces.cli.common import hanging

if TYPE_CHECKING:
    from rich.console import Console

    from interlock.config import Settings, ToolSettings
    from interlock.decide.policy import PolicySet
    from interlock.engine.judging import Gate
    from interlock.model.decision import Decision

_ALIASES = {
    "tool_call_shell": (Surface.TOOL_CALL, "shell"),
    "tool_call_sql": (Surface.TOOL_CALL, "sql"),
    "tool_output": (Surface.TOOL_RESULT, ""),
}
_KEYS = frozenset({"surface", "tool", "text", "args", "agent", "actor", "environment"})
_COLOURS = {"allow": "green", "confirm": "yellow", "block": "red"}
EXIT_CODES = {"allow": 0, "confirm": 4, "block": 3}


@dataclass(frozen=True, kw_only=True, slots=True)
class Bench:
    """What is needed to judge: the gate that agents meet, where their actions would take effect, the environment."""

    gate: Gate
    scope: Scope
    environment: str
    tools: Collection[str] = ()
    """The names of the tools that the project has declared."""


def make_bench(*, config: Path | None = None, env: str | None = None) -> Bench:
    """What is needed to judge, from the project around the working directory or from a configuration file.

    Raises:
        ConfigError: when the configuration or a policy is not usable.
    """
    from interlock.config import find_project, load_settings  # noqa: PLC0415 - slow to import, and help needs none

    project = find_project(Path.cwd())
    settings = load_settings(project, env=env, file=config)
    policies = _in_force(settings)
    scope = Scope(
        workspace=str(project),
        granted=tuple(f"{project}/{glob}" for glob in settings.scope.paths),
        protected=(*settings.workspace.protected, *settings.policies.every_file),
        hosts=settings.scope.hosts,
        dialect=settings.scope.dialect,
    )
    return bench_of(policies, scope=scope, environment=settings.environment, tools=settings.tools)


def bench_of(
    policies: PolicySet,
    *,
    scope: Scope | None = None,
    environment: str = "development",
    tools: Mapping[str, ToolSettings] | None = None,
) -> Bench:
    """What is needed to judge by these policies, in no project unless a scope and the declared tools are given."""
    from interlock.engine.judging import Gate  # noqa: PLC0415 - the readers load parsers, and help needs none

    gate = Gate(policies, environment, tools or {})
    return Bench(gate=gate, scope=scope or Scope(), environment=environment, tools=frozenset(tools or ()))


def _in_force(settings: Settings) -> PolicySet:
    """The configured policies; where there are versions of them, the store knows which one a new run obeys."""
    from interlock.policies import policies_of  # noqa: PLC0415 - slow to import, and help needs none

    if not settings.policies.versions:
        return policies_of(settings)
    from interlock.app import build  # noqa: PLC0415 - the engine takes half a second to import

    service = build(settings)
    try:
        return service.policies.ruling
    finally:
        service.close()


def surface_and_tool(word: str, tool: str) -> tuple[Surface, str]:
    """The surface and tool that a word such as ``tool_call_shell`` means.

    Raises:
        UsageError: for an unknown word.
    """
    if word in _ALIASES:
        surface, implied = _ALIASES[word]
        return surface, tool or implied
    if word not in tuple(Surface):
        known = [*Surface, *_ALIASES]
        raise UsageError(f"unknown surface {word!r}: {did_you_mean(word, known) or 'one of ' + ', '.join(known)}")
    return Surface(word), tool


def action_of(row: Any, *, environment: str) -> Action:
    """The action that a row of JSON describes.

    Raises:
        UsageError: when it describes none.
    """
    if not isinstance(row, Mapping):
        raise UsageError("an action is a JSON object with `surface` and `text` or `args`")
    if ("text" in row) == ("args" in row):
        raise UsageError("give either `text` or `args`")
    words = {key: row.get(key, "") for key in ("surface", "tool", "agent", "actor", "environment")}
    for key, value in words.items():
        if value is not None and not isinstance(value, str):
            raise UsageError(f"`{key}` is text, not {type(value).__name__}")
    surface, tool = surface_and_tool(words["surface"] or "tool_call", words["tool"] or "")
    args = row.get("args", {"text": row.get("text")})
    if not isinstance(args, Mapping):
        raise UsageError("`args` is a JSON object")
    if "text" in row and not isinstance(row["text"], str):
        raise UsageError("`text` is text")
    return Action(
        kind=surface,
        tool=tool,
        args=args,
        actor=words["actor"] or "user",
        agent=words["agent"] or "",
        environment=words["environment"] or environment,
    )


def decide(action: Action, bench: Bench) -> Decision:
    """The gate's decision on an action that has no past."""
    return bench.gate.judge(action, bench.scope).decision


def as_json(decision: Decision) -> dict[str, Any]:
    """The answer as the design's contract has it. Evidence is as the readers give it: redacted."""
    return {
        "verdict": str(decision.verdict),
        "risk": str(decision.risk),
        "findings": [
            {
                "detector": finding.detector,
                "kind": finding.kind,
                "severity": str(finding.severity),
                "evidence": finding.evidence,
                "reason": finding.reason,
                "span": None if finding.span is None else [finding.span.start, finding.span.end, str(finding.span.of)],
            }
            for finding in decision.findings
        ],
        "rules": list(decision.rule_ids),
        "reason": decision.reason,
        "warnings": list(decision.warnings),
        "quorum": decision.quorum,
    }


def show(decision: Decision, console: Console) -> None:
    """The answer for a person: verdict, why, the danger, the rules."""
    from rich.text import Text  # noqa: PLC0415 - rich is slow to import

    colour = _COLOURS[decision.verdict]
    head = Text(f" {decision.verdict.upper()} ", style=f"bold white on {colour}") + Text(f"  risk {decision.risk}")
    if decision.verdict == "confirm" and decision.quorum > 1:
        head += Text(f", {decision.quorum} people must agree")
    console.print(head)
    for reason in decision.reasons:
        hanging(console, "  why   ", reason, head_style=colour)
    for finding in decision.findings:
        said = f"{finding.kind} ({finding.severity})  {finding.evidence}"
        hanging(console, "  saw   ", said, head_style="cyan")
    if decision.rule_ids:
        hanging(console, "  rules ", ", ".join(decision.rule_ids), head_style="cyan")
    for warning in decision.warnings:
        hanging(console, "  note  ", warning, head_style="yellow")
