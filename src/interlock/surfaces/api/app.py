"""The application: the API, and the dashboard beside it, over one service."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from interlock import __version__
from interlock.service import Service
from interlock.surfaces.api import judging, operate, people, problems, runs, steering, watching
from interlock.surfaces.api.door import Door
from interlock.surfaces.api.guard import Guard
from interlock.surfaces.api.hub import Hub

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


def make_app(service: Service, *, secure: bool = False, dashboard: bool = True) -> FastAPI:
    """The whole application over a service, which its owner starts and closes.

    Args:
        service: the project's use-cases.
        secure: whether it is reached by TLS; cookies are then kept from plain connections.
        dashboard: whether the pages for people are part of it.
    """
    hub = Hub(service)

    @contextlib.asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        yield
        hub.close()

    app = FastAPI(
        title="Interlock", version=__version__, docs_url=None, redoc_url=None, lifespan=lifespan,
        description="A safe orchestrator for AI agents. Everything that the command line can do.",
    )  # fmt: skip
    app.state.service = service
    app.state.hub = hub
    app.state.door = Door(service, secure=secure)
    problems.install(app)
    for group in (
        runs.routes, people.approvals, judging.routes, operate.routes, watching.routes, watching.scraped, steering.routes,
        people.tokens, operate.health,
    ):  # fmt: skip
        app.include_router(group)
    if dashboard:
        from interlock.surfaces.web.pages import install  # noqa: PLC0415 - templates are for servers with pages only

        install(app)
    _describe(app)
    server = service.settings.server
    app.add_middleware(
        Guard,
        names=LOOPBACK | {server.host.lower()} | {name.lower() for name in server.names},
        max_body=server.max_body_kb * 1024,
        secure=secure,
    )
    return app


def _describe(app: FastAPI) -> None:
    """OpenAPI with the one schema of all errors, and no trace of the framework's own."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            made = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
            schemas = made["components"]["schemas"]
            reference = "#/components/schemas/{model}"
            problem = problems.Problem.model_json_schema(ref_template=reference)
            schemas.update(problem.pop("$defs"))
            schemas["Problem"] = problem
            for unused in ("HTTPValidationError", "ValidationError"):
                schemas.pop(unused, None)
            app.openapi_schema = made
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]
