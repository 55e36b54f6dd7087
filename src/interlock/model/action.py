"""What every judgement sees: an action, what was read in it, and where it came from."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from operator import itemgetter
from typing import Any, TypeVar

import orjson

from interlock.model.canon import digest
from interlock.model.order import OrderedWord
from interlock.model.risk import RiskLevel

T = TypeVar("T")

_BIG = 2**53
_PLAIN_ONLY = (
    orjson.OPT_SORT_KEYS
    | orjson.OPT_PASSTHROUGH_DATACLASS
    | orjson.OPT_PASSTHROUGH_DATETIME
    | orjson.OPT_PASSTHROUGH_SUBCLASS
)


class Surface(StrEnum):
    """Where a judgement takes place."""

    TASK = "task"
    PLAN = "plan"
    PROMPT = "prompt"
    TOOL_CALL = "tool_call"
    TOOL_RESULT = "tool_result"
    AGENT_OUTPUT = "agent_output"
    FILE_CHANGE = "file_change"
    TOOL_DEFINITION = "tool_definition"


class Integrity(OrderedWord):
    """Who could have written a value; the later word wins when values meet."""

    TRUSTED = "trusted"
    UNTRUSTED = "untrusted"


class Confidentiality(OrderedWord):
    """Who may see a value; the later word wins when values meet."""

    PUBLIC = "public"
    INTERNAL = "internal"
    SECRET = "secret"  # noqa: S105 - a label, not a password


@dataclass(frozen=True, kw_only=True, slots=True)
class Labels:
    """Where a value comes from and who may see it: a lattice whose join only tightens."""

    integrity: Integrity = Integrity.TRUSTED
    confidentiality: Confidentiality = Confidentiality.PUBLIC

    def join(self, other: Labels) -> Labels:
        """The labels of something made from both."""
        return Labels(
            integrity=self.integrity.at_least(other.integrity),
            confidentiality=self.confidentiality.at_least(other.confidentiality),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Action:
    """Something that is about to happen, or has been said, and must be judged."""

    kind: Surface
    tool: str = ""
    """The canonical tool word (``shell``, ``sql``, ``edit``, ``read``, ``http``, an MCP tool's name), empty when none."""
    args: Mapping[str, Any] = field(default_factory=dict)
    """What the tool would get; for text surfaces ``{"text": …}``."""
    actor: str = "user"
    """Who asks: a person, a program or an agent's name."""
    agent: str = ""
    """The agent on whose behalf it happens, empty outside of one."""
    environment: str = "development"
    labels: Labels = field(default_factory=Labels)

    @property
    def digest(self) -> str:
        """What an approval binds to: any changed byte of tool or arguments is another digest."""
        plain = {"agent": self.agent, "args": _exact(self.args), "kind": str(self.kind), "tool": self.tool}
        try:  # what `_exact` leaves is canonical as it is; anything that is not plain JSON takes the slow way
            written = orjson.dumps(plain, option=_PLAIN_ONLY)
        except TypeError:
            return digest(plain)
        return "sha256:" + hashlib.sha256(written).hexdigest()

    @property
    def text(self) -> str:
        """The text to read, when the action is or carries one main text."""
        for name in ("text", "command", "query", "sql", "patch", "content", "prompt"):
            value = self.args.get(name)
            if isinstance(value, str):
                return value
        return ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Scope:
    """What a reader may know of the place where an action would take effect."""

    workspace: str = ""
    """The directory that may be written to, absolute; empty when unknown."""
    granted: tuple[str, ...] = ()
    """Globs of absolute paths outside of the workspace that the project lets its agents use, such as its database."""
    protected: tuple[str, ...] = ()
    """Globs, relative to the workspace, of files that only people change."""
    hosts: tuple[str, ...] | None = None
    """Hosts (``*.example.org`` covers subdomains) that may be talked to; None when nothing is configured."""
    dialect: str = ""
    """The SQL dialect of the tool's database, in sqlglot's words; empty when unknown."""


class SpanKind(StrEnum):
    """Which text a span counts in."""

    RAW = "raw"
    NORMALISED = "normalised"


@dataclass(frozen=True, kw_only=True, slots=True)
class Span:
    """Character offsets of the evidence, ``start`` included, ``end`` excluded."""

    start: int
    end: int
    of: SpanKind = SpanKind.RAW


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """One thing that a reader saw in a text."""

    detector: str
    """The reader: ``shell``, ``sql``, ``secrets``, ``text``, ``paths``, ``patch``, ``http``, ``flow``, ``chain``."""
    kind: str
    """What it is, dotted from general to special, such as ``shell.delete.recursive``; policies match on it."""
    severity: RiskLevel
    """What the finding alone asks for: critical blocks, high asks a person, medium is noted, low is information."""
    evidence: str
    """The words that show it, redacted and short."""
    reason: str = ""
    """One sentence for a person: what would happen."""
    span: Span | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Reading:
    """Everything that a reader understood of one text."""

    findings: tuple[Finding, ...] = ()
    programs: tuple[str, ...] = ()
    """Programs that would run, wrappers and the programs inside them."""
    statements: tuple[str, ...] = ()
    """SQL statement kinds such as ``select``, ``delete``, ``drop_table``."""
    paths: tuple[str, ...] = ()
    """Paths that would be read or written."""
    destinations: tuple[str, ...] = ()
    """Hosts, URLs, mail addresses that data would go to or come from."""

    def __add__(self, other: Reading) -> Reading:
        """Both readings as one."""
        return Reading(
            findings=_union(self.findings, other.findings),
            programs=_union(self.programs, other.programs),
            statements=_union(self.statements, other.statements),
            paths=_union(self.paths, other.paths),
            destinations=_union(self.destinations, other.destinations),
        )

    @property
    def severity(self) -> RiskLevel:
        """The worst severity found, low when nothing was."""
        return max((finding.severity for finding in self.findings), default=RiskLevel.LOW)


def _union(first: tuple[T, ...], second: tuple[T, ...]) -> tuple[T, ...]:
    if not second:
        return first
    return tuple(dict.fromkeys((*first, *second)))


def _exact(value: Any) -> Any:
    """Arguments come from JSON and may hold floats: their shortest text form stands for them in the digest."""
    kind = type(value)  # exact types first: every decision hashes
    if kind is str or kind is bool or value is None:
        return value
    if isinstance(value, int):
        return value if -_BIG < value < _BIG else {"integer": str(value)}
    if isinstance(value, float):
        return {"float": repr(value)}
    if kind is dict or isinstance(value, Mapping):
        pairs = sorted([(str(key), item) for key, item in value.items()], key=itemgetter(0))
        return [[key, item if type(item) is str else _exact(item)] for key, item in pairs]
    if isinstance(value, (list, tuple)):
        return [_exact(item) for item in value]
    return value
