"""How far a tool call reaches: what a discarded workspace undoes, and what it does not."""

from __future__ import annotations

from enum import StrEnum

from interlock.config import Undo
from interlock.model.action import Action, Reading
from interlock.model.risk import RiskLevel
from interlock.reading.tools import Kind, tool_kind


class Reach(StrEnum):
    """Where the effect of a call stays."""

    NONE = "none"
    """It changes nothing."""
    WORKSPACE = "workspace"
    """Throwing the workspace away undoes it."""
    OUTSIDE = "outside"
    """It lasts: only a compensation undoes it, and a second time is a second effect."""


_READING_STATEMENTS = frozenset({"select", "explain", "describe", "show", "values", "with", "pragma"})


_DECLARED = {
    Undo.NOTHING: Reach.NONE, Undo.REVERSIBLE: Reach.WORKSPACE, Undo.COMPENSABLE: Reach.OUTSIDE,
    Undo.IRREVERSIBLE: Reach.OUTSIDE,
}  # fmt: skip


def reach(action: Action, reading: Reading, declared: Undo | None = None) -> Reach:
    """The reach of a call, as people have declared it, else as it reads. What is not known to stay inside is outside."""
    if declared is not None:
        return _DECLARED[declared]
    match tool_kind(action.tool):
        case Kind.READ:
            return Reach.NONE
        case Kind.EDIT:
            return Reach.WORKSPACE
        case Kind.SQL:
            harmless = reading.statements and set(reading.statements) <= _READING_STATEMENTS
            return Reach.NONE if harmless and reading.severity <= RiskLevel.LOW else Reach.OUTSIDE
        case Kind.HTTP:
            return Reach.NONE if str(action.args.get("method", "GET")).upper() in {"GET", "HEAD"} else Reach.OUTSIDE
        case Kind.SHELL:
            quiet = not reading.destinations and not reading.statements and reading.severity <= RiskLevel.MEDIUM
            return Reach.WORKSPACE if quiet else Reach.OUTSIDE
        case _:
            return Reach.OUTSIDE
