"""How the SQL reader writes down what it saw."""

from __future__ import annotations

import re
from collections.abc import Callable

from interlock.model.action import Finding, Span
from interlock.model.risk import RiskLevel

_LITERAL = re.compile(r"'(?:[^'\\]|\\.|'')*'?|\$(\w*)\$.*?(?:\$\1\$|\Z)", re.DOTALL)
_LONGEST = 100


def note(kind: str, severity: RiskLevel, evidence: str, reason: str, span: Span | None = None) -> Finding:
    """A finding; literals in the evidence are left out, they may hold secrets."""
    short = " ".join(_LITERAL.sub("'…'", evidence[:2000]).split())
    if len(short) > _LONGEST:
        short = short[: _LONGEST - 1] + "…"
    return Finding(detector="sql", kind=kind, severity=severity, evidence=short, reason=reason, span=span)


class Notes:
    """Findings, statement kinds, paths and destinations of one reading while it is made."""

    __slots__ = ("deeper", "destinations", "findings", "paths", "statements", "text")

    def __init__(self, text: str, deeper: Callable[[str], Notes | None] = lambda _: None) -> None:
        self.text = text
        self.deeper = deeper
        """Reads a text inside the text (a body, a statement in a literal); None when it is no SQL."""
        self.findings: list[Finding] = []
        self.statements: list[str] = []
        self.paths: list[str] = []
        self.destinations: list[str] = []

    def add(self, kind: str, severity: RiskLevel, reason: str, evidence: str = "") -> None:
        """Write one finding down; the whole text is the evidence when there is no better."""
        self.findings.append(note(kind, severity, evidence or self.text, reason))

    def target(self, place: str) -> None:
        """Write down a file or an address that a statement names."""
        if re.match(r"[a-zA-Z][a-zA-Z0-9+.-]*://", place) and not place.lower().startswith("file:"):
            self.destinations.append(place)
        else:
            self.paths.append(place)

    def take(self, other: Notes) -> None:
        """Take over everything that another reading noted."""
        self.findings += other.findings
        self.statements += other.statements
        self.paths += other.paths
        self.destinations += other.destinations
