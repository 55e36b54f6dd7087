"""How far a tool call reaches: what a discarded workspace undoes, and what it does not."""

from __future__ import annotations

from enum import StrEnum

from interlock.model.action import Action, Reading
from interlock.model.risk import RiskLevel


class Reach(StrEnum):
    """Where the effect of a call stays."""

    NONE = "none"
    """It changes nothing."""
    WORKSPACE = "workspace"
    """Throwing the workspace away undoes it."""
    OUTSIDE = "outside"
    """It lasts: only a compensation undoes it, and a second time is a second effect."""


_READING_TOOLS = frozenset({"read", "grep", "glob", "ls", "list", "search"})
_EDITING_TOOLS = frozenset({"edit", "write", "patch"})
_READING_STATEMENTS = frozenset({"select", "explain", "describe", "show", "values", "with", "pragma"})


def reach(action: Action, reading: Reading, canonical_tool: str) -> Reach:
    """The reach of a call. What is not known to stay inside is outside."""
    if canonical_tool in _READING_TOOLS:
        return Reach.NONE
    if canonical_tool in _EDITING_TOOLS:
        return Reach.WORKSPACE
    if canonical_tool == "sql":
        harmless = reading.statements and set(reading.statements) <= _READING_STATEMENTS
        return Reach.NONE if harmless and reading.severity <= RiskLevel.LOW else Reach.OUTSIDE
    if canonical_tool == "http":
        return Reach.NONE if str(action.args.get("method", "GET")).upper() in {"GET", "HEAD"} else Reach.OUTSIDE
    if canonical_tool == "shell":
        quiet = not reading.destinations and not reading.statements and reading.severity <= RiskLevel.MEDIUM
        return Reach.WORKSPACE if quiet else Reach.OUTSIDE
    return Reach.OUTSIDE
