"""The scripted model server speaks as the real ones do, and the other fakes do as told."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from gate_stub import GateStub, a_job
from interlock.errors import RunnerError
from interlock.model.decision import Verdict
from interlock.testing import FakeClock, ScriptedModel, ScriptedRunner

STEPS: list[dict[str, Any]] = [{"tool": "ls", "args": {"path": "."}}, {"text": "all done"}]
TOOLS = [{"name": "ls"}]
PATHS = {
    "anthropic": "/v1/messages",
    "chat": "/v1/chat/completions",
    "responses": "/v1/responses",
    "gemini": "/v1beta/models/g:generateContent",
}


def asked(dialect: str, results: int, text: str = "go") -> dict[str, Any]:
    """A request as the client of that dialect would send it after so many tool results."""
    if dialect == "anthropic":
        done: list[Any] = [{"role": "user", "content": [{"type": "tool_result", "tool_use_id": "x", "content": "ok"}]}]
        return {"model": "m", "tools": TOOLS, "messages": [{"role": "user", "content": text}, *done * results]}
    if dialect == "chat":
        done = [{"role": "tool", "tool_call_id": "x", "content": "ok"}]
        return {"model": "m", "tools": TOOLS, "messages": [{"role": "user", "content": text}, *done * results]}
    if dialect == "responses":
        done = [{"type": "function_call_output", "call_id": "x", "output": "ok"}]
        return {"model": "m", "tools": TOOLS, "input": [{"role": "user", "content": text}, *done * results]}
    done = [{"role": "user", "parts": [{"functionResponse": {"name": "ls", "response": {}}}]}]
    return {"tools": TOOLS, "contents": [{"role": "user", "parts": [{"text": text}]}, *done * results]}


def post(url: str, body: Any) -> str:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})  # noqa: S310 - loopback
    with urllib.request.urlopen(request) as answer:  # noqa: S310 - the same
        text: str = answer.read().decode()
    return text


@pytest.mark.parametrize("dialect", PATHS)
def test_the_step_is_the_number_of_tool_results_so_asking_again_gets_the_same_answer(dialect: str) -> None:
    with ScriptedModel(STEPS) as server:
        answers = [post(server.url + PATHS[dialect], asked(dialect, results)) for results in (0, 1, 0)]
    assert '"ls"' in answers[0]
    assert "all done" in answers[1]
    assert answers[0] == answers[2]


@pytest.mark.parametrize("dialect", PATHS)
def test_a_streamed_answer_says_the_same_as_a_whole_one(dialect: str) -> None:
    with ScriptedModel(STEPS) as server:
        path = PATHS[dialect].replace(":generate", ":streamGenerate")
        answers = [post(server.url + path, asked(dialect, results) | {"stream": True}) for results in (0, 1)]
    for answer in answers:
        data = [line[6:] for line in answer.splitlines() if line.startswith("data: ")]
        assert all(isinstance(json.loads(line), dict) for line in data if line != "[DONE]")
    assert '"ls"' in answers[0]
    assert "all done" in answers[1]


def test_behind_the_last_step_the_conversation_ends() -> None:
    with ScriptedModel(STEPS) as server:
        assert "done" in post(server.url + PATHS["chat"], asked("chat", 9))


def test_calls_side_by_side_count_as_many_results() -> None:
    with ScriptedModel([[{"tool": "a"}, {"tool": "b"}], {"text": "both"}]) as server:
        first = post(server.url + PATHS["chat"], asked("chat", 0))
        assert '"a"' in first
        assert '"b"' in first
        assert "both" in post(server.url + PATHS["chat"], asked("chat", 2))


def test_a_conversation_that_opens_with_other_words_has_its_own_script() -> None:
    with ScriptedModel(STEPS, when={"you are the helper": [{"text": "helped"}]}) as server:
        assert "helped" in post(server.url + PATHS["anthropic"], asked("anthropic", 0, "you are the helper"))


def test_a_request_that_offers_no_tools_gets_no_call() -> None:
    with ScriptedModel(STEPS) as server:
        answer = json.loads(post(server.url + PATHS["chat"], asked("chat", 0) | {"tools": []}))
    assert answer["choices"][0]["message"]["content"] == "ok"


def test_an_error_step_fails_as_often_as_it_says_and_then_goes_on() -> None:
    with ScriptedModel([{"error": 529, "times": 1}, {"text": "better now"}]) as server:
        with pytest.raises(urllib.error.HTTPError) as failed:
            post(server.url + PATHS["chat"], asked("chat", 0))
        failed.value.close()
        assert failed.value.code == 529
        assert "better now" in post(server.url + PATHS["chat"], asked("chat", 0))


def test_rubbish_is_refused_and_unknown_paths_are_not_found() -> None:
    with ScriptedModel(STEPS) as server:
        for path, body, code in ((PATHS["chat"], b"[", 400), ("/v1/nothing", {}, 404)):
            with pytest.raises(urllib.error.HTTPError) as failed:
                post(server.url + path, body)
            failed.value.close()
            assert failed.value.code == code


def test_it_serves_a_script_file_as_a_program(tmp_path: Path) -> None:
    script = tmp_path / "script.json"
    script.write_text(json.dumps({"steps": STEPS}))
    command = (sys.executable, "-m", "interlock.testing.model", str(script))
    env = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env) as program:
        try:
            assert program.stdout is not None
            url = program.stdout.readline().strip()
            assert "all done" in post(url + PATHS["responses"], asked("responses", 1))
        finally:
            program.terminate()


def test_the_clock_stands_still_until_it_is_moved_and_never_goes_back() -> None:
    clock = FakeClock()
    before = clock.now()
    clock.advance(90)
    assert clock.now() - before == timedelta(seconds=90)
    with pytest.raises(ValueError, match="does not go back"):
        clock.advance(-1)


async def walk(runner: ScriptedRunner, gate: GateStub, tmp_path: Path) -> str:
    return (await runner.run(a_job(tmp_path), gate)).summary


def test_the_scripted_runner_asks_about_every_call_and_stops_where_it_is_refused(tmp_path: Path) -> None:
    import asyncio

    gate = GateStub(rule=lambda tool, _: "not that" if tool == "shell" else "")
    runner = ScriptedRunner([("read", {"path": "a"}, "text"), ("shell", {"command": "x"}), ("read", {"path": "b"})])
    with pytest.raises(RunnerError, match="not that") as failed:
        asyncio.run(walk(runner, gate, tmp_path))
    assert failed.value.kind == "blocked"
    assert gate.tools == ["read", "shell"]
    assert runner.verdicts == [Verdict.ALLOW, Verdict.BLOCK]
    assert gate.outcomes == {"eff_1": (True, "text")}
