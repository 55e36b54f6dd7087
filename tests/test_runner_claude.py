"""Claude Code itself, offline, against the scripted model: every call of it and of its sub-agents passes the gate."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
from ways_out import on_rung, stage

from gate_stub import GateStub, a_job
from interlock.app import contained, runner_of
from interlock.config import load_settings
from interlock.errors import ConfigError, MissingExtraError, RunnerError
from interlock.model.agent import AgentResult, AgentSpec, RunnerSpec
from interlock.model.sandbox import SandboxLevel
from interlock.testing import ScriptedModel

if extra := os.environ.get("INTERLOCK_TEST_CLAUDE"):
    sys.path.append(extra)  # where `pip install --target` has put claude-agent-sdk
sdk = pytest.importorskip("claude_agent_sdk", reason="the extra claude (400 MB) is not installed: make test-claude")

from interlock.runners.claude import ClaudeRunner  # noqa: E402 - after the check for the extra

pytestmark = pytest.mark.filterwarnings("default")  # the SDK's own
KEY = "sk-ant-" + "fake" * 10
HANDED = 'All tidy.\n```json\n{"summary": "tidied", "deliverables": ["a.txt"]}\n```'


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FAKE_KEY", KEY)
    monkeypatch.setenv("SOMEBODYS_TOKEN", "tok-" + "strange" * 5)
    workspace = tmp_path / "work"
    (workspace / "precious").mkdir(parents=True)
    (workspace / "precious" / "gold.txt").write_text("gold")
    (workspace / "a.txt").write_text("hello\n")
    return workspace


def a_runner(options: Mapping[str, Any], place: Path, spec: AgentSpec | None = None, **sandbox: Any) -> ClaudeRunner:
    """Behind the walls that every agent gets."""
    settings = load_settings(place.parent)
    settings = settings.model_copy(update={"sandbox": settings.sandbox.model_copy(update=sandbox)})
    return ClaudeRunner(spec or AgentSpec(name="a"), options, wrap=contained(settings))


def converse(
    steps: Sequence[Any], place: Path, gate: GateStub, *, when: Mapping[str, Any] | None = None, **options: Any
) -> tuple[AgentResult, ScriptedModel]:
    spec = AgentSpec(name="tidy", instructions="Be tidy as a cat.")
    with ScriptedModel(steps, when=when) as server:
        runner = a_runner({"base_url": server.url, "api_key_env": "FAKE_KEY", **options}, place, spec)
        return asyncio.run(runner.run(replace(a_job(place), agent=spec), gate)), server


def bash(command: str) -> dict[str, Any]:
    return {"tool": "Bash", "args": {"command": command, "description": "do it"}}


def marked(place: Path) -> list[int]:
    """Processes that carry the attempt's mark; inside a sandbox they know themselves by other numbers."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.status() != psutil.STATUS_ZOMBIE and str(place) in process.environ().get("INTERLOCK_JOB", ""):
                found.append(process.pid)
    return found


def test_a_destructive_call_is_refused_and_the_work_goes_on(place: Path) -> None:
    gate = GateStub(rule=lambda _, args: "destructive" if "rm -rf" in str(args.get("command")) else "")
    file = str(place / "a.txt")
    steps = [
        bash("rm -rf precious"),
        {"tool": "Read", "args": {"file_path": file}},
        {"tool": "Edit", "args": {"file_path": file, "old_string": "hello", "new_string": "goodbye"}},
        {"text": HANDED},
    ]
    result, server = converse(steps, place, gate)
    assert (place / "precious" / "gold.txt").exists()
    assert (place / "a.txt").read_text() == "goodbye\n"
    assert gate.tools == ["shell", "read", "edit"]
    assert all(ok for ok, _ in gate.outcomes.values())
    assert "hello" in gate.outcomes["eff_2"][1]
    sent = json.dumps([body for path, body in server.requests if path == "/v1/messages"])
    assert "destructive" in sent
    assert "Be tidy as a cat." in sent
    assert result.summary == "tidied"
    assert result.deliverables == ("a.txt",)
    assert result.usage.tool_calls == 3
    assert result.usage.input_tokens > 0


def test_what_it_says_on_the_way_is_written_down_without_the_key(place: Path) -> None:
    class Noting(GateStub):
        notes: list[tuple[str, Any]]

        async def note(self, kind: str, data: Mapping[str, Any]) -> None:
            self.notes.append((kind, data["text"]))

    gate = Noting()
    gate.notes = []
    converse([{"text": f"First I look, with {KEY}.", **bash("ls")}, {"text": "done"}], place, gate)
    assert gate.notes == [("agent.said", "First I look, with ***."), ("agent.said", "done")]


def test_a_failing_gate_is_a_no(place: Path) -> None:
    class Broken(GateStub):
        async def before(self, *_: Any, **__: Any) -> Any:
            raise RuntimeError("broken")

    converse([bash("touch pwned"), {"text": "ok"}], place, Broken())
    assert not (place / "pwned").exists()


