"""Who is asking: tokens in the header for programs, a signed-in session in a cookie for browsers, and how often."""

from __future__ import annotations

import hashlib
import hmac
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Annotated, Any
from urllib.parse import urlsplit

from fastapi import Request, Security
from fastapi.concurrency import run_in_threadpool
from fastapi.security import APIKeyCookie, HTTPBearer

from interlock.decide.access import Right, refusal
from interlock.model.identity import Identity, TokenUse
from interlock.service import Service
from interlock.surfaces.api.problems import ProblemError

_KNOWN_S = 1.0
"""How long an identity is believed without asking the store again: a revocation by another process holds after this."""
_MOST = 10_000
_FAILURES_PER_MINUTE = 30
SAFE = frozenset({"GET", "HEAD", "OPTIONS"})


class Buckets:
    """How often each key may come: ``per_minute``, all of it at once if need be."""

    def __init__(self, per_minute: int) -> None:
        self._per_minute = per_minute
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, key: str) -> float:
        """0 when it may pass, else the seconds until it may."""
        now = time.monotonic()
        left, at = self._buckets.pop(key, (float(self._per_minute), now))
        left = min(float(self._per_minute), left + (now - at) * self._per_minute / 60)
        passes = left >= 1
        self._buckets[key] = (left - 1 if passes else left, now)
        if len(self._buckets) > _MOST:
            self._buckets.popitem(last=False)
        return 0.0 if passes else (1 - left) * 60 / self._per_minute


class Door:
    """Tells who a request is from, or refuses it."""

    def __init__(self, service: Service, *, secure: bool) -> None:
        self._service = service
        self.secure = secure
        self.cookie = "__Host-interlock" if secure else "interlock"
        self._known: OrderedDict[str, tuple[float, Identity]] = OrderedDict()
        self._pace = Buckets(service.settings.server.requests_per_minute)
        self._failures = Buckets(_FAILURES_PER_MINUTE)

    def forget(self) -> None:
        """Ask the store again about everybody: something was revoked."""
        self._known.clear()

    def session_of(self, request: Request) -> str:
        """The secret of the browser's session, empty without one."""
        return request.cookies.get(self.cookie, "")

    async def who(self, request: Request) -> Identity:
        """Whose request this is.

        Raises:
            ProblemError: 401 without a good token, 403 for a forged form, 429 when there are too many.
        """
        scheme, _, secret = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            found = await self._identify(secret.strip(), TokenUse.API)
        else:
            found = await self._identify(self.session_of(request), TokenUse.SESSION)
            if found is not None and request.method not in SAFE:
                await self.check_form(request)
        if found is None:
            raise self.stranger(request)
        wait = self._pace.take(found.token_id)
        if wait:
            raise ProblemError(429, "too-often", "this token asks too often", {"Retry-After": str(int(wait) + 1)})
        return found

    def stranger(self, request: Request) -> ProblemError:
        """The refusal of somebody unknown; of many bad tokens in a row from one address, another one."""
        showed = request.headers.get("authorization") or self.session_of(request) or request.method not in SAFE
        wait = self._failures.take(request.client.host if request.client else "") if showed else 0
        if wait:
            return ProblemError(429, "too-often", "too many bad tokens", {"Retry-After": str(int(wait) + 1)})
        detail = "sign in, or send a good token: Authorization: Bearer … (interlock tokens create)"
        return ProblemError(401, "who-are-you", detail, {"WWW-Authenticate": "Bearer"})

    async def _identify(self, secret: str, use: TokenUse) -> Identity | None:
        if not secret or len(secret) > 200:  # noqa: PLR2004 - ours have 47 characters; nobody hashes megabytes
            return None
        key = f"{use}:{secret}"
        known = self._known.get(key)
        if known is not None and time.monotonic() < known[0]:
            return known[1]
        found = await run_in_threadpool(lambda: self._service.identities.identify(secret, use=use))
        if found is None:
            self._known.pop(key, None)
            return None
        self._known[key] = (time.monotonic() + _KNOWN_S, found)
        if len(self._known) > _MOST:
            self._known.popitem(last=False)
        return found

    def form_word(self, request: Request) -> str:
        """The word that a form of this session must send back: other sites cannot know it."""
        return hmac.new(self.session_of(request).encode(), b"form", hashlib.sha256).hexdigest()

    async def check_form(self, request: Request) -> None:
        """Refuse what another site made this browser send.

        Raises:
            ProblemError: 403.
        """
        self.check_origin(request)
        given = request.headers.get("x-csrf-token", "")
        if not given and request.headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
            given = (await form_of(request)).get("csrf", "")
        if not hmac.compare_digest(given.encode(), self.form_word(request).encode()):
            raise ProblemError(403, "forged-form", "this form is not from your session: load the page again")

    @staticmethod
    def check_origin(request: Request) -> None:
        """Refuse requests that say themselves that they come from another site.

        Raises:
            ProblemError: 403.
        """
        origin = request.headers.get("origin")
        foreign = origin is not None and urlsplit(origin).netloc.lower() != request.headers.get("host", "").lower()
        if foreign or request.headers.get("sec-fetch-site", "same-origin") not in {"same-origin", "none"}:
            raise ProblemError(403, "other-site", "requests from other sites are refused")


async def form_of(request: Request) -> dict[str, str]:
    """The fields of a form; of repeated ones the last."""
    from urllib.parse import parse_qsl  # noqa: PLC0415 - forms only

    body = (await request.body()).decode("utf-8", "replace")
    try:
        return dict(parse_qsl(body, keep_blank_values=True, max_num_fields=50, errors="replace"))
    except ValueError:
        return {}


_bearer = HTTPBearer(auto_error=False, scheme_name="token", description="A token: interlock tokens create")
_cookie = APIKeyCookie(
    name="interlock", auto_error=False, scheme_name="session",
    description="A browser's session; what changes something also needs the header X-CSRF-Token",
)  # fmt: skip

_Token = Annotated[Any, Security(_bearer)]
_Session = Annotated[Any, Security(_cookie)]


async def caller(request: Request) -> Identity:
    """Whose request this is, asked once for each request.

    Raises:
        ProblemError: as :meth:`Door.who`.
    """
    known: Identity | None = getattr(request.state, "caller", None)
    if known is None:
        door: Door = request.app.state.door
        known = request.state.caller = await door.who(request)
    return known


def needs(right: Right) -> Callable[..., Awaitable[Identity]]:
    """The dependency of an endpoint that somebody with this right may call."""
    return _DEPENDENCIES[right]


def _dependency(right: Right) -> Callable[..., Awaitable[Identity]]:
    async def allowed(request: Request, _token: _Token, _session: _Session) -> Identity:
        who = await caller(request)
        no = refusal(who, right)
        if no:
            raise ProblemError(403, "not-allowed", no)
        return who

    return allowed


_DEPENDENCIES = {right: _dependency(right) for right in Right}


def right_of(dependency: Any) -> Right | None:
    """The right that a dependency asks for; None when it asks for none."""
    return next((right for right, known in _DEPENDENCIES.items() if known is dependency), None)
