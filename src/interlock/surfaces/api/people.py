"""What only people do: answers, and tokens. And who one is."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any

from fastapi import Query, Request, Response

from interlock.decide.access import Right, refusal
from interlock.errors import NotFoundError
from interlock.model.approval import Approval, ApprovalState
from interlock.model.identity import Token
from interlock.service import Service
from interlock.surfaces.api.common import Administers, Answers, Sees, TheService, router
from interlock.surfaces.api.problems import documented
from interlock.surfaces.api.views import AnswerIn, Id, Me, Page, TokenIn, TokenMade, said

approvals = router("approvals")
tokens = router("tokens")


@approvals.get("/approvals", response_model=Page[Approval])
def list_approvals(
    service: TheService,
    _who: Sees,
    state: Annotated[list[ApprovalState], Query(default_factory=lambda: [ApprovalState.PENDING], max_length=10)],
    cursor: Annotated[str, Query(pattern=r"^([A-Za-z0-9_]{1,64})?$")] = "",
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> Response:
    """Questions to people, oldest first; the open ones unless said otherwise."""
    found = service.approvals.list(states=state, after=cursor, limit=limit + 1)
    return said(Page[Any](items=found[:limit], next=found[limit - 1].id if len(found) > limit else None))


@approvals.get("/approvals/{approval_id}", response_model=Approval, responses=documented(404))
def show_approval(approval_id: Id, service: TheService, _who: Sees) -> Response:
    """Exactly what a yes would cover."""
    return said(_exact(service, approval_id))


def _exact(service: Service, approval_id: str) -> Approval:
    approval = service.approvals.find(approval_id)
    if approval.id != approval_id:
        raise NotFoundError(f"there is no approval {approval_id!r}")
    return approval


@approvals.post("/approvals/{approval_id}/approve", response_model=Approval, responses=documented(404, 409))
def approve(approval_id: Id, given: AnswerIn, service: TheService, who: Answers) -> Response:
    """Say yes, once, to exactly the digest that you have seen. People only."""
    return said(
        service.approvals.answer(
            _exact(service, approval_id).id, who, approve=True, digest=given.digest, note=given.note
        )
    )


@approvals.post("/approvals/{approval_id}/deny", response_model=Approval, responses=documented(404, 409))
def deny(approval_id: Id, given: AnswerIn, service: TheService, who: Answers) -> Response:
    """Say no. People only."""
    return said(
        service.approvals.answer(
            _exact(service, approval_id).id, who, approve=False, digest=given.digest, note=given.note
        )
    )


@tokens.get("/me", response_model=Me)
def me(who: Sees) -> Response:
    """Whose token this is."""
    rights = [right.value for right in Right if not refusal(who, right)]
    return said(Me(name=who.name, being=who.being, role=who.role, rights=rights))


@tokens.get("/tokens", response_model=list[Token])
def list_tokens(service: TheService, _who: Administers) -> Response:
    """All tokens; nobody can see their secrets."""
    return said(service.identities.list())


@tokens.post("/tokens", status_code=201, response_model=TokenMade)
def create_token(given: TokenIn, service: TheService, who: Administers) -> Response:
    """Make a token; its secret is in this answer and nowhere else."""
    token, secret = service.identities.create(
        given.name, being=given.being, role=given.role, lifetime=timedelta(days=given.days), by=who.name
    )
    return said(TokenMade(token=token, secret=secret), status=201)


@tokens.delete("/tokens/{token_id}", response_model=Token, responses=documented(404))
def revoke_token(token_id: Id, request: Request, service: TheService, who: Administers) -> Response:
    """End a token and the sessions that were opened with it."""
    ended = service.identities.revoke(token_id, by=who.name)
    request.app.state.door.forget()
    return said(ended)
