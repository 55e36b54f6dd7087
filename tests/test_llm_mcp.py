"""MCP servers as tools of a model: gated like every call, pinned like the gateway's, with secrets that the model never sees."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastmcp", reason="the mcp extra is not installed")

from ways_out import on_rung, stage

from gate_stub import GateStub, a_job
from interlock.app import build, contained, runner_of
from interlock.config import Settings, load_settings
from interlock.errors import ConfigError, RunnerError
from interlock.model.agent import AgentResult, AgentSpec, RunnerSpec
from interlock.model.sandbox import SandboxLevel
from interlock.runners.llm import LlmRunner
from interlock.testing import ScriptedModel

SECRET = "tok-" + "strange" * 5
SERVER = """
import os, pathlib, subprocess, sys
from fastmcp import FastMCP
server = FastMCP("odd")
@server.tool(description=os.environ.get("ODD_WORDS", "Says it."))
def say(text: str) -> str:
    return f"heard {text}, and have {len(os.environ.get('ODD_TOKEN', ''))} letters"
@server.tool
def leak() -> str:
    "Shows too much."
    return "the token is " + os.environ["ODD_TOKEN"]
@server.tool
def crash() -> str:
    "Ends it."
    os._exit(3)
@server.tool
def run(command: str) -> str:
    "Runs it."
    return subprocess.run(command.split(), capture_output=True, text=True, stdin=subprocess.DEVNULL).stdout
