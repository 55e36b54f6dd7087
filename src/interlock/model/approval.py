"""A question to people, and their answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any


class ApprovalState(StrEnum):
    """Where a question stands."""

    PENDING = "pending"
    APPROVED = "approved"
    DENIED = "denied"
    EXPIRED = "expired"
    USED = "used"
    WITHDRAWN = "withdrawn"


@dataclass(frozen=True, kw_only=True, slots=True)
class Vote:
    """One person's answer."""

    voter: str
    approve: bool
    at: datetime
    note: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Approval:
    """A question that binds to the digest of exactly what is shown, is used once and expires."""

    id: str
    run_id: str
    subject: str
    """``task``, ``plan`` or ``tool_call``."""
    digest: str
    shown: Mapping[str, Any] = field(default_factory=dict)
    """What the approver sees: what, why, risk factors, plan, agents."""
    reason: str = ""
    requester: str = "user"
    quorum: int = 1
    separate: bool = False
    """Whether the requester's own vote does not count."""
    state: ApprovalState = ApprovalState.PENDING
    votes: tuple[Vote, ...] = ()
    asked_at: datetime
    expires_at: datetime
