"""Pages of what is watched: agents with their health and breakers, alerts, rollouts, limits."""

from __future__ import annotations

from datetime import timedelta
from glob import escape
from typing import Annotated

from fastapi import APIRouter, Query, Response
from fastapi.responses import RedirectResponse

from interlock.decide.access import refusal, to_roll_out
from interlock.decide.alerts import by_urgency
from interlock.decide.breaker import Force
from interlock.engine.rollouts import RolloutStory
from interlock.errors import UsageError
from interlock.model.alert import AlertState
from interlock.model.rollout import POLICIES
from interlock.surfaces.api.problems import ProblemError
from interlock.surfaces.web.charts import beside, durations, outcomes, scales, shares
from interlock.surfaces.web.site import Form, PageRoute, Sees, Steers, Visit, to

routes = APIRouter(route_class=PageRoute, include_in_schema=False)

SILENCES = {"1 hour": 3600, "4 hours": 4 * 3600, "1 day": 86400, "1 week": 7 * 86400}
"""How long people may be spared, in seconds."""
_PAGE = 25
_HOURS = 24


@routes.get("/agents")
def agents(visit: Sees) -> Response:
    """Agents with their health and their last day, those that need somebody first."""
    service = visit.service
    healths = {health.subject: health for health in service.health.agents(within_s=0.25)}
    breakers = {breaker.agent: breaker for breaker in service.agents.breakers()}
    order = ["unhealthy", "degraded", "healthy", "unknown"]
    names = sorted(
        healths, key=lambda name: (breakers[name].state == "closed", order.index(healths[name].status), name)
    )
    charts = {name: outcomes(found) for name, found in service.meter.hours(_HOURS).items()}
    return visit.page(
        "agents.html",
        names=names,
        healths=healths,
        breakers=breakers,
        catalogue=service.catalogue,
        charts=charts,
        busy=service.runs.at_work(),
    )


@routes.get("/agents/{agent}")
def agent(visit: Sees, agent: str) -> Response:
    """One agent: how well it is and why, its breaker, its day."""
    service = visit.service
    spec = service.agents.find(agent)
    hours = service.meter.hours(_HOURS, agent=agent)[agent]
    return visit.page(
        "agent.html", spec=spec, health=service.health.agent(agent), chart=outcomes(hours), took=durations(hours),
        breaker=next(one for one in service.agents.breakers() if one.agent == agent),
        ever=service.meter.metrics(within_s=0.25).agent(agent),
        alerts=[one for one in by_urgency(service.alarms.alerts()) if one.agent == agent],
        rollout=next(iter(service.rollouts.views(agent)), None),
    )  # fmt: skip


@routes.post("/agents/{agent}")
def force(visit: Steers, agent: str, form: Form) -> Response:
    """Force an agent's breaker."""
    if form.get("state") not in tuple(Force):
        raise UsageError("say open, closed or reset")
    reason = form.get("reason", "").strip()[:2000] or "by hand, from the dashboard"
    visit.service.agents.force_breaker(agent, Force(form["state"]), reason=reason, actor=visit.who.name)
    return to(f"/agents/{agent}" if form.get("back") == "agent" else "/agents")


@routes.get("/alerts")
def alerts(
    visit: Sees, cursor: Annotated[str, Query(max_length=64)] = "", rule: Annotated[str, Query(alias="try")] = ""
) -> Response:
    """What fires, first what nobody looks after; who is not told; the rules; what is over."""
    alarms = visit.service.alarms
    over = alarms.history(before=cursor, limit=_PAGE + 1)
    return visit.page(
        "alerts.html", standing=by_urgency(alarms.alerts()), silences=alarms.silences(), rules=alarms.rules(),
        over=over[:_PAGE], more=over[_PAGE - 1].id if len(over) > _PAGE else "", lasting=list(SILENCES),
        tried=rule, trials=alarms.test(rule) if rule else (),
    )  # fmt: skip


@routes.post("/alerts/{alert_id}/acknowledge")
def acknowledge(visit: Steers, alert_id: str, form: Form) -> Response:
    """Say that one looks after it. Whoever comes second is not scolded."""
    alarms = visit.service.alarms
    if alarms.find(alert_id).state is AlertState.FIRING:
        alarms.acknowledge(alert_id, visit.who.name, form.get("note", "").strip()[:2000])
    return _back(form)


