"""Every kind of agent is tried from inside: the same ways out, whoever runs the command."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ways_out import Stage, on_rung, stage

from gate_stub import GateStub, a_job
from interlock.app import contained
from interlock.config import Settings, load_settings
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
