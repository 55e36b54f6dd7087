"""Named queries of admission: who waits, who runs, which workers live."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import orjson
import sqlalchemy as sa

from interlock.model.run import AttemptState, RunState
from interlock.store import schema as t


@dataclass(frozen=True, kw_only=True, slots=True)
class Waiting:
    """A waiting attempt. Times in microseconds since 1970."""

    attempt_id: str
    run_id: str
    agent: str
    priority: str
    queued_at: int
    not_before: int
    excludes: tuple[str, ...]
    tags: tuple[str, ...]
    submitter: str


@dataclass(frozen=True, kw_only=True, slots=True)
class RunningRow:
    """An attempt that holds a permit."""

    attempt_id: str
    agent: str
    admitted_at: int
    excludes: tuple[str, ...]
    tags: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class PermitRow:
    """A permit as stored."""

    attempt_id: str
    agent: str
    worker: str
    fence: int
    generation: int


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkerRow:
    """A worker as stored. Its lease ends at ``lease_until`` (microseconds)."""

    id: str
    host: str
    pid: int
    born: str
    place: str
    queue: str
    lease_until: int
    heir: str


_KEY: sa.BindParameter[str] = sa.bindparam("key")
_PERMIT = sa.select(t.permits).where(t.permits.c.attempt_id == _KEY)
_CLAIM = (
    t.permits.update()
    .where(t.permits.c.attempt_id == _KEY)
    .values(worker=sa.bindparam("holder"), fence=t.permits.c.fence + 1)
)
_DROP = t.permits.delete().where(t.permits.c.attempt_id == _KEY)
_HOME = sa.select(t.runs.c.worker, t.runs.c.queue).where(t.runs.c.id == _KEY)
_UNPARK = t.runs.update().where(t.runs.c.id == _KEY, t.runs.c.parked == 1).values(parked=0)
_RUNNING = sa.select(
    t.permits.c.attempt_id, t.permits.c.agent, t.attempts.c.admitted_at, t.attempts.c.excludes, t.attempts.c.tags
).join(t.attempts, t.permits.c.attempt_id == t.attempts.c.id)


def running(conn: sa.Connection) -> list[RunningRow]:
    """Every attempt that holds a permit."""
    return [
        RunningRow(
            attempt_id=row[0], agent=row[1], admitted_at=row[2] or 0, excludes=tuple(orjson.loads(row[3])),
            tags=tuple(orjson.loads(row[4])),
        )
        for row in conn.execute(_RUNNING)
    ]  # fmt: skip


_READY = t.attempts.c.state == sa.literal_column(f"'{AttemptState.READY}'")
"""Written out, not bound: only then do both databases see that the index over the waiting attempts fits."""

_WAITING = sa.select(
    t.attempts.c.id, t.attempts.c.run_id, t.attempts.c.agent, t.attempts.c.priority, t.attempts.c.queued_at,
    t.attempts.c.not_before, t.attempts.c.excludes, t.attempts.c.tags, t.attempts.c.submitter,
).where(_READY)  # fmt: skip
_ANYBODY = sa.select(t.attempts.c.id).where(_READY).limit(1)
_HEADS = sa.text("""
    WITH RECURSIVE line (id) AS (
        SELECT (SELECT id FROM il_attempt WHERE state = 'ready' ORDER BY agent, submitter, priority, rank LIMIT 1)
        UNION ALL
        SELECT COALESCE(
            (SELECT id FROM il_attempt
             WHERE state = 'ready' AND agent = here.agent AND submitter = here.submitter AND priority > here.priority
             ORDER BY priority, rank LIMIT 1),
            (SELECT id FROM il_attempt
             WHERE state = 'ready' AND agent = here.agent AND submitter > here.submitter
             ORDER BY submitter, priority, rank LIMIT 1),
            (SELECT id FROM il_attempt
             WHERE state = 'ready' AND agent > here.agent
             ORDER BY agent, submitter, priority, rank LIMIT 1))
        FROM line JOIN il_attempt AS here ON here.id = line.id)
    SELECT id FROM line WHERE id IS NOT NULL
""")
"""Jumps from line to line through the index, by three steps because SQLite uses only the first column of a row comparison:
the time grows with the number of lines, not with the length of the queue."""


def is_waited_for(conn: sa.Connection) -> bool:
    """Whether anything is in the queue at all."""
    return conn.execute(_ANYBODY).first() is not None


def heads(conn: sa.Connection, now: int) -> list[Waiting]:
    """The first attempt, whose time has come, of each line: an agent's, for one submitter, of one priority."""
    ids = list(conn.execute(_HEADS).scalars())
    found = []
    for row in conn.execute(_WAITING.where(t.attempts.c.id.in_(ids))).all() if ids else ():
        due = row if row.not_before <= now else _first_due(conn, row, now)
        if due is not None:
            found.append(_waiting(due))
    return found


def _first_due(conn: sa.Connection, head: Any, now: int) -> Any:
    """The first attempt of the head's line that does not have to wait for its back-off's end."""
    line = _WAITING.where(
        t.attempts.c.agent == head.agent, t.attempts.c.submitter == head.submitter,
        t.attempts.c.priority == head.priority, t.attempts.c.not_before <= now,
    )  # fmt: skip
    return conn.execute(line.order_by(t.attempts.c.rank).limit(1)).first()


