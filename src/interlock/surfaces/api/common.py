"""What every group of endpoints uses: the service, who asks, and how answers are declared."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Depends, Request, Response
from fastapi.routing import APIRoute

from interlock.decide.access import Right
from interlock.model.identity import Identity
from interlock.service import Service
from interlock.surfaces.api.door import needs
from interlock.surfaces.api.once import changing_right, declared_key, once
from interlock.surfaces.api.problems import ALWAYS, documented


class _Strict(Request):
    """JSON as orjson reads it: no lone surrogates, no NaN, no endless nesting. Nothing later can stumble over them."""

    async def json(self) -> Any:
        return orjson.loads(await self.body())


class StrictRoute(APIRoute):
    """A route whose bodies are read strictly, and whose changes are made once for each idempotency key."""

    def __init__(self, path: str, endpoint: Callable[..., Any], **more: Any) -> None:
        self.once_for = changing_right(more.get("methods"), endpoint)
        if self.once_for:
            given = list(more.get("dependencies") or ())
            if not any(one.dependency is declared_key for one in given):
                more["dependencies"] = [*given, Depends(declared_key)]
            more["responses"] = {**documented(409), **(more.get("responses") or {})}
        super().__init__(path, endpoint, **more)

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The framework's handler, given a strict request."""
        handle = super().get_route_handler()
        if self.once_for:
            handle = once(handle, self.once_for, secret=getattr(self.response_model, "shown_once", False))

        async def strictly(request: Request) -> Response:
            return await handle(_Strict(request.scope, request.receive))

        return strictly


def router(tag: str) -> APIRouter:
    """A group of endpoints that need a token."""
    return APIRouter(prefix="/v1", tags=[tag], route_class=StrictRoute, responses=documented(*ALWAYS))


async def _service(request: Request) -> Service:
    found: Service = request.app.state.service
    return found


TheService = Annotated[Service, Depends(_service)]
Sees = Annotated[Identity, Depends(needs(Right.SEE))]
Judges = Annotated[Identity, Depends(needs(Right.JUDGE))]
Submits = Annotated[Identity, Depends(needs(Right.SUBMIT))]
Steers = Annotated[Identity, Depends(needs(Right.STEER))]
Answers = Annotated[Identity, Depends(needs(Right.ANSWER))]
Administers = Annotated[Identity, Depends(needs(Right.ADMINISTER))]
