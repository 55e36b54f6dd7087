"""Runs: submit, look, follow, cancel."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated, Any

import orjson
from fastapi import Header, Query, Request, Response
from fastapi.responses import StreamingResponse

from interlock.errors import NotFoundError
from interlock.model.plain import dump
from interlock.model.plan import Task
from interlock.model.run import Run, RunState
from interlock.service import RunView, Service
from interlock.surfaces.api.common import Sees, Steers, Submits, TheService, router
from interlock.surfaces.api.hub import MOST_VIEWERS, Hub
from interlock.surfaces.api.problems import ProblemError, documented
from interlock.surfaces.api.views import Diff, Id, Page, RunBrief, Seq, TaskIn, said

routes = router("runs")

_STREAM: dict[int | str, dict[str, Any]] = {200: {"description": "Records as server-sent events; `id` is the sequence number.",
                 "content": {"text/event-stream": {"schema": {"type": "string"}}}}}  # fmt: skip
_BEAT_S = 15.0


@routes.post("/runs", status_code=202, response_model=Run, responses=documented(409))
def submit(
    given: TaskIn,
    service: TheService,
    who: Submits,
    idempotency_key: Annotated[
        str | None,
        Header(pattern=r"^[\x21-\x7e]{1,200}$", description="The same key of the same caller is the same run."),
    ] = None,
) -> Response:
    """Take a task on, durably. It is assessed, planned, asked about and executed by a worker."""
    task = Task(
        text=given.task, submitter=who.name, agents=tuple(given.agents), priority=given.priority,
        idempotency_key=f"{who.name}:{idempotency_key}" if idempotency_key else "",
    )  # fmt: skip
    run = service.runs.submit(task)
    if (run.task.text, run.task.agents, run.task.priority) != (task.text, task.agents, task.priority):
        raise ProblemError(409, "key-reused", f"this idempotency key stands for another task: {run.id}")
    return said(run, status=202, headers={"Location": f"/v1/runs/{run.id}"})


@routes.get("/runs", response_model=Page[RunBrief], responses=documented(404))
def list_runs(
    service: TheService,
    _who: Sees,
    state: Annotated[list[RunState], Query(default_factory=list, max_length=10)],
    cursor: Annotated[str, Query(pattern=r"^([A-Za-z0-9_]{1,64})?$")] = "",
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> Response:
    """Runs, newest first."""
    found = service.runs.newest(states=state, before=cursor, limit=limit + 1)
    more = len(found) > limit
    page = found[:limit]
    return said(Page[RunBrief](items=[RunBrief.of(run) for run in page], next=page[-1].id if more else None))


@routes.get("/runs/{run_id}", response_model=RunView, responses=documented(404))
def show_run(run_id: Id, service: TheService, _who: Sees) -> Response:
    """One run with its attempts, effects and questions."""
    return said(service.runs.view(_exact(service, run_id).id))


@routes.get("/runs/{run_id}/diff", response_model=Diff, responses=documented(404, 409))
def diff(run_id: Id, service: TheService, _who: Sees) -> Response:
    """What the run has changed so far, as a unified diff."""
    run = _exact(service, run_id)
    return said(Diff(run_id=run.id, diff=service.runs.diff(run.id)))


@routes.post("/runs/{run_id}/cancel", status_code=202, response_model=Run, responses=documented(404))
def cancel(run_id: Id, service: TheService, who: Steers) -> Response:
    """End a run cleanly: its agents are ended, what they did is undone."""
    return said(service.runs.cancel(_exact(service, run_id).id, who.name), status=202)


def _exact(service: Service, run_id: str) -> Run:
    """The run of that very id: programs do not abbreviate, and must not act on another run by mistake."""
    run = service.runs.find(run_id)
    if run.id != run_id:
        raise NotFoundError(f"there is no run {run_id!r}")
    return run


LastEventId = Annotated[Seq | None, Header(description="Go on after this record, as browsers do by themselves.")]


@routes.get("/runs/{run_id}/events", response_class=StreamingResponse, responses={**_STREAM, **documented(404)})
def follow_run(
    run_id: Id, request: Request, service: TheService, _who: Sees, after: Seq = 0, last_event_id: LastEventId = None
) -> StreamingResponse:
    """The run's records as they come, until it has ended (event ``end``)."""
    run = _exact(service, run_id)
    start = after if last_event_id is None else last_event_id
    return _stream(request, start, run.id)


@routes.get("/events", response_class=StreamingResponse, responses=_STREAM)
def follow_all(
    request: Request, _who: Sees, after: Seq | None = None, last_event_id: LastEventId = None
) -> StreamingResponse:
    """All records as they come, from now on or after a sequence number, without an end."""
    return _stream(request, after if last_event_id is None else last_event_id, "")


def _stream(request: Request, after: int | None, run_id: str) -> StreamingResponse:
    hub: Hub = request.app.state.hub
    if hub.viewers >= MOST_VIEWERS:
        raise ProblemError(503, "too-many-viewers", f"{MOST_VIEWERS} watch already", {"Retry-After": "10"})
    return StreamingResponse(_events(request, hub, after, run_id), media_type="text/event-stream")


async def _events(request: Request, hub: Hub, after: int | None, run_id: str) -> AsyncIterator[bytes]:
    yield b": follow\n\n"
    async for entry in hub.follow(after=after, run_id=run_id, beat_s=_BEAT_S):
        if entry is None:
            try:
                await request.app.state.door.who(request)  # a revoked or expired token sees nothing more
            except ProblemError:
                return
            yield b": still here\n\n"
        else:
            yield b"id: %d\nevent: record\ndata: %s\n\n" % (entry.seq, orjson.dumps(dump(entry)))
    yield b"event: end\ndata: {}\n\n"
