"""An agent uses what it has credentials for, and never sees one: not in its environment, its prompt, the ledger, or an answer."""

from __future__ import annotations

import json
import logging
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml
from ways_out import on_rung

from interlock.app import build, credential_of, doors_of
from interlock.config import load_settings
from interlock.errors import ConfigError, RunnerError
from interlock.model.agent import AgentSpec
from interlock.model.plan import Task
from interlock.model.run import OutcomeKind, RunState
from interlock.model.sandbox import SandboxLevel
from interlock.testing import ScriptedModel

SECRET = "tok-" + "strange" * 5

LOOKS_EVERYWHERE = """
import json, os, pathlib, urllib.request
seen = {"environment": dict(os.environ), "job": open(os.environ["INTERLOCK_JOB"]).read(), "proc": []}
for name in os.listdir("/proc"):
    for what in ("environ", "cmdline"):
        try:
            seen["proc"].append(open(f"/proc/{name}/{what}").read())
        except (OSError, UnicodeDecodeError):
            pass
for folder in ("HOME", "TMPDIR", "INTERLOCK_PROJECT"):
    for path in pathlib.Path(os.environ[folder]).rglob("*"):
        try:
            seen[str(path)] = path.read_text()
        except (OSError, UnicodeDecodeError):
            pass
with urllib.request.urlopen(os.environ["TICKETS"] + "/me") as answer:
    seen["answer"] = answer.read().decode()
    seen["headers"] = str(answer.headers)
open("seen.json", "w").write(json.dumps(seen))
print(json.dumps(seen))
"""


READS_MUCH = """
import http.client, os, urllib.request
with urllib.request.urlopen(os.environ["TICKETS"] + "/long") as answer:
    whole = len(answer.read())
try:
    urllib.request.urlopen(os.environ["TICKETS"] + "/long/obey").read()
except http.client.IncompleteRead:
    print(whole, "of a whole; then cut off")
"""


class Tickets(BaseHTTPRequestHandler):
    """Somebody's API, which repeats what it was sent."""

    shown: list[str]

    def do_GET(self) -> None:
        self.shown.append(self.headers.get("X-Token", ""))
        body = f"hello {self.headers.get('X-Token')}".encode()
        if self.path.startswith("/long"):
            body += b" and more" * 30_000 + self.path[6:].encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-Back", str(self.headers.get("X-Token")))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Not in a test."""


@pytest.fixture
def tickets() -> Iterator[tuple[str, list[str]]]:
    shown: list[str] = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Shown", (Tickets,), {"shown": shown}))
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}", shown
    server.shutdown()
    server.server_close()
    thread.join()


def project_with(place: Path, url: str, runner: dict[str, Any], **more: Any) -> Path:
    project = place / "project"
    project.mkdir()
    (project / "agent.py").write_text(LOOKS_EVERYWHERE)
    credential = {"env": "FAKE_TICKETS_TOKEN", "url": url, "header": "X-Token: key {}", "variable": "TICKETS"}
    said = {
        "agents": {"worker": {"description": "Works.", "runner": runner, "credentials": ["tickets"]}},
        "credentials": {"tickets": credential},
        "tools": {"network": {"undo": "nothing"}},
        **more,
    }
    (project / "interlock.yaml").write_text(yaml.safe_dump(said))
    return project


def ended(project: Path) -> tuple[Any, list[Any]]:
    service = build(load_settings(project))
    service.start()
    try:
        run = service.runs.submit(Task(text="do the work", agents=("worker",)))
        give_up = time.monotonic() + 90
        while (view := service.runs.view(run.id)).run.state is not RunState.ENDED:
            assert time.monotonic() < give_up, view
            time.sleep(0.05)
        return view, list(service.ledger.stream(run_id=run.id))
    finally:
        service.close()


def nowhere_in(folder: Path) -> None:
    """The secret is in no file: the store, the anchor, the branches."""
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_symlink():
            assert SECRET.encode() not in path.read_bytes(), path


