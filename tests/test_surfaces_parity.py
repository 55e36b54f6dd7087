"""Every surface is the same road: one scenario over the command line, the API, MCP and the library."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

import interlock as package
from interlock import Orchestrator
from interlock.model.approval import Approval
from interlock.model.identity import Role
from interlock.model.plan import Task
from interlock.surfaces.api.views import plain
from interlock.surfaces.mcp import make_mcp
from served import AGENTS, CONFIG, Served, make_project, serving

fastmcp = pytest.importorskip("fastmcp", reason="fastmcp speaks MCP")

ENV = {**os.environ, "PYTHONPATH": str(Path(package.__file__).parents[1])}
"""Whatever directory a command is started in, it is this Interlock."""
TASK = "Send mail to the club"
ACTIONS = (("shell", "rm -rf /"), ("shell", "ls"), ("sql", "DELETE FROM athletes"), ("mail", "hello"))


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The scenario in the library, before the server starts: one process executes for one project at a time."""
    project = make_project(tmp_path_factory.mktemp("library") / "project", CONFIG)

    async def yes(_approval: Approval) -> bool:
        return True

    async def walk() -> dict[str, Any]:
        async with Orchestrator(project, agents=AGENTS, approver=yes, voter="ann") as library:
            run = await library.submit(TASK, agents=["mailer"])
            await library.outcome(run.id)
            return facts(library.service, run.id)

    return asyncio.run(walk())


@pytest.fixture(scope="module")
def served(library: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("parity") / "project") as running:
        yield running


def facts(service: Any, run_id: str) -> dict[str, Any]:
    """What must be the same whichever way a task came in: the road's records, the plan, the outcome."""
    run = service.runs.find(run_id)
    entries = service.ledger.entries(run_id=run_id)
    plain = [entry.kind for entry in entries if not entry.kind.startswith(("attempt.admitted", "attempt.queued"))]
    return {"kinds": sorted(plain), "agents": run.plan.agents, "outcome": run.outcome.kind, "risk": run.risk.level}


async def through_mcp(served: Served) -> str:
    server = make_mcp(served.service, caller="otto/agent")
    async with fastmcp.Client(server) as client:
        assert not [tool.name for tool in await client.list_tools() if "approv" in tool.name or "vote" in tool.name]
        given = {"task": TASK, "idempotency_key": "one", "agents": ["mailer"]}
        made = (await client.call_tool("submit_task", given)).data
        again = (await client.call_tool("submit_task", given)).data
        assert made["run_id"] == again["run_id"]
        said = (await client.call_tool("run_status", {"run_id": made["run_id"], "wait_s": 30})).data
        assert said["questions"], "it came back for a person's sake, long before its time was over"
        asked = await asyncio.to_thread(served.asked, made["run_id"])
        await asyncio.to_thread(served.service.approvals.vote, asked.id, "ann", approve=True)
        await asyncio.to_thread(served.ended, made["run_id"])
        said = (await client.call_tool("run_status", {"run_id": made["run_id"]})).data
        assert said["outcome"] == "succeeded"
    return str(made["run_id"])


def through_api(served: Served) -> str:
    client = served.client("ann", Role.ADMIN)
    run_id = served.submit(client, TASK, "mailer")
    asked = served.asked(run_id)
    client.post(f"/v1/approvals/{asked.id}/approve", json={"digest": asked.digest})
    served.ended(run_id)
    return run_id


def through_service(served: Served) -> str:
    """What the command line does: surfaces/cli/run.py submits, surfaces/cli/approvals.py votes."""
    run_id = served.service.runs.submit(Task(text=TASK, submitter="cli", agents=("mailer",))).id
    served.service.approvals.vote(served.asked(run_id).id, "ann", approve=True)
    served.ended(run_id)
    return run_id


def test_one_task_leaves_the_same_records_whichever_way_it_came(served: Served, library: dict[str, Any]) -> None:
    ways = {
        "api": facts(served.service, through_api(served)),
        "mcp": facts(served.service, asyncio.run(through_mcp(served))),
        "command line": facts(served.service, through_service(served)),
    }
    assert ways["api"] == ways["mcp"] == ways["command line"] == library
    assert ways["api"]["outcome"] == "succeeded"


def test_every_surface_gives_the_same_judgement(served: Served) -> None:
    api = served.client("ann", Role.ADMIN)
    project = served.service.settings.project

    async def by_mcp(tool: str, text: str) -> Any:
        async with fastmcp.Client(make_mcp(served.service, caller="otto/agent")) as client:
            return (await client.call_tool("check_action", {"tool": tool, "text": text})).data

    for tool, text in ACTIONS:
        answers = {
            "api": api.post("/v1/check", json={"tool": tool, "text": text}).json(),
            "mcp": asyncio.run(by_mcp(tool, text)),
        }
        assert answers["api"] == answers["mcp"], (tool, text)
        if tool == "mail":
            continue  # `interlock check` knows policies and readers, not what the project declares of its own tools
        said = subprocess.run(
            [sys.executable, "-m", "interlock", "check", text, "--tool", tool, "--json"],
            cwd=project, capture_output=True, text=True, check=False, env=ENV,
        )  # fmt: skip
        assert json.loads(said.stdout) == answers["api"], (tool, text)


