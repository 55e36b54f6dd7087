"""The one gate. Every judgement of an action passes it: task, plan, prompt, tool call, result, output, file change.

Closed on failure: whatever raises or takes too long in here is a block with that reason. There is no switch for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol, TypeVar

import sqlalchemy as sa

from interlock.decide.chain import noted_block, should_stop
from interlock.decide.closer import closer
from interlock.decide.reach import Reach, reach
from interlock.decide.taint import after_call
from interlock.decide.verdicts import strictest
from interlock.engine.approvals import Approvals, Question
from interlock.engine.governor import Governor
from interlock.engine.judging import Gate, Judged, facts_of, failed, recorded, shown_of, summary_of
from interlock.engine.ledger import Ledger
from interlock.engine.policy_rollouts import PolicyRollouts
from interlock.engine.shadow import Course, SideBySide
from interlock.engine.undo import Checkpoints
from interlock.errors import ApprovalError, StoreError
from interlock.model.action import Action, Labels, Reading, Scope, Surface
from interlock.model.approval import ApprovalState
from interlock.model.decision import Decision, Verdict
from interlock.model.history import History
from interlock.model.ids import new_id
from interlock.model.plain import dump
from interlock.model.run import AgentError, Attempt, AttemptState, Compensation, Effect, EffectState, ErrorKind
from interlock.ports import NETWORK_TOOL, CallVerdict, Clock
from interlock.runners.command import filled
from interlock.store import queue, rows, watching
from interlock.store.database import Database, micros

T = TypeVar("T")

_DEADLINE_S = 20.0
"""For one judgement, by the clock on the wall: the backstop for a reader that does not come back."""

_POLL_S = 0.2
_STOPPED_S = 1.0
_TOLD_KEPT = 100
ASKED = "a person was asked and the answer is: "


@dataclass(frozen=True, kw_only=True, slots=True)
class _Call:
    """A call that has been made, with what came of it."""

    effect_id: str
    action: Action
    reading: Reading
    ok: bool
    output: str
    labels: Labels


class Held(Protocol):
    """What the gate needs of the attempt under way: the permit's fence, its clock, its end."""

    fence: int
    stopped: str
    overspent: str

    def pause(self) -> None:
        """The gate waits for a person."""
        ...

    def go_on(self) -> None:
        """The person has answered."""
        ...

    def stop(self, why: str) -> None:
        """The gate has seen enough of this agent."""
        ...


