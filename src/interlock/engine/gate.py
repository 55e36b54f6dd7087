"""The one gate. Every judgement of an action passes it: task, plan, prompt, tool call, result, output, file change.

Closed on failure: whatever raises or takes too long in here is a block with that reason. There is no switch for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import sqlalchemy as sa

from interlock.config import ToolSettings, Undo
from interlock.decide.chain import noted_block, sequence, should_stop
from interlock.decide.closer import closer
from interlock.decide.judge import judge
from interlock.decide.policy import PolicySet
from interlock.decide.reach import Reach, reach
from interlock.decide.taint import after_call, flow, label_result
from interlock.engine.approvals import Approvals, Question
from interlock.engine.governor import Governor
from interlock.engine.ledger import Ledger
from interlock.errors import ApprovalError
from interlock.model.action import Action, Finding, Labels, Reading, Scope, Surface
from interlock.model.approval import ApprovalState
from interlock.model.decision import Decision, Verdict
from interlock.model.history import History
from interlock.model.ids import new_id
from interlock.model.plain import dump
from interlock.model.risk import RiskLevel
from interlock.model.run import AgentError, Attempt, Compensation, Effect, EffectState, ErrorKind
from interlock.ports import CallVerdict, Clock
from interlock.reading.read import read
from interlock.reading.secrets import redact
from interlock.store import queue, rows, watching
from interlock.store.database import Database, micros

T = TypeVar("T")

_DEADLINE_S = 5.0
"""For one judgement. The readers' own caps on length and depth make it milliseconds; this is the backstop."""

_POLL_S = 0.2
_ASKED = "a person was asked and the answer is: "
_SUMMARY = 200


@dataclass(frozen=True, kw_only=True, slots=True)
class Judged:
    """A decision with what was read on the way to it."""

    decision: Decision
    reading: Reading


class Gate:
    """Judges actions. Knows the policies and the environment, keeps nothing."""

    def __init__(self, policies: PolicySet, environment: str, tools: Mapping[str, ToolSettings]) -> None:
        self._policies = policies
        self._environment = environment
        self._tools = tools

    def judge(
        self, action: Action, scope: Scope, *, history: History | None = None, floor: RiskLevel = RiskLevel.LOW
    ) -> Judged:
        """The decision on one action. Never raises: an error is a block."""
        try:
            reading = read(action, scope)
            flowing = self._declared(action)
            if history is not None:
                flowing += flow(action, history, reading, scope) + sequence(action, history, reading)
            decision = judge(action, reading, self._policies, floor=floor, flow=flowing, environment=self._environment)
        except Exception as error:  # noqa: BLE001 - closed on failure: whatever broke, the answer is block
            return Judged(decision=_failed(action, f"{type(error).__name__}: {error}"), reading=Reading())
        return Judged(decision=decision, reading=reading)

    def undo(self, tool: str) -> Undo | None:
        """How the tool's effects are undone, as people have declared it."""
        declared = self._tools.get(tool)
        return declared.undo if declared else None

    def _declared(self, action: Action) -> tuple[Finding, ...]:
        if action.kind is not Surface.TOOL_CALL or self.undo(action.tool) is not Undo.IRREVERSIBLE:
            return ()
        reason = f"What {action.tool} does cannot be undone."
        return (
            Finding(
                detector="reach",
                kind="reach.irreversible",
                severity=RiskLevel.HIGH,
                evidence=action.tool,
                reason=reason,
            ),
        )


def _shown_finding(finding: Finding) -> str:
    return f"{finding.kind}: {finding.evidence}"


