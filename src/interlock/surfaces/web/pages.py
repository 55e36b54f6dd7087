"""Every page, and what its forms do. Each goes through the service; rights are checked as in the API."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any

from fastapi import APIRouter, FastAPI, Query, Request, Response

from interlock.decide.access import Right
from interlock.decide.alerts import by_urgency
from interlock.errors import InterlockError, UsageError
from interlock.model.action import Surface
from interlock.model.agent import Priority
from interlock.model.approval import Approval, ApprovalState
from interlock.model.identity import Being, Role, person_behind
from interlock.model.ledger import LedgerEntry
from interlock.model.plain import load
from interlock.model.plan import Plan, Task
from interlock.model.run import OutcomeKind, RunState
from interlock.service import Service
from interlock.surfaces.api.door import Door
from interlock.surfaces.api.judging import explained
from interlock.surfaces.api.operate import verified
from interlock.surfaces.api.problems import ProblemError
from interlock.surfaces.cli.judging import action_of
from interlock.surfaces.cli.story import sentence
from interlock.surfaces.web import watching
from interlock.surfaces.web.graph import Graph, draw, state_of
from interlock.surfaces.web.site import (
    STATIC,
    Administers,
    Answers,
    Form,
    PageRoute,
    Sees,
    Steers,
    Submits,
    Visit,
    render,
    to,
)

routes = APIRouter(route_class=PageRoute, include_in_schema=False)

_TYPES = {"css": "text/css; charset=utf-8", "js": "text/javascript; charset=utf-8", "svg": "image/svg+xml"}
_UNDER_WAY = tuple(state for state in RunState if state is not RunState.ENDED)
_STORY = 1000
_LOOK = 20
"""Of questions and runs that one look holds; their own pages have all."""


def install(app: FastAPI) -> None:
    """Put the dashboard beside the API."""
    app.include_router(routes)
    app.include_router(watching.routes)


@routes.get("/static/{name}")
async def static(name: str) -> Response:
    """A style, a script, a picture: they come with the package and change their address with their content."""
    for address, body in STATIC.values():
        if address == f"/static/{name}":
            kind = _TYPES[name.rpartition(".")[2]]
            return Response(body, media_type=kind, headers={"Cache-Control": "public, max-age=31536000, immutable"})
    raise ProblemError(404, "not-found", "there is no such file")


@routes.get("/")
def overview(visit: Sees) -> Response:
    """Is it safe, what runs, what waits for me, what fires; then what just ended."""
    service = visit.service
    running = service.runs.newest(states=_UNDER_WAY, limit=_LOOK)
    return visit.page(
        "overview.html", seen=service.health.glance(), questions=_questions(visit, service.approvals.list(limit=_LOOK)),
        running=running, doing=service.runs.doing(running), counts=service.runs.counts(), queued=service.queue.length(),
        ended=service.runs.newest(states=(RunState.ENDED,), limit=40), worker=service.workers.any_living(),
        alerts=[alert for alert in by_urgency(service.alarms.alerts()) if alert.active], lasting=list(watching.SILENCES),
        priorities=[each.value for each in Priority], agents=list(service.catalogue), system=service.health.fresh()[0],
    )  # fmt: skip


@routes.post("/runs")
def submit(visit: Submits, form: Form) -> Response:
    """Take a task on."""
    words = [each.value for each in Priority]
    priority = Priority(form["priority"]) if form.get("priority") in words else None
    agents = tuple(filter(None, [form.get("agent", "")]))
    key = f"{visit.who.name}:{form['key']}" if form.get("key") else ""
    task = Task(
        text=form.get("task", ""), submitter=visit.who.name, priority=priority, agents=agents, idempotency_key=key
    )
    return to(f"/runs/{visit.service.runs.submit(task).id}")


@routes.get("/runs")
def runs(visit: Sees, cursor: str = "", state: str = "") -> Response:
    """All runs, newest first."""
    states = (RunState(state),) if state in tuple(RunState) else ()
    outcome = state if state in tuple(OutcomeKind) else ""
    found = visit.service.runs.newest(states=states, outcome=outcome, before=cursor, limit=51)
    return visit.page(
        "runs.html", runs=found[:50], more=found[49].id if len(found) > 50 else "",   # noqa: PLR2004 - a page
        state=state, counts=visit.service.runs.counts(), doing=visit.service.runs.doing(found[:50]),
    )  # fmt: skip


@routes.get("/runs/{run_id}")
def run(visit: Sees, run_id: str) -> Response:
    """One run, live."""
    service = visit.service
    view = service.runs.view(run_id)
    entries = service.ledger.entries(run_id=view.run.id, limit=_STORY)
    began = entries[0].at if entries else view.run.submitted_at
    story = [
        (entry.seq, (entry.at - began).total_seconds(), *sentence(entry)) for entry in entries if sentence(entry)[0]
    ]
    return visit.page(
        "run.html", view=view, run=view.run, story=story, last=entries[-1].seq if entries else 0,
        graph=draw(view.run.plan, view.attempts) if view.run.plan else None, state_of=state_of,
        questions=_questions(visit, [one for one in view.approvals if one.state is ApprovalState.PENDING]),
        diff=service.runs.diff(view.run.id), under_way=view.run.state is not RunState.ENDED,
    )  # fmt: skip


@routes.post("/effects/{effect_id}/undo")
def undo(visit: Steers, effect_id: str, form: Form) -> Response:
    """Take one call back."""
    why = form.get("why", "").strip()[:2000]
    return to(f"/runs/{visit.service.runs.undo_call(effect_id, actor=visit.who.name, why=why).effect.run_id}")


@routes.post("/runs/{run_id}/cancel")
def cancel(visit: Steers, run_id: str) -> Response:
    """End a run cleanly."""
    return to(f"/runs/{visit.service.runs.cancel(run_id, visit.who.name).id}")


@routes.get("/approvals")
def approvals(visit: Sees, every: Annotated[bool, Query(alias="all")] = False, cursor: str = "") -> Response:
    """Questions to people."""
    found = visit.service.approvals.list(states=() if every else (ApprovalState.PENDING,), after=cursor[:64], limit=51)
    return visit.page(
        "approvals.html", questions=_questions(visit, found[:50]), every=every,
        more=found[49].id if len(found) > 50 else "",  # noqa: PLR2004 - a page
    )  # fmt: skip


@routes.get("/approvals/{approval_id}")
def approval(visit: Sees, approval_id: str) -> Response:
    """Exactly what a yes would cover."""
    found = visit.service.approvals.find(approval_id)
    evidence = [text.partition(": ")[2] for text in _texts(found.shown.get("findings"))]
    return visit.page(
        "approval.html", one=found, shown=_Shown(found.shown), no=_cannot(visit, found), evidence=evidence, graph=_graph(found),
        run=visit.service.runs.find(found.run_id), missing=found.quorum - sum(vote.approve for vote in found.votes),
    )  # fmt: skip


@routes.post("/approvals/{approval_id}")
def answer(visit: Answers, approval_id: str, form: Form) -> Response:
    """Say yes or no."""
    word = form.get("answer")
    if word not in {"approve", "deny"}:
        raise UsageError("say approve or deny")
    after = visit.service.approvals.answer(
        approval_id,
        visit.who,
        approve=word == "approve",
        digest=form.get("digest", ""),
        note=form.get("note", "")[:2000],
    )
    return to(f"/approvals/{after.id}")


class _Shown(dict[str, Any]):
    """What a question shows; what it does not show is empty."""

    def __missing__(self, key: str) -> str:
        return ""


def _questions(visit: Visit, found: list[Approval]) -> list[tuple[Approval, str]]:
    return [(one, _cannot(visit, one)) for one in found]


def _cannot(visit: Visit, one: Approval) -> str:
    """Why this visitor's answer would not count; empty when it would."""
    if one.state is not ApprovalState.PENDING:
        return f"This question is {one.state}."
    if not visit.may(Right.ANSWER):
        return f"You are {visit.who.role}; approvers answer questions."
    if one.separate and visit.who.name == person_behind(one.requester):
        return "You asked for this: critical work needs somebody else's yes."
    if any(vote.voter == visit.who.name for vote in one.votes):
        return "You have answered; somebody else must too."
    return ""


