"""How pages are made and reached: templates, static files, sign-in, errors as pages."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib import resources
from typing import Annotated, Any
from urllib.parse import quote

import jinja2
from fastapi import Depends, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, RedirectResponse
from fastapi.routing import APIRoute

from interlock.decide.access import Right, refusal
from interlock.errors import InterlockError
from interlock.model.alert import AlertState
from interlock.model.identity import Identity
from interlock.service import Service
from interlock.surfaces.api.door import Door, form_of
from interlock.surfaces.api.problems import STATUS, ProblemError
from interlock.surfaces.cli.common import ago, span
from interlock.surfaces.web.visible import as_typed, diff_lines, is_diff, marked, printed

_TYPES = {"css": "text/css; charset=utf-8", "js": "text/javascript; charset=utf-8", "svg": "image/svg+xml"}


def _static() -> dict[str, tuple[str, bytes]]:
    found: dict[str, tuple[str, bytes]] = {}
    for file in resources.files("interlock.surfaces.web").joinpath("static").iterdir():
        name, _, kind = file.name.rpartition(".")
        if kind in _TYPES:
            body = file.read_bytes()
            mark = hashlib.sha256(body).hexdigest()[:12]
            found[file.name] = (f"/static/{name}.{mark}.{kind}", body)
    return found


STATIC = _static()
"""File name to its address (which changes with its content) and its bytes."""


def _environment() -> jinja2.Environment:
    made = jinja2.Environment(
        loader=jinja2.PackageLoader("interlock.surfaces.web"), autoescape=True, finalize=printed,
        undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    made.filters.update(
        ago=ago,
        span=span,
        as_typed=as_typed,
        marked=marked,
        clock=_clock,
        words=_words,
        spaced=_spaced,
        lasting=_lasting,
    )
    made.globals.update(
        diff_lines=diff_lines, is_diff=is_diff, asset=lambda name: STATIC[name][0], now=lambda: datetime.now(UTC)
    )
    return made


def _clock(at: datetime | None) -> str:
    return at.strftime("%Y-%m-%d %H:%M:%S UTC") if at else ""


def _words(text: str) -> str:
    return str(text).replace("_", " ")


def _lasting(time: timedelta) -> str:
    """A length of time that somebody has chosen: whole units where it is whole."""
    seconds = int(time.total_seconds())
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size and seconds % size == 0:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"


def _spaced(name: str) -> str:
    """``errorRate`` as people write it."""
    return "".join(f" {letter.lower()}" if letter.isupper() else letter for letter in name)


_templates = _environment()


@dataclass(frozen=True, kw_only=True, slots=True)
class Visit:
    """Somebody signed in, on a page."""

    request: Request
    service: Service
    who: Identity
    csrf: str

    def may(self, right: Right) -> bool:
        """Whether they have that right."""
        return not refusal(self.who, right)

    def page(self, template: str, *, status: int = 200, **facts: Any) -> Response:
        """The page of that template."""
        return render(
            template, status=status, who=self.who, csrf=self.csrf, path=self.request.url.path,
            may={right.value: self.may(right) for right in Right}, environment=self.service.settings.environment,
            project=self.service.settings.project.name, waiting=self.service.approvals.waiting(),
            firing=sum(alert.state is AlertState.FIRING for alert in self.service.alarms.alerts()), **facts,
        )  # fmt: skip


def render(template: str, *, status: int = 200, **facts: Any) -> HTMLResponse:
    """A page as an answer."""
    facts.setdefault("who", None)
    return HTMLResponse(_templates.get_template(template).render(**facts), status_code=status)


def visitor(right: Right) -> Callable[..., Awaitable[Visit]]:
    """The dependency of a page that somebody with this right may see."""

    async def enter(request: Request) -> Visit:
        door: Door = request.app.state.door
        who = await door.who(request)
        no = refusal(who, right)
        if no:
            raise ProblemError(403, "not-allowed", no)
        return Visit(request=request, service=request.app.state.service, who=who, csrf=door.form_word(request))

    return enter


async def fields(request: Request) -> dict[str, str]:
    """The fields of the form that was sent."""
    return await form_of(request)


Sees = Annotated[Visit, Depends(visitor(Right.SEE))]
Submits = Annotated[Visit, Depends(visitor(Right.SUBMIT))]
Steers = Annotated[Visit, Depends(visitor(Right.STEER))]
Answers = Annotated[Visit, Depends(visitor(Right.ANSWER))]
Administers = Annotated[Visit, Depends(visitor(Right.ADMINISTER))]
Form = Annotated[dict[str, str], Depends(fields)]


def to(address: str) -> RedirectResponse:
    """The next page after a form."""
    return RedirectResponse(quote(address, safe="/?=&"), status_code=303)


class PageRoute(APIRoute):
    """A route for people: its errors are pages, and strangers are led to the door."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The framework's handler with errors as pages."""
        handle = super().get_route_handler()

        async def for_people(request: Request) -> Response:
            try:
                return await handle(request)
            except ProblemError as refused:
                if refused.status == 401:  # noqa: PLR2004 - unauthorised
                    target = request.url.path if request.method == "GET" else "/"
                    return RedirectResponse(f"/login?to={quote(target)}", status_code=303)
                return render("error.html", status=refused.status, what=refused.detail)
            except InterlockError as error:
                status = next((code for kind, code, _ in STATUS if isinstance(error, kind)), 409)
                return render("error.html", status=status, what=str(error))
            except RequestValidationError:
                return render("error.html", status=422, what="this address or form makes no sense")

        return for_people
