"""What can be configured about the places where agents work, and what holds them there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import Field, ValidationInfo, field_validator, model_validator

from interlock.config.base import PART, Section, Word
from interlock.model.risk import RiskLevel
from interlock.model.sandbox import SandboxLevel

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
