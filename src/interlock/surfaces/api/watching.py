"""What is measured, how well it all is, and what fires: metrics, health, alerts, silences."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Query, Response

from interlock.decide.alerts import by_urgency
from interlock.doctor import Finding, examine_running
from interlock.engine.alarms import Trial
from interlock.errors import NotFoundError
from interlock.model.alert import Alert, Silence
from interlock.model.health import Health
from interlock.model.metrics import Metrics
from interlock.service import Service
from interlock.surfaces.api.common import Sees, Steers, TheService, router
from interlock.surfaces.api.problems import ALWAYS, ProblemError, documented
from interlock.surfaces.api.views import AgentHour, Id, Name, NoteIn, Page, RuleOut, SilenceIn, said

routes = router("watching")
scraped = APIRouter(tags=["watching"], responses=documented(*ALWAYS))

SOON_S = 1.0
"""Seconds that an answer may spend on counting new records; ``seq`` says up to where it came."""
_LONGEST_WINDOW_S = 400 * 86400
_examining = threading.Lock()

WindowS = Annotated[
    int | None, Query(ge=60, le=_LONGEST_WINDOW_S, description="How far back, in seconds; without it, ever.")
]


@contextmanager
def one_at_a_time(lock: threading.Lock, what: str) -> Iterator[None]:
    """Refuse a second one of what costs much.

    Raises:
        ProblemError: 503 while another one is under way.
    """
    if not lock.acquire(blocking=False):
        raise ProblemError(503, "busy", f"{what} already", {"Retry-After": "2"})
    try:
        yield
    finally:
        lock.release()


@routes.get("/metrics", response_model=Metrics)
def metrics(service: TheService, _who: Sees, window_s: WindowS = None) -> Response:
    """What was measured of the agents and the system. ``seq`` is the last ledger record that is counted."""
    return said(service.meter.metrics(None if window_s is None else timedelta(seconds=window_s), within_s=SOON_S))


@routes.get("/agents/{agent}/hours", response_model=list[AgentHour], responses=documented(404))
def hours(agent: Name, service: TheService, _who: Sees, count: Annotated[int, Query(ge=1, le=720)] = 24) -> Response:
    """An agent hour by hour, oldest first, with this hour: hours without anything are there too."""
    service.agents.find(agent)
    return said(
        [AgentHour(start=start, metrics=found) for start, found in service.meter.hours(count, agent=agent)[agent]]
    )


class _Soon:
    """A service that does not let a scraper wait."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def metrics(self) -> Metrics:
        return self._service.meter.metrics(within_s=SOON_S)


@scraped.get(
    "/metrics",
    response_class=Response,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}, **documented(501)},
)
def scrape(service: TheService, _who: Sees) -> Response:
    """The metrics as Prometheus reads them, with a viewer's token."""
    from interlock.telemetry.prometheus import CONTENT_TYPE, exposition  # noqa: PLC0415 - an extra

    return Response(exposition(_Soon(service)), headers={"content-type": CONTENT_TYPE})


@routes.get("/health", response_model=list[Health])
def healths(service: TheService, _who: Sees) -> Response:
    """How well Interlock itself (``system``, first) and all agents are, and what to do about it."""
    return said([service.health.system(), *service.health.agents(within_s=SOON_S)])


@routes.get("/health/{agent}", response_model=Health, responses=documented(404))
def health(agent: Name, service: TheService, _who: Sees) -> Response:
    """How well one agent is."""
    return said(service.health.agent(agent))


@routes.get("/doctor", response_model=list[Finding])
def doctor(service: TheService, _who: Steers) -> Response:
    """Look at the whole set-up of the machine that serves, and say what to do."""
    with one_at_a_time(_examining, "the set-up is being looked at"):
        return said(examine_running(service))


@routes.get("/alerts", response_model=Page[Alert])
def alerts(
    service: TheService,
    _who: Sees,
    over: Annotated[bool, Query(description="Those that are over, newest first, instead of those that stand.")] = False,
    cursor: Annotated[str, Query(pattern=r"^([A-Za-z0-9_]{1,64})?$")] = "",
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> Response:
    """The alerts that are not over, the most urgent first, all of them; or a page of history."""
    if not over:
        return said(Page[Any](items=by_urgency(service.alarms.alerts()), next=None))
    found = service.alarms.history(before=cursor, limit=limit + 1)
    return said(Page[Any](items=found[:limit], next=found[limit - 1].id if len(found) > limit else None))


@routes.post("/alerts/{alert_id}/acknowledge", response_model=Alert, responses=documented(404))
def acknowledge(alert_id: Id, given: NoteIn, service: TheService, who: Steers) -> Response:
    """Say that you look after it: no more escalation and no repetition."""
    if service.alarms.find(alert_id).id != alert_id:  # programs do not abbreviate
        raise NotFoundError(f"there is no alert {alert_id!r}")
    return said(service.alarms.acknowledge(alert_id, who.name, given.note))


@routes.get("/alert-rules", response_model=list[RuleOut])
def rules(service: TheService, _who: Sees) -> Response:
    """The rules: when they fire, and what they do then."""
    return said([RuleOut.of(rule) for rule in service.alarms.rules()])


@routes.get("/alert-rules/{rule}/trial", response_model=list[Trial], responses=documented(404))
def trial(rule: Name, service: TheService, _who: Sees, agent: Annotated[str, Query(max_length=100)] = "") -> Response:
    """What a rule says of the agents now, and what it would do. Nothing is done."""
    if agent:
        service.agents.find(agent)
    return said(service.alarms.test(rule, agent))


@routes.get("/silences", response_model=list[Silence])
def silences(service: TheService, _who: Sees) -> Response:
    """Who is not told of what, and how long."""
    return said(service.alarms.silences())


@routes.post("/silences", status_code=201, response_model=Silence)
def silence(given: SilenceIn, service: TheService, who: Steers) -> Response:
    """Tell nobody about alerts that fit, for a time. Breakers and the gate protect all the same."""
    made = service.alarms.silence(
        who.name, timedelta(seconds=given.lasting_s), rule=given.rule, agent=given.agent, reason=given.reason
    )
    return said(made, status=201)


@routes.delete("/silences/{silence_id}", response_model=Silence, responses=documented(404))
def end_silence(silence_id: Id, service: TheService, who: Steers) -> Response:
    """End a silence now."""
    return said(service.alarms.end_silence(silence_id, who.name))