def served(conn: sa.Connection, submitters: Collection[str]) -> dict[str, int]:
    """When each submitter's last attempt was admitted."""
    last = {}
    for submitter in submitters:
        query = sa.select(sa.func.max(t.attempts.c.admitted_at)).where(t.attempts.c.submitter == submitter)
        at = conn.execute(query).scalar()
        if at is not None:
            last[submitter] = at
    return last


def all_waiting(conn: sa.Connection) -> list[Waiting]:
    """The whole queue, longest waiting first within its priority."""
    return [_waiting(row) for row in conn.execute(_WAITING.order_by(t.attempts.c.rank, t.attempts.c.id))]


def _waiting(row: Any) -> Waiting:
    return Waiting(
        attempt_id=row.id, run_id=row.run_id, agent=row.agent, priority=row.priority, queued_at=row.queued_at,
        not_before=row.not_before, excludes=tuple(orjson.loads(row.excludes)), tags=tuple(orjson.loads(row.tags)),
        submitter=row.submitter,
    )  # fmt: skip


def admitted_since(conn: sa.Connection, since: int) -> list[int]:
    """The times at which attempts were admitted since then, oldest first."""
    query = sa.select(t.attempts.c.admitted_at).where(t.attempts.c.admitted_at > since)
    return sorted(conn.execute(query).scalars())


def grant(conn: sa.Connection, attempt_id: str, agent: str, *, generation: int, worker: str = "") -> None:
    """Store a permit."""
    permit = {"attempt_id": attempt_id, "agent": agent, "generation": generation, "worker": worker}
    conn.execute(t.permits.insert(), permit)


def find_permit(conn: sa.Connection, attempt_id: str) -> PermitRow | None:
    """The attempt's permit."""
    row = conn.execute(_PERMIT, {"key": attempt_id}).mappings().first()
    return PermitRow(**row) if row else None


def claim_permit(conn: sa.Connection, attempt_id: str, worker: str) -> PermitRow | None:
    """Make the permit this worker's; its fence rises, so that an earlier holder is refused from now on."""
    conn.execute(_CLAIM, {"key": attempt_id, "holder": worker})
    return find_permit(conn, attempt_id)


def drop_permit(conn: sa.Connection, attempt_id: str) -> bool:
    """Give a permit back; False when there was none."""
    return bool(conn.execute(_DROP, {"key": attempt_id}).rowcount)


def list_permits(conn: sa.Connection) -> list[PermitRow]:
    """All permits."""
    return [PermitRow(**row) for row in conn.execute(sa.select(t.permits)).mappings()]


def set_not_before(conn: sa.Connection, attempt_id: str, not_before: int) -> None:
    """Let a waiting attempt wait until then."""
    conn.execute(t.attempts.update().where(t.attempts.c.id == attempt_id).values(not_before=not_before))


def home_of(conn: sa.Connection, run_id: str) -> tuple[str, str]:
    """The worker that executes the run's body, and the queue that its attempts go to."""
    row = conn.execute(_HOME, {"key": run_id}).first()
    return (row.worker, row.queue) if row else ("", "")


def set_home(conn: sa.Connection, run_id: str, worker: str, queue: str) -> None:
    """Note which worker executes the run's body, and where its attempts go."""
    conn.execute(t.runs.update().where(t.runs.c.id == run_id).values(worker=worker, queue=queue, parked=0))


def park(conn: sa.Connection, run_id: str) -> None:
    """Note that the run's body ends now and the run waits without one."""
    conn.execute(t.runs.update().where(t.runs.c.id == run_id).values(parked=1))


def unpark(conn: sa.Connection, run_id: str) -> bool:
    """Whether it was so; from now on it is not."""
    return bool(conn.execute(_UNPARK, {"key": run_id}).rowcount)


def beat(conn: sa.Connection, worker: WorkerRow) -> None:
    """Store a worker's lease, new or longer."""
    changed = conn.execute(t.workers.update().where(t.workers.c.id == worker.id).values(lease_until=worker.lease_until))
    if not changed.rowcount:
        conn.execute(
            t.workers.insert().values(
                id=worker.id,
                host=worker.host,
                pid=worker.pid,
                born=worker.born,
                place=worker.place,
                queue=worker.queue,
                lease_until=worker.lease_until,
            )
        )


def list_workers(conn: sa.Connection) -> list[WorkerRow]:
    """All workers that have not signed off."""
    return [WorkerRow(**row) for row in conn.execute(sa.select(t.workers)).mappings()]


def inherit(conn: sa.Connection, worker_id: str, heir: str, heir_queue: str) -> None:
    """Note who takes over from a dead worker: from now on its runs' attempts go to the heir's queue."""
    conn.execute(t.workers.update().where(t.workers.c.id == worker_id).values(heir=heir))
    conn.execute(
        t.runs.update()
        .where(t.runs.c.worker == worker_id, t.runs.c.state != RunState.ENDED)
        .values(worker=heir, queue=heir_queue)
    )


def forget_worker(conn: sa.Connection, worker_id: str) -> None:
    """Remove a worker that has signed off or was taken over."""
    conn.execute(t.workers.delete().where(t.workers.c.id == worker_id))


def limits(conn: sa.Connection) -> dict[str, int]:
    """Limits that operators have set by name; they count instead of the configured ones."""
    return {row.name: row.most for row in conn.execute(sa.select(t.limits))}


def set_limit(conn: sa.Connection, name: str, most: int | None) -> None:
    """Set a limit, or with None go back to the configured one."""
    conn.execute(t.limits.delete().where(t.limits.c.name == name))
    if most is not None:
        conn.execute(t.limits.insert().values(name=name, most=most))
