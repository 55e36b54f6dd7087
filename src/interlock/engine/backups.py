"""Backups and restores of a store, so that the ledger goes on and says what happened.

What happened after a backup was made, a restored store cannot know. So whatever had not ended then is ended as
``escalated``: a person looks. Only where nothing has happened since (a move to another database) may it go on, as after a
crash. The file outside the database is never cut: a line in it says what a restore takes back.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from interlock.engine.alive import is_dead
from interlock.engine.durable import own_queue
from interlock.engine.ledger import Comparison
from interlock.engine.means import Means
from interlock.engine.worker import place_of
from interlock.errors import LedgerError, UsageError, WorkspaceError
from interlock.model.approval import ApprovalState
from interlock.model.ids import new_id
from interlock.model.run import AgentError, AttemptState, EffectState, ErrorKind, Outcome, OutcomeKind, RunState
from interlock.store import copies, queue, rows
from interlock.store.database import micros, moment

_OPEN = tuple(state for state in RunState if state not in {RunState.ENDED, RunState.SESSION})
_ALL = 1_000_000_000


@dataclass(frozen=True, kw_only=True, slots=True)
class BackedUp:
    """A backup that was made."""

    file: Path
    digest: str
    """Covers every row: kept elsewhere, it shows that the file is still the one that was written."""
    records: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Restored:
    """A restore that was done."""

    restore: str
    made_at: datetime
    records: int
    """How many the backup had."""
    taken_back: int
    """Records that the file outside the database has seen and that are gone now."""
    differs: int
    """The first checkpoint that was another one in that file; 0: none."""
    escalated: tuple[str, ...]
    """Runs that had not ended, now ended for a person to look at."""
    resumed: tuple[str, ...]
    """Runs that go on."""
    replaced: Path | None
    """Where what was there before is kept."""


class Backups:
    """Backups of one store."""

    def __init__(self, means: Means) -> None:
        self._means = means

    def make(self, file: Path, *, actor: str) -> BackedUp:
        """Write a backup while others work; it is verified before it counts, and the ledger names it.

        Raises:
            UsageError: when there is a file of that name.
            StoreError: when it cannot be written.
            LedgerError: when the ledger is not whole; the file is kept, for whoever looks into that.
        """
        vouched = self._means.ledger.vouched()
        self._write(file)
        with copies.read(file) as backup:
            check = self._means.ledger.verify_copy(backup.conn, vouched)
            made = BackedUp(file=file, digest=backup.about.digest, records=backup.about.records)
        if check.problem:
            raise LedgerError(f"{file} was written, but the ledger is not whole: {check.problem}")
        facts = {"file": file.name, "digest": made.digest, "records": made.records}
        self._record("store.backed_up", facts, actor=actor)
        return made

    def _write(self, file: Path) -> None:
        copies.write(self._means.database, file, made_at=micros(self._means.clock.now()))

    def _record(self, kind: str, facts: Mapping[str, Any], *, actor: str) -> None:
        ledger = self._means.ledger
        self._means.database.transact(
            lambda conn: ledger.append(conn, "operator:store", kind, facts, actor=actor)
        )  # fmt: skip
        ledger.anchor(self._means.database.transact(ledger.checkpoint))

    def restore(
        self, file: Path, *, actor: str, replace_it: bool = False, resume: bool = False, digest: str = ""
    ) -> Restored:
        """Fill the store from a backup, all of it or nothing. Tokens are left as they are here.

        ``resume``: nothing has happened since the backup, so unfinished runs go on.

        Raises:
            UsageError: when the store is not empty or the file outside speaks of another history, unless
                ``replace_it``; when workers are alive; when the digest is another; when it is no backup.
            StoreError: when the backup is damaged, or the store cannot be written.
            LedgerError: when the backup's ledger is not whole.
        """
        with copies.read(file) as backup:
            if digest and digest != backup.about.digest:
                raise UsageError(f"{file} has the digest {backup.about.digest}, not {digest}: it is another backup")
            check = self._means.ledger.verify_copy(backup.conn)
            if check.problem:
                raise LedgerError(f"{file} is not restored, its ledger is not whole: {check.problem}")
            comparison = self._means.ledger.compare(backup.conn)
            if comparison.differs and not replace_it:
                raise UsageError(
                    f"{file} is not of the history that the file outside the database vouches for: they differ from "
                    f"checkpoint {comparison.differs} on, so it was changed, or is another store's; "
                    "--replace takes it nevertheless, and the ledger will say so"
                )
            restore = new_id("rst")
            replaced = self._kept(restore, replace_it=replace_it)
            return self._pour(restore, backup, comparison, actor=actor, resume=resume, replaced=replaced)

    def _kept(self, restore: str, *, replace_it: bool) -> Path | None:
        """What is here now, in a backup of its own before it is replaced; None when there is nothing."""
        with self._means.database.read() as conn:
            self._check_alone(conn)
            if copies.empty(conn):
                return None
        if not replace_it:
            raise UsageError(
                "this store is not empty: --replace puts the backup in its place, and keeps a backup of it"
            )
        kept = self._means.settings.state_dir / f"replaced-by-{restore}.backup"
        self._write(kept)
        return kept

    def _check_alone(self, conn: sa.Connection) -> None:
        now = micros(self._means.database.time(conn, self._means.clock.now()))
        alive = [row.id for row in queue.list_workers(conn) if not is_dead(row, now)]
        if alive:
            raise UsageError(
                f"{len(alive)} workers use this store ({alive[0]}): stop them (and `interlock serve`) first"
            )

    def _pour(
        self, restore: str, backup: copies.Backup, comparison: Comparison, *, actor: str, resume: bool,
        replaced: Path | None,
    ) -> Restored:  # fmt: skip
        means = self._means
        means.durable.prepare()
        means.ledger.announce(restore, comparison)
        with means.database.write() as conn:
            self._check_alone(conn)
            if replaced is None and not copies.empty(conn):
                raise UsageError("somebody has written to this store meanwhile: nothing was restored")
            copies.clear(conn)
            means.durable.forget_all(conn)
            backup.pour(conn)
            runs = tuple(run.id for run in rows.list_runs(conn, states=_OPEN, limit=_ALL))
            done = Restored(
                restore=restore, made_at=moment(backup.about.made_at), records=backup.about.records,
                taken_back=comparison.newer, differs=comparison.differs, replaced=replaced,
                escalated=() if resume else runs, resumed=runs if resume else (),
            )  # fmt: skip
            means.ledger.append(conn, "operator:store", "store.restored", _facts(done, backup.about), actor=actor)
            if resume:
                self._leave_to_heirs(conn, runs)
            else:
                self._escalate(conn, runs, done)
            checkpoint = means.ledger.checkpoint(conn)
        means.ledger.anchor(checkpoint)
        for run_id in done.escalated:  # what they left on this machine, if it is the same one
            with contextlib.suppress(WorkspaceError, OSError):
                means.workspaces.end(run_id, keep=True)
        return done

    def _leave_to_heirs(self, conn: sa.Connection, runs: tuple[str, ...]) -> None:
        """As after a crash: a worker that is dead has left it all, and the next one of this place takes over."""
        if not runs:
            return
        dead = new_id("wrk")
        home = own_queue(dead)
        place = place_of(self._means.settings.project, self._means.settings.worker.place)
        row = queue.WorkerRow(id=dead, host="", pid=0, born="", place=place, queue=home, lease_until=0, heir="")
        queue.beat(conn, row)
        for run_id in runs:
            queue.set_home(conn, run_id, dead, home)
            self._means.durable.start_run(conn, run_id, home)
            for attempt in rows.attempts_of(conn, run_id):
                if attempt.state not in {AttemptState.ENDED, AttemptState.READY}:
                    self._means.durable.start_attempt(conn, attempt.id, home)

    def _escalate(self, conn: sa.Connection, runs: tuple[str, ...], done: Restored) -> None:
        """Nothing goes on by itself: questions are closed, intents are unknown, open runs are a person's."""
        why = f"the store was restored from a backup of {done.made_at:%Y-%m-%d %H:%M} UTC: nobody knows what happened since"
        for effect in rows.intended(conn):
            rows.save_effect(conn, replace(effect, state=EffectState.UNKNOWN))
            facts = {"effect": effect.id, "call": effect.summary}
            self._means.record(conn, effect.run_id, "effect.unknown", facts, once=f"unknown:{effect.id}")
        asked = rows.list_approvals(conn, states=(ApprovalState.PENDING, ApprovalState.APPROVED))
        for run_id in dict.fromkeys(each.run_id for each in asked):
            self._means.approvals.withdraw(conn, run_id, why)
        for run_id in runs:
            self._end(conn, run_id, why)

    def _end(self, conn: sa.Connection, run_id: str, why: str) -> None:
        queue.unpark(conn, run_id)
        for attempt in rows.attempts_of(conn, run_id):
            self._means.governor.end(conn, attempt, AgentError(kind=ErrorKind.CANCELLED, message=why))
        run = rows.find_run(conn, run_id)
        if run is None:
            return
        unknown = tuple(each.summary for each in rows.effects_of(conn, run_id, states=(EffectState.UNKNOWN,)))
        outcome = Outcome(kind=OutcomeKind.ESCALATED, reason=why, unknown=unknown)
        rows.save_run(conn, replace(run, state=RunState.ENDED, outcome=outcome, ended_at=self._means.clock.now()))
        facts = {"kind": outcome.kind, "reason": why, "unknown": list(unknown)}
        self._means.record(conn, run_id, "run.ended", facts, once="ended")


def _facts(done: Restored, about: copies.About) -> dict[str, Any]:
    return {
        "restore": done.restore, "backup": about.digest, "made_at": done.made_at.isoformat(timespec="seconds"),
        "store": about.store, "records": about.records, "taken_back": done.taken_back,
        "differs": done.differs, "escalated": list(done.escalated), "resumed": list(done.resumed),
        "replaced": done.replaced.name if done.replaced else "",
    }  # fmt: skip
