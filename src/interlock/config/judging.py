"""What can be configured about judging: risk, policies, what tools do, and who is asked (spec 1, 4, 13)."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from interlock.config.base import Seconds, Section, Word
from interlock.model.decision import Enforcement
from interlock.model.risk import RiskLevel


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
