"""Named queries of policy rollouts: the sets, which of them judges a run, and what both have said."""

from __future__ import annotations

import sqlalchemy as sa

from interlock.model.rollout import Compared, Difference, Judgements, PolicyText
from interlock.store import schema as t
from interlock.store.rows import noun_of, text_of

_PER_RUN = 3
"""Examples that are kept of one run: one agent that tries again and again must not push out all others."""
_RUNS = 20
"""Newest runs whose examples are shown."""


def save_policies(conn: sa.Connection, digest: str, text: PolicyText) -> None:
    """Keep a set of policies; a second time changes nothing."""
    known = sa.select(t.policy_sets.c.digest).where(t.policy_sets.c.digest == digest)
    if conn.execute(known).first() is None:
        conn.execute(t.policy_sets.insert().values(digest=digest, policies=text_of(text)))


def find_policies(conn: sa.Connection, digest: str) -> PolicyText | None:
    """The set of that digest."""
    text = conn.execute(sa.select(t.policy_sets.c.policies).where(t.policy_sets.c.digest == digest)).scalar()
    return noun_of(PolicyText, text) if text else None


def pinned(conn: sa.Connection, rollout_id: str, run_id: str) -> bool | None:
    """Whether the run is judged by the new set; None: nothing was decided for it."""
    j = t.judged.c
    return conn.execute(sa.select(j.canary).where(j.rollout_id == rollout_id, j.run_id == run_id)).scalar()


def pin(conn: sa.Connection, rollout_id: str, run_id: str, *, canary: bool) -> None:
    """Decide for a run, for good."""
    conn.execute(t.judged.insert().values(rollout_id=rollout_id, run_id=run_id, canary=canary))


def count(conn: sa.Connection, rollout_id: str, run_id: str, call: Compared) -> None:
    """Add one call of a run that is pinned."""
    j = t.judged.c
    here = (j.rollout_id == rollout_id, j.run_id == run_id)
    adds = {
        "calls": 1, "errors": call.error, "left_out": call.left_out, "old_blocked": call.old_blocked,
        "new_blocked": call.new_blocked, "old_asked": call.old_asked, "new_asked": call.new_asked,
    }  # fmt: skip
    values: dict[str, object] = {}
    if call.difference is not None:
        adds["tighter" if call.difference.tighter else "looser"] = 1
        kept = conn.execute(sa.select(j.examples).where(*here)).scalar()
        known = noun_of(tuple[Difference, ...], kept) if kept else ()
        if len(known) < _PER_RUN:
            values["examples"] = f"[{','.join(text_of(each) for each in (*known, call.difference))}]"
    values |= {name: j[name] + int(number) for name, number in adds.items() if number}
    conn.execute(t.judged.update().where(*here).values(**values))


def judgements(conn: sa.Connection, rollout_id: str) -> Judgements:
    """The sums over all runs of the rollout that have made a call."""
    j = t.judged.c
    where = (j.rollout_id == rollout_id, j.calls > 0)

    def runs(*conditions: sa.ColumnElement[bool]) -> sa.ColumnElement[int]:
        return sa.func.coalesce(sa.func.sum(sa.case((sa.and_(*conditions), 1), else_=0)), 0)

    def calls(column: sa.ColumnElement[int]) -> sa.ColumnElement[int]:
        return sa.func.coalesce(sa.func.sum(column), 0)

    query = sa.select(
        sa.func.count().label("runs"), runs(j.canary.is_(True)).label("canary_runs"), calls(j.calls).label("calls"),
        calls(sa.case((j.canary.is_(True), j.calls), else_=0)).label("canary_calls"),
        calls(j.tighter).label("tighter"), calls(j.looser).label("looser"), calls(j.errors).label("errors"),
        calls(j.left_out).label("left_out"),
        runs(j.new_blocked > 0, j.old_blocked == 0).label("more_blocked"),
        runs(j.new_blocked == 0, j.old_blocked > 0).label("fewer_blocked"),
        runs(j.new_asked > 0, j.old_asked == 0).label("more_asked"),
        runs(j.new_asked == 0, j.old_asked > 0).label("fewer_asked"),
    ).where(*where)  # fmt: skip
    sums = {str(name): int(value) for name, value in conn.execute(query).mappings().one().items()}
    shown = sa.select(j.examples).where(*where, j.examples != "[]").order_by(j.run_id.desc()).limit(_RUNS)
    found = [each for text in conn.execute(shown).scalars() for each in noun_of(tuple[Difference, ...], text)]
    return Judgements(**sums, examples=tuple(found))
