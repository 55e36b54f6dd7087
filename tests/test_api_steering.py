"""What is measured, what fires, what is rolled out and changed, over the API of a real server."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import click
import httpx
import pytest
import typer

from interlock.model.alert import AlertState
from interlock.model.identity import Role
from interlock.surfaces.cli.main import command_line
from served import CONFIG, Served, serving
from test_api_authorisation import MATRIX

VERSIONS = "versions: {writer: {v2: {instructions: better}}}\npolicies: {versions: {strict: {packs: [production]}}}\n"
MEMORY = ".interlock-memory.json"

COVERED: dict[str, str] = {
    "run": "POST /v1/runs", "plan": "POST /v1/plan", "assess": "POST /v1/assess", "check": "POST /v1/check",
    "runs": "GET /v1/runs", "show": "GET /v1/runs/{run_id}", "queue": "GET /v1/queue", "cancel": "POST /v1/runs/{run_id}/cancel",
    "follow": "GET /v1/runs/{run_id}/events", "undo": "POST /v1/effects/{effect_id}/undo",
    "metrics": "GET /v1/metrics", "top": "GET /v1/metrics", "health": "GET /v1/health", "doctor": "GET /v1/doctor",
    "agents list": "GET /v1/agents", "agents show": "GET /v1/agents/{agent}", "agents why": "POST /v1/plan",
    "alerts list": "GET /v1/alerts", "alerts ack": "POST /v1/alerts/{alert_id}/acknowledge",
    "alerts silence": "POST /v1/silences", "alerts unsilence": "DELETE /v1/silences/{silence_id}",
    "alerts rules": "GET /v1/alert-rules", "alerts test": "GET /v1/alert-rules/{rule}/trial",
    "rollout start": "POST /v1/rollouts", "rollout status": "GET /v1/rollouts",
    "rollout promote": "POST /v1/rollouts/{agent}/promote", "rollout abort": "POST /v1/rollouts/{agent}/abort",
    "rollout resume": "POST /v1/rollouts/{agent}/resume",
    "approvals list": "GET /v1/approvals", "approvals show": "GET /v1/approvals/{approval_id}",
    "approvals approve": "POST /v1/approvals/{approval_id}/approve", "approvals deny": "POST /v1/approvals/{approval_id}/deny",
    "breakers list": "GET /v1/breakers", "breakers open": "PUT /v1/breakers/{agent}",
    "breakers close": "PUT /v1/breakers/{agent}", "breakers reset": "PUT /v1/breakers/{agent}",
    "limits show": "GET /v1/limits", "limits set": "PUT /v1/limits/{name}", "limits reset": "PUT /v1/limits/{name}",
    "audit verify": "GET /v1/ledger/verification", "audit show": "GET /v1/ledger", "audit export": "GET /v1/ledger",
    "policy list": "GET /v1/policies", "policy lint": "POST /v1/policies/lint", "policy explain": "POST /v1/explain",
    "config show": "GET /v1/config", "store check": "GET /v1/store", "store gc": "POST /v1/store/collect",
    "tokens create": "POST /v1/tokens", "tokens list": "GET /v1/tokens", "tokens revoke": "DELETE /v1/tokens/{token_id}",
}  # fmt: skip
"""Each command and the endpoint that does the same."""

LOCAL: dict[str, str] = {
    "init": "writes files into the project", "demo": "makes an example project", "serve": "is the server",
    "worker": "executes in this process", "resume": "executes in this process", "mcp": "is another server",
    "mcp-gateway": "wraps a program of this machine", "hook": "belongs to an agent of this machine",
    "db": "backs up a database of this machine", "agents learn": "reads the repository and writes its memory",
    "config check": "reads files", "config schema": "is for editors", "policy show": "prints what the package holds",
    "policy test": "reads files", "policy diff": "reads two files", "store migrate": "happens at every start",
    "store backup": "writes a file where it is typed", "store restore": "nothing may serve while it happens",
    "tokens link": "is proof of being at this machine",
}  # fmt: skip
"""Each command that only makes sense where it is typed, and why."""


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("steering") / "project", CONFIG + VERSIONS, worker=False) as running:
        yield running


@pytest.fixture(scope="module")
def ann(served: Served) -> httpx.Client:
    return served.client("ann", Role.ADMIN)


def record(served: Served, agent: str, *, ok: bool, times: int = 1, ms: int = 1200) -> None:
    """Executions as they would lie in the ledger, and a look at the alerts."""
    means = served.service._means
    ended = ("attempt.succeeded", {}) if ok else ("attempt.failed", {"error": "crashed", "message": "no room"})
    with means.database.write() as conn:
        for _ in range(times):
            facts = {"agent": agent, "attempt": "a", "duration_ms": ms}
            means.ledger.append(conn, "operator:test", "attempt.started", facts, actor="interlock")
            means.ledger.append(conn, "operator:test", ended[0], {**facts, **ended[1]}, actor="interlock")
    served.service.alarms.evaluate()


def commands(group: Any, before: str = "") -> Iterator[str]:
    for name, one in group.commands.items():
        path = f"{before} {name}".strip()
        if isinstance(one, click.Group) or hasattr(one, "commands"):
            yield from commands(one, path)
        else:
            yield path


def test_every_command_has_its_endpoint_or_a_reason_why_it_is_local() -> None:
    found = set(commands(typer.main.get_command(command_line())))
    local = {path for path in found if path in LOCAL or path.split()[0] in LOCAL}
    assert found - local == set(COVERED)
    endpoints = {f"{method} {path}" for method, path in MATRIX}
    assert set(COVERED.values()) <= endpoints


def test_metrics_are_told_ever_and_for_a_window_and_to_prometheus(served: Served, ann: httpx.Client) -> None:
    record(served, "writer", ok=True, times=3)
    ever, lately = ann.get("/v1/metrics").json(), ann.get("/v1/metrics", params={"window_s": 3600}).json()
    for found in (ever, lately):
        writer = next(one for one in found["agents"] if one["agent"] == "writer")
        assert (writer["successes"], writer["duration"]["max_ms"]) == (3, 1200)
    assert ever["since"] is None
    assert ever["seq"] == served.service.ledger.newest()
    text = ann.get("/metrics")
    assert text.headers["content-type"].startswith("text/plain; version=")
    assert 'interlock_agent_executions_total{agent="writer",result="success"} 3.0' in text.text
    assert ann.get("/v1/metrics", params={"window_s": 1}).status_code == 422


def test_an_agents_hours_end_with_this_one_and_add_up(served: Served, ann: httpx.Client) -> None:
    record(served, "rogue", ok=True, times=2)
    hours = ann.get("/v1/agents/rogue/hours", params={"count": 3}).json()
    assert len(hours) == 3
    assert sum(hour["metrics"]["successes"] for hour in hours) == 2
    assert ann.get("/v1/agents/nobody/hours").status_code == 404


def test_health_names_its_evidence(served: Served, ann: httpx.Client) -> None:
    record(served, "breaker", ok=False, times=2)
    system, *agents = ann.get("/v1/health").json()
    assert system["subject"] == "system"
    assert {one["subject"] for one in agents} == set(served.service.catalogue)
    breaker = ann.get("/v1/health/breaker").json()
    assert "2 of 2 executions failed" in breaker["recommendations"][0]


def test_an_alert_is_acknowledged_silenced_tried_and_over(served: Served, ann: httpx.Client) -> None:
    record(served, "mailer", ok=False, times=3)
    assert ann.get("/v1/status").json()["safe"] == "look"
    (alert,) = [one for one in ann.get("/v1/alerts").json()["items"] if one["agent"] == "mailer"]
    assert (alert["rule"], alert["state"]) == ("consecutive-failures", "firing")
    address = f"/v1/alerts/{alert['id']}/acknowledge"
    assert ann.post(f"/v1/alerts/{alert['id'][-6:]}/acknowledge", json={}).status_code == 404  # programs write it whole
    assert ann.post(address, json={"note": "mine"}).json()["acknowledged_by"] == "ann"
    assert ann.post(address, json={}).status_code == 422
    made = ann.post("/v1/silences", json={"lasting_s": 600, "agent": "mailer", "reason": "known"})
    assert made.status_code == 201
    assert [one["reason"] for one in ann.get("/v1/silences").json()] == ["known"]
    assert ann.delete(f"/v1/silences/{made.json()['id']}").status_code == 200
    assert ann.delete(f"/v1/silences/{made.json()['id']}").status_code == 404
    rules = {one["name"]: one for one in ann.get("/v1/alert-rules").json()}
    assert rules["error-rate"]["condition"] == "errorRate > 0.25"
    (trial,) = ann.get("/v1/alert-rules/consecutive-failures/trial", params={"agent": "mailer"}).json()
    assert (trial["holds"], trial["actions"]) == (True, ["notify", "increase-monitoring"])
    record(served, "mailer", ok=True)
    assert alert["id"] in {one["id"] for one in ann.get("/v1/alerts", params={"over": True}).json()["items"]}


def test_what_is_over_is_read_page_by_page_newest_first(served: Served, ann: httpx.Client) -> None:
    for _ in range(3):
        record(served, "writer", ok=False, times=3)
        record(served, "writer", ok=True)
    seen, cursor = [], ""
    while True:
        page = ann.get("/v1/alerts", params={"over": True, "limit": 2, "cursor": cursor}).json()
        seen += [one["id"] for one in page["items"]]
        if page["next"] is None:
            break
        cursor = page["next"]
    over = [one.id for one in served.service.alarms.alerts(resolved=100) if one.state is AlertState.RESOLVED]
    assert seen == sorted(over, reverse=True)
    assert len(seen) >= 3


def test_a_rollout_is_started_promoted_told_and_aborted(ann: httpx.Client) -> None:
    given = {"agent": "writer", "version": "v2", "steps": [10, 40]}
    assert ann.post("/v1/rollouts", json={**given, "version": "v9"}).status_code == 404
    assert ann.post("/v1/rollouts", json={**given, "steps": [40, 10]}).status_code == 422
    assert ann.post("/v1/rollouts", json=given).status_code == 201
    assert ann.post("/v1/rollouts", json=given).status_code == 422  # one at a time
    assert ann.post("/v1/rollouts/writer/promote", json={}).json()["step"] == 1
    story = ann.get("/v1/rollouts/writer").json()
    assert [(move["kind"], move["percent"]) for move in story["moves"]] == [
        ("rollout.started", 10), ("rollout.advanced", 40),
    ]  # fmt: skip
    assert ann.post("/v1/rollouts/writer/abort", json={"reason": "enough"}).json()["state"] == "aborted"
    (view,) = ann.get("/v1/rollouts", params={"agent": "writer"}).json()
    assert view["rollout"]["reason"] == "enough"
    assert ann.post("/v1/rollouts/writer/resume").status_code == 404
    assert ann.get("/v1/rollouts/mailer").status_code == 404


def test_only_admins_change_which_policies_are_obeyed(served: Served, ann: httpx.Client) -> None:
    given = {"agent": "policies", "version": "strict", "steps": [0, 50]}
    others = {
        "an operator": served.client("otto", Role.OPERATOR), "an approver": served.client("anna", Role.APPROVER),
        "a program": served.client("ann/ci", Role.OPERATOR),
    }  # fmt: skip
    for who, client in others.items():
        assert client.post("/v1/rollouts", json=given).status_code == 403, who
    assert ann.post("/v1/rollouts", json=given).status_code == 201
    for who, client in others.items():
        for step, body in (("promote", {"fully": True}), ("abort", {}), ("resume", None)):
            assert client.post(f"/v1/rollouts/policies/{step}", json=body).status_code == 403, (who, step)
        assert client.get("/v1/rollouts/policies").json()["view"]["judgements"]["calls"] == 0
    assert ann.post("/v1/rollouts/policies/abort", json={"reason": "enough"}).json()["state"] == "aborted"


def test_a_limit_holds_at_once_and_goes_back(ann: httpx.Client) -> None:
    def most() -> tuple[int, str]:
        return next((one["most"], one["source"]) for one in ann.get("/v1/limits").json() if one["name"] == "per_agent")

    before = most()
    ann.put("/v1/limits/per_agent", json={"most": 9})
    assert most() == (9, "set by hand")
    ann.put("/v1/limits/per_agent", json={"most": None})
    assert most() == before
    assert ann.put("/v1/limits/nothing", json={"most": 1}).status_code == 422


def test_a_correction_is_learned_once_recorded_and_heeded(served: Served, ann: httpx.Client) -> None:
    given = {"text": "gather the winter timetable", "agents": ["mailer"]}
    before = ann.post("/v1/plan", json={"text": given["text"]}).json()
    assert before["scores"] == {}
    assert ann.post("/v1/plan/corrections", json=given).json() == {"new": True}
    assert ann.post("/v1/plan/corrections", json=given).json() == {"new": False}
    after = ann.post("/v1/plan", json={"text": given["text"]}).json()
    assert after["scores"]["mailer"] > 0
    assert any(word.startswith("winter") for word in after["evidence"]["mailer"])
    assert Path(served.service.settings.project, MEMORY).exists()
    (entry,) = ann.get("/v1/ledger", params={"kind": "plan.corrected"}).json()["items"]
    assert (entry["actor"], entry["data"]["agents"]) == ("ann", ["mailer"])
    assert ann.post("/v1/plan/corrections", json={**given, "agents": ["nobody"]}).status_code == 404


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("policies: [", "not valid YAML"),
        ("policies:\n  - name: p\n    rules:\n      - {id: r, action: explode, pattern: x, reason: y}\n", "explode"),
    ],
)
def test_a_policy_is_linted_without_being_in_force(ann: httpx.Client, text: str, wrong: str) -> None:
    found = ann.post("/v1/policies/lint", json={"text": text}).json()
    assert wrong in " ".join(found["errors"])


def test_the_store_is_checked_and_old_runs_are_counted_before_they_go(ann: httpx.Client) -> None:
    assert ann.get("/v1/store").json() == {"problems": []}
    assert ann.post("/v1/store/collect", json={"days": 0, "dry": True}).json()["runs"] == 0


def test_the_doctor_looks_at_the_machine_that_serves(ann: httpx.Client) -> None:
    found = {one["subject"]: one for one in ann.get("/v1/doctor").json()}
    assert found["configuration"]["grade"] == "ok"
    assert {"git", "store"} <= set(found)


def test_questions_are_read_page_by_page(tmp_path: Path) -> None:
    with serving(tmp_path / "project") as served:
        client = served.client("ann", Role.ADMIN)
        runs = [served.submit(client, f"mail number {number}", "mailer") for number in range(3)]
        asked = {served.asked(run_id).id for run_id in runs}
        first = client.get("/v1/approvals", params={"limit": 2}).json()
        rest = client.get("/v1/approvals", params={"limit": 2, "cursor": first["next"]}).json()
        assert {one["id"] for one in [*first["items"], *rest["items"]]} == asked
        assert rest["next"] is None


def test_a_call_of_a_finished_run_is_undone_over_the_api(tmp_path: Path) -> None:
    with serving(tmp_path / "project") as served:
        client = served.client("ann", Role.ADMIN)
        run_id = served.submit(client, "mail the club", "mailer")
        served.agreed(run_id)
        (effect,) = client.get(f"/v1/runs/{run_id}").json()["effects"]
        refused = client.post(f"/v1/effects/{effect['id']}/undo", json={"reason": "a mistake"})
        assert refused.status_code == 422  # mail cannot be taken back, and it says so
        assert re.search("cannot be undone|undo", refused.json()["detail"])
        assert client.post("/v1/effects/eff_none/undo", json={}).status_code == 404


def test_a_window_of_days_is_minutes_then_hours_and_says_the_same(served: Served) -> None:
    meter = served.service._means.meter
    fine, coarse = meter.metrics(timedelta(hours=2)), meter.metrics(timedelta(days=3))
    assert fine.agent("rogue").successes == coarse.agent("rogue").successes == 2
