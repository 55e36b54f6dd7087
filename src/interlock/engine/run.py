"""The straight line: a task in words runs safely to its outcome.

Read it from top to bottom. Every step looks first whether it has been done, so the line may be walked again from its
beginning after a crash or an answer; what waits for agents, waits in :meth:`interlock.engine.durable.Durable.wait`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import TypeVar

import sqlalchemy as sa

from interlock.decide.coordinate import coordinate
from interlock.decide.recover import Done, EffectFacts, Escalate, Fallback, Retry, Rollback, next_step
from interlock.engine.approvals import Question
from interlock.engine.durable import Lost
from interlock.engine.means import Means
from interlock.engine.saga import Saga, Undoing
from interlock.engine.study import Ended, store, study
from interlock.errors import InterlockError, StoreError
from interlock.model.agent import AgentResult
from interlock.model.approval import Approval, ApprovalState
from interlock.model.choosing import Change, Names
from interlock.model.decision import Decision, Verdict
from interlock.model.ledger import Checkpoint
from interlock.model.plain import dump, load
from interlock.model.plan import Assignment, Phase, Plan
from interlock.model.risk import RiskLevel
from interlock.model.run import (
    AgentError,
    Attempt,
    AttemptState,
    EffectState,
    ErrorKind,
    Outcome,
    OutcomeKind,
    Run,
    RunState,
)
from interlock.store import queue, rows

T = TypeVar("T")

_LONG = timedelta(hours=24)


_AT_WORK = frozenset({AttemptState.ADMITTED, AttemptState.RUNNING})


class _Parked(Exception):  # noqa: N818 - a rest, not an error
    """Raised where the run waits for a person or a place: whoever ends that has it walked again from its beginning."""


class RunLine:
    """The way of a run from its task to its outcome."""

    def __init__(self, means: Means) -> None:
        self._means = means
        self._saga = Saga(means)

    async def __call__(self, run_id: str) -> None:
        """Walk the line. Every way of ending is stored as an outcome."""
        run = await asyncio.to_thread(self._means.run, run_id)
        if run.state is RunState.ENDED:
            return
        try:
            begun = run.plan if run.state is RunState.RUNNING else None
            plan = begun or await self._studied(run)
            base = await asyncio.to_thread(self._means.workspaces.begin, run_id)
            if begun is not None:
                await self._means.write(lambda conn: self._come_home(conn, run_id))
            else:
                await self._write(run_id, lambda conn: self._begin(conn, run, plan, base))
            for number, phase in enumerate(plan.phases):
                await self._phase(run, number, phase)
            ended = Ended(OutcomeKind.SUCCEEDED, "")
        except _Parked:
            return
        except Ended as early:
            ended = early
        except StoreError:  # not the run's failure: the line is walked again when the store is back
            raise
        except InterlockError as problem:
            ended = Ended(OutcomeKind.FAILED, str(problem))
        await self._end(run_id, ended)

    async def _write(self, run_id: str, work: Callable[[sa.Connection], T]) -> T:
        """One transaction of this run's body, as long as the run is at home here.

        Raises:
            Lost: when another worker has taken it over, because this one was silent for too long.
        """

        def at_home(conn: sa.Connection) -> T:
            if queue.home_of(conn, run_id)[0] != self._means.worker_id:
                raise Lost
            return work(conn)

        return await self._means.write(at_home)

    def _come_home(self, conn: sa.Connection, run_id: str) -> None:
        """The run is executed here from now on.

        Raises:
            Lost: when this body is an old one, of a worker that was silent for too long: the run may have a newer one, or
                be parked and have none.
        """
        if not self._means.durable.is_mine(conn, run_id):
            raise Lost
        queue.set_home(conn, run_id, self._means.worker_id, self._means.durable.attempts_queue(conn, run_id))

    async def _studied(self, run: Run) -> Plan:
        """The plan that is agreed to. Its own judgement and the task's ask for one yes, which covers this plan's digest."""
        found = await asyncio.to_thread(study, self._means, run)

        def keep(conn: sa.Connection) -> None:
            self._come_home(conn, run.id)
            store(conn, self._means, run.id, found)

        await self._means.write(keep)
        if found.ends is not None:
            raise found.ends
        if found.plan is None:
            raise Ended(OutcomeKind.FAILED, "there is no plan")
        if found.decision.verdict is Verdict.CONFIRM:
            await self._confirmed(run, found.plan, found.decision)
        return found.plan

    async def _confirmed(self, run: Run, plan: Plan, decision: Decision) -> None:
        """Go on with people's yes.

        Raises:
            Ended: with their no, or without an answer in time.
            _Parked: while they have not answered.
        """
        question = await asyncio.to_thread(self._question, run.id, plan, decision)
        approval = await self._write(run.id, lambda conn: self._standing(conn, run.id, question))
        await self._stop_if_cancelled(run.id)
        if approval is None:
            return
        if approval.state is ApprovalState.DENIED:
            no = next(vote for vote in approval.votes if not vote.approve)
            raise Ended(OutcomeKind.DENIED, f"{no.voter} said no{f': {no.note}' if no.note else ''}")
        if approval.state is not ApprovalState.PENDING:
            raise Ended(OutcomeKind.EXPIRED, "nobody answered in time")
        raise _Parked

    def _question(self, run_id: str, plan: Plan, decision: Decision) -> Question:
        run = self._means.run(run_id)
        critical = decision.risk is RiskLevel.CRITICAL
        approvals = self._means.settings.approvals
        return Question(
            run_id=run_id, subject="plan", digest=plan.digest, reason=decision.reason, requester=run.task.submitter,
            quorum=max(decision.quorum, approvals.quorum, approvals.critical_quorum if critical else 1),
            separate=approvals.separate_requester and critical,
            shown={"task": run.task.text, "risk": dump(run.risk) if run.risk else {}, "plan": dump(plan),
                   "reasons": list(decision.reasons), "environment": run.environment},
        )  # fmt: skip

    def _standing(self, conn: sa.Connection, run_id: str, question: Question) -> Approval | None:
        """The question as it stands; None once its yes has been used for this run."""
        if self._means.ledger.recorded(conn, run_id, "confirmed"):
            return None
        asked = self._means.approvals.latest(
            conn, run_id, question.digest
        )  # a plan is asked about once: then it expires
        approval = asked or self._means.approvals.ask(conn, question)
        if approval.state is ApprovalState.APPROVED:
            used = self._means.approvals.use(conn, run_id, question.digest)
            if used is not None:
                voters = [vote.voter for vote in used.votes]
                self._means.record(conn, run_id, "run.confirmed", {"approval": used.id, "by": voters}, once="confirmed")
                return None
            approval = self._means.approvals.latest(conn, run_id, question.digest) or approval
        self._save(conn, run_id, state=RunState.WAITING)
        if approval.state is ApprovalState.PENDING and not rows.cancelled_by(conn, run_id):
            queue.park(conn, run_id)
        return approval

    def _begin(self, conn: sa.Connection, run: Run, plan: Plan, base: str) -> None:
        self._save(conn, run.id, state=RunState.RUNNING)
        self._means.record(conn, run.id, "run.started", {"base": base}, once="started")
        if rows.cancelled_by(conn, run.id) or not plan.phases:
            return
        self._advance(conn, run, 0, plan.phases[0])

    async def _phase(self, run: Run, number: int, phase: Phase) -> None:
        """Have every assignment of the phase done, side by side; whatever cannot be, ends the run."""
        while True:
            await self._stop_if_cancelled(run.id)
            attempts = await self._means.read(lambda conn: rows.attempts_of(conn, run.id))
            last = [_last(attempts, number, assignment) for assignment in phase.assignments]
            if all(attempt is not None and attempt.succeeded for attempt in last):
                return
            if any(attempt is None or attempt.failed for attempt in last):
                ending = await self._write(run.id, lambda conn: self._advance(conn, run, number, phase))
                if ending is not None:
                    raise ending
            elif any(attempt is not None and attempt.state in _AT_WORK for attempt in last):
                await self._means.durable.wait(run.id, _LONG)
            elif await self._write(run.id, lambda conn: self._park(conn, run.id)):
                raise _Parked

    def _park(self, conn: sa.Connection, run_id: str) -> bool:
        """Wait without a body, as long as all of the run's attempts wait too."""
        unfinished = [each for each in rows.attempts_of(conn, run_id) if each.state is not AttemptState.ENDED]
        if not unfinished or any(each.state in _AT_WORK for each in unfinished) or rows.cancelled_by(conn, run_id):
            return False
        queue.park(conn, run_id)
        return True

    def _advance(self, conn: sa.Connection, run: Run, number: int, phase: Phase) -> Ended | None:
        """Queue what is to be tried next, and start it where there is room; or how the run ends instead."""
        attempts = rows.attempts_of(conn, run.id)
        for assignment in phase.assignments:
            own = [each for each in attempts if (each.phase, each.assigned) == (number, assignment.agent)]
            ending = self._advance_one(conn, run, number, assignment, own)
            if ending is not None:
                return ending
        self._means.governor.admit_all(conn)
        return None

    def _advance_one(
        self, conn: sa.Connection, run: Run, number: int, assignment: Assignment, own: list[Attempt]
    ) -> Ended | None:
        if not own:
            self._queue(conn, run, number, assignment, assignment.agent, 1, timedelta())
            return None
        last = own[-1]
        if last.error is None or not last.failed:
            return None
        step = next_step(
            error=last.error, attempts=own, spec=self._means.spec(last.agent), fallbacks=assignment.fallbacks,
            settings=self._means.settings, effects=self._left_behind(conn, last),
        )  # fmt: skip
        self._means.record(
            conn, run.id, "recovery.chosen",
            {"attempt": last.id, "of": last.agent, "error": last.error.kind, "step": type(step).__name__.lower(), **dump(step)},
            once=f"recovery:{last.id}",
        )  # fmt: skip
        match step:
            case Retry(delay_ms=delay):
                self._queue(conn, run, number, assignment, last.agent, last.number + 1, timedelta(milliseconds=delay))
            case Fallback(agent=agent):
                self._queue(conn, run, number, assignment, agent, last.number + 1, timedelta())
            case Rollback(reason=reason):
                return _ended_with(last, OutcomeKind.ROLLED_BACK, reason)
            case Escalate(reason=reason):
                return _ended_with(last, OutcomeKind.ESCALATED, reason)
            case Done():
                pass
        return None

    def _left_behind(self, conn: sa.Connection, attempt: Attempt) -> EffectFacts:
        """What the attempt has left outside its workspace that a second try would do again."""

        def left(state: EffectState) -> bool:
            found = rows.effects_of(conn, attempt.run_id, attempt_id=attempt.id, states=(state,), outside_only=True)
            return any(not effect.idempotent for effect in found)

        return EffectFacts(done=left(EffectState.DONE), unknown=left(EffectState.UNKNOWN))

    def _queue(
        self, conn: sa.Connection, run: Run, number: int, assignment: Assignment, agent: str, nth: int, delay: timedelta
    ) -> None:
        attempt = Attempt(
            id=f"{run.id}-{number + 1}-{assignment.agent}-{nth}", run_id=run.id, phase=number,
            assigned=assignment.agent, agent=agent, number=nth, queued_at=self._means.clock.now(),
        )  # fmt: skip
        priority = run.task.priority or assignment.priority
        self._means.governor.request(conn, attempt, priority=priority, delay=delay, submitter=run.task.submitter)

    async def _stop_if_cancelled(self, run_id: str) -> None:
        by = await self._means.read(lambda conn: rows.cancelled_by(conn, run_id))
        if by:
            raise Ended(OutcomeKind.CANCELLED, f"cancelled by {by}")

    async def _end(self, run_id: str, ended: Ended) -> None:
        """Stop what still runs, deliver or undo, and store the one outcome."""
        await self._halt(run_id)
        if ended.kind is OutcomeKind.SUCCEEDED:
            outcome = await self._deliver(run_id)
        else:
            async with self._means.durable.standing_up():
                outcome = await self._undo(run_id, ended)
        keep = bool(outcome.branch)
        await asyncio.to_thread(self._means.workspaces.end, run_id, keep=keep)

        checkpoint = await self._write(run_id, lambda conn: self._ended(conn, run_id, outcome))
        await asyncio.to_thread(self._means.ledger.anchor, checkpoint)

    def _ended(self, conn: sa.Connection, run_id: str, outcome: Outcome) -> Checkpoint:
        if not self._means.ledger.recorded(conn, run_id, "ended"):
            self._save(conn, run_id, state=RunState.ENDED, outcome=outcome)
            self._means.approvals.withdraw(conn, run_id, "the run has ended")
            facts = {key: value for key, value in dump(outcome).items() if key != "results" and value}
            self._means.record(conn, run_id, "run.ended", facts, once="ended")
        return self._means.ledger.checkpoint(conn)

    async def _halt(self, run_id: str) -> None:
        """No attempt of this run goes on: the waiting ones end here, those at work are ended by their worker."""
        while True:
            attempts = await self._means.read(lambda conn: rows.attempts_of(conn, run_id))
            if all(attempt.state is AttemptState.ENDED for attempt in attempts):
                return
            left = await self._write(run_id, lambda conn: self._end_waiting(conn, run_id))
            if not left:
                return
            await self._means.durable.wait(run_id, timedelta(seconds=5))

    def _end_waiting(self, conn: sa.Connection, run_id: str) -> list[str]:
        left = []
        for attempt in rows.attempts_of(conn, run_id):
            if attempt.state is AttemptState.READY and not self._means.durable.is_live(conn, attempt.id):
                self._means.governor.end(conn, attempt, _cancelled())
            elif attempt.state is not AttemptState.ENDED:
                left.append(attempt.id)
        if left:
            self._save(conn, run_id, state=RunState.ROLLING_BACK)
        return left

    async def _deliver(self, run_id: str) -> Outcome:
        run = await asyncio.to_thread(self._means.run, run_id)
        results, changes = await self._means.read(lambda conn: _delivered(conn, self._means, run_id))
        summary = coordinate(results, changes, plan=run.plan)
        how = self._means.settings.workspace.deliver
        changed = tuple(dict.fromkeys(path for change in changes.values() for path in change.paths))
        kind, reason = OutcomeKind.SUCCEEDED, ""
        try:
            place = await asyncio.to_thread(
                self._means.workspaces.deliver, run_id, how=how, target=self._means.settings.workspace.target
            )
        except StoreError:
            raise
        except InterlockError as problem:
            kind, how = OutcomeKind.ESCALATED, "review"
            reason = f"the work is done, but it could not be delivered: {problem}"
            place = await asyncio.to_thread(self._means.workspaces.deliver, run_id, how="review")
        return Outcome(
            kind=kind, reason=reason, results=results, changed=changed, conflicts=summary.conflicts,
            branch=place if how == "review" else "", patch=place if how == "patch" else "",
        )  # fmt: skip

    async def _undo(self, run_id: str, ended: Ended) -> Outcome:
        """An escalated run is left as it is for a person, unless a roll-back was asked for; all others are undone."""
        results, changes = await self._means.read(lambda conn: _delivered(conn, self._means, run_id))
        unknown = await self._means.read(
            lambda conn: tuple(
                effect.summary for effect in rows.effects_of(conn, run_id, states=(EffectState.UNKNOWN,))
            )
        )
        if ended.kind is OutcomeKind.ESCALATED:
            undoing = Undoing()
        else:
            undoing = await self._saga.undo(run_id)
        kind, reason = ended.kind, ended.reason
        if undoing.problem:
            kind, reason = OutcomeKind.ESCALATED, f"{reason}; then the roll-back failed: {undoing.problem}"
        elif undoing.not_undone and kind is OutcomeKind.ROLLED_BACK:
            kind, reason = OutcomeKind.ESCALATED, f"{reason}; not everything can be undone"
        branch = ""
        if kind is OutcomeKind.ESCALATED and any(change.paths for change in changes.values()):
            branch = await asyncio.to_thread(self._means.workspaces.deliver, run_id, how="review")
        return Outcome(
            kind=kind, reason=reason, results=results, branch=branch, undone=undoing.undone,
            not_undone=undoing.not_undone, unknown=unknown,
        )  # fmt: skip

    def _save(
        self,
        conn: sa.Connection,
        run_id: str,
        *,
        state: RunState,
        outcome: Outcome | None = None,
    ) -> None:
        run = rows.find_run(conn, run_id)
        if run is None:
            return
        ended = self._means.clock.now() if outcome else run.ended_at
        rows.save_run(
            conn,
            replace(run, state=state, outcome=outcome or run.outcome, ended_at=ended),
        )