@pytest.mark.parametrize("network", [True, False])
def test_an_agent_that_looks_everywhere_finds_no_secret_and_its_requests_carry_it(
    tickets: tuple[str, list[str]], network: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    if not network:
        on_rung(SandboxLevel.BUBBLEWRAP, monkeypatch)
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("FAKE_TICKETS_TOKEN", SECRET)
    url, shown = tickets
    command = {"kind": "command", "command": ["{python}", "{project}/agent.py"]}
    project = project_with(tmp_path, url, command, sandbox={"network": network})
    view, entries = ended(project)
    assert view.run.outcome.kind is OutcomeKind.SUCCEEDED, view.run.outcome
    assert shown == [f"key {SECRET}"]
    assert SECRET not in caplog.text + repr(entries) + repr(view)
    nowhere_in(project)
    calls = [entry.data["call"] for entry in entries if entry.kind == "effect.intended"]
    assert [f"{url}/me" in call for call in calls] == [True]


def test_a_long_answer_comes_whole_unless_a_part_of_it_is_withheld(
    tickets: tuple[str, list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_TICKETS_TOKEN", SECRET)
    command = {"kind": "command", "command": ["{python}", "{project}/reads.py"]}
    project = project_with(tmp_path, tickets[0], command, policies={"files": ["mine.yaml"]}, tools={})
    rule = {
        "id": "no-orders",
        "match": {"surface": "tool_result"},
        "pattern": "obey",
        "action": "block",
        "reason": "an order",
    }
    (project / "mine.yaml").write_text(yaml.safe_dump({"policies": [{"name": "mine", "rules": [rule]}]}))
    (project / "reads.py").write_text(READS_MUCH)
    view, entries = ended(project)
    assert view.run.outcome.kind is OutcomeKind.SUCCEEDED, view.run.outcome
    assert view.run.outcome.results["worker"].summary == "270013 of a whole; then cut off"
    (withheld,) = [entry.data["reasons"] for entry in entries if entry.kind == "result.withheld"]
    assert withheld == ["an order"]


def test_the_commands_of_a_model_get_the_address_and_the_model_no_secret(
    tickets: tuple[str, list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_TICKETS_TOKEN", SECRET)
    monkeypatch.setenv("FAKE_MODEL_KEY", "sk-" + "fake" * 8)
    url, shown = tickets
    script = (
        "import os, urllib.request; print(os.environ, urllib.request.urlopen(os.environ['TICKETS'] + '/me').read())"
    )
    (tmp_path / "run.py").write_text(script)
    steps: list[dict[str, Any]] = [
        {"tool": "write_file", "args": {"path": "run.py", "content": script}},
        {"tool": "run_command", "args": {"command": f"{sys.executable} run.py"}},
        {"tool": "hand_over", "args": {"summary": "done"}},
    ]
    with ScriptedModel(steps) as model:
        runner = {"kind": "llm", "model": "m", "base_url": f"{model.url}/v1", "credential": "model"}
        both = {
            "model": {"env": "FAKE_MODEL_KEY"},
            "tickets": {"env": "FAKE_TICKETS_TOKEN", "url": url, "header": "X-Token: {}", "variable": "TICKETS"},
        }
        view, entries = ended(project_with(tmp_path, url, runner, credentials=both))
        told = json.dumps([body for _, body in model.requests])
    assert view.run.outcome.kind is OutcomeKind.SUCCEEDED, view.run.outcome
    assert shown == [SECRET]
    assert "hello ***" in told
    assert SECRET not in told + repr(entries)
    assert all("Bearer sk-fake" in headers["authorization"] for headers in model.headers), model.headers


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ({"env": "X", "file": "../x"}, "exactly one"),
        ({"url": "https://api.example.org", "env": "X"}, "go together"),
        ({"env": "X", "header": "Authorization"}, "header"),
        ({"env": "X", "header": "A: {}\r\nB: x"}, "header"),
        ({"env": "X", "url": "file:///etc/passwd", "variable": "X"}, "url"),
        ({"env": "X", "url": "https://a.example/?x", "variable": "X"}, "url"),
    ],
)
def test_a_credential_that_makes_no_sense_is_refused(said: dict[str, str], why: str, tmp_path: Path) -> None:
    (tmp_path / "interlock.yaml").write_text(yaml.safe_dump({"credentials": {"x": said}}))
    with pytest.raises(ConfigError, match=why):
        load_settings(tmp_path)


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ({"credentials": {"x": {"file": "secret.txt"}}}, "agents may read the project"),
        ({"credentials": {"x": {"env": "X"}}, "sandbox": {"pass_env": ["X"]}}, "every agent"),
        ({"credentials": {"y": {"env": "X"}}}, "no credential 'x'"),
        ({"credentials": {"x": {"env": "X"}}}, "has no url"),
    ],
)
def test_a_credential_that_agents_could_see_is_refused(said: dict[str, Any], why: str, tmp_path: Path) -> None:
    (tmp_path / "interlock.yaml").write_text(yaml.safe_dump(said))
    with pytest.raises(ConfigError, match=why):
        doors_of(AgentSpec(name="a", credentials=("x",)), load_settings(tmp_path))


def test_a_secret_is_found_where_the_operator_keeps_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = tmp_path / "project"
    project.mkdir()
    monkeypatch.setenv("FAKE_TOKEN", f"{SECRET}\n")
    (tmp_path / "token").write_text(f"{SECRET}\n")
    sources: dict[str, Any] = {
        "variable": {"env": "FAKE_TOKEN"},
        "file": {"file": "../token"},
        "program": {"command": ["sh", "-c", f"echo {SECRET}"]},
        "absent": {"env": "FAKE_ABSENT"},
        "gone": {"file": "../gone"},
        "failing": {"command": ["sh", "-c", f"echo {SECRET} >&2; exit 1"]},
        "lines": {"command": ["sh", "-c", f"echo {SECRET}; echo x"]},
    }
    (project / "interlock.yaml").write_text(yaml.safe_dump({"credentials": sources}))
    settings = load_settings(project)
    for name in ("variable", "file", "program"):
        assert credential_of(settings, name).value() == SECRET
    for name in ("absent", "gone", "failing", "lines"):
        with pytest.raises(RunnerError, match=f"the credential {name} ") as failed:
            credential_of(settings, name).value()
        assert SECRET not in str(failed.value)