def _failed(action: Action, why: str) -> Decision:
    reason = f"the gate could not judge this and therefore blocks it ({redact(why)[:_SUMMARY]})"
    return Decision(
        verdict=Verdict.BLOCK, reasons=(reason,), rule_ids=("gate.failed",), risk=RiskLevel.CRITICAL,
        action_digest=action.digest,
    )  # fmt: skip


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
        fence: int,
        scope: Scope,
        environment: str,
        requester: str,
        clock: Clock,
        stop: Callable[[str], None],
        pause: Callable[[], None],
        go_on: Callable[[], None],
    ) -> None:
        self._gate = gate
        self._database = database
        self._ledger = ledger
        self._approvals = approvals
        self._governor = governor
        self._attempt = attempt
        self._worker = worker
        self._fence = fence
        self._scope = scope
        self._environment = environment
        self._requester = requester
        self._clock = clock
        self._stop = stop
        self._pause = pause
        self._go_on = go_on
        self._calls: dict[str, tuple[Action, Reading]] = {}
        self.refusal: AgentError | None = None
        """The last call that was not allowed: an agent that gives up over it has not failed, it was stopped."""
        self._one_at_a_time = asyncio.Lock()

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
            action = Action(
                kind=Surface.TOOL_CALL, tool=tool, args=dict(args), actor=self._attempt.agent,
                agent=self._attempt.agent, environment=self._environment, labels=labels or Labels(),
            )  # fmt: skip
            try:
                judged = await asyncio.wait_for(asyncio.to_thread(self._judge_call, action), _DEADLINE_S)
                if judged.decision.verdict is Verdict.CONFIRM:
                    judged = await self._ask(action, judged)
                return await asyncio.to_thread(self._admit_call, action, judged, idempotent, compensation)
            except Exception as error:  # noqa: BLE001 - closed on failure
                return CallVerdict(decision=_failed(action, f"{type(error).__name__}: {error}"), effect_id="")

    async def review(self, surface: Surface, args: Mapping[str, Any]) -> Decision:
        """Judge what the attempt has produced (a file change, its output), asking people where the verdict is confirm."""
        action = Action(
            kind=surface, args=dict(args), actor=self._attempt.agent, agent=self._attempt.agent,
            environment=self._environment,
        )  # fmt: skip
        judged = await asyncio.to_thread(self._judge_call, action)
        if judged.decision.verdict is Verdict.CONFIRM:
            judged = await self._ask(action, judged)
        await asyncio.to_thread(self._write, lambda conn: self._record(
            conn, f"{surface.value}.judged", {"verdict": judged.decision.verdict, "reasons": list(judged.decision.reasons),
                                              "warnings": list(judged.decision.warnings)}))  # fmt: skip
        return judged.decision

    def _judge_call(self, action: Action) -> Judged:
        with self._database.read() as conn:
            history = _history(conn, self._attempt.run_id)
            why = watching.heightened(conn, self._attempt.agent, micros(self._clock.now()))
        judged = self._gate.judge(action, self._scope, history=history)
        return replace(judged, decision=closer(judged.decision, why)) if why else judged

    async def _ask(self, action: Action, judged: Judged) -> Judged:
        """Hold the call, without a permit, until people have answered; then judge it again."""
        if await asyncio.to_thread(self._write, lambda conn: self._use(conn, action)):
            return _granted(judged)
        approval_id = await asyncio.to_thread(self._write, lambda conn: self._put(conn, action, judged.decision))
        self._pause()
        try:
            state = await self._answer(approval_id)
        finally:
            self._go_on()
        if state is not ApprovalState.APPROVED:
            return _refused(judged, f"{_ASKED}{state}")
        again = await asyncio.to_thread(self._judge_call, action)
        if again.decision.verdict is Verdict.BLOCK:
            return again
        used = await asyncio.to_thread(self._write, lambda conn: self._use(conn, action))
        return _granted(again) if used else _refused(again, "the yes was no longer valid at the moment of use")

    def _put(self, conn: sa.Connection, action: Action, decision: Decision) -> str:
        approval = self._approvals.ask(
            conn,
            Question(
                run_id=self._attempt.run_id,
                subject=action.kind.value,
                digest=action.digest,
                shown={"agent": action.agent, "tool": action.tool, "call": summary_of(action), "args": dict(action.args),
                       "reasons": list(decision.reasons), "risk": decision.risk,
                       "findings": [_shown_finding(finding) for finding in decision.findings]},
                reason=decision.reason,
                requester=self._requester,
                quorum=decision.quorum,
                separate=decision.quorum > 1,
            ),
        )  # fmt: skip
        self._governor.step_aside(conn, self._attempt, why=f"approval {approval.id}")
        return approval.id

    async def _answer(self, approval_id: str) -> ApprovalState:
        """Poll the store (the answer comes from another process), then until the attempt has a permit again."""
        state = ApprovalState.PENDING
        while state is ApprovalState.PENDING:
            await asyncio.sleep(_POLL_S)
            state = await asyncio.to_thread(self._write, lambda conn: self._approvals.state(conn, approval_id))
        await asyncio.to_thread(self._write, lambda conn: self._governor.step_back(conn, self._attempt))
        back = False
        while not back:
            await asyncio.sleep(_POLL_S)
            back = await asyncio.to_thread(self._take_permit)
        return state

    def _take_permit(self) -> bool:
        with self._database.write() as conn:
            permit = queue.claim_permit(conn, self._attempt.id, self._worker)
            if permit is None:
                return False
            self._fence = permit.fence
            rows.save_attempt(conn, self._attempt)
            return True

    def _use(self, conn: sa.Connection, action: Action) -> bool:
        return self._approvals.use(conn, self._attempt.run_id, action.digest) is not None

    def _admit_call(
        self, action: Action, judged: Judged, idempotent: bool, compensation: Compensation | None
    ) -> CallVerdict:
        decision = judged.decision
        with self._database.write() as conn:
            self._check_fence(conn)
            if decision.verdict is not Verdict.ALLOW:
                return self._block(conn, action, decision)
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
            )
            outside = reach(action, judged.reading, self._gate.undo(action.tool)) is Reach.OUTSIDE
            rows.insert_effect(conn, effect, outside=outside)
            self._record(
                conn, "effect.intended",
                {"effect": effect.id, "outside": outside, "undoable": compensation is not None, **_facts(action, decision)},
            )  # fmt: skip
        self._calls[effect.id] = (action, judged.reading)
        return CallVerdict(
            decision=decision, effect_id=effect.id, idempotency_key=f"{self._attempt.run_id}:{action.digest[7:23]}"
        )

    def _block(self, conn: sa.Connection, action: Action, decision: Decision) -> CallVerdict:
        history = noted_block(_history(conn, self._attempt.run_id))
        rows.save_history(conn, self._attempt.run_id, rows.text_of(history))
        denied = any(reason.startswith(_ASKED) for reason in decision.reasons)
        self.refusal = AgentError(
            kind=ErrorKind.DENIED if denied else ErrorKind.BLOCKED, message=f"{summary_of(action)}: {decision.reason}"
        )
        self._record(conn, "call.blocked", _facts(action, decision))
        why = should_stop(history)
        if why:
            self._record(conn, "agent.stopped", {"why": why})
            self._stop(why)
        return CallVerdict(decision=replace(decision, verdict=Verdict.BLOCK), effect_id="")

    async def after(self, effect_id: str, *, ok: bool, output: str = "", labels: Labels | None = None) -> Decision:
        """See :meth:`interlock.ports.Gate.after`."""
        action, reading = self._calls.pop(effect_id, (None, Reading()))
        if action is None:
            unknown = Action(kind=Surface.TOOL_RESULT, args={"text": ""})
            return _failed(unknown, "there is no open call of that id")
        try:
            return await asyncio.wait_for(
                asyncio.to_thread(self._settle_call, effect_id, action, reading, ok, output, labels), _DEADLINE_S
            )
        except Exception as error:  # noqa: BLE001 - closed on failure
            return _failed(action, f"{type(error).__name__}: {error}")

    def _settle_call(
        self, effect_id: str, action: Action, reading: Reading, ok: bool, output: str, labels: Labels | None
    ) -> Decision:
        origin = label_result(action.tool, action.args, reading)
        labels = origin.join(labels) if labels else origin
        result = replace(action, kind=Surface.TOOL_RESULT, args={"text": output}, labels=labels)
        decision = self._gate.judge(result, self._scope).decision
        if decision.verdict is Verdict.CONFIRM:
            # Nobody is asked about every odd web page: the result may be read, as untrusted, and flow decides later.
            labels = labels.join(Labels(integrity=labels.integrity.__class__.UNTRUSTED))
            decision = replace(decision, verdict=Verdict.ALLOW, warnings=(*decision.warnings, *decision.reasons))
        with self._database.write() as conn:
            effect = rows.find_effect(conn, effect_id)
            if effect is not None and effect.state is EffectState.INTENDED:
                state = EffectState.DONE if ok else EffectState.FAILED
                rows.save_effect(conn, replace(effect, state=state))
            history = after_call(_history(conn, self._attempt.run_id), action, reading, output, labels)
            rows.save_history(conn, self._attempt.run_id, rows.text_of(history))
            self._record(
                conn, "effect.done" if ok else "effect.failed",
                {"effect": effect_id, "tool": action.tool, "result": decision.verdict, "labels": dump(labels),
                 **({"reasons": list(decision.reasons)} if decision.reasons else {})},
            )  # fmt: skip
        return decision

    def _check_fence(self, conn: sa.Connection) -> None:
        permit = queue.find_permit(conn, self._attempt.id)
        if permit is None or permit.worker != self._worker or permit.fence != self._fence:
            message = "this attempt has lost its permit: another worker has taken it over"
            raise ApprovalError(message)

    def _record(self, conn: sa.Connection, kind: str, data: Mapping[str, Any]) -> None:
        facts = {"attempt": self._attempt.id, **data}
        self._ledger.append(conn, self._attempt.run_id, kind, facts, actor=self._attempt.agent)

    def _write(self, work: Callable[[sa.Connection], T]) -> T:
        with self._database.write() as conn:
            return work(conn)


