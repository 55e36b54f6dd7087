"""Agents that people run by hand and that only ask (``interlock hook``): the same gate, ledger and questions, no permits.

A session is a run that nobody executes: its history, effects and questions are where those of every run are.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import sqlalchemy as sa

from interlock.decide.chain import noted_block, should_stop
from interlock.decide.closer import closer
from interlock.decide.reach import Reach, reach
from interlock.decide.taint import after_call
from interlock.engine.approvals import Question
from interlock.engine.gate import ASKED, granted, refused
from interlock.engine.judging import Judged, facts_of, failed, shown_of, summary_of
from interlock.engine.means import Means
from interlock.model.action import Action, Surface
from interlock.model.approval import Approval, ApprovalState
from interlock.model.decision import Decision, Verdict
from interlock.model.history import History
from interlock.model.ids import new_id
from interlock.model.plain import dump
from interlock.model.plan import Task
from interlock.model.run import Effect, EffectState, Run, RunState
from interlock.model.session import Session, SessionVerdict, Spooled
from interlock.store import rows, watching
from interlock.store.database import micros

_POLL_S = 0.1
_KINDS = {Verdict.ALLOW: "effect.intended", Verdict.CONFIRM: "call.asked_elsewhere", Verdict.BLOCK: "call.blocked"}


class Sessions:
    """The sessions of one store."""

    def __init__(self, means: Means) -> None:
        self._means = means

    def before(
        self, session: Session, tool: str, args: Mapping[str, Any], *, wait: timedelta, elsewhere: bool = False
    ) -> SessionVerdict:
        """Judge a call and record it. Never raises. ``elsewhere``: the session's own program asks the person, so do not."""
        until = time.monotonic() + wait.total_seconds()
        action = self._action(session, tool, args)
        try:
            run_id = self._run(session)
            judged = self._judge(run_id, action)
            said_yes, approval_id = False, ""
            if judged.decision.verdict is Verdict.CONFIRM and not elsewhere:
                judged, said_yes, approval_id = self._ask(run_id, session, action, judged, until)
            self._admit(run_id, action, judged)
        except Exception as error:  # noqa: BLE001 - closed on failure
            return SessionVerdict(decision=failed(action, f"{type(error).__name__}: {error}"))
        return SessionVerdict(decision=judged.decision, granted=said_yes, approval_id=approval_id)

    def after(
        self, session: Session, tool: str, args: Mapping[str, Any], *, ok: bool | None, output: str
    ) -> SessionVerdict:
        """Record a call's outcome (``ok`` is None when nobody knows it) and judge its result. Never raises."""
        action = self._action(session, tool, args)
        try:
            run_id = self._run(session)
            return SessionVerdict(decision=self._settle(run_id, action, ok=ok, output=output))
        except Exception as error:  # noqa: BLE001 - closed on failure
            return SessionVerdict(decision=failed(action, f"{type(error).__name__}: {error}"))

    def define(self, session: Session, tool: str, text: str) -> Decision:
        """Judge what a tool says of itself; what is not allowed is recorded. Never raises."""
        action = replace(self._action(session, tool, {"text": text}), kind=Surface.TOOL_DEFINITION)
        try:
            decision = self._means.judge(action, run_id=self._run(session)).decision
            if decision.verdict is not Verdict.ALLOW:
                self.note(session, "tool_definition.judged", facts_of(action, decision))
        except Exception as error:  # noqa: BLE001 - closed on failure
            return failed(action, f"{type(error).__name__}: {error}")
        return decision

    def note(self, session: Session, kind: str, data: Mapping[str, Any]) -> None:
        """Record something that has happened in the session besides its calls."""
        run_id = self._run(session)
        with self._means.database.write() as conn:
            self._means.ledger.append(conn, run_id, kind, data, actor=session.agent)

    def take_in(self, calls: Sequence[Spooled]) -> None:
        """Record what was judged before the store was open."""
        for call in calls:
            run_id = self._run(call.session)
            with self._means.database.write() as conn:
                if self._means.ledger.recorded(conn, run_id, f"spooled:{call.id}"):
                    continue
                self._record(conn, run_id, call.session.agent, call.verdict, call.facts, once=f"spooled:{call.id}")
                if call.verdict is Verdict.ALLOW:
                    self._intend(conn, run_id, call.tool, call.summary, call.digest, outside=call.outside)
                else:
                    rows.save_history(conn, run_id, rows.text_of(noted_block(_history(conn, run_id))))

    def _action(self, session: Session, tool: str, args: Mapping[str, Any]) -> Action:
        return Action(
            kind=Surface.TOOL_CALL, tool=tool, args=dict(args), actor=session.agent, agent=session.agent,
            environment=self._means.settings.environment,
        )  # fmt: skip

    def _run(self, session: Session) -> str:
        """The id of the session's run, which is made when it is new."""
        with self._means.database.read() as conn:
            known = rows.find_run_by_key(conn, session.key)
        if known is not None:
            return known.id
        now = self._means.clock.now()
        with self._means.database.write() as conn:
            known = rows.find_run_by_key(conn, session.key)
            if known is not None:
                return known.id
            text = f"a session of {session.agent}, run by {session.person}"
            task = Task(text=text, submitter=session.person, idempotency_key=session.key, submitted_at=now)
            run = Run(
                id=new_id("ses"), task=task, environment=self._means.settings.environment, state=RunState.SESSION,
                submitted_at=now,
            )  # fmt: skip
            rows.insert_run(conn, run)
            facts = {"agent": session.agent, "session": session.id}
            self._means.ledger.append(conn, run.id, "session.seen", facts, actor=session.person)
        return run.id

    def _judge(self, run_id: str, action: Action) -> Judged:
        with self._means.database.read() as conn:
            history = _history(conn, run_id)
            why = watching.heightened(conn, action.agent, micros(self._means.clock.now()))
        judged = self._means.judge(action, str(self._means.settings.project), run_id=run_id, history=history)
        return replace(judged, decision=closer(judged.decision, why)) if why else judged

    def _ask(
        self, run_id: str, session: Session, action: Action, judged: Judged, until: float
    ) -> tuple[Judged, bool, str]:
        """Hold the call until people have answered or the time is over; a later call of the same finds the answer."""
        if self._use(run_id, action):
            return granted(judged), True, ""
        approval = self._put(run_id, session, action, judged.decision)
        state = self._answer(approval, until)
        if state is ApprovalState.PENDING:
            how = f"approve it with `interlock approvals approve {approval.id}`, then the same call will pass"
            return refused(judged, f"a person must agree first: {how}"), False, approval.id
        if state is not ApprovalState.APPROVED:
            return refused(judged, f"{ASKED}{state}"), False, ""
        again = replace(self._judge(run_id, action), trial=judged.trial)
        if again.decision.verdict is Verdict.BLOCK:
            return again, False, ""
        if not self._use(run_id, action):
            return refused(again, "the yes was no longer valid at the moment of use"), False, ""
        return granted(again), True, ""

    def _use(self, run_id: str, action: Action) -> bool:
        with self._means.database.write() as conn:
            return self._means.approvals.use(conn, run_id, action.digest) is not None

    def _put(self, run_id: str, session: Session, action: Action, decision: Decision) -> Approval:
        question = Question(
            run_id=run_id, subject=action.kind.value, digest=action.digest, shown=shown_of(action, decision),
            reason=decision.reason, requester=session.person, quorum=decision.quorum, separate=decision.quorum > 1,
        )  # fmt: skip
        with self._means.database.write() as conn:
            return self._means.approvals.ask(conn, question)

    def _answer(self, approval: Approval, until: float) -> ApprovalState:
        """Poll the store: the answer comes from another process."""
        while True:
            with self._means.database.write() as conn:
                state = self._means.approvals.state(conn, approval.id)
            if state is not ApprovalState.PENDING or time.monotonic() >= until:
                return state
            time.sleep(_POLL_S)

    def _admit(self, run_id: str, action: Action, judged: Judged) -> None:
        decision = judged.decision
        with self._means.database.write() as conn:
            if decision.verdict is not Verdict.BLOCK:
                outside = reach(action, judged.reading, self._means.gate.undo(action.tool)) is Reach.OUTSIDE
                self._intend(conn, run_id, action.tool, summary_of(action), action.digest, outside=outside)
            else:
                history = noted_block(_history(conn, run_id))
                rows.save_history(conn, run_id, rows.text_of(history))
                if why := should_stop(history):
                    self._means.ledger.append(conn, run_id, "agent.to_be_stopped", {"why": why}, actor="interlock")
            facts = facts_of(action, decision, judged.trial)
            self._record(conn, run_id, action.agent, decision.verdict, facts)
            self._means.rollouts.policies.count(conn, run_id, action, judged.trial, summary_of(action))

    def _intend(self, conn: sa.Connection, run_id: str, tool: str, summary: str, digest: str, *, outside: bool) -> None:
        effect = Effect(
            id=new_id("eff"), run_id=run_id, attempt_id=run_id, number=rows.next_effect_number(conn, run_id), tool=tool,
            summary=summary, action_digest=digest,
        )  # fmt: skip
        rows.insert_effect(conn, effect, outside=outside)

    def _record(
        self,
        conn: sa.Connection,
        run_id: str,
        agent: str,
        verdict: Verdict,
        facts: Mapping[str, Any],
        *,
        once: str = "",
    ) -> None:
        kind = _KINDS[verdict]
        self._means.ledger.append(conn, run_id, kind, facts, actor=agent, once=once)

    def _settle(self, run_id: str, action: Action, *, ok: bool | None, output: str) -> Decision:
        scope = self._means.scope(str(self._means.settings.project))
        reading = self._means.gate.judge(action, scope).reading
        course = self._means.rollouts.policies.course(run_id)
        decision, labels = self._means.gate.judge_result(action, reading, scope, output, course=course)
        with self._means.database.write() as conn:
            history = after_call(_history(conn, run_id), action, reading, output, labels)
            rows.save_history(conn, run_id, rows.text_of(history))
            state = EffectState.UNKNOWN if ok is None else EffectState.DONE if ok else EffectState.FAILED
            open_ones = rows.effects_of(conn, run_id, states=(EffectState.INTENDED,))
            effect = next((one for one in open_ones if one.action_digest == action.digest), None)
            if effect is not None:
                rows.save_effect(conn, replace(effect, state=state))
            self._means.ledger.append(
                conn, run_id, f"effect.{state}",
                {"effect": effect.id if effect else "", "tool": action.tool, "result": decision.verdict,
                 "labels": dump(labels), **({"reasons": list(decision.reasons)} if decision.reasons else {})},
                actor=action.agent,
            )  # fmt: skip
        return decision


def _history(conn: sa.Connection, run_id: str) -> History:
    text = rows.history_of(conn, run_id)
    return rows.noun_of(History, text) if text else History()
