"""Every kind of agent is tried from inside: the same ways out, whoever runs the command."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from ways_out import Stage, on_rung, stage

from gate_stub import GateStub, a_job
from interlock.app import build, contained, undoing
from interlock.config import Settings, load_settings
from interlock.engine.validate import run_command
from interlock.errors import SandboxError
from interlock.model.agent import AgentSpec
from interlock.model.risk import RiskLevel
from interlock.model.sandbox import SandboxLevel
from interlock.runners.llm import LlmRunner
from interlock.testing import ScriptedModel

WALLS = [SandboxLevel.LANDLOCK, SandboxLevel.BUBBLEWRAP]


def settings_with(project: Path, **sandbox: Any) -> Settings:
    settings = load_settings(project)
    return settings.model_copy(update={"sandbox": settings.sandbox.model_copy(update=sandbox)})


def by_a_model(set_up: Stage, settings: Settings, *, risk: RiskLevel = RiskLevel.LOW) -> str:
    """What the command printed that a model has run."""
    gate = GateStub()
    command = set_up.command(network=settings.sandbox.network)
    steps: list[dict[str, Any]] = [{"tool": "run_command", "args": {"command": command}}, {"text": "done"}]
    with ScriptedModel(steps) as server:
        runner = LlmRunner(
            AgentSpec(name="a"), {"model": "m", "base_url": f"{server.url}/v1"}, wrap=contained(settings)
        )
        job = replace(a_job(set_up.workspace, project=set_up.project), risk=risk)
        asyncio.run(runner.run(job, gate))
    return gate.outcomes["eff_1"][1]


@pytest.mark.parametrize("network", [True, False])
@pytest.mark.parametrize("level", WALLS)
def test_a_command_that_a_model_runs_does_not_get_out(
    level: SandboxLevel, network: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_rung(level, monkeypatch)
    with stage(tmp_path) as set_up:
        monkeypatch.setenv("THE_SECRET", set_up.secret)
        said = by_a_model(set_up, settings_with(set_up.project, network=network))
        set_up.nothing_got_out(said)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["outside", "project", "work"]


@pytest.mark.parametrize(
    ("risk", "asked", "starts"),
    [
        (RiskLevel.MEDIUM, {}, True),
        (RiskLevel.HIGH, {}, False),
        (RiskLevel.CRITICAL, {}, False),
        (RiskLevel.CRITICAL, {"minimum_at": {}}, True),
        (RiskLevel.MEDIUM, {"minimum_at": {RiskLevel.LOW: SandboxLevel.BUBBLEWRAP}}, False),
        (RiskLevel.LOW, {"minimum": "landlock"}, False),
    ],
)
def test_risky_work_is_not_begun_behind_walls_that_are_too_low(
    risk: RiskLevel, asked: dict[str, Any], starts: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_rung(SandboxLevel.RLIMITS, monkeypatch)
    with stage(tmp_path) as set_up:
        said = by_a_model(set_up, settings_with(set_up.project, **asked), risk=risk)
    assert ("TRIED" in said) is starts
    assert ("this work needs the sandbox level" in said) is not starts


def test_a_relay_needs_a_network_or_a_loopback_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    on_rung(SandboxLevel.LANDLOCK, monkeypatch)
    from interlock.sandbox.ladder import Ladder

    with pytest.raises(SandboxError, match="only bubblewrap can"):
        Ladder(SandboxLevel.LANDLOCK).wrap(
            ["true"], workspace=tmp_path, scratch=tmp_path / "s", relays={"X": tmp_path / "x"}
        )


@pytest.mark.parametrize("level", WALLS)
def test_a_compensation_does_not_get_out(level: SandboxLevel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may write to the project that it puts in order; here that is the stage's workspace."""
    on_rung(level, monkeypatch)
    with stage(tmp_path) as set_up:
        monkeypatch.setenv("THE_SECRET", set_up.secret)
        command = set_up.command(network=True).split()
        ok, said = asyncio.run(compensated(set_up.workspace, command))
        assert ok, said
        set_up.nothing_got_out(said)


async def compensated(project: Path, command: list[str]) -> tuple[bool, str]:
    settings = load_settings(project)
    return await run_command(
        command, cwd=project, project=project, at_most=timedelta(seconds=60), contain=undoing(settings)
    )


def test_a_compensation_puts_the_project_in_order_but_not_what_vouches_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_rung(SandboxLevel.BUBBLEWRAP, monkeypatch)
    for name in (".git", ".interlock", "var"):
        (tmp_path / name).mkdir()
    for name in ("interlock.yaml", ".git/config", ".interlock/interlock.db", "var/live.db"):
        (tmp_path / name).write_text("")
        ok, _ = asyncio.run(compensated(tmp_path, ["sh", "-c", f"echo x > {name}"]))
        assert ok is (name == "var/live.db"), name


@pytest.mark.parametrize("level", WALLS)
def test_what_a_compensation_writes_beside_its_grants_fails_and_is_not_said_to_be_undone(
    level: SandboxLevel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A place that is thrown away would take it, and nothing would have been put back."""
    on_rung(level, monkeypatch)
    project = tmp_path / "project"
    project.mkdir()
    for place in (tmp_path / "restored", Path("/tmp", tmp_path.name), Path("/restored"), Path("/usr/restored")):
        ok, said = asyncio.run(compensated(project, ["sh", "-c", f"echo x > {place}"]))
        assert not ok, (place, said)
        assert not place.exists()


@pytest.mark.parametrize("level", WALLS)
def test_an_mcp_server_behind_the_gateway_does_not_get_out(
    level: SandboxLevel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_rung(level, monkeypatch)
    pytest.importorskip("fastmcp", reason="the mcp extra is not installed")
    from fastmcp import Client

    from interlock.surfaces.mcp_gateway import Gateway, Upstream

    async def go(gateway: Gateway) -> str:
        async with gateway.open() as server, Client(server) as client:
            (block,) = (await client.call_tool("run", {})).content
            return str(getattr(block, "text", ""))

    with stage(tmp_path) as set_up:
        monkeypatch.setenv("THE_SECRET", set_up.secret)
        command = set_up.command(network=True)
        (set_up.workspace / "server.py").write_text(MCP_SERVER.format(command=command))
        service = build(load_settings(set_up.workspace))
        try:
            program = (sys.executable, str(set_up.workspace / "server.py"))
            said = asyncio.run(go(Gateway(service, Upstream(command=program, name="odd"), person="tess")))
        finally:
            service.close()
        set_up.nothing_got_out(said)


MCP_SERVER = """
import subprocess
from fastmcp import FastMCP
server = FastMCP("odd")
@server.tool
def run() -> str:
    "Runs it."
    return subprocess.run({command!r}.split(), capture_output=True, text=True, stdin=subprocess.DEVNULL).stdout
server.run(transport="stdio", show_banner=False)
"""
