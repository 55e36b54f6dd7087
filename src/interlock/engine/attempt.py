"""One execution of one agent: claimed, run inside its limits, checked, taken in. Ends in a result or a classified error.

It may be run again from the top on another worker after a crash: then nothing that is known to have happened outside
the workspace happens a second time.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import sqlalchemy as sa

from interlock.decide.recover import classify
from interlock.engine.durable import Lost
from interlock.engine.gate import AttemptGate
from interlock.engine.judging import Judged
from interlock.engine.means import Means
from interlock.engine.saga import Saga
from interlock.engine.undo import Checkpoints
from interlock.engine.validate import failed_validator
from interlock.errors import ConfigError, ConflictError, StoreError
from interlock.model.action import Action, Surface
from interlock.model.agent import AgentResult, AgentSpec, OnFailure, Validator
from interlock.model.decision import Decision, Verdict
from interlock.model.plain import dump, load
from interlock.model.plan import Assignment
from interlock.model.risk import RiskLevel
from interlock.model.run import AgentError, Attempt, AttemptState, EffectState, ErrorKind, Run
from interlock.ports import Job
from interlock.reading.names import read_names
from interlock.reading.secrets import redact
from interlock.store import queue, rows
from interlock.store.database import AT_WORK

MAX_RESUMES = 3
"""An attempt whose worker has died this often under it is not tried again: it may be what kills them."""

_TICK_S = 0.1
_WITHOUT_PERMIT = frozenset({AttemptState.WAITING, AttemptState.READY})
_GAVE_UP = frozenset({"", "blocked", "denied", "crashed", "unknown"})
"""What an agent says, or leaves unsaid, when it gives up over a call that was not allowed."""


class Failure(Exception):  # noqa: N818 - it carries the error, it is not one
    """Raised to end an attempt with a classified error."""

    def __init__(self, kind: ErrorKind, message: str) -> None:
        self.error = AgentError(kind=kind, message=redact(message)[:2000])
        super().__init__(message)


@dataclass(kw_only=True, slots=True)
class Switch:
    """How the worker and the gate reach an attempt under way. ``why`` is set once; pauses do not count as its time."""

    fence: int = 0
    """The permit's, as this worker holds it; it rises when the permit was given back for a person's answer."""
    cancelled: str = ""
    lost: bool = False
    stopped: str = ""
    overspent: str = ""
    paid_for: timedelta | None = None
    """How long the agent may work before a budget is used up."""
    paused_since: float | None = None
    paused: float = 0.0
    _started: float = field(default_factory=time.monotonic)

    def pause(self) -> None:
        """The gate waits for a person."""
        self.paused_since = time.monotonic()

    def go_on(self) -> None:
        """The person has answered."""
        if self.paused_since is not None:
            self.paused += time.monotonic() - self.paused_since
            self.paused_since = None

    def stop(self, why: str) -> None:
        """The gate has seen enough of this agent."""
        self.stopped = self.stopped or why

    def worked(self) -> timedelta:
        """How long the agent has worked, without pauses."""
        now = time.monotonic()
        pausing = now - self.paused_since if self.paused_since is not None else 0.0
        return timedelta(seconds=now - self._started - self.paused - pausing)


class AttemptLine:
    """The way of an attempt from its permit to its end."""

    def __init__(self, means: Means, switches: dict[str, Switch]) -> None:
        self._means = means
        self._switches = switches
        self._saga = Saga(means)

    async def __call__(self, attempt_id: str) -> None:
        """Go the way. Every ending but :class:`Lost` is stored."""
        AT_WORK.set(True)
        switch = self._switches.setdefault(attempt_id, Switch())
        try:
            attempt = await self._means.read(lambda conn: rows.find_attempt(conn, attempt_id))
            walls = await asyncio.to_thread(self._means.containment, attempt.agent if attempt else "")
            flag = await asyncio.to_thread(self._means.rollouts.flag, attempt) if attempt else None
            claimed = await self._claimed(attempt_id, walls, flag, switch)
            if claimed is not None:
                attempt, switch.fence = claimed
                await self._go(attempt, switch)
        finally:
            self._switches.pop(attempt_id, None)

    async def _claimed(
        self, attempt_id: str, walls: str, flag: int | None, switch: Switch
    ) -> tuple[Attempt, int] | None:
        """The attempt with its permit; None when it has ended.

        One that gave its permit back to wait for a person, and whose worker died meanwhile, gets in line again first.
        """
        while True:
            claimed, ended = await self._means.write(
                lambda conn: self._claim(conn, attempt_id, walls, flag, switch.cancelled)
            )
            if claimed is not None or ended:
                return claimed
            if switch.lost:
                raise Lost
            await asyncio.sleep(_TICK_S)

    def _claim(
        self, conn: sa.Connection, attempt_id: str, walls: str, flag: int | None, cancelled: str
    ) -> tuple[tuple[Attempt, int] | None, bool]:
        """(the attempt with its permit now this worker's, or None; whether it has ended).

        This is no DBOS step: it must be done again on resume.
        """
        attempt = rows.find_attempt(conn, attempt_id)
        if attempt is None or attempt.state is AttemptState.ENDED:
            return None, True
        permit = queue.claim_permit(conn, attempt.id, self._means.worker_id)
        if permit is None and cancelled:
            self._means.governor.end(conn, attempt, AgentError(kind=ErrorKind.CANCELLED, message=cancelled))
            return None, True
        if permit is None:
            if attempt.state is not AttemptState.READY:
                self._means.governor.step_back(conn, attempt)
            return None, False
        fence = permit.fence
        began = attempt.started_at or self._means.clock.now()
        attempt = self._means.rollouts.pick(conn, attempt, flag)
        attempt = replace(attempt, state=AttemptState.RUNNING, started_at=began)
        rows.save_attempt(conn, attempt)
        self._means.record(
            conn, attempt.run_id, "attempt.started" if fence <= 1 else "attempt.resumed",
            {"attempt": attempt.id, "agent": attempt.agent, "number": attempt.number, "worker": self._means.worker_id,
             "times": fence, "sandbox": walls, **({"version": attempt.version} if attempt.version else {})},
        )  # fmt: skip
        return (attempt, fence), False

    async def _go(self, attempt: Attempt, switch: Switch) -> None:
        error: AgentError | None = None
        taken: dict[str, Any] | None = None
        try:
            attempt, taken = await self._work(attempt, switch)
        except Failure as failure:
            error = await self._undone(attempt, failure.error)
        except (Lost, StoreError):
            raise
        except Exception as problem:  # noqa: BLE001 - whatever it was, the attempt has failed and says so
            error = AgentError(kind=ErrorKind.UNKNOWN, message=redact(f"{type(problem).__name__}: {problem}")[:2000])
        await self._means.write(lambda conn: self._end_held(conn, attempt, switch, error, taken))
        await asyncio.to_thread(self._means.workspaces.discard, attempt.run_id, attempt.id)

    def _end_held(
        self,
        conn: sa.Connection,
        attempt: Attempt,
        switch: Switch,
        error: AgentError | None,
        taken: dict[str, Any] | None,
    ) -> None:
        """The end, and whoever may have the place now: who waits starts with the commit that gives the permit back."""
        self._check_held(conn, attempt, switch)
        if taken is not None:
            self._means.record(conn, attempt.run_id, "changes.integrated", taken, once=f"integrated:{attempt.id}")
        self._means.governor.end(conn, attempt, error, worked=switch.worked())
        self._means.governor.admit_all(conn)

    def _check_held(self, conn: sa.Connection, attempt: Attempt, switch: Switch) -> None:
        """A worker that was silent too long may find its attempt in other hands: then nothing it says counts.

        Raises:
            Lost: when that is so.
        """
        permit = queue.find_permit(conn, attempt.id)
        if permit is None:
            stored = rows.find_attempt(conn, attempt.id)
            held = stored is not None and stored.state in _WITHOUT_PERMIT
        else:
            held = (permit.worker, permit.fence) == (self._means.worker_id, switch.fence)
        if not held:
            raise Lost

    async def _undone(self, attempt: Attempt, error: AgentError) -> AgentError:
        """A failed attempt leaves nothing behind that can be undone; where undoing fails, a person is needed at once."""
        if error.kind is ErrorKind.UNKNOWN_EFFECT:
            return error
        report = await self._saga.undo(attempt.run_id, attempt_id=attempt.id)
        if not report.problem:
            return error
        message = f"{error.message}; then the roll-back failed: {report.problem}"
        return AgentError(kind=ErrorKind.UNKNOWN_EFFECT, message=message)

    async def _work(self, attempt: Attempt, switch: Switch) -> tuple[Attempt, dict[str, Any]]:
        run = await asyncio.to_thread(self._means.run, attempt.run_id)
        spec = self._means.spec(attempt.agent)
        if attempt.result is not None and await asyncio.to_thread(self._is_in, attempt):
            diff = await asyncio.to_thread(self._means.workspaces.diff, attempt.run_id, attempt.id)
            return attempt, await self._integrate(attempt, run, diff)
        agreed = run.plan.definitions.get(attempt.agent) if run.plan else None
        if agreed != spec.digest:
            raise Failure(ErrorKind.BLOCKED, "its definition is not the one that the plan was made with")
        try:
            spec = self._means.rollouts.spec(spec, attempt)
        except ConfigError as problem:
            raise Failure(ErrorKind.BLOCKED, str(problem)) from problem
        attempt = replace(attempt, result=None)
        await self._after_a_crash(attempt, spec, switch.fence)
        job = await asyncio.to_thread(self._job, run, attempt, spec)
        budgets = self._means.governor.budgets
        switch.paid_for = await self._means.read(lambda conn: budgets.time_left(conn, attempt.id))
        gate = AttemptGate(
            gate=self._means.gate, database=self._means.database, ledger=self._means.ledger,
            approvals=self._means.approvals, governor=self._means.governor, attempt=attempt,
            worker=self._means.worker_id, switch=switch, scope=self._means.scope(str(job.workspace)),
            undo_scope=self._means.scope(str(job.project)),
            environment=run.environment, requester=run.task.submitter, clock=self._means.clock,
            policies=self._means.rollouts.policies, checkpoints=self._checkpoints(attempt),
        )  # fmt: skip
        result = await self._run_agent(job, gate, switch)
        attempt = replace(attempt, result=load(AgentResult, _redacted(dump(result))))
        await self._means.write(lambda conn: self._returned(conn, attempt, switch))
        diff = await self._check(attempt, job, gate, spec, switch)
        await self._means.read(lambda conn: self._check_held(conn, attempt, switch))
        return attempt, await self._integrate(attempt, run, diff)

    def _checkpoints(self, attempt: Attempt) -> Checkpoints | None:
        return Checkpoints(self._means, attempt) if self._means.settings.workspace.undo == "per_call" else None

    async def _after_a_crash(self, attempt: Attempt, spec: AgentSpec, fence: int) -> None:
        """What an earlier worker began must be settled first: unknown effects are said to be unknown (rule 5)."""
        if fence <= 1:
            return
        unknown = await self._means.write(lambda conn: self._mark_unknown(conn, attempt))
        if fence > MAX_RESUMES:
            raise Failure(ErrorKind.CRASHED, f"its worker died {fence - 1} times under it")
        if unknown and not spec.idempotent:
            what = "; ".join(unknown)
            raise Failure(ErrorKind.UNKNOWN_EFFECT, f"nobody knows whether this happened before the crash: {what}")
        if not spec.idempotent:
            report = await self._saga.undo(attempt.run_id, attempt_id=attempt.id)
            if report.not_undone:
                what = "; ".join(report.not_undone)
                raise Failure(
                    ErrorKind.UNKNOWN_EFFECT, f"done before the crash and not undoable, so not repeated: {what}"
                )

    def _is_in(self, attempt: Attempt) -> bool:
        """Whether the crash came after the changes had been taken in: then only the end is missing."""
        return self._means.workspaces.is_integrated(attempt.run_id, attempt.id)

    def _mark_unknown(self, conn: sa.Connection, attempt: Attempt) -> list[str]:
        """Intents without an outcome become unknown; returns those outside the workspace that may not be repeated."""
        outside = {
            effect.id for effect in rows.effects_of(conn, attempt.run_id, attempt_id=attempt.id, outside_only=True)
        }
        for effect in rows.effects_of(conn, attempt.run_id, attempt_id=attempt.id, states=(EffectState.INTENDED,)):
            rows.save_effect(conn, replace(effect, state=EffectState.UNKNOWN))
            self._means.record(
                conn, attempt.run_id, "effect.unknown", {"effect": effect.id, "call": effect.summary},
                once=f"unknown:{effect.id}",
            )  # fmt: skip
        unknown = rows.effects_of(conn, attempt.run_id, attempt_id=attempt.id, states=(EffectState.UNKNOWN,))
        return [effect.summary for effect in unknown if effect.id in outside and not effect.idempotent]

    def _job(self, run: Run, attempt: Attempt, spec: AgentSpec) -> Job:
        workspaces = self._means.workspaces
        assignment = _assignment(run, attempt)
        path = workspaces.open(run.id, attempt.id)
        with self._means.database.read() as conn:
            attempts = rows.attempts_of(conn, run.id)
        handed_over = {
            other.assigned: other.result
            for other in attempts
            if other.assigned in assignment.needs and other.result is not None and other.error is None
        }
        return Job(
            run_id=run.id, attempt_id=attempt.id, number=attempt.number, agent=spec, assignment=assignment,
            task=run.task.text, workspace=path, project=self._means.settings.project, handed_over=handed_over,
            timeout=spec.timeout or timedelta(seconds=self._means.settings.limits.timeout_s),
            environment=run.environment, risk=run.risk.level if run.risk else RiskLevel.LOW,
        )  # fmt: skip

    async def _run_agent(self, job: Job, gate: AttemptGate, switch: Switch) -> AgentResult:
        """Run the agent until it returns, its time is over, or somebody ends it; its processes are gone afterwards."""
        runner = self._means.runner_of(job.agent)
        agent = asyncio.create_task(runner.run(job, gate))
        try:
            while not agent.done():
                await asyncio.wait({agent}, timeout=_TICK_S)
                if not agent.done() and (ending := _ending(switch, job.timeout)) is not None:
                    await _end(agent)
                    raise ending
        except asyncio.CancelledError:
            await _end(agent)
            raise
        try:
            return agent.result()
        except Exception as error:
            declared = getattr(error, "kind", "")
            if gate.refusal is not None and declared in _GAVE_UP:
                raise Failure(gate.refusal.kind, gate.refusal.message) from error
            name = f"{type(error).__module__}.{type(error).__qualname__}"
            raise Failure(classify(exception=name, text=str(error), declared=declared), str(error)) from error

    def _returned(self, conn: sa.Connection, attempt: Attempt, switch: Switch) -> None:
        self._check_held(conn, attempt, switch)
        rows.save_attempt(conn, attempt)
        result = attempt.result or AgentResult()
        self._means.record(
            conn, attempt.run_id, "agent.returned",
            {"attempt": attempt.id, "agent": attempt.agent, "summary": result.summary, "usage": dump(result.usage)},
        )  # fmt: skip

    async def _check(self, attempt: Attempt, job: Job, gate: AttemptGate, spec: AgentSpec, switch: Switch) -> str:
        """The checkpoint after: the changes, the output, the validators (spec 1). Returns the changes."""
        diff = await asyncio.to_thread(self._means.workspaces.diff, attempt.run_id, attempt.id)
        result = attempt.result or AgentResult()
        output = "\n".join((result.summary, *result.deliverables, *result.next_steps, *result.recommendations))
        made = {Surface.FILE_CHANGE: {"patch": diff}, Surface.AGENT_OUTPUT: {"text": output}}
        said: list[tuple[Action, Judged]] = []
        for surface, args in made.items():
            if any(args.values()) and all(judged.decision.verdict is Verdict.ALLOW for _, judged in said):
                said.append(await gate.review(surface, args))
        await self._means.write(lambda conn: self._reviewed(conn, attempt, switch, gate, said))
        for action, judged in said:
            decision = judged.decision
            if decision.verdict is not Verdict.ALLOW:
                raise Failure(_kind_of(decision), f"{action.kind.value.replace('_', ' ')}: {decision.reason}")
        for validator in spec.validators:
            await self._validate(attempt, job, validator)
        return diff

    def _reviewed(
        self,
        conn: sa.Connection,
        attempt: Attempt,
        switch: Switch,
        gate: AttemptGate,
        said: Sequence[tuple[Action, Judged]],
    ) -> None:
        self._check_held(conn, attempt, switch)
        for action, judged in said:
            gate.reviewed(conn, action, judged)

    async def _validate(self, attempt: Attempt, job: Job, validator: Validator) -> None:
        problem = await failed_validator(
            validator, workspace=job.workspace, project=job.project, contain=self._means.contain
        )
        await self._means.write(
            lambda conn: self._means.record(
                conn, attempt.run_id, "validator.failed" if problem else "validator.passed",
                {"attempt": attempt.id, "agent": attempt.agent, "validator": validator.name, "problem": problem,
                 "on_failure": validator.on_failure},
            )
        )  # fmt: skip
        if problem and validator.on_failure is OnFailure.ROLLBACK:
            raise Failure(ErrorKind.VALIDATION, f"{validator.name}: {problem}")
        if problem and validator.on_failure is OnFailure.BLOCK:
            raise Failure(ErrorKind.BLOCKED, f"{validator.name}: {problem}")

    async def _integrate(self, attempt: Attempt, run: Run, diff: str) -> dict[str, Any]:
        """Take the changes in; a second time finds them there and says the same. Returns the facts of the record."""
        try:
            integration = await asyncio.to_thread(
                self._means.workspaces.integrate, run.id, attempt.id, author=attempt.agent, message=run.task.text
            )
        except ConflictError as conflict:
            raise Failure(ErrorKind.CONFLICT, str(conflict)) from conflict
        names = await asyncio.to_thread(read_names, diff)
        return {
            "attempt": attempt.id, "changed": list(integration.changed), "commit": integration.commit,
            "names": _redacted(dump(names)),
        }  # fmt: skip


def _ending(switch: Switch, timeout: timedelta) -> BaseException | None:
    if switch.lost:
        return Lost()
    if switch.cancelled:
        return Failure(ErrorKind.CANCELLED, switch.cancelled)
    if switch.overspent:
        return Failure(ErrorKind.BUDGET, switch.overspent)
    if switch.stopped:
        return Failure(ErrorKind.SECURITY_VIOLATION, f"stopped by the gate: {switch.stopped}")
    if switch.paid_for is not None and switch.paid_for < min(timeout, switch.worked()):
        return Failure(ErrorKind.BUDGET, f"the budget of work is used up after {switch.paid_for.total_seconds():g} s")
    if switch.worked() > timeout:
        return Failure(ErrorKind.TIMEOUT, f"not finished after {timeout.total_seconds():g} s")
    return None


async def _end(agent: asyncio.Task[AgentResult]) -> None:
    """Cancel the agent and wait until everything it started has ended.

    Again and again: before Python 3.12 ``asyncio.wait_for`` loses a cancellation that comes just as it has its result.
    """
    while not agent.done():
        agent.cancel()
        await asyncio.wait({agent}, timeout=1)


def _assignment(run: Run, attempt: Attempt) -> Assignment:
    phases = run.plan.phases if run.plan else ()
    for assignment in phases[attempt.phase].assignments:
        if assignment.agent == attempt.assigned:
            return assignment
    message = f"the plan has no {attempt.assigned} in phase {attempt.phase}"
    raise LookupError(message)


def _kind_of(decision: Decision) -> ErrorKind:
    exposed = any(finding.kind.startswith("secret") for finding in decision.findings)
    return ErrorKind.SECURITY_VIOLATION if exposed else ErrorKind.BLOCKED


def _redacted(plain: object) -> object:
    if isinstance(plain, str):
        return redact(plain)
    if isinstance(plain, dict):
        return {key: _redacted(value) for key, value in plain.items()}
    if isinstance(plain, list):
        return [_redacted(value) for value in plain]
    return plain
