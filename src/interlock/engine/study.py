"""What a run is about before anything happens: its risk, its plan, and what the gate says to both.

Nothing in here has an effect, so all of it is thought through first and stored as one transaction. After a crash in
between it is thought through again.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import sqlalchemy as sa

from interlock.decide.verdicts import strictest
from interlock.engine.judging import Judged
from interlock.engine.means import Means
from interlock.errors import PlanError
from interlock.model.action import Action, Surface
from interlock.model.decision import Decision, Verdict
from interlock.model.plain import dump
from interlock.model.plan import Assignment, Plan
from interlock.model.risk import RiskAssessment
from interlock.model.run import OutcomeKind, Run
from interlock.store import rows


class Ended(Exception):  # noqa: N818 - an ending, not an error
    """Raised where the line ends before its last step."""

    def __init__(self, kind: OutcomeKind, reason: str) -> None:
        self.kind = kind
        self.reason = reason
        super().__init__(reason)


@dataclass(kw_only=True, slots=True)
class Study:
    """What was found out about a run."""

    risk: RiskAssessment
    decision: Decision
    """The strictest word on the task, the prompts and the definitions."""
    plan: Plan | None = None
    ends: Ended | None = None
    """Why the run goes no further."""
    judged: list[tuple[str, Action, Judged]] = field(default_factory=list)
    """Every judgement: the kind of its record, what was judged, and the verdict."""


def study(means: Means, run: Run) -> Study:
    """Think a run through. What was stored before stands: the risk that was assessed, the plan that people may have seen.

    A block ends it at once; a confirm is asked once, for the task and the plan together.
    """
    risk = run.risk or means.chooser.assess(run.task)
    action = Action(
        kind=Surface.TASK, args={"text": run.task.text}, actor=run.task.submitter, environment=run.environment
    )
    judged = means.judge(action, run_id=run.id, floor=risk.level)
    decision = judged.decision
    found = Study(risk=risk, decision=_confirmed_from(means, risk, decision), judged=[("task.judged", action, judged)])
    if decision.verdict is not Verdict.BLOCK:
        try:
            found.plan = run.plan or means.chooser.plan(run.task)
        except PlanError as problem:
            found.ends = Ended(OutcomeKind.FAILED, str(problem))
            return found
        for kind, prompt in _prompts(means, run, found.plan):
            judged = means.judge(prompt, run_id=run.id)
            found.judged.append((kind, prompt, judged))
            found.decision = strictest(found.decision, judged.decision)
    if found.decision.verdict is Verdict.BLOCK:
        found.ends = Ended(OutcomeKind.BLOCKED, found.decision.reason)
    return found


def _confirmed_from(means: Means, risk: RiskAssessment, decision: Decision) -> Decision:
    if decision.verdict is not Verdict.ALLOW or risk.level < means.settings.approvals.confirm_at:
        return decision
    why = f"The task carries {risk.level} risk, and approvals.confirm_at asks a person from there on."
    return replace(decision, verdict=Verdict.CONFIRM, reasons=(why,))


def _prompts(means: Means, run: Run, plan: Plan) -> Iterator[tuple[str, Action]]:
    """What the plan would tell its agents, and what their definitions tell them."""
    for assignment in plan_assignments(plan):
        yield "prompt.judged", Action(
            kind=Surface.PROMPT, args={"text": assignment.prompt}, actor=run.task.submitter,
            agent=assignment.agent, environment=run.environment,
        )  # fmt: skip
    for name in plan.definitions:
        text = means.spec(name).instructions
        if text:
            yield (
                "definition.judged",
                Action(kind=Surface.PROMPT, args={"text": text}, actor=name, agent=name, environment=run.environment),
            )


def store(conn: sa.Connection, means: Means, run_id: str, found: Study) -> None:
    """Store the study with its records, once."""
    run = rows.find_run(conn, run_id)
    if run is not None:
        rows.save_run(conn, replace(run, risk=run.risk or found.risk, plan=run.plan or found.plan))
    means.record(conn, run_id, "task.assessed", dump(found.risk), once="assessed")
    for number, (kind, action, judged) in enumerate(found.judged):
        decision = judged.decision
        means.record(
            conn, run_id, kind,
            {"verdict": decision.verdict, "risk": decision.risk, "reasons": list(decision.reasons),
             "warnings": list(decision.warnings), "rules": list(decision.rule_ids), "policy": decision.policy_digest,
             **({"shadow": judged.trial.said} if judged.trial else {})},
            once=f"{kind}:{action.digest}",
        )  # fmt: skip
        if number == 0 and found.plan is not None:  # the task comes first, then the plan, then what it says
            phases = [[assignment.agent for assignment in phase.assignments] for phase in found.plan.phases]
            means.record(conn, run_id, "plan.made", {"phases": phases, "digest": found.plan.digest}, once="planned")


def plan_assignments(plan: Plan) -> list[Assignment]:
    """All assignments of a plan in order."""
    return [assignment for phase in plan.phases for assignment in phase.assignments]