def _graph(one: Approval) -> Graph | None:
    plan = one.shown.get("plan")
    try:
        return draw(load(Plan, plan)) if plan else None
    except ValueError:
        return None


def _texts(value: Any) -> list[str]:
    return [str(item) for item in value] if isinstance(value, (list, tuple)) else []


@routes.get("/ledger")
def ledger(
    visit: Sees, text: str = "", kind: str = "", actor: str = "", run_id: Annotated[str, Query(alias="run")] = "",
    cursor: Annotated[int, Query(ge=0, le=2**53)] = 0,
) -> Response:  # fmt: skip
    """What happened, searchable."""
    found, more = visit.service.ledger.search(
        text=text[:200], kind=kind[:64], actor=actor[:200], run_id=run_id[:200], before=cursor, limit=100
    )
    return visit.page(
        "ledger.html",
        entries=found,
        more=more,
        text=text,
        kind=kind,
        actor=actor,
        run_id=run_id,
        result=None,
        tell=_tell,
    )


@routes.post("/ledger")
def verify(visit: Sees) -> Response:
    """Recompute every hash."""
    found, more = visit.service.ledger.search(limit=100)
    return visit.page(
        "ledger.html",
        entries=found,
        more=more,
        text="",
        kind="",
        actor="",
        run_id="",
        result=verified(visit.service),
        tell=_tell,
    )