def _last(attempts: Sequence[Attempt], number: int, assignment: Assignment) -> Attempt | None:
    """The newest attempt at this assignment of the phase of that number."""
    own = [each for each in attempts if (each.phase, each.assigned) == (number, assignment.agent)]
    return own[-1] if own else None


def _ended_with(attempt: Attempt, kind: OutcomeKind, reason: str) -> Ended:
    """What the attempt's error means for the run: blocked and denied keep their own names."""
    own = {ErrorKind.BLOCKED: OutcomeKind.BLOCKED, ErrorKind.DENIED: OutcomeKind.DENIED}
    named = own.get(attempt.error.kind, kind) if attempt.error else kind
    return Ended(named, f"{attempt.agent}: {reason}")


def _cancelled() -> AgentError:
    return AgentError(kind=ErrorKind.CANCELLED, message="the run ends")


def _delivered(
    conn: sa.Connection, means: Means, run_id: str
) -> tuple[Mapping[str, AgentResult], Mapping[str, Change]]:
    """What each assigned agent handed over, and what its integrated changes touch."""
    done = [one for one in rows.attempts_of(conn, run_id) if one.result is not None and one.error is None]
    found = {one.agent: means.ledger.recorded(conn, run_id, f"integrated:{one.id}") for one in done}
    taken_in = {name: entry for name, entry in found.items() if entry is not None}
    results = {one.agent: one.result for one in done if one.result is not None}
    changes = {
        one.agent: Change(
            paths=tuple(taken_in[one.agent].data["changed"]),
            names=load(Names, taken_in[one.agent].data.get("names", {})),
            saw=tuple(name for name, entry in taken_in.items() if entry.at < (one.started_at or one.queued_at)),
        )
        for one in done
        if one.agent in taken_in
    }
    return results, changes
