"""Named queries. Each takes the connection of the transaction that it is part of."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, TypeVar

import orjson
import sqlalchemy as sa

from interlock.model.approval import Approval, ApprovalState
from interlock.model.breaker import Breaker
from interlock.model.plain import dump, load
from interlock.model.run import Attempt, AttemptState, Effect, EffectState, Run, RunState
from interlock.store import schema as t
from interlock.store.database import micros

T = TypeVar("T")

_ID: sa.BindParameter[str] = sa.bindparam("key")
"""What every step asks is made once: putting a statement together costs SQLAlchemy three times as much as executing it."""
_FIND_RUN = sa.select(t.runs.c.run).where(t.runs.c.id == _ID)
_SAVE_RUN = (
    t.runs.update()
    .where(t.runs.c.id == _ID)
    .values(state=sa.bindparam("now"), outcome=sa.bindparam("ending"), run=sa.bindparam("text"))
)
_CANCELLED = sa.select(t.runs.c.cancel).where(t.runs.c.id == _ID)
_HISTORY = sa.select(t.runs.c.history).where(t.runs.c.id == _ID)
_SAVE_HISTORY = t.runs.update().where(t.runs.c.id == _ID).values(history=sa.bindparam("text"))
_FIND_ATTEMPT = sa.select(t.attempts.c.attempt).where(t.attempts.c.id == _ID)
_ATTEMPTS = sa.select(t.attempts.c.attempt).where(t.attempts.c.run_id == _ID)
_SAVE_ATTEMPT = (
    t.attempts.update()
    .where(t.attempts.c.id == _ID)
    .values(state=sa.bindparam("now"), attempt=sa.bindparam("text"), admitted_at=sa.bindparam("admitted"))
)
_FIND_BREAKER = sa.select(t.breakers.c.breaker).where(t.breakers.c.agent == _ID)
_SAVE_BREAKER = t.breakers.update().where(t.breakers.c.agent == _ID).values(breaker=sa.bindparam("text"))


def text_of(noun: Any) -> str:
    """A noun as JSON text."""
    return orjson.dumps(dump(noun)).decode()


def noun_of(kind: type[T], text: str) -> T:
    """The noun of that JSON text."""
    return load(kind, orjson.loads(text))


# Runs


def insert_run(conn: sa.Connection, run: Run) -> None:
    """Store a new run."""
    conn.execute(
        t.runs.insert(),
        {
            "id": run.id,
            "state": run.state,
            "run": text_of(run),
            "idempotency_key": run.task.idempotency_key or None,
            "submitted_at": micros(run.submitted_at),
        },
    )


def save_run(conn: sa.Connection, run: Run) -> None:
    """Store a run's new state."""
    ending = run.outcome.kind if run.outcome else ""
    conn.execute(_SAVE_RUN, {"key": run.id, "now": run.state, "ending": ending, "text": text_of(run)})


def find_run(conn: sa.Connection, run_id: str) -> Run | None:
    """The run of that id."""
    row = conn.execute(_FIND_RUN, {"key": run_id}).scalar()
    return noun_of(Run, row) if row else None


def find_run_by_key(conn: sa.Connection, idempotency_key: str) -> Run | None:
    """The run that was submitted with that idempotency key."""
    row = conn.execute(sa.select(t.runs.c.run).where(t.runs.c.idempotency_key == idempotency_key)).scalar()
    return noun_of(Run, row) if row else None


def list_runs(
    conn: sa.Connection,
    *,
    states: Sequence[RunState] = (),
    outcome: str = "",
    before: Run | None = None,
    limit: int = 50,
) -> list[Run]:
    """Runs, newest first, those submitted before the run ``before``."""
    query = sa.select(t.runs.c.run).order_by(t.runs.c.submitted_at.desc(), t.runs.c.id.desc()).limit(limit)
    if states:
        query = query.where(t.runs.c.state.in_(states))
    if outcome:
        query = query.where(t.runs.c.outcome == outcome)
    if before is not None:
        at = micros(before.submitted_at)
        query = query.where((t.runs.c.submitted_at < at) | ((t.runs.c.submitted_at == at) & (t.runs.c.id < before.id)))
    return [noun_of(Run, row) for row in conn.execute(query).scalars()]