def test_a_result_that_is_withheld_does_not_reach_the_model(place: Path) -> None:
    gate = GateStub(after_rule=lambda output: "a secret" if "gold" in output else "")
    _, server = converse([bash("cat precious/gold.txt"), {"text": "ok"}], place, gate)
    last = json.dumps(server.requests[-1][1]["messages"])
    assert "withheld" in last
    assert "gold" not in last.replace("gold.txt", "")
    assert gate.outcomes["eff_1"][0]


def test_the_calls_of_a_sub_agent_pass_the_same_gate(place: Path) -> None:
    gate = GateStub(rule=lambda _, args: "destructive" if "rm -rf" in str(args.get("command")) else "")
    ask = {"description": "help", "prompt": "you are the small helper", "subagent_type": "general-purpose",
           "run_in_background": False}  # fmt: skip
    steps = [{"tool": "Agent", "args": ask}, {"text": "ok"}]
    when = {"you are the small helper": [bash("rm -rf precious"), {"text": "I was stopped"}]}
    converse(steps, place, gate, when=when)
    assert (place / "precious" / "gold.txt").exists()
    assert ("shell", "rm -rf precious") in [(tool, args.get("command")) for tool, args in gate.asked]


def test_neither_our_environment_nor_the_key_reaches_the_commands(place: Path) -> None:
    gate = GateStub()
    _, server = converse([bash("env; cat /proc/$PPID/environ | tr '\\0' '\\n'"), {"text": "ok"}], place, gate)
    output = gate.outcomes["eff_1"][1]
    assert "INTERLOCK_JOB=" in output
    assert KEY not in output
    assert "strange" not in output
    assert KEY not in json.dumps([body for _, body in server.requests])
    assert KEY in json.dumps(server.headers)


def test_what_it_leaves_running_is_ended(place: Path) -> None:
    converse([bash("(setsid sleep 60 & echo $! > stray) > /dev/null 2>&1"), {"text": "ok"}], place, GateStub())
    assert (place / "stray").exists()
    assert marked(place) == []


def test_a_cancelled_session_leaves_no_process(place: Path) -> None:
    async def cancelled() -> None:
        with ScriptedModel([bash("echo $$ > me; sleep 60")]) as server:
            runner = a_runner({"base_url": server.url, "api_key_env": "FAKE_KEY"}, place)
            task = asyncio.create_task(runner.run(a_job(place), GateStub()))
            while not (place / "me").exists() or not (place / "me").read_text():
                await asyncio.sleep(0.05)
                assert not task.done()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(cancelled())
    assert marked(place) == []
    assert sorted(path.name for path in place.parent.iterdir()) == ["work"]


@pytest.mark.parametrize(
    ("level", "network"),
    [(SandboxLevel.LANDLOCK, True), (SandboxLevel.BUBBLEWRAP, True), (SandboxLevel.BUBBLEWRAP, False)],
)
def test_its_commands_do_not_get_out(
    level: SandboxLevel, network: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a network it reaches its model, and nothing else."""
    on_rung(level, monkeypatch)
    monkeypatch.setenv("FAKE_KEY", KEY)
    gate = GateStub()
    with stage(tmp_path) as set_up:
        monkeypatch.setenv("THE_SECRET", set_up.secret)
        job = a_job(set_up.workspace, project=set_up.project)
        with ScriptedModel([bash(set_up.command(network=network)), {"text": "done"}]) as server:
            options = {"base_url": server.url, "api_key_env": "FAKE_KEY"}
            result = asyncio.run(a_runner(options, set_up.workspace, network=network).run(job, gate))
        assert result.summary == "done"
        set_up.nothing_got_out(gate.outcomes["eff_1"][1])


@pytest.mark.parametrize("tool", ["Write", "Read"])
def test_its_own_tools_do_not_get_out_even_when_the_gate_is_asleep(
    tool: str, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They act in its own process, which the walls are around too."""
    on_rung(SandboxLevel.BUBBLEWRAP, monkeypatch)
    outside = place.parent / "private.txt"
    outside.write_text("gold")
    args = {"file_path": str(outside), **({"content": "pwned"} if tool == "Write" else {})}
    gate = GateStub()
    converse([{"tool": tool, "args": args}, {"text": "ok"}], place, gate)
    assert outside.read_text() == "gold"
    assert "gold" not in repr(gate.outcomes)


@pytest.mark.parametrize(("status", "kind"), [(529, "transient"), (400, "unknown")])
def test_provider_errors_are_classified(place: Path, status: int, kind: str) -> None:
    with pytest.raises(RunnerError) as failed:
        converse([{"error": status}], place, GateStub())
    assert failed.value.kind == kind
    assert KEY not in str(failed.value)


def test_wrong_options_and_missing_keys_say_so(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="did you mean"):
        a_runner({"max_turn": 1}, Path("nowhere", "work"))
    monkeypatch.delenv("FAKE_KEY")
    with pytest.raises(RunnerError, match="set the environment variable FAKE_KEY"):
        converse([], place, GateStub())


def test_a_missing_extra_has_a_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "claude_agent_sdk", None)
    with pytest.raises(MissingExtraError, match=r"pip install .*\[claude\]"):
        runner_of(AgentSpec(name="a", runner=RunnerSpec(kind="claude")), {}, load_settings(tmp_path))