class AttemptGate:
    """The gate as one attempt sees it (:class:`interlock.ports.Gate`): with the run's history, the ledger, and people."""

    def __init__(
        self,
        *,
        gate: Gate,
        database: Database,
        ledger: Ledger,
        approvals: Approvals,
        governor: Governor,
        attempt: Attempt,
        worker: str,
        switch: Held,
        scope: Scope,
        undo_scope: Scope,
        environment: str,
        requester: str,
        clock: Clock,
        policies: PolicyRollouts,
        checkpoints: Checkpoints | None = None,
    ) -> None:
        self._gate = gate
        self._policies = policies
        self._database = database
        self._ledger = ledger
        self._approvals = approvals
        self._governor = governor
        self._attempt = attempt
        self._worker = worker
        self._switch = switch
        self._scope = scope
        self._undo_scope = undo_scope
        self._environment = environment
        self._requester = requester
        self._clock = clock
        self._checkpoints = checkpoints
        self._calls: dict[str, tuple[Action, Reading]] = {}
        self._told: dict[str, tuple[Action, Reading]] = {}
        """Calls over the network that have come out, of whose results more may come."""
        self.refusal: AgentError | None = None
        """The last call that was not allowed: an agent that gives up over it has not failed, it was stopped."""
        self._one_at_a_time = asyncio.Lock()
        self._counted: SideBySide | None = None
        """What was compared and counted when the question about it was asked."""

    async def before(
        self,
        tool: str,
        args: Mapping[str, Any],
        *,
        labels: Labels | None = None,
        idempotent: bool = False,
        compensation: Compensation | None = None,
    ) -> CallVerdict:
        """See :meth:`interlock.ports.Gate.before`."""
        async with self._one_at_a_time:
            if self._switch.stopped or self._switch.overspent:
                await asyncio.sleep(_STOPPED_S)  # it is being ended, and gets no more answers until then
            action = Action(
                kind=Surface.TOOL_CALL, tool=tool, args=dict(args), actor=self._attempt.agent,
                agent=self._attempt.agent, environment=self._environment, labels=labels or Labels(),
            )  # fmt: skip
            try:
                judged = await self._judged(action, compensation)
                if judged.decision.verdict is Verdict.CONFIRM:
                    judged = await self._ask(action, judged)
                return await self._when_there_is_room(
                    lambda: self._admit_call(action, judged, idempotent, compensation)
                )
            except Exception as error:  # noqa: BLE001 - closed on failure
                return CallVerdict(decision=failed(action, f"{type(error).__name__}: {error}"), effect_id="")

    async def review(self, surface: Surface, args: Mapping[str, Any]) -> tuple[Action, Judged]:
        """Judge what the attempt has produced (a file change, its output), asking people where the verdict is confirm.

        The caller notes the verdict, with :meth:`reviewed`, in a transaction of its own.
        """
        action = Action(
            kind=surface, args=dict(args), actor=self._attempt.agent, agent=self._attempt.agent,
            environment=self._environment,
        )  # fmt: skip
        judged = await self._judged(action)
        if judged.decision.verdict is Verdict.CONFIRM:
            judged = await self._ask(action, judged)
        return action, judged

    def reviewed(self, conn: sa.Connection, action: Action, judged: Judged) -> None:
        """Note what was said to a product of the attempt."""
        decision = judged.decision
        facts = {
            "verdict": decision.verdict, "reasons": list(decision.reasons), "warnings": list(decision.warnings),
            **({"shadow": judged.trial.said} if judged.trial else {}),
        }  # fmt: skip
        self._record(conn, f"{action.kind.value}.judged", facts)
        self._count(conn, action, judged)

    def _count(self, conn: sa.Connection, action: Action, judged: Judged) -> None:
        if judged.trial is not self._counted:
            self._policies.count(conn, self._attempt.run_id, action, judged.trial, summary_of(action))

    async def _judged(self, action: Action, compensation: Compensation | None = None) -> Judged:
        """The call, and the commands that would undo it: those are run later without asking, so they are judged now.

        The deadline is for the judgement: a store that restarts is waited for longer.
        """
        history, why = await asyncio.to_thread(self._database.look, self._known)
        course = await asyncio.to_thread(self._policies.course, self._attempt.run_id)
        try:
            judged = await asyncio.wait_for(
                asyncio.to_thread(self._judge_both, action, compensation, history, course), _DEADLINE_S
            )
        except TimeoutError:
            return Judged(decision=failed(action, f"it took longer than {_DEADLINE_S:g} seconds"), reading=Reading())
        return replace(judged, decision=closer(judged.decision, why)) if why else judged

    def _known(self, conn: sa.Connection) -> tuple[History, str]:
        """The run's history, and why the agent is watched more closely now."""
        now = micros(self._clock.now())
        return _history(conn, self._attempt.run_id), watching.heightened(conn, self._attempt.agent, now)

    def _judge_both(
        self, action: Action, compensation: Compensation | None, history: History, course: Course
    ) -> Judged:
        judged = self._gate.judge(action, self._scope, history=history, course=course)
        obeyed = replace(course, shadow=None)
        for command in (compensation.command, compensation.validate) if compensation else ():
            if command:
                places = {"project": Path(self._undo_scope.workspace), "workspace": Path(self._undo_scope.workspace)}
                undo = replace(action, tool="shell", args={"argv": list(filled(command, **places))})
                other = self._gate.judge(undo, self._undo_scope, course=obeyed).decision
                judged = replace(judged, decision=strictest(judged.decision, other))
        return replace(judged, decision=replace(judged.decision, action_digest=action.digest))

    async def note(self, kind: str, data: Mapping[str, Any]) -> None:
        """Write something down that happened in the attempt and needs no judgement."""
        await asyncio.to_thread(self._write, lambda conn: self._record(conn, kind, data))

    async def _ask(self, action: Action, judged: Judged) -> Judged:
        """Hold the call, without a permit, until people have answered; then judge it again."""
        if await asyncio.to_thread(self._write, lambda conn: self._use(conn, action)):
            return granted(judged)
        approval_id = await asyncio.to_thread(self._write, lambda conn: self._put(conn, action, judged))
        self._counted = judged.trial
        self._switch.pause()
        try:
            state = await self._answer(approval_id)
        finally:
            self._switch.go_on()
        if state is not ApprovalState.APPROVED:
            return refused(judged, f"{ASKED}{state}")
        again = replace(await self._judged(action), trial=judged.trial)
        if again.decision.verdict is Verdict.BLOCK:
            return again
        used = await asyncio.to_thread(self._write, lambda conn: self._use(conn, action))
        return granted(again) if used else refused(again, "the yes was no longer valid at the moment of use")

    def _put(self, conn: sa.Connection, action: Action, judged: Judged) -> str:
        decision = judged.decision
        approval = self._approvals.ask(
            conn,
            Question(
                run_id=self._attempt.run_id,
                subject=action.kind.value,
                digest=action.digest,
                shown=shown_of(action, decision),
                reason=decision.reason,
                requester=self._requester,
                quorum=decision.quorum,
                separate=decision.quorum > 1,
            ),
        )  # fmt: skip
        self._governor.step_aside(conn, self._attempt, why=f"approval {approval.id}")
        self._count(conn, action, judged)
        return approval.id

    async def _answer(self, approval_id: str) -> ApprovalState:
        """Poll the store (the answer comes from another process), then until the attempt has a permit again."""
        await self._until(lambda conn: not self._approvals.is_open(conn, approval_id))
        state = await asyncio.to_thread(self._write, lambda conn: self._approvals.state(conn, approval_id))
        await asyncio.to_thread(self._write, lambda conn: self._governor.step_back(conn, self._attempt))
        back = False
        while not back:
            await self._until(self._may_go_on)
            back = await asyncio.to_thread(self._take_permit)
        return state

    def _may_go_on(self, conn: sa.Connection) -> bool:
        if queue.find_permit(conn, self._attempt.id) is not None:
            return True
        stored = rows.find_attempt(conn, self._attempt.id)
        if stored is None or stored.state is AttemptState.ENDED:
            message = "the attempt was ended while it waited for a place"
            raise ApprovalError(message)
        return False

    async def _until(self, is_so: Callable[[sa.Connection], bool]) -> None:
        """Look again and again, by reading only; a store that does not answer is looked at later."""
        while True:
            await asyncio.sleep(_POLL_S)
            if await asyncio.to_thread(self._database.look, is_so):
                return

    def _take_permit(self) -> bool:
        return self._database.transact(self._claim)

    def _claim(self, conn: sa.Connection) -> bool:
        permit = queue.claim_permit(conn, self._attempt.id, self._worker)
        if permit is None:
            return False
        self._switch.fence = permit.fence
        rows.save_attempt(conn, self._attempt)
        return True

    def _use(self, conn: sa.Connection, action: Action) -> bool:
        return self._approvals.use(conn, self._attempt.run_id, action.digest) is not None

    def _admit_call(
        self, action: Action, judged: Judged, idempotent: bool, compensation: Compensation | None
    ) -> CallVerdict:
        reaches = reach(action, judged.reading, self._gate.undo(action.tool))
        tree = lacking = ""
        if self._checkpoints is not None and reaches is Reach.WORKSPACE and judged.decision.verdict is Verdict.ALLOW:
            tree, lacking = self._checkpoints.take()
        outside = reaches is Reach.OUTSIDE
        return self._write(
            lambda conn: self._intend(conn, action, judged, idempotent, compensation, outside, tree, lacking)
        )

    def _intend(
        self,
        conn: sa.Connection,
        action: Action,
        judged: Judged,
        idempotent: bool,
        compensation: Compensation | None,
        outside: bool,
        tree: str,
        lacking: str,
    ) -> CallVerdict:
        decision = judged.decision
        self._check_fence(conn)
        self._count(conn, action, judged)
        if decision.verdict is not Verdict.ALLOW:
            return self._block(conn, action, judged)
        if why := self._governor.budgets.charge_call(conn, self._attempt.id):
            self._record(conn, "budget.exceeded", {**facts_of(action, decision), "why": why})
            self._switch.overspent = self._switch.overspent or why
            return CallVerdict(decision=replace(decision, verdict=Verdict.BLOCK, reasons=(why,)), effect_id="")
        effect = Effect(
            id=new_id("eff"),
            run_id=self._attempt.run_id,
            attempt_id=self._attempt.id,
            number=rows.next_effect_number(conn, self._attempt.run_id),
            tool=action.tool,
            summary=summary_of(action),
            action_digest=action.digest,
            idempotent=idempotent,
            compensation=compensation,
            snapshot=tree,
        )
        rows.insert_effect(conn, effect, outside=outside, action=recorded(action))
        self._record(
            conn, "effect.intended",
            {"effect": effect.id, "outside": outside, "undoable": compensation is not None, "snapshot": tree,
             **({"no_snapshot": lacking} if lacking else {}), **facts_of(action, decision, judged.trial)},
        )  # fmt: skip
        self._calls[effect.id] = (action, judged.reading)
        return CallVerdict(
            decision=decision, effect_id=effect.id, idempotency_key=f"{self._attempt.run_id}:{action.digest[7:23]}"
        )

    def _block(self, conn: sa.Connection, action: Action, judged: Judged) -> CallVerdict:
        decision = judged.decision
        history = noted_block(_history(conn, self._attempt.run_id))
        rows.save_history(conn, self._attempt.run_id, rows.text_of(history))
        denied = any(reason.startswith(ASKED) for reason in decision.reasons)
        self.refusal = AgentError(
            kind=ErrorKind.DENIED if denied else ErrorKind.BLOCKED, message=f"{summary_of(action)}: {decision.reason}"
        )
        self._record(conn, "call.blocked", {**facts_of(action, decision, judged.trial), "action": recorded(action)})
        why = should_stop(history)
        if why:
            self._record(conn, "agent.stopped", {"why": why})
            self._switch.stop(why)
        return CallVerdict(decision=replace(decision, verdict=Verdict.BLOCK), effect_id="")

    async def after(self, effect_id: str, *, ok: bool, output: str = "", labels: Labels | None = None) -> Decision:
        """See :meth:`interlock.ports.Gate.after`."""
        action, reading = self._calls.pop(effect_id, (None, Reading()))
        if action is None:
            unknown = Action(kind=Surface.TOOL_RESULT, args={"text": ""})
            return failed(unknown, "there is no open call of that id")
        try:
            judging = asyncio.to_thread(self._judge_result, action, reading, output, labels)
            decision, joined = await asyncio.wait_for(judging, _DEADLINE_S)
            call = _Call(effect_id=effect_id, action=action, reading=reading, ok=ok, output=output, labels=joined)
            await self._when_there_is_room(lambda: self._write(lambda conn: self._settle(conn, call, decision)))
        except Exception as error:  # noqa: BLE001 - closed on failure
            return failed(action, f"{type(error).__name__}: {error}")
        if decision.verdict is Verdict.BLOCK:
            await asyncio.to_thread(self._take_back, effect_id, decision.reason)
        elif action.tool == NETWORK_TOOL:
            self._told[effect_id] = (action, reading)
            if len(self._told) > _TOLD_KEPT:
                del self._told[next(iter(self._told))]
        return decision

    async def more(self, effect_id: str, output: str) -> Decision:
        """See :meth:`interlock.ports.Parts.more`. Nothing is recorded of a part in which nothing is found."""
        action, reading = self._told.get(effect_id, (None, Reading()))
        if action is None:
            return failed(Action(kind=Surface.TOOL_RESULT, args={"text": ""}), "there is no result of that id")
        try:
            judging = asyncio.to_thread(self._judge_result, action, reading, output, None)
            decision, joined = await asyncio.wait_for(judging, _DEADLINE_S)
            call = _Call(effect_id=effect_id, action=action, reading=reading, ok=True, output=output, labels=joined)
            await self._when_there_is_room(lambda: self._write(lambda conn: self._add_part(conn, call, decision)))
        except Exception as error:  # noqa: BLE001 - closed on failure
            return failed(action, f"{type(error).__name__}: {error}")
        return decision

    def _add_part(self, conn: sa.Connection, call: _Call, decision: Decision) -> None:
        self._check_fence(conn)
        before = _history(conn, self._attempt.run_id)
        counted = after_call(before, call.action, call.reading, call.output, call.labels)
        history = replace(counted, counts=before.counts)
        if history != before:
            rows.save_history(conn, self._attempt.run_id, rows.text_of(history))
        if decision.verdict is Verdict.BLOCK:
            self._record(conn, "result.withheld", {"effect": call.effect_id, "reasons": list(decision.reasons)})

    def _judge_result(
        self, action: Action, reading: Reading, output: str, labels: Labels | None
    ) -> tuple[Decision, Labels]:
        course = self._policies.course(self._attempt.run_id)
        return self._gate.judge_result(action, reading, self._scope, output, labels, course=course)

    def _take_back(self, effect_id: str, why: str) -> None:
        """A call whose result is blocked is undone, where it stayed in the workspace."""
        effect = self._database.look(lambda conn: rows.find_effect(conn, effect_id))
        if self._checkpoints is not None and effect is not None and effect.snapshot:
            self._checkpoints.go_back(effect, actor="interlock", why=why)

    def _settle(self, conn: sa.Connection, call: _Call, decision: Decision) -> None:
        permit, attempt = queue.find_permit(conn, self._attempt.id), rows.find_attempt(conn, self._attempt.id)
        taken = permit is not None and permit.fence != self._switch.fence
        if taken or attempt is None or attempt.state is AttemptState.ENDED:
            raise ApprovalError("this attempt was taken over: its late result does not count")
        effect = rows.find_effect(conn, call.effect_id)
        if effect is not None and effect.state is EffectState.INTENDED:
            rows.save_effect(conn, replace(effect, state=EffectState.DONE if call.ok else EffectState.FAILED))
        history = _history(conn, self._attempt.run_id)
        history = after_call(history, call.action, call.reading, call.output, call.labels)
        rows.save_history(conn, self._attempt.run_id, rows.text_of(history))
        self._record(
            conn, "effect.done" if call.ok else "effect.failed",
            {"effect": call.effect_id, "tool": call.action.tool, "result": decision.verdict, "labels": dump(call.labels),
             **({"reasons": list(decision.reasons)} if decision.reasons else {})},
        )  # fmt: skip

    def _check_fence(self, conn: sa.Connection) -> None:
        permit = queue.find_permit(conn, self._attempt.id)
        if permit is None or permit.worker != self._worker or permit.fence != self._switch.fence:
            message = "this attempt has lost its permit: another worker has taken it over"
            raise ApprovalError(message)

    def _record(self, conn: sa.Connection, kind: str, data: Mapping[str, Any]) -> None:
        facts = {"attempt": self._attempt.id, **data}
        self._ledger.append(conn, self._attempt.run_id, kind, facts, actor=self._attempt.agent)

    async def _when_there_is_room(self, work: Callable[[], T]) -> T:
        """A full disk makes no call fail and no effect unknown: the attempt's own time ends this wait.

        Raises:
            StoreError: when nobody knows whether it was done.
        """
        while True:
            try:
                return await asyncio.to_thread(work)
            except StoreError as problem:
                if problem.unsure:
                    raise
            await asyncio.sleep(_STOPPED_S)

    def _write(self, work: Callable[[sa.Connection], T]) -> T:
        return self._database.transact(work)


def granted(judged: Judged) -> Judged:
    """The same, now that people have said yes."""
    return replace(judged, decision=replace(judged.decision, verdict=Verdict.ALLOW))


def refused(judged: Judged, why: str) -> Judged:
    """The same as a block, for one more reason."""
    reasons = (why, *judged.decision.reasons)
    return replace(judged, decision=replace(judged.decision, verdict=Verdict.BLOCK, reasons=reasons))


def _history(conn: sa.Connection, run_id: str) -> History:
    text = rows.history_of(conn, run_id)
    return rows.noun_of(History, text) if text else History()
