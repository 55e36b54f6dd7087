"""Agents as a catalogue describes them, and what they hand over."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import Any

from interlock.model.canon import digest
from interlock.model.order import OrderedWord


class Priority(OrderedWord):
    """Which work goes first; the later word goes first."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"


class OnFailure(StrEnum):
    """What a failed validator leads to (spec 1)."""

    ROLLBACK = "rollback"
    ALERT = "alert"
    BLOCK = "block"


@dataclass(frozen=True, kw_only=True, slots=True)
class Validator:
    """A command that must succeed in the workspace after the agent has finished."""

    name: str
    command: tuple[str, ...]
    on_failure: OnFailure = OnFailure.ROLLBACK
    timeout: timedelta = timedelta(seconds=60)


@dataclass(frozen=True, kw_only=True, slots=True)
class RunnerSpec:
    """How an agent is run: ``kind`` names the adapter, ``options`` are its own."""

    kind: str = "command"
    """``command``, ``function``, ``llm``, ``claude``, or a plug-in's name."""
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class AgentSpec:
    """One agent of the catalogue: its definition as the team keeps it, and what the project adds."""

    name: str
    description: str = ""
    instructions: str = ""
    """The body of the Markdown definition."""
    tools: tuple[str, ...] = ()
    model: str = ""
    keywords: tuple[str, ...] = ()
    capabilities: tuple[str, ...] = ()
    examples: tuple[str, ...] = ()
    """Tasks that are this agent's work."""
    owns: tuple[str, ...] = ()
    """Globs of the files that are this agent's."""
    needs: tuple[str, ...] = ()
    """Capabilities or agents whose results it reads: those run before it."""
    provides: tuple[str, ...] = ()
    fallbacks: tuple[str, ...] = ()
    exclusions: tuple[str, ...] = ()
    """Agents that must not run at the same time as this one."""
    tags: tuple[str, ...] = ()
    """Scarce things that it uses; each may have a limit over all agents."""
    credentials: tuple[str, ...] = ()
    """Names of the operator's secrets that are used for it; it never sees them."""
    priority: Priority = Priority.MEDIUM
    max_concurrent: int | None = None
    """None: the system's default per agent. 0: never."""
    timeout: timedelta | None = None
    max_retries: int | None = None
    context_tokens: int | None = None
    runner: RunnerSpec | None = None
    validators: tuple[Validator, ...] = ()
    rollback: tuple[tuple[str, ...], ...] = ()
    """Commands that undo what the agent did outside its workspace, in the order in which they are to run."""
    idempotent: bool = False
    """Whether a second execution after a crash is harmless outside the workspace."""
    fallback_only: bool = False
    """Chosen only to replace another agent, never as a primary one."""
    source: str = ""
    """The file that defines it."""

    @property
    def digest(self) -> str:
        """The digest of what the agent is and how it is run and checked: an approval of a plan covers it."""
        runner = self.runner or RunnerSpec(kind="")
        return digest(
            {
                "instructions": self.instructions,
                "tools": self.tools,
                "model": self.model,
                **({"credentials": self.credentials} if self.credentials else {}),
                "runner": runner.kind,
                "options": json.dumps(runner.options, sort_keys=True, default=str),
                "validators": [[check.name, check.command, check.on_failure] for check in self.validators],
                "rollback": self.rollback,
            }
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Usage:
    """What an attempt used. Money in millionths of a dollar: hashed records hold no floats."""

    input_tokens: int = 0
    output_tokens: int = 0
    cost_micros: int = 0
    tool_calls: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class AgentResult:
    """The hand-over of one agent (the original orchestrator's format)."""

    summary: str = ""
    deliverables: tuple[str, ...] = ()
    next_steps: tuple[str, ...] = ()
    blockers: tuple[str, ...] = ()
    """What needs a person."""
    recommendations: tuple[str, ...] = ()
    artefacts: tuple[str, ...] = ()
    """Paths, relative to the workspace, that are worth looking at."""
    usage: Usage = field(default_factory=Usage)
