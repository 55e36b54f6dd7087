"""What operators look at: queue, agents, breakers, policies, settings, the ledger, whether this process serves."""

from __future__ import annotations

import threading
from typing import Annotated, Any
from urllib.parse import urlsplit, urlunsplit

from fastapi import APIRouter, Query, Response

from interlock.config import effective
from interlock.decide.breaker import Force
from interlock.engine.ledger import Verification
from interlock.errors import StoreError
from interlock.model.breaker import Breaker
from interlock.model.glance import Status
from interlock.model.ledger import LedgerEntry
from interlock.model.run import QueuePlace
from interlock.reading.secrets import redact
from interlock.service import Service
from interlock.surfaces.api.common import Sees, Steers, TheService, router
from interlock.surfaces.api.problems import documented
from interlock.surfaces.api.views import (
    AgentOut,
    BreakerIn,
    Name,
    Page,
    PolicyOut,
    Ready,
    Setting,
    plain,
    said,
)
from interlock.surfaces.api.watching import one_at_a_time

routes = router("operating")
health = APIRouter(tags=["health"])

_verifying = threading.Lock()
_MASK = "(hidden)"
_SECRET_WORDS = ("secret", "password", "token", "credential", "api_key", "apikey", "private")


@routes.get("/status", response_model=Status)
def status(service: TheService, _who: Sees) -> Response:
    """One look: what runs, what waits, what is cut off."""
    return said(service.health.status())


@routes.get("/queue", response_model=list[QueuePlace])
def queue(service: TheService, _who: Sees) -> Response:
    """What waits for a place, why, and when it will probably start."""
    return said(service.queue.places())


@routes.get("/agents", response_model=list[AgentOut])
def agents(service: TheService, _who: Sees) -> Response:
    """The catalogue."""
    states = {one.agent: one.state for one in service.agents.breakers()}
    return said([AgentOut.of(spec, states[spec.name]) for spec in service.catalogue.values()])


@routes.get("/agents/{agent}", response_model=AgentOut, responses=documented(404))
def agent(agent: Name, service: TheService, _who: Sees) -> Response:
    """One agent of the catalogue."""
    spec = service.agents.find(agent)
    state = next(one.state for one in service.agents.breakers() if one.agent == agent)
    return said(AgentOut.of(spec, state))


@routes.get("/breakers", response_model=list[Breaker])
def breakers(service: TheService, _who: Sees) -> Response:
    """Every agent's circuit breaker."""
    return said(service.agents.breakers())


@routes.put("/breakers/{agent}", response_model=Breaker, responses=documented(404))
def force_breaker(agent: Name, given: BreakerIn, service: TheService, who: Steers) -> Response:
    """Cut an agent off, let it run whatever its record, or give it a clean record."""
    return said(service.agents.force_breaker(agent, Force(given.state), reason=given.reason, actor=who.name))


@routes.get("/policies", response_model=list[PolicyOut])
def policies(service: TheService, _who: Sees) -> Response:
    """The policies in force."""
    return said([
        PolicyOut(name=one.name, enforcement=one.enforcement, rules=[plain(rule) for rule in one.rules])
        for one in service.policies.in_force
    ])  # fmt: skip


@routes.get("/config", response_model=list[Setting])
def config(service: TheService, _who: Sees) -> Response:
    """Every effective setting and where it comes from; what may be a secret is hidden."""
    return said(
        [
            Setting(key=key, value=masked(key, value), source=source)
            for key, value, source in effective(service.settings)
        ]
    )


def masked(key: str, value: Any) -> Any:
    """A setting's value as others may see it."""
    if any(word in key.rpartition(".")[2].lower() for word in _SECRET_WORDS) and isinstance(value, str) and value:
        return _MASK
    if isinstance(value, dict):
        return {name: masked(str(name), item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [masked(key, item) for item in value]
    if isinstance(value, str):
        return redact(_without_password(value))
    return value if isinstance(value, (bool, int, float)) or value is None else str(value)


def _without_password(text: str) -> str:
    try:
        parts = urlsplit(text)
        if "@" not in parts.netloc:
            return text
        return urlunsplit(parts._replace(netloc=f"{_MASK}@{parts.netloc.rpartition('@')[2]}"))
    except ValueError:
        return _MASK if "@" in text else text


@routes.get("/ledger", response_model=Page[LedgerEntry])
def ledger(
    service: TheService,
    _who: Sees,
    text: Annotated[str, Query(max_length=200, description="Looked for in the record as written.")] = "",
    kind: Annotated[str, Query(pattern=r"^[a-z_.]{0,64}$", description="A kind, or its beginning.")] = "",
    actor: Annotated[str, Query(max_length=200)] = "",
    run: Annotated[str, Query(pattern=r"^[A-Za-z0-9_:@.-]{0,200}$")] = "",
    cursor: Annotated[str, Query(pattern=r"^[0-9]{0,15}$")] = "",
    limit: Annotated[int, Query(ge=1, le=500)] = 100,
) -> Response:
    """Records, newest first. A page may be short or empty and still have a `next`: one call reads a bounded part."""
    found, more = service.ledger.search(
        text=text, kind=kind, actor=actor, run_id=run, before=int(cursor or 0), limit=limit
    )  # fmt: skip
    return said(Page[LedgerEntry](items=found, next=str(more) if more else None))


@routes.get("/ledger/verification", response_model=Verification)
def verification(service: TheService, _who: Sees) -> Response:
    """Recompute every hash; ``problem`` names the first bad record and is empty when all is well."""
    return said(verified(service))


def verified(service: Service) -> Verification:
    """The ledger's verification; one at a time, because it reads everything.

    Raises:
        ProblemError: 503 while another one is under way.
    """
    with one_at_a_time(_verifying, "the ledger is being verified"):
        return service.ledger.verify()


@health.get(
    "/livez", response_class=Response, responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}}
)
async def livez() -> Response:
    """This process answers."""
    return Response("alive\n", media_type="text/plain")


@health.get(
    "/readyz", response_model=Ready, responses={503: {"model": Ready, "description": "The store cannot be read."}}
)
def readyz(service: TheService) -> Response:
    """The store can be read; whether anybody executes is said too."""
    try:
        worker = service.workers.any_living()
    except StoreError:
        return said(Ready(status="not ready", store=False, worker=False), status=503)
    return said(Ready(status="ready", store=True, worker=worker))
