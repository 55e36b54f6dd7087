"""Who asks: people and programs, and what their tokens say about them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from interlock.model.order import OrderedWord


class Role(OrderedWord):
    """What somebody may do; each word includes the ones before it."""

    VIEWER = "viewer"
    """Sees everything."""
    OPERATOR = "operator"
    """Submits and cancels tasks, steers breakers."""
    APPROVER = "approver"
    """Answers questions; people only."""
    ADMIN = "admin"
    """Gives and takes tokens."""


class Being(StrEnum):
    """People decide; programs never do."""

    PERSON = "person"
    PROGRAM = "program"


class TokenUse(StrEnum):
    """What a token is for."""

    API = "api"
    SESSION = "session"
    """A browser's sign-in."""
    LINK = "link"
    """Turns into one session, once."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Token:
    """One token as stored: never the secret, only its digest is kept."""

    id: str
    name: str
    """A person's name, or ``person/program``: a program always belongs to somebody."""
    being: Being
    role: Role
    use: TokenUse = TokenUse.API
    parent: str = ""
    """The token that a session was opened with; it ends with it."""
    created_by: str
    created_at: datetime
    expires_at: datetime
    ended_at: datetime | None = None
    """When it was revoked, or a link was used."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Identity:
    """Somebody whose token was good."""

    name: str
    being: Being
    role: Role
    token_id: str


def person_behind(name: str) -> str:
    """The person whom a name stands for: ``alice`` for ``alice/ci`` and for ``alice``."""
    return name.partition("/")[0]
