"""The straight line: a task in words runs safely to its outcome.

Read it from top to bottom. Every step looks first whether it has been done, so the line may be walked again from its
beginning after a crash; what waits, waits in :meth:`interlock.engine.durable.Durable.wait`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import NoReturn

import sqlalchemy as sa

from interlock.decide.coordinate import coordinate
from interlock.decide.recover import Done, EffectFacts, Escalate, Fallback, Retry, Rollback, next_step
from interlock.decide.verdicts import strictest
from interlock.engine.approvals import Question
from interlock.engine.means import Means
from interlock.engine.saga import Saga, Undoing
from interlock.errors import InterlockError, PlanError, StoreError
from interlock.model.action import Action, Surface
from interlock.model.agent import AgentResult
from interlock.model.approval import Approval, ApprovalState
from interlock.model.decision import Decision, Verdict
from interlock.model.plain import dump
from interlock.model.plan import Assignment, Phase, Plan
from interlock.model.risk import RiskAssessment, RiskLevel
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

_LONG = timedelta(hours=24)


class Ended(Exception):  # noqa: N818 - an ending, not an error
    """Raised where the line ends before its last step."""

    def __init__(self, kind: OutcomeKind, reason: str) -> None:
        self.kind = kind
        self.reason = reason
        super().__init__(reason)


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
        await self._means.write(lambda conn: self._move_in(conn, run_id))
        try:
            risk = await self._assess(run)
            judged = await self._gate_task(run, risk)
            plan = await self._plan(run)
            await self._gate_plan(run, plan, judged)
            await self._begin(run)
            for number, phase in enumerate(plan.phases):
                await self._phase(run, number, phase)
            ended = Ended(OutcomeKind.SUCCEEDED, "")
        except Ended as early:
            ended = early
        except StoreError:  # not the run's failure: the line is walked again when the store is back
            raise
        except InterlockError as problem:
            ended = Ended(OutcomeKind.FAILED, str(problem))
        await self._end(run_id, ended)

    def _move_in(self, conn: sa.Connection, run_id: str) -> None:
        queue.set_home(conn, run_id, self._means.worker_id, self._means.durable.attempts_queue(conn, run_id))

    async def _assess(self, run: Run) -> RiskAssessment:
        if run.risk is not None:
            return run.risk
        risk = await asyncio.to_thread(self._means.chooser.assess, run.task)

        def store(conn: sa.Connection) -> None:
            self._save(conn, run.id, risk=risk)
            self._means.record(conn, run.id, "task.assessed", dump(risk), once="assessed")

        await self._means.write(store)
        return risk

    async def _gate_task(self, run: Run, risk: RiskAssessment) -> Decision:
        """Block at once; a confirm is asked together with the plan, so that one answer covers what will really be done."""
        action = Action(
            kind=Surface.TASK, args={"text": run.task.text}, actor=run.task.submitter, environment=run.environment
        )
        decision = await self._judge(run, action, risk.level, "task.judged")
        if decision.verdict is Verdict.ALLOW and risk.level >= self._means.settings.approvals.confirm_at:
            why = f"The task carries {risk.level} risk, and approvals.confirm_at asks a person from there on."
            decision = replace(decision, verdict=Verdict.CONFIRM, reasons=(why,))
        if decision.verdict is Verdict.BLOCK:
            raise Ended(OutcomeKind.BLOCKED, decision.reason)
        return decision

    async def _judge(self, run: Run, action: Action, floor: RiskLevel, kind: str) -> Decision:
        judged = await asyncio.to_thread(self._means.judge, action, run_id=run.id, floor=floor)
        decision, trial = judged.decision, judged.trial
        await self._means.write(
            lambda conn: self._means.record(
                conn, run.id, kind,
                {"verdict": decision.verdict, "risk": decision.risk, "reasons": list(decision.reasons),
                 "warnings": list(decision.warnings), "rules": list(decision.rule_ids),
                 "policy": decision.policy_digest, **({"shadow": trial.said} if trial else {})},
                once=f"{kind}:{action.digest}",
            )
        )  # fmt: skip
        return decision

    async def _plan(self, run: Run) -> Plan:
        stored = (await asyncio.to_thread(self._means.run, run.id)).plan
        if stored is not None:
            return stored
        try:
            plan = await asyncio.to_thread(self._means.chooser.plan, run.task)
        except PlanError as problem:
            raise Ended(OutcomeKind.FAILED, str(problem)) from problem

        def store(conn: sa.Connection) -> None:
            self._save(conn, run.id, plan=plan)
            phases = [[assignment.agent for assignment in phase.assignments] for phase in plan.phases]
            self._means.record(conn, run.id, "plan.made", {"phases": phases, "digest": plan.digest}, once="planned")

        await self._means.write(store)
        return plan

    async def _gate_plan(self, run: Run, plan: Plan, task: Decision) -> None:
        """The plan's own judgement; where it or the task needs a yes, the yes covers exactly this plan's digest."""
        decision = task
        for assignment in plan_assignments(plan):
            action = Action(
                kind=Surface.PROMPT, args={"text": assignment.prompt}, actor=run.task.submitter,
                agent=assignment.agent, environment=run.environment,
            )  # fmt: skip
            decision = strictest(decision, await self._judge(run, action, RiskLevel.LOW, "prompt.judged"))
        for name in plan.definitions:
            text = self._means.spec(name).instructions
            if text:
                action = Action(
                    kind=Surface.PROMPT, args={"text": text}, actor=name, agent=name, environment=run.environment
                )
                decision = strictest(decision, await self._judge(run, action, RiskLevel.LOW, "definition.judged"))
        if decision.verdict is Verdict.BLOCK:
            raise Ended(OutcomeKind.BLOCKED, decision.reason)
        if decision.verdict is Verdict.CONFIRM:
            await self._confirmed(run, plan, decision)

    async def _confirmed(self, run: Run, plan: Plan, decision: Decision) -> None:
        question = await asyncio.to_thread(self._question, run.id, plan, decision)
        while True:
            approval = await self._means.write(lambda conn: self._standing(conn, run.id, question))
            await self._stop_if_cancelled(run.id)
            if approval is None:
                return
            if approval.state is ApprovalState.DENIED:
                no = next(vote for vote in approval.votes if not vote.approve)
                raise Ended(OutcomeKind.DENIED, f"{no.voter} said no{f': {no.note}' if no.note else ''}")
            if approval.state is ApprovalState.EXPIRED:
                raise Ended(OutcomeKind.EXPIRED, "nobody answered in time")
            await self._means.durable.wait(approval.expires_at - self._means.clock.now())

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
        approval = self._means.approvals.ask(conn, question)
        if approval.state is ApprovalState.APPROVED:
            used = self._means.approvals.use(conn, run_id, question.digest)
            if used is not None:
                voters = [vote.voter for vote in used.votes]
                self._means.record(conn, run_id, "run.confirmed", {"approval": used.id, "by": voters}, once="confirmed")
                return None
        self._save(conn, run_id, state=RunState.WAITING)
        return approval

    async def _begin(self, run: Run) -> None:
        base = await asyncio.to_thread(self._means.workspaces.begin, run.id)

        def store(conn: sa.Connection) -> None:
            self._save(conn, run.id, state=RunState.RUNNING)
            self._means.record(conn, run.id, "run.started", {"base": base}, once="started")

        await self._means.write(store)

    async def _phase(self, run: Run, number: int, phase: Phase) -> None:
        """Have every assignment of the phase done, side by side; whatever cannot be, ends the run."""
        while True:
            await self._stop_if_cancelled(run.id)
            done = await self._means.write(lambda conn: self._advance(conn, run, number, phase))
            await asyncio.to_thread(self._means.governor.admit)
            if done:
                return
            await self._means.durable.wait(_LONG)

    def _advance(self, conn: sa.Connection, run: Run, number: int, phase: Phase) -> bool:
        """Queue what is to be tried next; True when every assignment has its result."""
        attempts = [attempt for attempt in rows.attempts_of(conn, run.id) if attempt.phase == number]
        done = True
        for assignment in phase.assignments:
            own = [attempt for attempt in attempts if attempt.assigned == assignment.agent]
            done &= self._advance_one(conn, run, number, assignment, own)
        return done

    def _advance_one(
        self, conn: sa.Connection, run: Run, number: int, assignment: Assignment, own: list[Attempt]
    ) -> bool:
        if not own:
            self._queue(conn, run, number, assignment, assignment.agent, 1, timedelta())
            return False
        last = own[-1]
        if last.state is not AttemptState.ENDED:
            return False
        if last.error is None:
            return True
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
                _end_with(last, OutcomeKind.ROLLED_BACK, reason)
            case Escalate(reason=reason):
                _end_with(last, OutcomeKind.ESCALATED, reason)
            case Done():
                return True
        return False

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
            outcome = await self._undo(run_id, ended)
        keep = bool(outcome.branch)
        await asyncio.to_thread(self._means.workspaces.end, run_id, keep=keep)

        def store(conn: sa.Connection) -> None:
            if self._means.ledger.recorded(conn, run_id, "ended"):
                return
            self._save(conn, run_id, state=RunState.ENDED, outcome=outcome)
            self._means.approvals.withdraw(conn, run_id, "the run has ended")
            facts = {key: value for key, value in dump(outcome).items() if key != "results" and value}
            self._means.record(conn, run_id, "run.ended", facts, once="ended")

        await self._means.write(store)
        checkpoint = await self._means.write(self._means.ledger.checkpoint)
        await asyncio.to_thread(self._means.ledger.anchor, checkpoint)

    async def _halt(self, run_id: str) -> None:
        """No attempt of this run goes on: the waiting ones end here, those at work are ended by their worker."""
        while True:
            left = await self._means.write(lambda conn: self._end_waiting(conn, run_id))
            if not left:
                return
            await self._means.durable.wait(timedelta(seconds=5))

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
        changed = tuple(dict.fromkeys(path for paths in changes.values() for path in paths))
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
        if kind is OutcomeKind.ESCALATED and changes:
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
        state: RunState | None = None,
        risk: RiskAssessment | None = None,
        plan: Plan | None = None,
        outcome: Outcome | None = None,
    ) -> None:
        run = rows.find_run(conn, run_id)
        if run is None:
            return
        ended = self._means.clock.now() if outcome else run.ended_at
        rows.save_run(
            conn,
            replace(
                run, state=state or run.state, risk=risk or run.risk, plan=plan or run.plan,
                outcome=outcome or run.outcome, ended_at=ended,
            ),
        )  # fmt: skip


def plan_assignments(plan: Plan) -> list[Assignment]:
    """All assignments of a plan in order."""
    return [assignment for phase in plan.phases for assignment in phase.assignments]


def _end_with(attempt: Attempt, kind: OutcomeKind, reason: str) -> NoReturn:
    """What the attempt's error means for the run: blocked and denied keep their own names."""
    own = {ErrorKind.BLOCKED: OutcomeKind.BLOCKED, ErrorKind.DENIED: OutcomeKind.DENIED}
    named = own.get(attempt.error.kind, kind) if attempt.error else kind
    raise Ended(named, f"{attempt.agent}: {reason}")


def _cancelled() -> AgentError:
    return AgentError(kind=ErrorKind.CANCELLED, message="the run ends")


def _delivered(
    conn: sa.Connection, means: Means, run_id: str
) -> tuple[Mapping[str, AgentResult], Mapping[str, tuple[str, ...]]]:
    """What each assigned agent handed over, and which paths its integrated changes touch."""
    results: dict[str, AgentResult] = {}
    changes: dict[str, tuple[str, ...]] = {}
    for attempt in rows.attempts_of(conn, run_id):
        if attempt.result is None or attempt.error is not None:
            continue
        results[attempt.agent] = attempt.result
        entry = means.ledger.recorded(conn, run_id, f"integrated:{attempt.id}")
        changes[attempt.agent] = tuple(entry.data["changed"]) if entry else ()
    return results, changes
