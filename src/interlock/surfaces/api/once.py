"""``Idempotency-Key``: every POST that makes or decides something is done once for each key, and answered the same again.

Submitting a run does not pass here: its key is kept with the run, in one transaction, for good.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Coroutine
from typing import Annotated, Any, get_type_hints

from fastapi import Header, Request, Response, params
from fastapi.concurrency import run_in_threadpool
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from interlock.decide.access import Right, refusal
from interlock.errors import InterlockError, StoreError
from interlock.service import Service
from interlock.service.requests import KeptAnswer
from interlock.surfaces.api.door import caller, right_of
from interlock.surfaces.api.problems import ProblemError

Handler = Callable[[Request], Coroutine[Any, Any, Response]]

PATTERN = r"^[\x21-\x7e]{1,200}$"
REPLAYED = "Idempotency-Replayed"
_ONLY_LOOKS = frozenset({Right.SEE, Right.JUDGE})
_SAYS = "The same key of the same caller is done once and answered the same again, for a day."


async def declared_key(
    idempotency_key: Annotated[str | None, Header(pattern=PATTERN, description=_SAYS)] = None,
) -> None:
    """The header as OpenAPI shows it and as it is checked; :func:`once` obeys it."""


def changing_right(methods: object, endpoint: Callable[..., Any]) -> Right | None:
    """The right that a POST asks for which makes or decides something and does not keep its key itself."""
    if not isinstance(methods, (list, set)) or "POST" not in methods:
        return None
    hints = get_type_hints(endpoint, include_extras=True)
    if "idempotency_key" in hints:
        return None
    marks = [mark for hint in hints.values() for mark in getattr(hint, "__metadata__", ())]
    rights = [right_of(mark.dependency) for mark in marks if isinstance(mark, params.Depends)]
    return next((right for right in rights if right and right not in _ONLY_LOOKS), None)


def once(handle: Handler, right: Right, *, secret: bool) -> Handler:
    """The handler, done once for each key. ``secret``: its answer is shown once and never kept."""

    async def by_key(request: Request) -> Response:
        key = request.headers.get("idempotency-key")
        if key is None or not re.fullmatch(PATTERN, key):
            return await handle(request)  # which refuses a key that is none
        who = await caller(request)
        if refusal(who, right):
            return await handle(request)  # which refuses: not even an answer of before is for them any more
        requests = _service(request).requests
        asked = f"{request.method} {request.url.path}?{request.url.query}\n".encode() + await request.body()
        digest = hashlib.sha256(asked).hexdigest()
        known = await run_in_threadpool(requests.claim, who.name, key, digest)
        if known is not None:
            return _again(known, digest)
        try:
            answer = await handle(request)
        except (ProblemError, InterlockError, RequestValidationError, HTTPException) as refused:
            if not isinstance(refused, StoreError):  # of a commit that broke nobody knows
                await run_in_threadpool(requests.drop, who.name, key)
            raise
        body = "" if secret else bytes(answer.body).decode()
        await run_in_threadpool(requests.settle, who.name, key, answer.status_code, body)
        return answer

    return by_key


def _service(request: Request) -> Service:
    found: Service = request.app.state.service
    return found


def _again(known: KeptAnswer, digest: str) -> Response:
    """What the key stands for.

    Raises:
        ProblemError: 409 when it stands for something else, or its answer is not known.
    """
    if known.digest != digest:
        raise ProblemError(409, "key-reused", "this idempotency key stands for another request: take a new one")
    if not known.status:
        hint = "it is under way, or broke off and nobody knows whether it happened: look before you use a new key"
        raise ProblemError(409, "key-in-use", f"the first request with this idempotency key has no answer yet: {hint}")
    if not known.body:
        raise ProblemError(
            409, "shown-once", "that is done, and its answer was shown only once: make another, revoke that"
        )
    return Response(known.body, status_code=known.status, media_type="application/json", headers={REPLAYED: "true"})