def count_runs(conn: sa.Connection) -> dict[str, int]:
    """How many runs there are, by state, and by outcome for those that have ended."""
    query = sa.select(t.runs.c.state, t.runs.c.outcome, sa.func.count()).group_by(t.runs.c.state, t.runs.c.outcome)
    found: dict[str, int] = {}
    for state, outcome, count in conn.execute(query):
        found[outcome or state] = found.get(outcome or state, 0) + count
    return found


def matching_run_ids(conn: sa.Connection, prefix: str) -> list[str]:
    """Ids that begin or end with ``prefix``, for people who type a part of one."""
    query = sa.select(t.runs.c.id).where(
        t.runs.c.id.startswith(prefix, autoescape=True) | t.runs.c.id.endswith(prefix, autoescape=True)
    )
    return list(conn.execute(query.limit(5)).scalars())


def request_cancel(conn: sa.Connection, run_id: str, actor: str) -> None:
    """Note that the run is to be cancelled, and by whom; the first one counts."""
    conn.execute(t.runs.update().where(t.runs.c.id == run_id, t.runs.c.cancel == "").values(cancel=actor))


def cancelled_by(conn: sa.Connection, run_id: str) -> str:
    """Who has cancelled the run, empty when nobody has."""
    return conn.execute(_CANCELLED, {"key": run_id}).scalar() or ""


def runs_to_halt(conn: sa.Connection) -> dict[str, str]:
    """Runs whose attempts must end, and why: cancelled ones, and those that are being rolled back."""
    query = sa.select(t.runs.c.id, t.runs.c.cancel).where(
        t.runs.c.state != RunState.ENDED, (t.runs.c.cancel != "") | (t.runs.c.state == RunState.ROLLING_BACK)
    )
    return {row.id: f"cancelled by {row.cancel}" if row.cancel else "the run ends" for row in conn.execute(query)}


def open_bodies(conn: sa.Connection, worker_id: str) -> list[str]:
    """The ids of that worker's runs that have a body, and of their attempts that hold a permit."""
    runs = sa.select(t.runs.c.id).where(
        t.runs.c.worker.in_([worker_id, ""]), t.runs.c.state != RunState.ENDED, t.runs.c.parked == 0
    )
    attempts = sa.select(t.permits.c.attempt_id).join(t.attempts, t.attempts.c.id == t.permits.c.attempt_id)
    held = attempts.where(t.attempts.c.run_id.in_(runs))
    return [*conn.execute(runs).scalars(), *conn.execute(held).scalars()]


def history_of(conn: sa.Connection, run_id: str) -> str:
    """The run's flow history as JSON text, empty at first."""
    return conn.execute(_HISTORY, {"key": run_id}).scalar() or ""


def save_history(conn: sa.Connection, run_id: str, history: str) -> None:
    """Store the run's flow history."""
    conn.execute(_SAVE_HISTORY, {"key": run_id, "text": history})


# The ledger's end


def last_record(conn: sa.Connection) -> int:
    """The sequence number of the ledger's last record, 0 for none."""
    return conn.execute(sa.select(sa.func.max(t.ledger.c.seq))).scalar() or 0


# Attempts


def insert_attempt(
    conn: sa.Connection,
    attempt: Attempt,
    *,
    priority: str,
    rank: int,
    not_before: int,
    excludes: Sequence[str] = (),
    tags: Sequence[str] = (),
    submitter: str = "",
) -> None:
    """Queue a new attempt."""
    conn.execute(
        t.attempts.insert(),
        {
            "id": attempt.id,
            "run_id": attempt.run_id,
            "phase": attempt.phase,
            "assigned": attempt.assigned,
            "agent": attempt.agent,
            "number": attempt.number,
            "state": attempt.state,
            "attempt": text_of(attempt),
            "priority": priority,
            "queued_at": micros(attempt.queued_at),
            "rank": rank,
            "not_before": not_before,
            "excludes": orjson.dumps(list(excludes)).decode(),
            "tags": orjson.dumps(list(tags)).decode(),
            "submitter": submitter,
        },
    )


def save_attempt(conn: sa.Connection, attempt: Attempt) -> None:
    """Store an attempt's new state."""
    admitted = micros(attempt.admitted_at) if attempt.admitted_at else None
    now = {"key": attempt.id, "now": attempt.state, "text": text_of(attempt), "admitted": admitted}
    conn.execute(_SAVE_ATTEMPT, now)


def find_attempt(conn: sa.Connection, attempt_id: str) -> Attempt | None:
    """The attempt of that id."""
    row = conn.execute(_FIND_ATTEMPT, {"key": attempt_id}).scalar()
    return noun_of(Attempt, row) if row else None