def summary_of(action: Action) -> str:
    """One redacted line for people: the tool and what it is about, else the main thing that it gets."""
    named = next((str(action.args[name]) for name in ("path", "file_path", "url") if action.args.get(name)), "")
    main = named or action.text
    if not main and action.args:
        main = ", ".join(f"{name}={value}" for name, value in action.args.items())
    line = " ".join(redact(main).split())
    return f"{action.tool}: {line[:_SUMMARY]}" + ("…" if len(line) > _SUMMARY else "")


def _facts(action: Action, decision: Decision) -> dict[str, Any]:
    return {
        "tool": action.tool,
        "call": summary_of(action),
        "digest": action.digest,
        "verdict": decision.verdict,
        "risk": decision.risk,
        "rules": list(decision.rule_ids),
        "reasons": list(decision.reasons),
        "warnings": list(decision.warnings),
    }


def _granted(judged: Judged) -> Judged:
    return replace(judged, decision=replace(judged.decision, verdict=Verdict.ALLOW))


def _refused(judged: Judged, why: str) -> Judged:
    reasons = (why, *judged.decision.reasons)
    return replace(judged, decision=replace(judged.decision, verdict=Verdict.BLOCK, reasons=reasons))


def _history(conn: sa.Connection, run_id: str) -> History:
    text = rows.history_of(conn, run_id)
    return rows.noun_of(History, text) if text else History()
