"""Named queries of budgets: what is used and what is reserved, by scope."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import sqlalchemy as sa

from interlock.store import schema as t

KINDS = ("tokens", "cost_micros", "calls", "millis")


def used(conn: sa.Connection, scopes: Sequence[str]) -> dict[str, dict[str, int]]:
    """What has been used by scope and kind."""
    rows = conn.execute(sa.select(t.budgets).where(t.budgets.c.scope.in_(scopes))).mappings()
    return {row["scope"]: {kind: row[kind] for kind in KINDS} for row in rows}


def reserved(conn: sa.Connection, scopes: Sequence[str]) -> dict[str, dict[str, int]]:
    """What is reserved for attempts at work by scope and kind."""
    sums = [sa.func.sum(t.reservations.c[kind]).label(kind) for kind in KINDS]
    query = sa.select(t.reservations.c.scope, *sums).where(t.reservations.c.scope.in_(scopes))
    rows = conn.execute(query.group_by(t.reservations.c.scope)).mappings()
    return {row["scope"]: {kind: int(row[kind] or 0) for kind in KINDS} for row in rows}


def spend(conn: sa.Connection, scope: str, amounts: Mapping[str, int]) -> None:
    """Add to what is used."""
    more = {kind: t.budgets.c[kind] + amounts[kind] for kind in KINDS}
    changed = conn.execute(t.budgets.update().where(t.budgets.c.scope == scope).values(**more))
    if not changed.rowcount:
        conn.execute(t.budgets.insert().values(scope=scope, **amounts))


def reserve(conn: sa.Connection, attempt_id: str, scopes: Sequence[str], amounts: Mapping[str, int]) -> None:
    """Reserve in each of these scopes, instead of what was reserved before."""
    conn.execute(t.reservations.delete().where(t.reservations.c.attempt_id == attempt_id))
    for scope in scopes:
        conn.execute(t.reservations.insert().values(attempt_id=attempt_id, scope=scope, **amounts))


def reservation(conn: sa.Connection, attempt_id: str) -> dict[str, dict[str, int]]:
    """What is reserved for this attempt by scope and kind."""
    rows = conn.execute(sa.select(t.reservations).where(t.reservations.c.attempt_id == attempt_id)).mappings()
    return {row["scope"]: {kind: row[kind] for kind in KINDS} for row in rows}


def release(conn: sa.Connection, attempt_id: str) -> None:
    """Give the attempt's reservation back."""
    conn.execute(t.reservations.delete().where(t.reservations.c.attempt_id == attempt_id))