def open_attempts(conn: sa.Connection, *, run_ids: Collection[str] = ()) -> list[tuple[str, str, AttemptState]]:
    """(run, agent, state) of attempts that have not ended: of these runs, or without any all that are past the queue."""
    query = sa.select(t.attempts.c.run_id, t.attempts.c.agent, t.attempts.c.state).order_by(t.attempts.c.queued_at)
    past = [AttemptState.ADMITTED, AttemptState.RUNNING, AttemptState.WAITING]
    open_ = t.attempts.c.run_id.in_(run_ids) & (t.attempts.c.state != AttemptState.ENDED)
    query = query.where(open_ if run_ids else t.attempts.c.state.in_(past))
    return [(run, agent, AttemptState(state)) for run, agent, state in conn.execute(query)]


def attempts_of(conn: sa.Connection, run_id: str) -> list[Attempt]:
    """All attempts of a run in the order in which they were queued."""
    found = [noun_of(Attempt, row) for row in conn.execute(_ATTEMPTS, {"key": run_id}).scalars()]
    return sorted(found, key=lambda attempt: (attempt.phase, attempt.assigned, attempt.number))


# Breakers


def find_breaker(conn: sa.Connection, agent: str) -> Breaker:
    """The agent's breaker; a closed one when it never had any."""
    row = conn.execute(_FIND_BREAKER, {"key": agent}).scalar()
    return noun_of(Breaker, row) if row else Breaker(agent=agent)


def save_breaker(conn: sa.Connection, breaker: Breaker) -> None:
    """Store a breaker's new state."""
    updated = conn.execute(_SAVE_BREAKER, {"key": breaker.agent, "text": text_of(breaker)})
    if not updated.rowcount:
        conn.execute(t.breakers.insert().values(agent=breaker.agent, breaker=text_of(breaker)))


def list_breakers(conn: sa.Connection) -> list[Breaker]:
    """All breakers that ever changed, by agent."""
    query = sa.select(t.breakers.c.breaker).order_by(t.breakers.c.agent)
    return [noun_of(Breaker, row) for row in conn.execute(query).scalars()]


# Effects


def insert_effect(conn: sa.Connection, effect: Effect, *, outside: bool, action: str = "") -> None:
    """Store an intent, with the redacted action for replays."""
    conn.execute(
        t.effects.insert(),
        {
            "id": effect.id,
            "run_id": effect.run_id,
            "attempt_id": effect.attempt_id,
            "number": effect.number,
            "state": effect.state,
            "outside": outside,
            "effect": text_of(effect),
            "action": action,
        },
    )


def save_effect(conn: sa.Connection, effect: Effect) -> None:
    """Store an effect's new state."""
    conn.execute(
        t.effects.update().where(t.effects.c.id == effect.id).values(state=effect.state, effect=text_of(effect))
    )


def find_effect(conn: sa.Connection, effect_id: str) -> Effect | None:
    """The effect of that id."""
    row = conn.execute(sa.select(t.effects.c.effect).where(t.effects.c.id == effect_id)).scalar()
    return noun_of(Effect, row) if row else None


def effects_of(
    conn: sa.Connection,
    run_id: str,
    *,
    attempt_id: str = "",
    states: Sequence[EffectState] = (),
    outside_only: bool = False,
) -> list[Effect]:
    """Effects of a run in the order of their intents."""
    query = sa.select(t.effects.c.effect).where(t.effects.c.run_id == run_id).order_by(t.effects.c.number)
    if attempt_id:
        query = query.where(t.effects.c.attempt_id == attempt_id)
    if states:
        query = query.where(t.effects.c.state.in_(states))
    if outside_only:
        query = query.where(t.effects.c.outside.is_(True))
    return [noun_of(Effect, row) for row in conn.execute(query).scalars()]


def intended(conn: sa.Connection) -> list[Effect]:
    """Effects of all runs that were begun and of which no outcome is known."""
    query = sa.select(t.effects.c.effect).where(t.effects.c.state == EffectState.INTENDED).order_by(t.effects.c.id)
    return [noun_of(Effect, row) for row in conn.execute(query).scalars()]


def recorded_actions(conn: sa.Connection, *, run_id: str = "") -> list[str]:
    """The redacted actions of all effects, or of one run's, as JSON texts, oldest first."""
    query = sa.select(t.effects.c.action).where(t.effects.c.action != "").order_by(t.effects.c.id)
    if run_id:
        query = query.where(t.effects.c.run_id == run_id)
    return list(conn.execute(query).scalars())


