"""Named queries of requests that carried an idempotency key."""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa

from interlock.store import schema as t


@dataclass(frozen=True, kw_only=True, slots=True)
class KeptAnswer:
    """What a key stands for."""

    digest: str
    """Of what was asked."""
    status: int
    """Of the answer; 0 while it is not known how the request came out."""
    body: str


def find_request(conn: sa.Connection, owner: str, key: str) -> KeptAnswer | None:
    """What that key of theirs stands for."""
    row = conn.execute(sa.select(t.requests).where(t.requests.c.owner == owner, t.requests.c.key == key)).first()
    return KeptAnswer(digest=row.digest, status=row.status, body=row.body) if row else None


def insert_request(conn: sa.Connection, owner: str, key: str, digest: str, at: int) -> None:
    """Keep that a request is under way."""
    conn.execute(t.requests.insert().values(owner=owner, key=key, digest=digest, at=at))


def save_answer(conn: sa.Connection, owner: str, key: str, status: int, body: str) -> None:
    """Keep how it came out."""
    mine = (t.requests.c.owner == owner, t.requests.c.key == key)
    conn.execute(t.requests.update().where(*mine).values(status=status, body=body))


def drop_request(conn: sa.Connection, owner: str, key: str) -> None:
    """Forget a request that changed nothing."""
    conn.execute(t.requests.delete().where(t.requests.c.owner == owner, t.requests.c.key == key))


def forget_requests(conn: sa.Connection, before: int) -> None:
    """Forget what is older than that."""
    conn.execute(t.requests.delete().where(t.requests.c.at < before))
