"""Tool definitions: what a description says to the model behind the user's back, and what it says that the tool is for."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from importlib import resources
from itertools import islice
from typing import Any

import re2
import yaml

from interlock.model.action import Finding, Span, SpanKind
from interlock.model.risk import RiskLevel
from interlock.reading.orders import filled
from interlock.reading.secrets import redact

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_LISTED = re2.compile(r"^[a-z][a-zA-Z0-9]*(?:[_.-][a-zA-Z0-9]+)+\s?:\s")
_DEFENDER = re.compile(r"(?i)(?:detect|prevent|check|scan|find)_")
_DEFENDS = re.compile(r"(?i)\b(?:detect|prevent|protect|block|mitigat|advisor)\w*\b[^.!?\n]{0,160}$")
_MOST_HITS = 40
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
    "unsaid": "the description wants something kept from people",
    "consents": "the description consents for people",
    "diverts": "the description sends things elsewhere than the user said",
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
    match = _offered(tables.names, text) or _offered(tables.capabilities, text)
    if match:
        found.append(
            _finding("text.tool.capability", RiskLevel.HIGH, match, "by its own words the tool is made to attack", of)
        )
    return found


def _offered(pattern: Any, text: str) -> Any:
    """The first attack that a tool says it does; what it finds or prevents is none."""
    for match in islice(pattern.finditer(text), _MOST_HITS):
        named = match.start() == 0 and _DEFENDER.match(text)
        if not named and not _DEFENDS.search(text[max(0, match.start() - 180) : match.start()]):
            return match
    return None


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
            (row["name"], bool(row.get("critical")), re2.compile(f"(?is){filled(row['of'], loaded['parts'])}"))
            for row in loaded["instructions"]
        ),
        re2.compile(f"(?i)(?:{loaded['capabilities'].replace(' |', '|')})"),
        re2.compile(f"(?i){loaded['names']}"),
    )
