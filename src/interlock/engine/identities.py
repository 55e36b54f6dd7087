"""Tokens: given, checked, taken back. Each secret is shown once, when it is made; the store knows its digest only."""

from __future__ import annotations

import hashlib
import re
import secrets
from datetime import timedelta

import sqlalchemy as sa

from interlock.engine.ledger import Ledger
from interlock.errors import NotFoundError, UsageError
from interlock.model.identity import Being, Identity, Role, Token, TokenUse, person_behind
from interlock.model.ids import new_id
from interlock.ports import Clock
from interlock.store import tokens
from interlock.store.database import Database

LINK_LIFE = timedelta(minutes=15)
"""How long a one-time link may be used."""
LONGEST = timedelta(days=366)
"""No token lives longer."""
_KEPT = timedelta(days=30)
_SECRET_BYTES = 32  # 256 bits: guessing is hopeless, so a plain SHA-256 is enough and costs nothing per request
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9@._+-]{0,63}(/[A-Za-z0-9][A-Za-z0-9@._+-]{0,63})?")
_CHAIN = "identities"


class Identities:
    """The tokens of one store."""

    def __init__(self, database: Database, ledger: Ledger, clock: Clock) -> None:
        self._database = database
        self._ledger = ledger
        self._clock = clock

    def create(
        self, name: str, *, being: Being, role: Role, lifetime: timedelta, by: str, use: TokenUse = TokenUse.API
    ) -> tuple[Token, str]:
        """Make a token; returns it and its secret, which nobody can find out later.

        Raises:
            UsageError: for an impossible name, role or lifetime.
        """
        _check(name, being, role, lifetime)
        with self._database.write() as conn:
            return self._make(conn, name, being=being, role=role, lifetime=lifetime, by=by, use=use)

    def _make(
        self, conn: sa.Connection, name: str, *, being: Being, role: Role, lifetime: timedelta, by: str,
        use: TokenUse, parent: str = "",
    ) -> tuple[Token, str]:  # fmt: skip
        now = self._clock.now()
        tokens.forget_before(conn, now - _KEPT)
        token = Token(
            id=new_id("tok"), name=name, being=being, role=role, use=use, parent=parent, created_by=by,
            created_at=now, expires_at=now + lifetime,
        )  # fmt: skip
        secret = f"ilk_{secrets.token_urlsafe(_SECRET_BYTES)}"
        tokens.insert_token(conn, token, _digest(secret))
        self._record(conn, "token.created", token, actor=by)
        return token, secret

    def link(self, name: str) -> str:
        """A secret that turns into one admin session, once, within :data:`LINK_LIFE`; older ones end."""
        _check(name, Being.PERSON, Role.ADMIN, LINK_LIFE)
        now = self._clock.now()
        with self._database.write() as conn:
            for old in tokens.list_tokens(conn):
                if old.use is TokenUse.LINK and old.ended_at is None:
                    tokens.end_token(conn, old, now)
            return self._make(
                conn, name, being=Being.PERSON, role=Role.ADMIN, lifetime=LINK_LIFE, by=name, use=TokenUse.LINK
            )[1]

    def open_session(self, secret: str, lifetime: timedelta) -> tuple[Token, str] | None:
        """A browser's session for a link (used up by it) or a person's token; None when the secret is not good."""
        now = self._clock.now()
        with self._database.write() as conn:
            token = self._good(conn, secret)
            if token is None or token.being is not Being.PERSON or token.use is TokenUse.SESSION:
                return None
            parent = token.id
            if token.use is TokenUse.LINK:
                if not tokens.end_token(conn, token, now):
                    return None
                parent = ""
            return self._make(
                conn, token.name, being=token.being, role=token.role, lifetime=lifetime, by=token.name,
                use=TokenUse.SESSION, parent=parent,
            )  # fmt: skip

    def identify(self, secret: str, *, use: TokenUse = TokenUse.API) -> Identity | None:
        """Whose token this is; None for a forged, expired or revoked one, or one for another use."""
        with self._database.read() as conn:
            token = self._good(conn, secret)
        if token is None or token.use is not use:
            return None
        return Identity(name=token.name, being=token.being, role=token.role, token_id=token.id)

    def _good(self, conn: sa.Connection, secret: str) -> Token | None:
        token = tokens.by_digest(conn, _digest(secret))
        if token is None or token.ended_at is not None or self._clock.now() >= token.expires_at:
            return None
        if token.parent:
            parent = tokens.find_token(conn, token.parent)
            if parent is None or parent.ended_at is not None or self._clock.now() >= parent.expires_at:
                return None
        return token

    def list(self) -> list[Token]:
        """All tokens that are remembered, oldest first."""
        with self._database.read() as conn:
            return tokens.list_tokens(conn)

    def has_admin(self) -> bool:
        """Whether any person can sign in as admin."""
        now = self._clock.now()
        return any(
            token.role is Role.ADMIN
            and token.use is not TokenUse.LINK
            and not token.ended_at
            and now < token.expires_at
            for token in self.list()
        )

    def revoke(self, token_id: str, *, by: str) -> Token:
        """End a token and the sessions that were opened with it. Ending it twice is the same as once.

        Raises:
            NotFoundError: when there is none of that id.
        """
        now = self._clock.now()
        with self._database.write() as conn:
            token = tokens.find_token(conn, token_id)
            if token is None:
                raise NotFoundError(f"there is no token {token_id!r}; `interlock tokens list` shows them")
            for one in (token, *tokens.children_of(conn, token_id)):
                if tokens.end_token(conn, one, now):
                    self._record(conn, "token.revoked", one, actor=by)
            return tokens.find_token(conn, token_id) or token

    def _record(self, conn: sa.Connection, kind: str, token: Token, *, actor: str) -> None:
        facts = {
            "id": token.id, "name": token.name, "being": token.being, "role": token.role, "use": token.use,
            "expires_at": token.expires_at.isoformat(timespec="seconds"),
        }  # fmt: skip
        self._ledger.append(conn, _CHAIN, kind, facts, actor=actor)


def _check(name: str, being: Being, role: Role, lifetime: timedelta) -> None:
    if not _NAME.fullmatch(name):
        raise UsageError(f"{name!r} is no name: letters, digits and @._+- (a program's is person/program)")
    if (being is Being.PROGRAM) != ("/" in name):
        raise UsageError("a program belongs to a person and is called person/program; a person's name has no slash")
    if being is Being.PROGRAM and role > Role.OPERATOR:
        raise UsageError(f"a program is viewer or operator: nobody answers or administers with {person_behind(name)}'s")
    if not timedelta() < lifetime <= LONGEST:
        raise UsageError(f"a token lives between a second and {LONGEST.days} days")


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()
