"""Named queries of forecasts: what was expected of waiting attempts, and what came."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import sqlalchemy as sa

from interlock.decide.forecast import Past
from interlock.model.run import AttemptState
from interlock.store import schema as t

_KEPT = 400
"""The newest ones; older ones are forgotten."""
_NOTE = sa.text(
    "INSERT INTO il_forecast (attempt_id, position, at, expected_ms) VALUES (:attempt_id, :position, :at, :expected_ms)"
    " ON CONFLICT DO NOTHING"
)
_OLD = sa.select(t.forecasts.c.at).order_by(t.forecasts.c.at.desc()).offset(_KEPT).limit(1).scalar_subquery()


def unnoted(conn: sa.Connection, places: Iterable[tuple[str, int]]) -> list[tuple[str, int]]:
    """Which of these attempts have not been forecast at that place."""
    wanted = list(places)
    known = t.forecasts.c.attempt_id.in_([attempt_id for attempt_id, _ in wanted])
    there = set(map(tuple, conn.execute(sa.select(t.forecasts.c.attempt_id, t.forecasts.c.position).where(known))))
    return [place for place in wanted if place not in there]


def note(conn: sa.Connection, at: int, found: Sequence[tuple[str, int, int]]) -> None:
    """Keep what is expected at the time ``at`` (microseconds): attempt, its place, milliseconds."""
    conn.execute(
        _NOTE, [{"attempt_id": one, "position": place, "at": at, "expected_ms": ms} for one, place, ms in found]
    )
    conn.execute(t.forecasts.delete().where(t.forecasts.c.at <= _OLD))


def past(conn: sa.Connection, now: int) -> list[Past]:
    """What became of the forecasts that are kept; those whose attempt ended without having started are left out."""
    query = (
        sa.select(t.forecasts.c.at, t.forecasts.c.expected_ms, t.attempts.c.admitted_at, t.attempts.c.state)
        .join(t.attempts, t.attempts.c.id == t.forecasts.c.attempt_id)
        .order_by(t.forecasts.c.at.desc())
        .limit(_KEPT)
    )
    return [
        Past(
            expected_ms=row.expected_ms, took_ms=((row.admitted_at or now) - row.at) // 1000,
            over=row.admitted_at is not None,
        )
        for row in conn.execute(query)
        if row.admitted_at is not None or row.state == AttemptState.READY
    ]  # fmt: skip
