"""The three judgements, and why: nothing happens, nothing is recorded."""

from __future__ import annotations

from typing import Any

from fastapi import Response

from interlock.model.action import Action
from interlock.model.plan import Task
from interlock.service import Service
from interlock.surfaces.api.common import Judges, TheService, router
from interlock.surfaces.api.views import Assessed, CheckIn, Explained, Judgement, Planned, TextIn, Weighed, said
from interlock.surfaces.cli.judging import action_of, as_json

routes = router("judging")


@routes.post("/check", response_model=Judgement)
def check(given: CheckIn, service: TheService, who: Judges) -> Response:
    """What the gate would say to an action: allow, confirm or block, and why."""
    return said(as_json(service.policies.judge(_action(given, service, who.name))))


@routes.post("/explain", response_model=Explained)
def explain(given: CheckIn, service: TheService, who: Judges) -> Response:
    """The same, with every rule that was considered."""
    return said(explained(service, _action(given, service, who.name)))


def explained(service: Service, action: Action) -> dict[str, Any]:
    """A judgement and every rule that was considered, those that match first."""
    considered = [
        Weighed(
            rule=one.rule.id, action=one.rule.action, enforcement=str(one.enforcement), matched=one.matched, why=one.why
        )
        for one in service.policies.explain(action)
    ]
    return {
        **as_json(service.policies.judge(action)),
        "considered": sorted(considered, key=lambda one: not one.matched),
    }


def _action(given: CheckIn, service: Service, actor: str) -> Action:
    row = {**given.model_dump(mode="json", exclude_none=True), "actor": actor}
    return action_of(row, environment=service.settings.environment)


@routes.post("/assess", response_model=Assessed)
def assess(given: TextIn, service: TheService, who: Judges) -> Response:
    """How dangerous a task is, and why."""
    return said(Assessed.of(service.plans.assess(_task(given, who.name))))


@routes.post("/plan", response_model=Planned)
def plan(given: TextIn, service: TheService, who: Judges) -> Response:
    """Who would do a task, in which order. ``abstained`` says that nobody suits."""
    return said(planned(service, _task(given, who.name)))


def planned(service: Service, task: Task) -> Planned:
    """The selection and the plan of a task.

    Raises:
        PlanError: when an agent is unknown or the chosen ones cannot be put into an order.
    """
    selection = service.plans.select(task)
    made = None if selection.abstained else service.plans.make(task)
    return Planned(
        primary=list(selection.primary),
        fallback={name: list(others) for name, others in selection.fallback.items()},
        exclusions=[list(pair) for pair in selection.exclusions],
        phases=[[one.agent for one in phase.assignments] for phase in made.phases] if made else [],
        scores={match.agent: match.score for match in selection.matches},
        abstained=selection.abstained, emergency=selection.emergency, reason=selection.reason,
        digest=made.digest if made else "",
        evidence={match.agent: list(match.evidence) for match in selection.matches},
    )  # fmt: skip


def _task(given: TextIn, submitter: str) -> Task:
    return Task(text=given.text, agents=tuple(given.agents), submitter=submitter)
