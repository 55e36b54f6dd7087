"""What a project can add to the definitions of its agents."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import Field

from interlock.config.base import Command, Count, RunnerSettings, Seconds, Section, Tokens, Word
from interlock.model.agent import OnFailure, Priority


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


BUILT_IN_AGENTS: Mapping[str, AgentSettings] = {
    "database-schema-agent": AgentSettings(max_concurrent=1, timeout_s=180, priority=Priority.HIGH),
    "security-authentication-agent": AgentSettings(max_concurrent=1, timeout_s=240, priority=Priority.CRITICAL),
    "analytics-visualization-agent": AgentSettings(timeout_s=120, priority=Priority.MEDIUM),
}
"""The user's own agents and their limits (spec 2); a project without them is not bothered by these lines."""
