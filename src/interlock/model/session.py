"""Agents that people run themselves, as the gate knows them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from interlock.model.decision import Decision, Verdict


@dataclass(frozen=True, kw_only=True, slots=True)
class Session:
    """One conversation of an agent that somebody runs."""

    agent: str
    """The program: ``claude``, ``codex``, ``gemini``, ``cursor``, ``opencode``."""
    id: str
    """The program's own id of the conversation."""
    person: str
    """Who runs it."""

    @property
    def key(self) -> str:
        """What identifies it in the store."""
        return f"session:{self.agent}:{self.id}"


@dataclass(frozen=True, kw_only=True, slots=True)
class SessionVerdict:
    """The answer to a session's call. Confirm only where the session's own program asks the person."""

    decision: Decision
    granted: bool = False
    """Whether a person has said yes to exactly this call."""
    approval_id: str = ""
    """The question that is still open."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Spooled:
    """A call that was judged before the store was open, without its arguments: they may hold secrets."""

    id: str
    session: Session
    tool: str
    summary: str
    digest: str
    verdict: Verdict
    outside: bool
    facts: Mapping[str, Any] = field(default_factory=dict)
    """What the ledger keeps of it."""
