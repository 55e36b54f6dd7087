"""Named queries of what is watched: metrics, marks, leases, alerts, silences, rollouts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import sqlalchemy as sa

from interlock.model.metrics import Tally
from interlock.model.run import AttemptState
from interlock.store import schema as t
from interlock.store.rows import noun_of, text_of

Stretch = tuple[int, int, str]
"""(length in seconds, start in seconds since 1970, agent)."""


def save_row(conn: sa.Connection, table: sa.Table, key: Mapping[str, object], values: Mapping[str, object]) -> None:
    """Insert the row, or change it when there is one of that key."""
    where = [table.c[name] == value for name, value in key.items()]
    if not conn.execute(table.update().where(*where).values(**values)).rowcount:
        conn.execute(table.insert().values(**key, **values))


# Metrics


def find_tally(conn: sa.Connection, stretch: Stretch) -> Tally | None:
    """What was counted in that stretch."""
    size_s, start, agent = stretch
    query = sa.select(t.metrics.c.tally).where(
        t.metrics.c.size_s == size_s, t.metrics.c.start == start, t.metrics.c.agent == agent
    )
    text = conn.execute(query).scalar()
    return noun_of(Tally, text) if text else None


def save_tally(conn: sa.Connection, stretch: Stretch, tally: Tally) -> None:
    """Store what was counted in that stretch."""
    key = dict(zip(("size_s", "start", "agent"), stretch, strict=True))
    save_row(conn, t.metrics, key, {"tally": text_of(tally)})


def tallies(conn: sa.Connection, size_s: int, since: int = 0) -> Iterator[tuple[str, Tally]]:
    """(agent, tally) of all stretches of that length from ``since`` on, oldest first."""
    query = (
        sa.select(t.metrics.c.agent, t.metrics.c.tally)
        .where(t.metrics.c.size_s == size_s, t.metrics.c.start >= since)
        .order_by(t.metrics.c.start)
    )
    for row in conn.execute(query):
        yield row.agent, noun_of(Tally, row.tally)


def forget_tallies(conn: sa.Connection, size_s: int, before: int) -> None:
    """Remove the stretches of that length that began before."""
    conn.execute(t.metrics.delete().where(t.metrics.c.size_s == size_s, t.metrics.c.start < before))


def queue_facts(conn: sa.Connection) -> tuple[int, int | None]:
    """How many attempts wait, and since when the first of them has been due (microseconds; None: none waits)."""
    a = t.attempts.c
    due = sa.case((a.queued_at > a.not_before, a.queued_at), else_=a.not_before)
    query = sa.select(sa.func.count(), sa.func.min(due)).where(a.state == AttemptState.READY)
    count, first = conn.execute(query).one()
    return count, first


# Marks and leases


def mark(conn: sa.Connection, name: str) -> tuple[int, str]:
    """The mark of that name and its note; 0 at first."""
    row = conn.execute(sa.select(t.marks.c.value, t.marks.c.note).where(t.marks.c.name == name)).first()
    return (row.value, row.note) if row else (0, "")


def set_mark(conn: sa.Connection, name: str, value: int, note: str = "") -> None:
    """Move a mark."""
    save_row(conn, t.marks, {"name": name}, {"value": value, "note": note})


def ledger_head(conn: sa.Connection) -> int:
    """The last record's sequence number."""
    return conn.execute(sa.select(sa.func.max(t.ledger.c.seq))).scalar() or 0


def take_lease(conn: sa.Connection, name: str, holder: str, *, now: int, until: int) -> bool:
    """Take or prolong the lease; False while another one holds it. Times in microseconds."""
    row = conn.execute(sa.select(t.leases.c.holder, t.leases.c.until).where(t.leases.c.name == name)).first()
    if row is not None and row.holder != holder and row.until > now:
        return False
    save_row(conn, t.leases, {"name": name}, {"holder": holder, "until": until})
    return True


def drop_lease(conn: sa.Connection, name: str, holder: str) -> None:
    """Give the lease back, if it is the holder's."""
    conn.execute(t.leases.delete().where(t.leases.c.name == name, t.leases.c.holder == holder))