def test_every_surface_says_the_same_of_status_health_and_alerts(served: Served) -> None:
    service, project = served.service, served.service.settings.project
    with service._means.database.write() as conn:
        for _ in range(3):
            facts = {"agent": "breaker", "attempt": "a", "duration_ms": 5, "error": "crashed", "message": "no room"}
            service._means.ledger.append(conn, "operator:test", "attempt.started", facts, actor="interlock")
            service._means.ledger.append(conn, "operator:test", "attempt.failed", facts, actor="interlock")
    service.alarms.evaluate()
    api = served.client("ann", Role.ADMIN)

    async def by_mcp(tool: str) -> Any:
        async with fastmcp.Client(make_mcp(service, caller="otto/agent")) as client:
            return (await client.call_tool(tool, {})).data

    status = api.get("/v1/status").json()
    assert asyncio.run(by_mcp("system_status")) == status
    assert plain(service.health.status()) == status
    assert (status["safe"], status["firing"]) == ("look", 1)

    alerts = settled(api.get("/v1/alerts").json()["items"])
    assert [(one["rule"], one["agent"], one["state"]) for one in alerts] == [
        ("consecutive-failures", "breaker", "firing")
    ]
    assert settled(asyncio.run(by_mcp("list_alerts"))) == settled(plain(service.alarms.alerts())) == alerts
    said = interlock(project, "alerts", "list", "--json", code=1)  # one is firing
    assert settled(said["alerts"]) == alerts

    health = without_time(api.get("/v1/health").json())
    assert without_time(asyncio.run(by_mcp("health"))) == health
    assert without_time(plain([service.health.system(), *service.health.agents()])) == health
    known = interlock(project, "health", "--json")
    names = {one["subject"] for one in known}
    assert names == {"system", "writer", "mailer"}  # functions are agents of the process that brings them
    assert without_time(known) == [one for one in health if one["subject"] in names]
    rules = api.get("/v1/alert-rules").json()
    assert interlock(project, "alerts", "rules", "--json") == rules


def settled(alerts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Alerts without what each look at them changes."""
    return [{name: value for name, value in one.items() if name not in {"last_true", "acts"}} for one in alerts]


def without_time(healths: list[dict[str, Any]]) -> list[Any]:
    """Judgements without the moment at which each was made, and what is counted in seconds since then."""
    seconds = re.compile(r"\d+ (s ago|MiB free)")
    return [json.loads(seconds.sub("…", json.dumps({**one, "at": ""}))) for one in healths]


def test_the_command_line_sees_and_answers_what_came_in_by_the_api(served: Served) -> None:
    api = served.client("bob", Role.OPERATOR)
    run_id = served.submit(api, TASK, "mailer")
    asked = served.asked(run_id)
    said = interlock(served.service.settings.project, "approvals", "approve", asked.id, "--json")
    assert said["votes"][0]["approve"]
    served.ended(run_id)
    shown = interlock(served.service.settings.project, "show", run_id, "--json")
    by_api: dict[str, Any] = httpx.Response.json(api.get(f"/v1/runs/{run_id}"))
    assert shown == by_api


def interlock(project: Path, *words: str, code: int = 0) -> Any:
    said = subprocess.run(
        [sys.executable, "-m", "interlock", *words], cwd=project, capture_output=True, text=True, check=False, env=ENV
    )
    assert said.returncode == code, said.stderr
    return json.loads(said.stdout)


def test_tokens_are_made_listed_and_revoked_on_the_command_line(served: Served) -> None:
    project = served.service.settings.project
    made = interlock(project, "tokens", "create", "otto/ci", "--role", "operator", "--json")
    client = served.anybody(authorization=f"Bearer {made['secret']}")
    assert client.get("/v1/me").json() == {
        "name": "otto/ci", "being": "program", "role": "operator", "rights": ["see", "judge", "submit", "steer"],
    }  # fmt: skip
    assert made["token"]["id"] in {token["id"] for token in interlock(project, "tokens", "list", "--json")}
    assert interlock(project, "tokens", "revoke", made["token"]["id"], "--json")["ended_at"]
    refused = subprocess.run(
        [sys.executable, "-m", "interlock", "tokens", "create", "otto/ci", "--role", "approver"],
        cwd=project, capture_output=True, text=True, check=False, env=ENV,
    )  # fmt: skip
    assert refused.returncode == 2
    assert "nobody answers" in refused.stderr


def test_the_mcp_server_speaks_over_standard_input_and_output(tmp_path: Path) -> None:
    project = make_project(tmp_path / "project", "environment: development\n")

    async def talk() -> Any:
        transport = fastmcp.client.transports.StdioTransport(
            sys.executable, ["-m", "interlock", "mcp", "--no-worker"], cwd=str(project), env=ENV
        )
        async with fastmcp.Client(transport) as client:
            return (await client.call_tool("check_action", {"tool": "shell", "text": "rm -rf /"})).data

    assert asyncio.run(talk())["verdict"] == "block"
