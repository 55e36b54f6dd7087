"""Named queries of tokens. A secret is never stored; its digest finds the token."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

import sqlalchemy as sa

from interlock.model.identity import Token
from interlock.store import schema as t
from interlock.store.database import micros
from interlock.store.rows import noun_of, text_of


def insert_token(conn: sa.Connection, token: Token, digest: str) -> None:
    """Store a new token under the digest of its secret."""
    conn.execute(
        t.tokens.insert().values(
            id=token.id, digest=digest, parent=token.parent, token=text_of(token), expires_at=micros(token.expires_at)
        )
    )


def by_digest(conn: sa.Connection, digest: str) -> Token | None:
    """The token whose secret has that digest, whatever its state."""
    row = conn.execute(sa.select(t.tokens.c.token).where(t.tokens.c.digest == digest)).scalar()
    return noun_of(Token, row) if row else None


def find_token(conn: sa.Connection, token_id: str) -> Token | None:
    """The token of that id."""
    row = conn.execute(sa.select(t.tokens.c.token).where(t.tokens.c.id == token_id)).scalar()
    return noun_of(Token, row) if row else None


def list_tokens(conn: sa.Connection) -> list[Token]:
    """All tokens, oldest first."""
    return [noun_of(Token, row) for row in conn.execute(sa.select(t.tokens.c.token).order_by(t.tokens.c.id)).scalars()]


def end_token(conn: sa.Connection, token: Token, at: datetime) -> bool:
    """End a token; whether it was still open (of two at once, one gets True)."""
    ended = conn.execute(
        t.tokens.update()
        .where(t.tokens.c.id == token.id, t.tokens.c.ended_at.is_(None))
        .values(ended_at=micros(at), token=text_of(replace(token, ended_at=at)))
    )
    return bool(ended.rowcount)


def children_of(conn: sa.Connection, token_id: str) -> list[Token]:
    """Sessions that were opened with a token."""
    query = sa.select(t.tokens.c.token).where(t.tokens.c.parent == token_id)
    return [noun_of(Token, row) for row in conn.execute(query).scalars()]


def forget_before(conn: sa.Connection, at: datetime) -> None:
    """Forget tokens that expired before that time; the ledger keeps that they existed."""
    conn.execute(t.tokens.delete().where(t.tokens.c.expires_at < micros(at)))