@routes.post("/alerts/{alert_id}/silence")
def silence(visit: Steers, alert_id: str, form: Form) -> Response:
    """Tell nobody of this rule about this agent, for a time."""
    alert = visit.service.alarms.find(alert_id)
    if form.get("lasting") not in SILENCES:
        raise UsageError(f"say how long: {', '.join(SILENCES)}")
    visit.service.alarms.silence(
        visit.who.name, timedelta(seconds=SILENCES[form["lasting"]]), rule=escape(alert.rule),
        agent=escape(alert.agent), reason=form.get("note", "").strip()[:2000],
    )  # fmt: skip
    return _back(form)


@routes.post("/silences/{silence_id}")
def end_silence(visit: Steers, silence_id: str) -> Response:
    """Tell people again."""
    visit.service.alarms.end_silence(silence_id, visit.who.name)
    return to("/alerts")


def _back(form: dict[str, str]) -> RedirectResponse:
    return to("/" if form.get("back") == "overview" else "/alerts")


@routes.get("/rollouts")
def rollouts(visit: Sees) -> Response:
    """Versions on their way to everybody."""
    service = visit.service
    stories = [service.rollouts.story(view.rollout.agent) for view in service.rollouts.views()]
    stories.sort(key=lambda story: story.view.rollout.changed_at, reverse=True)
    under_way = {story.view.rollout.agent for story in stories if story.view.rollout.state in {"running", "paused"}}
    shown = [(story, shares(story, service.now()), beside(story), scales(story)) for story in stories]
    versions = {**service.settings.versions, POLICIES: service.settings.policies.versions}
    choices = [
        f"{agent} {version}" for agent, known in versions.items() for version in known
        if agent not in under_way and visit.may(to_roll_out(agent))
    ]  # fmt: skip
    return visit.page("rollouts.html", stories=shown, choices=choices, mine=_mine(visit, stories))


@routes.post("/rollouts")
def start_rollout(visit: Steers, form: Form) -> Response:
    """Give a version to the first share."""
    agent, _, version = form.get("version", "").partition(" ")
    _may(visit, agent)
    visit.service.rollouts.start(agent, version, visit.who.name, steps=_steps(form.get("steps", "")))
    return to("/rollouts")


def _mine(visit: Visit, stories: list[RolloutStory]) -> set[str]:
    """Whose rollouts this visitor may steer."""
    agents = {story.view.rollout.agent for story in stories}
    return {agent for agent in agents if visit.may(to_roll_out(agent))}


def _may(visit: Visit, agent: str) -> None:
    no = refusal(visit.who, to_roll_out(agent))
    if no:
        raise ProblemError(403, "not-allowed", no)


def _steps(text: str) -> list[int]:
    words = text.replace("%", " ").replace(",", " ").split()
    if not all(word.isascii() and word.isdecimal() and len(word) <= 3 for word in words):  # noqa: PLR2004 - 100 at most
        raise UsageError("steps are whole percentages, such as 5, 25, 50")
    return [int(word) for word in words]


@routes.post("/rollouts/{agent}")
def steer_rollout(visit: Steers, agent: str, form: Form) -> Response:
    """Promote, abort, go on."""
    _may(visit, agent)
    known, who = visit.service.rollouts, visit.who.name
    match form.get("what"):
        case "promote":
            known.promote(agent, who)
        case "everybody":
            known.promote(agent, who, fully=True)
        case "abort":
            known.abort(agent, who, form.get("reason", "").strip()[:2000])
        case "resume":
            known.resume(agent, who)
        case _:
            raise UsageError("say promote, everybody, abort or resume")
    return to("/rollouts")


@routes.get("/queue")
def queue(visit: Sees) -> Response:
    """What waits for a place, when it will probably start, and the limits behind it."""
    return visit.page("queue.html", places=visit.service.queue.places(), limits=visit.service.queue.limits())


@routes.post("/limits")
def set_limit(visit: Steers, form: Form) -> Response:
    """Change a limit at once; nothing written goes back to the configured one."""
    most = form.get("most", "").strip()
    if most and not (most.isascii() and most.isdecimal() and len(most) <= 6):  # noqa: PLR2004 - a million is no limit
        raise UsageError("a limit is a whole number, 0 for never, or nothing for the configured one")
    visit.service.queue.set_limit(form.get("name", ""), int(most) if most else None, actor=visit.who.name)
    return to("/queue")
