"""Named queries of what is watched: metrics, marks, leases, alerts, silences, rollouts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import orjson
import sqlalchemy as sa

from interlock.model.alert import Alert, AlertState, Silence
from interlock.model.metrics import Tally
from interlock.model.rollout import Outing, Rollout
from interlock.model.run import AttemptState
from interlock.store import schema as t
from interlock.store.database import micros
from interlock.store.rows import noun_of, text_of

Stretch = tuple[int, int, str]
"""(length in seconds, start in seconds since 1970, agent)."""
Stretched = tuple[int, str, Tally]
"""(start in seconds since 1970, agent, what was counted)."""


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


def tallies(conn: sa.Connection, size_s: int) -> Iterator[tuple[str, Tally]]:
    """(agent, tally) of all stretches of that length, oldest first."""
    for _, agent, tally in tallies_at(conn, size_s, 0):
        yield agent, tally


def tallies_at(
    conn: sa.Connection, size_s: int, since: int, until: int | None = None, *, agent: str | None = None
) -> Iterator[Stretched]:
    """(start, agent, tally) of stretches of that length from ``since`` to before ``until``, oldest first; of one agent."""
    m = t.metrics.c
    query = sa.select(m.start, m.agent, m.tally).where(m.size_s == size_s, m.start >= since).order_by(m.start)
    if until is not None:
        query = query.where(m.start < until)
    if agent is not None:
        query = query.where(m.agent == agent)
    for row in conn.execute(query):
        yield row.start, row.agent, noun_of(Tally, row.tally)


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
    """Take or prolong the lease; False while another one holds it. Times in microseconds.

    One that would last twice as long as a new one was written by a clock that has jumped back since, and counts no more.
    """
    row = conn.execute(sa.select(t.leases.c.holder, t.leases.c.until).where(t.leases.c.name == name)).first()
    if row is not None and row.holder != holder and now < row.until <= now + 2 * (until - now):
        return False
    save_row(conn, t.leases, {"name": name}, {"holder": holder, "until": until})
    return True


def drop_lease(conn: sa.Connection, name: str, holder: str) -> None:
    """Give the lease back, if it is the holder's."""
    conn.execute(t.leases.delete().where(t.leases.c.name == name, t.leases.c.holder == holder))


# Alerts


def save_alert(conn: sa.Connection, alert: Alert) -> None:
    """Store an alert, new or changed."""
    save_row(conn, t.alerts, {"id": alert.id}, {"state": alert.state, "alert": text_of(alert)})


def drop_alert(conn: sa.Connection, alert_id: str) -> None:
    """Forget an alert that was pending and did not fire."""
    conn.execute(t.alerts.delete().where(t.alerts.c.id == alert_id))


def find_alert(conn: sa.Connection, alert_id: str) -> Alert | None:
    """The alert of that id."""
    text = conn.execute(sa.select(t.alerts.c.alert).where(t.alerts.c.id == alert_id)).scalar()
    return noun_of(Alert, text) if text else None


def list_alerts(conn: sa.Connection, *, resolved: int = 0) -> list[Alert]:
    """All alerts that are not over, and the last ``resolved`` that are; oldest first."""
    a = t.alerts.c
    query = sa.select(a.alert).where(a.state != AlertState.RESOLVED)
    standing = [noun_of(Alert, text) for text in conn.execute(query).scalars()]
    over = resolved_alerts(conn, limit=resolved) if resolved else []
    return sorted([*standing, *over], key=lambda alert: alert.id)


def resolved_alerts(conn: sa.Connection, *, before: str = "", limit: int) -> list[Alert]:
    """Alerts that are over, newest first, with ids before that one."""
    a = t.alerts.c
    query = sa.select(a.alert).where(a.state == AlertState.RESOLVED).order_by(a.id.desc()).limit(limit)
    if before:
        query = query.where(a.id < before)
    return [noun_of(Alert, text) for text in conn.execute(query).scalars()]


def save_silence(conn: sa.Connection, silence: Silence) -> None:
    """Store a silence, new or changed."""
    save_row(conn, t.silences, {"id": silence.id}, {"until": micros(silence.until), "silence": text_of(silence)})


def list_silences(conn: sa.Connection, now: int) -> list[Silence]:
    """Silences that have not ended, oldest first."""
    query = sa.select(t.silences.c.silence).where(t.silences.c.until > now).order_by(t.silences.c.id)
    return [noun_of(Silence, text) for text in conn.execute(query).scalars()]


def heighten(conn: sa.Connection, agent: str, *, until: int, why: str) -> None:
    """Have the agent watched more closely until then."""
    save_row(conn, t.heightened, {"agent": agent}, {"until": until, "why": why})


def heightened(conn: sa.Connection, agent: str, now: int) -> str:
    """Why the agent is watched more closely now; empty when it is not."""
    query = sa.select(t.heightened.c.why).where(t.heightened.c.agent == agent, t.heightened.c.until > now)
    return conn.execute(query).scalar() or ""


# Rollouts


def save_rollout(conn: sa.Connection, rollout: Rollout, *, current: bool = True) -> None:
    """Store a rollout, new or changed; ``current`` is the one that counts for its agent."""
    values = {"agent": rollout.agent, "current": current, "rollout": text_of(rollout)}
    save_row(conn, t.rollouts, {"id": rollout.id}, values)


def current_rollout(conn: sa.Connection, agent: str) -> Rollout | None:
    """The agent's rollout that counts."""
    r = t.rollouts.c
    text = conn.execute(sa.select(r.rollout).where(r.agent == agent, r.current.is_(True))).scalar()
    return noun_of(Rollout, text) if text else None


def list_rollouts(conn: sa.Connection, *, current: bool = True) -> list[Rollout]:
    """The rollouts that count, or all; oldest first."""
    query = sa.select(t.rollouts.c.rollout).order_by(t.rollouts.c.id)
    if current:
        query = query.where(t.rollouts.c.current.is_(True))
    return [noun_of(Rollout, text) for text in conn.execute(query).scalars()]


def add_outing(conn: sa.Connection, rollout_id: str, outing: Outing) -> None:
    """Note how an execution under a rollout ended; a second time changes nothing."""
    r = t.trials.c
    known = sa.select(r.attempt_id).where(r.rollout_id == rollout_id, r.attempt_id == outing.attempt)
    if conn.execute(known).first():
        return
    last = conn.execute(sa.select(sa.func.max(r.number)).where(r.rollout_id == rollout_id)).scalar() or 0
    values = {"rollout_id": rollout_id, "attempt_id": outing.attempt, "number": last + 1, "trial": text_of(outing)}
    conn.execute(t.trials.insert().values(**values))


def outings_of(conn: sa.Connection, rollout_id: str) -> list[Outing]:
    """How the rollout's executions ended, in that order."""
    query = sa.select(t.trials.c.trial).where(t.trials.c.rollout_id == rollout_id).order_by(t.trials.c.number)
    return [noun_of(Outing, text) for text in conn.execute(query).scalars()]


def was_blocked(conn: sa.Connection, run_id: str, attempt_id: str) -> bool:
    """Whether any call of the attempt was blocked."""
    query = sa.select(t.ledger.c.body).where(t.ledger.c.run_id == run_id, t.ledger.c.kind == "call.blocked")
    return any(orjson.loads(body)["data"].get("attempt") == attempt_id for body in conn.execute(query).scalars())