def next_effect_number(conn: sa.Connection, run_id: str) -> int:
    """The number of the run's next effect, 1 first."""
    query = sa.select(sa.func.max(t.effects.c.number)).where(t.effects.c.run_id == run_id)
    return (conn.execute(query).scalar() or 0) + 1


# Approvals


def insert_approval(conn: sa.Connection, approval: Approval) -> None:
    """Store a question."""
    conn.execute(
        t.approvals.insert(),
        {
            "id": approval.id,
            "run_id": approval.run_id,
            "digest": approval.digest,
            "state": approval.state,
            "approval": text_of(approval),
            "expires_at": micros(approval.expires_at),
        },
    )


def save_approval(conn: sa.Connection, approval: Approval) -> None:
    """Store a question's new state."""
    conn.execute(
        t.approvals.update()
        .where(t.approvals.c.id == approval.id)
        .values(state=approval.state, approval=text_of(approval))
    )


def find_approval(conn: sa.Connection, approval_id: str) -> Approval | None:
    """The question of that id."""
    row = conn.execute(sa.select(t.approvals.c.approval).where(t.approvals.c.id == approval_id)).scalar()
    return noun_of(Approval, row) if row else None


def list_approvals(
    conn: sa.Connection,
    *,
    run_id: str = "",
    digest: str = "",
    states: Sequence[ApprovalState] = (),
    after: str = "",
    limit: int | None = None,
) -> list[Approval]:
    """Questions, oldest first, with ids after that one."""
    query = sa.select(t.approvals.c.approval).where(t.approvals.c.id > after).order_by(t.approvals.c.id).limit(limit)
    if run_id:
        query = query.where(t.approvals.c.run_id == run_id)
    if digest:
        query = query.where(t.approvals.c.digest == digest)
    if states:
        query = query.where(t.approvals.c.state.in_(states))
    return [noun_of(Approval, row) for row in conn.execute(query).scalars()]


def due_approvals(conn: sa.Connection, now: int, limit: int) -> list[str]:
    """Ids of open questions whose time is over, the oldest first."""
    query = sa.select(t.approvals.c.id).where(
        t.approvals.c.state == ApprovalState.PENDING, t.approvals.c.expires_at <= now
    )
    return list(conn.execute(query.order_by(t.approvals.c.expires_at).limit(limit)).scalars())


def open_approvals(conn: sa.Connection, digest: str) -> list[Approval]:
    """Open questions about that digest, of all runs, oldest first."""
    query = sa.select(t.approvals.c.approval).where(
        t.approvals.c.state == ApprovalState.PENDING, t.approvals.c.digest == digest
    )
    return [noun_of(Approval, row) for row in conn.execute(query.order_by(t.approvals.c.id)).scalars()]


def matching_approvals(conn: sa.Connection, word: str) -> list[Approval]:
    """Open questions whose id or whose run's id ends with that word, for people who type a part of one; two at most."""
    ends = [column.endswith(word, autoescape=True) for column in (t.approvals.c.id, t.approvals.c.run_id)]
    query = sa.select(t.approvals.c.approval).where(t.approvals.c.state == ApprovalState.PENDING, sa.or_(*ends))
    return [noun_of(Approval, row) for row in conn.execute(query.limit(2)).scalars()]


def count_approvals(conn: sa.Connection, state: ApprovalState) -> int:
    """How many questions there are in that state."""
    return conn.execute(sa.select(sa.func.count()).where(t.approvals.c.state == state)).scalar() or 0


def recent_durations(conn: sa.Connection, limit: int = 50) -> dict[str, list[int]]:
    """How long each agent's last successful attempts held their place, in milliseconds: starting and checking count."""
    query = (
        sa.select(t.attempts.c.attempt)
        .where(t.attempts.c.state == AttemptState.ENDED)
        .order_by(t.attempts.c.admitted_at.desc())
        .limit(limit * 4)
    )
    took: dict[str, list[int]] = {}
    for row in conn.execute(query).scalars():
        attempt = noun_of(Attempt, row)
        if attempt.admitted_at and attempt.ended_at and attempt.error is None:
            ms = round((attempt.ended_at - attempt.admitted_at).total_seconds() * 1000)
            took.setdefault(attempt.agent, []).append(ms)
    return {agent: values[:limit] for agent, values in took.items()}
