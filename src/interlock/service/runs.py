"""Runs: taken on, found, followed, cancelled."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import sqlalchemy as sa

from interlock.decide.taint import begin
from interlock.engine.alive import is_dead
from interlock.engine.durable import SHARED, own_queue
from interlock.engine.means import Means
from interlock.engine.undo import CallUndo, UndoneCall
from interlock.errors import NotFoundError, UsageError, WorkspaceError
from interlock.model.approval import Approval, ApprovalState
from interlock.model.ids import new_id
from interlock.model.ledger import LedgerEntry
from interlock.model.plan import Task
from interlock.model.run import Attempt, AttemptState, Effect, Run, RunState
from interlock.store import queue, rows
from interlock.store.database import micros

_LONGEST_TASK = 100_000
"""Characters."""
_POLL_S = 0.1


@dataclass(frozen=True, kw_only=True, slots=True)
class RunView:
    """A run with everything that belongs to it, as it stands now."""

    run: Run
    attempts: tuple[Attempt, ...]
    effects: tuple[Effect, ...]
    approvals: tuple[Approval, ...]
    waits_for: str
    """One sentence: a person, a place in the queue; empty when it is at work or has ended."""


class Runs:
    """The runs of one store."""

    def __init__(self, means: Means) -> None:
        self._means = means
        self._undo = CallUndo(means)

    def submit(self, task: Task, *, detach: bool = False) -> Run:
        """Take a task on, durably. The same idempotency key gives the same run. ``detach`` leaves it to any worker.

        Raises:
            UsageError: when the task is empty or far too long.
            PlanError: when nobody suits, before anything is stored.
            ConfigError: when an agent of the plan cannot be run as configured; nothing is stored either.
        """
        if not task.text.strip():
            message = 'the task is empty; say what is to be done: interlock run "…"'
            raise UsageError(message)
        if len(task.text) > _LONGEST_TASK:
            message = f"the task has {len(task.text)} characters; {_LONGEST_TASK} are the most"
            raise UsageError(message)
        for agent in self._means.chooser.plan(task).agents:
            self._means.runner_of(self._means.spec(agent))
        if not self._means.durable.queue:
            self._means.durable.prepare()
        now = self._means.clock.now()
        run = Run(
            id=new_id("run"),
            task=replace(task, submitted_at=now),
            environment=self._means.settings.environment,
            submitted_at=now,
        )
        with self._means.database.write() as conn:
            known = rows.find_run_by_key(conn, task.idempotency_key) if task.idempotency_key else None
            if known is not None:
                return known
            rows.insert_run(conn, run)
            rows.save_history(conn, run.id, rows.text_of(begin(task.text)))
            self._means.ledger.append(
                conn, run.id, "task.submitted",
                {"task": task.text, "environment": run.environment, "agents": list(task.agents)}, actor=task.submitter,
            )  # fmt: skip
            checkpoint = self._means.ledger.checkpoint(conn)
            self._means.durable.start_run(conn, run.id, SHARED if detach else self._home(conn))
        self._means.ledger.anchor(checkpoint)
        return run

    def _home(self, conn: sa.Connection) -> str:
        """The queue of this process's worker; without one, that of a living worker, or of anybody who comes."""
        if self._means.durable.queue:
            return self._means.durable.queue
        now = micros(self._means.database.time(conn, self._means.clock.now()))
        living = [row for row in queue.list_workers(conn) if not is_dead(row, now)]
        alone = [row for row in living if row.queue == own_queue(row.id)]
        return SHARED if len(alone) < len(living) or not alone else alone[0].queue

    def claim(self, run_id: str) -> Run:
        """Have a run that waits for any worker executed by this process."""
        run = self.find(run_id)
        with self._means.database.read() as conn:
            waits = self._means.durable.queue and self._means.durable.waits_for_anybody(conn, run.id)
        if waits:
            self._means.durable.resume([run.id], self._means.durable.queue)
        return run

    def find(self, run_id: str) -> Run:
        """The run of that id, or the only one that begins or ends with it; ``last`` is the newest.

        Raises:
            NotFoundError: when there is none, or more than one.
        """
        with self._means.database.read() as conn:
            if run_id == "last" and (newest := rows.list_runs(conn, limit=1)):
                return newest[0]
            run = rows.find_run(conn, run_id)
            if run is not None:
                return run
            similar = rows.matching_run_ids(conn, run_id) if run_id else []
            any_run = bool(rows.list_runs(conn, limit=1))
        if len(similar) == 1:
            return self.find(similar[0])
        where = self._means.settings.project
        hint = f"`interlock runs` lists those of {where}" if any_run else f"nothing has been run in {where} yet"
        if similar:
            hint = f"it could be {', '.join(similar)}"
        message = f"there is no run {run_id!r}: {hint}"
        raise NotFoundError(message)

    def newest(
        self, *, states: Sequence[RunState] = (), outcome: str = "", before: str = "", limit: int = 50
    ) -> list[Run]:
        """Runs, newest first; ``before`` is the id of a run to go on after.

        Raises:
            NotFoundError: when there is no run of that id.
        """
        with self._means.database.read() as conn:
            mark = rows.find_run(conn, before) if before else None
            if before and mark is None:
                raise NotFoundError(f"there is no run {before!r} to go on after")
            return rows.list_runs(conn, states=states, outcome=outcome, before=mark, limit=limit)

    def unfinished(self) -> list[Run]:
        """Runs that have not ended, oldest first."""
        states = [state for state in RunState if state not in {RunState.ENDED, RunState.SESSION}]
        return list(reversed(self.newest(states=states, limit=1000)))

    def counts(self) -> dict[str, int]:
        """How many runs there are by state, and by outcome for those that have ended."""
        with self._means.database.read() as conn:
            return rows.count_runs(conn)

    def doing(self, runs: Sequence[Run]) -> dict[str, str]:
        """What the agents of these runs do at this moment, in words, by the run's id; runs without one are not in it."""
        under_way = [run.id for run in runs if run.state is not RunState.ENDED]
        said: dict[str, list[str]] = {}
        if under_way:
            with self._means.database.read() as conn:
                for run_id, agent, state in rows.open_attempts(conn, run_ids=under_way):
                    said.setdefault(run_id, []).append(f"{agent} {_DOES[state]}")
        return {run_id: "; ".join(words) for run_id, words in said.items()}

    def at_work(self) -> dict[str, list[str]]:
        """The runs that each agent works on or waits for a person in, by its name; idle agents are not in it."""
        found: dict[str, list[str]] = {}
        with self._means.database.read() as conn:
            for run_id, agent, _ in rows.open_attempts(conn):
                found.setdefault(agent, []).append(run_id)
        return found

    def view(self, run_id: str) -> RunView:
        """The run with everything that belongs to it."""
        run = self.find(run_id)
        with self._means.database.read() as conn:
            attempts = rows.attempts_of(conn, run.id)
            effects = rows.effects_of(conn, run.id)
            approvals = rows.list_approvals(conn, run_id=run.id)
        return RunView(
            run=run, attempts=tuple(attempts), effects=tuple(effects), approvals=tuple(approvals),
            waits_for=_waits_for(run, attempts, approvals),
        )  # fmt: skip

    def follow(self, run_id: str, *, after: int = 0) -> Iterator[LedgerEntry | None]:
        """The run's records as they come, until it has ended; None when there was nothing new for a moment."""
        while True:
            run = self.find(run_id)
            page = self._means.ledger.entries(run_id=run_id, after=after)
            for entry in page:
                after = entry.seq
                yield entry
            if run.state is RunState.ENDED and not page:
                return
            if not page:
                yield None
                time.sleep(_POLL_S)

    def cancel(self, run_id: str, actor: str) -> Run:
        """End a run: its agents are ended, what they did is undone, its outcome is ``cancelled``.

        Raises:
            UsageError: when it has already ended.
        """
        run = self.find(run_id)
        if run.state is RunState.ENDED:
            message = f"{run.id} has already ended: {run.outcome.kind if run.outcome else ''}"
            raise UsageError(message)
        if run.state is RunState.SESSION:
            message = f"{run.id} is a session of {run.task.submitter}'s own: end it where it runs"
            raise UsageError(message)
        with self._means.database.write() as conn:
            rows.request_cancel(conn, run.id, actor)
            self._means.ledger.append(conn, run.id, "run.cancel_requested", {}, actor=actor, once="cancel")
            self._means.durable.rouse(conn, run.id)
        return run

    def diff(self, run_id: str) -> str:
        """What the run has changed so far, as a unified diff; empty when its line has not begun or is gone."""
        run = self.find(run_id)
        try:
            return self._means.workspaces.run_diff(run.id)
        except WorkspaceError:
            return ""

    def undo_call(self, effect_id: str, *, actor: str, why: str = "") -> UndoneCall:
        """Undo one call: in a workspace at work, or on the branch of a run that is left for review.

        Raises:
            NotFoundError: when there is no such call.
            UsageError: when it cannot be undone, and why.
            ConflictError: when later changes build upon it.
        """
        return self._undo.undo(effect_id, actor=actor, why=why)


_DOES = {
    AttemptState.READY: "waits for a place", AttemptState.ADMITTED: "starts", AttemptState.RUNNING: "works",
    AttemptState.WAITING: "waits for a person",
}  # fmt: skip


def _waits_for(run: Run, attempts: Sequence[Attempt], approvals: Sequence[Approval]) -> str:
    if run.state is RunState.ENDED:
        return ""
    asked = [approval for approval in approvals if approval.state is ApprovalState.PENDING]
    if asked:
        missing = asked[0].quorum - len(asked[0].votes)
        return f"{missing} more yes to {asked[0].id}" if asked[0].votes else f"a person's answer to {asked[0].id}"
    ready = [attempt for attempt in attempts if attempt.state is AttemptState.READY]
    busy = any(attempt.state in {AttemptState.RUNNING, AttemptState.ADMITTED} for attempt in attempts)
    return f"a place for {ready[0].agent}" if ready and not busy else ""
