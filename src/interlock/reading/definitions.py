"""Tool definitions: what a description says to the model behind the user's back, and what it says that the tool is for."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

import re2
import yaml

from interlock.model.action import Finding, Span, SpanKind
from interlock.model.risk import RiskLevel
from interlock.reading.secrets import redact

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_LISTED = re2.compile(r"^[a-z][a-zA-Z0-9]*(?:[_.-][a-zA-Z0-9]+)+\s?:\s")
_REASONS = {
    "hidden_marker": "the description carries instructions that are marked as hidden",
    "important_tag": "the description carries instructions in a tag for the model",
    "act_as": "the description gives the model orders",
    "shadowing": "the description changes how other tools are used",
    "conceal": "the description wants something kept from the user",
    "reads_secret_files": "the description wants files with secrets read",
    "smuggles_data": "the description wants data smuggled into a parameter",
    "trust": "the description says that checks do not apply",
    "unasked": "the description wants people not to be asked",
    "runs": "the description wants more done than the tool is called for",
    "obeys": "the description makes the tool's results orders",
    "asks_for_secrets": "the description wants data that the tool does not need",
    "other_language": "the description wants files with secrets read",
}


@dataclass(frozen=True, slots=True)
class _Tables:
    instructions: tuple[tuple[str, bool, Any], ...]
    capabilities: Any
    names: Any


def poisoned(text: str, of: SpanKind) -> list[Finding]:
    """Findings of a tool definition: its instructions to the model, and a purpose that is an attack technique."""
    tables = _tables()
    found = []
    for name, critical, pattern in tables.instructions:
        match = pattern.search(text)
        if match:
            severity = RiskLevel.CRITICAL if critical else RiskLevel.HIGH
            found.append(_finding(f"text.tool.{name}", severity, match, _REASONS[name], of))
    match = tables.names.search(text) or tables.capabilities.search(text)
    if match:
        found.append(
            _finding("text.tool.capability", RiskLevel.HIGH, match, "by its own words the tool is made to attack", of)
        )
    return found


def is_listed(text: str) -> bool:
    """Whether ``text`` has a form in which tools are listed: ``some_name: what it does``, or as MCP does in JSON."""
    return '"inputSchema"' in text or _LISTED.search(text) is not None


def _finding(kind: str, severity: RiskLevel, match: Any, reason: str, of: SpanKind) -> Finding:
    return Finding(
        detector="text",
        kind=kind,
        severity=severity,
        evidence=redact(match[0])[:100],
        reason=reason,
        span=Span(start=match.start(), end=match.end(), of=of),
    )


@cache
def _tables() -> _Tables:
    loaded = yaml.load(
        resources.files(__package__).joinpath("rules/definitions.yaml").read_text("utf-8"),
        Loader=_LOADER,  # noqa: S506 - a safe loader, in C where there is one
    )
    return _Tables(
        tuple(
            (row["name"], bool(row.get("critical")), re2.compile(f"(?is){row['of']}")) for row in loaded["instructions"]
        ),
        re2.compile(f"(?i)(?:{loaded['capabilities'].replace(' |', '|')})"),
        re2.compile(f"(?i){loaded['names']}"),
    )