def _tell(entry: LedgerEntry) -> str:
    return sentence(entry)[0].strip() or f"{entry.kind} of {entry.run_id}"


@routes.get("/policies")
def policies(visit: Sees) -> Response:
    """The policies in force."""
    return visit.page("policies.html", policies=visit.service.policies.in_force)


@routes.get("/check")
def check(visit: Sees) -> Response:
    """Ask what the gate would say."""
    return _check(visit, {"surface": "tool_call", "tool": "shell", "text": ""}, None, "")


@routes.post("/check")
def checked(visit: Sees, form: Form) -> Response:
    """What the gate says, and every rule that was considered."""
    row = {"surface": form.get("surface", ""), "tool": form.get("tool", ""), "text": form.get("text", "")}
    try:
        action = action_of({**row, "actor": visit.who.name}, environment=visit.service.settings.environment)
        return _check(visit, row, explained(visit.service, action), "")
    except InterlockError as error:
        return _check(visit, row, None, str(error))


def _check(visit: Visit, row: dict[str, str], result: dict[str, Any] | None, problem: str) -> Response:
    surfaces = [each.value for each in Surface]
    return visit.page("check.html", row=row, result=result, problem=problem, surfaces=surfaces)


@routes.get("/tokens")
def tokens(visit: Administers) -> Response:
    """Who may use this."""
    return _tokens(visit, "")


@routes.post("/tokens")
def create_token(visit: Administers, form: Form) -> Response:
    """Make a token; its secret is on this page and nowhere else."""
    name, role, days = form.get("name", ""), form.get("role", ""), form.get("days", "")
    if role not in tuple(Role) or not days.isdecimal():
        raise UsageError("choose a role and a number of days")
    being = Being.PROGRAM if "/" in name else Being.PERSON
    lifetime = timedelta(days=min(int(days[:6]), 10_000))
    made = visit.service.identities.create(name, being=being, role=Role(role), lifetime=lifetime, by=visit.who.name)
    return _tokens(visit, made[1])


@routes.post("/tokens/{token_id}")
def revoke_token(visit: Administers, token_id: str) -> Response:
    """End a token."""
    visit.service.identities.revoke(token_id, by=visit.who.name)
    visit.request.app.state.door.forget()
    return to("/tokens")


def _tokens(visit: Visit, secret: str) -> Response:
    found = list(reversed(visit.service.identities.list()))[:200]
    return visit.page("tokens.html", tokens=found, secret=secret, roles=[each.value for each in Role])


@routes.get("/login")
async def login(to: str = "/") -> Response:
    """The door."""
    return render("login.html", to=_inside(to), problem="")


@routes.get("/enter")
async def enter(link: str = "") -> Response:
    """A one-time link: one button, so that whatever previews links does not use it up."""
    return render("enter.html", link=link[:200])


@routes.post("/login")
def sign_in(request: Request, form: Form) -> Response:
    """Open a session for a person's token or a one-time link."""
    door: Door = request.app.state.door
    door.check_origin(request)
    service: Service = request.app.state.service
    lifetime = timedelta(seconds=service.settings.server.session_s)
    opened = service.identities.open_session(form.get("secret", "").strip()[:200], lifetime)
    if opened is None:
        refused = door.stranger(request)
        what = "That is no good: expired, used, revoked, mistyped, or a program's."
        return render("login.html", status=refused.status, to=_inside(form.get("to", "/")), problem=what)
    answer = to(_inside(form.get("to", "/")))
    answer.set_cookie(
        door.cookie, opened[1], max_age=service.settings.server.session_s, path="/", httponly=True, samesite="lax",
        secure=door.secure,
    )  # fmt: skip
    return answer


@routes.post("/logout")
def sign_out(visit: Sees) -> Response:
    """End this session."""
    door: Door = visit.request.app.state.door
    visit.service.identities.revoke(visit.who.token_id, by=visit.who.name)
    door.forget()
    answer = to("/login")
    answer.delete_cookie(door.cookie, path="/", httponly=True, samesite="lax", secure=door.secure)
    return answer


def _inside(address: str) -> str:
    """An address on this site, whatever was asked for: nobody is led elsewhere after signing in."""
    safe = address.startswith("/") and not address.startswith("//") and address.isprintable() and "\\" not in address
    return address if safe else "/"