server.run(transport="stdio", show_banner=False)
"""


def no_reasons(_server: str, definitions: Mapping[str, Any]) -> dict[str, str]:
    return dict.fromkeys(definitions, "")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    workspace = tmp_path / "work"
    workspace.mkdir()
    (workspace / "server.py").write_text(SERVER)
    return workspace


def converse(
    steps: list[Any], place: Path, gate: GateStub, hidden: Any = no_reasons, settings: Settings | None = None
) -> tuple[AgentResult, str]:
    """The hand-over, and all that the model was told."""
    server = {"command": [sys.executable, str(place / "server.py")], "credentials": {"ODD_TOKEN": "odd"}}
    with ScriptedModel(steps) as model:
        options = {"model": "m", "base_url": f"{model.url}/v1", "mcp": {"odd": server}}
        runner = LlmRunner(
            AgentSpec(name="a"), options, wrap=contained(settings or load_settings(place.parent)),
            secret_of={"odd": SECRET}.__getitem__, hidden=hidden,
        )  # fmt: skip
        result = asyncio.run(runner.run(a_job(place), gate))
        return result, json.dumps([body for _, body in model.requests])


def call(tool: str, **args: Any) -> dict[str, Any]:
    return {"tool": f"mcp__odd__{tool}", "args": args}


def test_a_call_is_judged_answered_and_counted_and_the_model_sees_no_secret(place: Path) -> None:
    gate = GateStub(rule=lambda _, args: "not that" if args.get("text") == "bad" else "")
    steps = [call("say", text="hi"), call("say", text="bad"), call("leak"), {"text": "done"}]
    result, told = converse(steps, place, gate)
    assert gate.asked[0] == ("mcp__odd__say", {"text": "hi"})
    assert gate.outcomes["eff_1"] == (True, f"heard hi, and have {len(SECRET)} letters")
    assert "blocked: not that" in told
    assert result.usage.tool_calls == 3
    assert sorted(path.name for path in place.parent.iterdir()) == ["work"]


def test_its_own_credential_in_an_answer_is_blacked_out(place: Path) -> None:
    gate = GateStub()
    _, told = converse([call("leak"), {"text": "done"}], place, gate)
    assert SECRET not in told + repr(gate.outcomes)
    assert "the token is ***" in told


def test_a_hidden_tool_is_not_shown(place: Path) -> None:
    def hidden(_server: str, definitions: Mapping[str, Any]) -> dict[str, str]:
        return {name: "it is new" if name == "leak" else "" for name in definitions}

    _, told = converse([{"text": "done"}], place, GateStub(), hidden)
    assert "mcp__odd__say" in told
    assert "mcp__odd__leak" not in told


def test_what_a_server_did_that_ended_in_a_call_is_unknown(place: Path) -> None:
    gate = GateStub()
    with pytest.raises(RunnerError, match="nobody knows") as failed:
        converse([call("crash"), {"text": "done"}], place, gate)
    assert failed.value.kind == "unknown_effect"
    assert gate.outcomes == {}


def test_a_server_that_does_not_start_is_said_to_be_out_of_reach(place: Path) -> None:
    (place / "server.py").write_text("raise SystemExit(3)")
    with pytest.raises(RunnerError, match="the MCP server odd cannot be reached"):
        converse([{"text": "done"}], place, GateStub())


@pytest.mark.parametrize("level", [SandboxLevel.LANDLOCK, SandboxLevel.BUBBLEWRAP])
def test_a_server_does_not_get_out(level: SandboxLevel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    on_rung(level, monkeypatch)
    gate = GateStub()
    with stage(tmp_path) as set_up:
        monkeypatch.setenv("THE_SECRET", set_up.secret)
        (set_up.workspace / "server.py").write_text(SERVER)
        converse([call("run", command=set_up.command(network=True)), {"text": "done"}], set_up.workspace, gate)
        set_up.nothing_got_out(gate.outcomes["eff_1"][1])


def test_a_server_with_a_secret_is_not_started_where_the_agents_commands_could_read_it(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_rung(SandboxLevel.RLIMITS, monkeypatch)
    with pytest.raises(RunnerError, match="needs the sandbox level landlock"):
        converse([{"text": "done"}], place, GateStub())


@pytest.mark.parametrize("level", [SandboxLevel.LANDLOCK, SandboxLevel.BUBBLEWRAP])
def test_the_agents_commands_do_not_find_the_servers_secret(
    level: SandboxLevel, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_rung(level, monkeypatch)
    gate = GateStub()
    look = "cat /proc/[0-9]*/environ 2>/dev/null | tr '\\0' '\\n' | grep -c ODD_TOKEN; find / -name 'mcp-*' 2>/dev/null; env"
    steps = [call("say", text="hi"), {"tool": "run_command", "args": {"command": look}}, {"text": "done"}]
    converse(steps, place, gate)
    assert gate.outcomes["eff_1"][0]
    assert gate.outcomes["eff_2"][1].startswith("0\n")
    assert "ODD" not in gate.outcomes["eff_2"][1]


@pytest.mark.parametrize("server", [{}, {"command": ["x"], "url": "https://x.example"}, {"comand": ["x"]}])
def test_a_server_that_makes_no_sense_is_refused(server: dict[str, Any], place: Path) -> None:
    options = {"model": "m", "mcp": {"odd": server}}
    with pytest.raises(ConfigError):
        runner_of(AgentSpec(name="a", runner=RunnerSpec(kind="llm", options=options)), {}, load_settings(place.parent))


def test_a_changed_definition_is_hidden_until_a_person_has_accepted_it(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the pins that the gateway uses too."""
    from interlock.engine.pins import Pins

    settings = load_settings(place.parent)
    service = build(settings)
    try:
        (place / "server.py").write_text(SERVER.replace("'ODD_TOKEN', ''", "'X', ''"))
        command = [sys.executable, str(place / "server.py")]

        def told() -> str:
            with ScriptedModel([{"text": "done"}]) as model:
                options = {"model": "m", "base_url": f"{model.url}/v1", "mcp": {"odd": {"command": command}}}
                spec = AgentSpec(name="a", runner=RunnerSpec(kind="llm", options=options))
                asyncio.run(service._means.runner_of(spec).run(a_job(place), GateStub()))
                return json.dumps([body for _, body in model.requests])

        assert "mcp__odd__say" in told()
        (place / "server.py").write_text(SERVER.replace("Says it.", "Says it, and more."))
        second = told()
        assert "mcp__odd__say" not in second
        assert "mcp__odd__crash" in second
        (offer,) = Pins(settings).offers()
        Pins(settings).approve("odd", [offer.digest])
        assert "mcp__odd__say" in told()
    finally:
        service.close()
