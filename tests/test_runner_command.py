"""Any program is an agent: contained in time, in size and in its processes, and it acts only through the gate."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate_stub import YES, GateStub, a_job
from interlock.errors import ConfigError, RunnerError
from interlock.model.action import Confidentiality, Integrity, Labels
from interlock.model.agent import AgentResult
from interlock.model.decision import Decision, Verdict
from interlock.model.run import Compensation
from interlock.model.sandbox import SandboxedCommand, SandboxLevel
from interlock.ports import CallVerdict, Gate
from interlock.runners.command import KEEP_OUTPUT, CommandRunner
from interlock.runners.places import Places
from interlock.runners.wire import MAX_LINE, GateServer


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    place = tmp_path / "work"
    place.mkdir()
    return place


def python(workspace: Path, program: str, **options: Any) -> CommandRunner:
    (workspace.parent / "agent.py").write_text(textwrap.dedent(program), encoding="utf-8")
    return CommandRunner({"command": ["{python}", str(workspace.parent / "agent.py")], **options})


def run(workspace: Path, program: str, gate: Gate | None = None, **options: Any) -> AgentResult:
    return asyncio.run(python(workspace, program, **options).run(a_job(workspace), gate or GateStub()))


def failure(workspace: Path, program: str, gate: Gate | None = None) -> RunnerError:
    with pytest.raises(RunnerError) as caught:
        run(workspace, program, gate)
    return caught.value


async def until(holds: Callable[[], Any]) -> None:
    while not holds():  # noqa: ASYNC110 - other processes have no event to wait for
        await asyncio.sleep(0.02)


def alive(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


# --- the hand-over


def test_the_hand_over_file_is_the_result(workspace: Path) -> None:
    result = run(
        workspace,
        """
        import json, os
        json.dump({"summary": "done", "deliverables": ["a"], "artefacts": ["out/a.svg"],
                   "usage": {"input_tokens": 7}}, open(os.environ["INTERLOCK_RESULT"], "w"))
        """,
    )
    assert (result.summary, result.deliverables, result.artefacts) == ("done", ("a",), ("out/a.svg",))
    assert result.usage.input_tokens == 7


def test_without_a_hand_over_the_last_line_printed_is_the_summary(workspace: Path) -> None:
    assert run(workspace, "print('one'); print('all tidy'); print()").summary == "all tidy"


def test_the_job_is_a_file_with_everything_that_the_agent_may_know(workspace: Path) -> None:
    run(workspace, "import os, shutil; shutil.copy(os.environ['INTERLOCK_JOB'], 'job.json')")
    job = json.loads((workspace / "job.json").read_text(encoding="utf-8"))
    assert job["task"] == "tidy up"
    assert job["prompt"] == "Your part: tidy up"
    assert job["agent"] == "tidy"
    assert job["workspace"] == str(workspace)
    assert {"run_id", "attempt_id", "number", "project", "environment", "handed_over", "instructions"} <= set(job)


def test_a_failing_program_is_a_crash_with_its_last_words(workspace: Path) -> None:
    error = failure(workspace, "import sys; print('on my way'); sys.exit('the chart has no data')")
    assert error.kind == "crashed"
    assert "status 1" in str(error)
    assert "the chart has no data" in str(error)
    assert "on my way" in error.output


@pytest.mark.parametrize("status", ["0", "3"])
def test_an_agent_declares_the_kind_of_its_failure_whatever_its_status(workspace: Path, status: str) -> None:
    error = failure(
        workspace,
        f"""
        import json, os, sys
        json.dump({{"error": {{"kind": "rendering_failure", "message": "no data"}}}},
                  open(os.environ["INTERLOCK_RESULT"], "w"))
        sys.exit({status})
        """,
    )
    assert (error.kind, str(error)) == ("rendering_failure", "no data")


@pytest.mark.parametrize("kind", ["cancelled", "denied", "unknown_effect", "blocked", "nonsense"])
def test_an_agent_cannot_declare_what_only_interlock_can_know(workspace: Path, kind: str) -> None:
    error = failure(
        workspace,
        f"""
        import json, os
        json.dump({{"error": {{"kind": "{kind}", "message": "not my fault"}}}}, open(os.environ["INTERLOCK_RESULT"], "w"))
        """,
    )
    assert error.kind == "unknown"
    assert "not my fault" in str(error)


@pytest.mark.parametrize(
    ("writes", "says"),
    [
        ("open(r, 'w').write('{')", "not JSON"),
        ("open(r, 'w').write('[]')", "one JSON object"),
        ("open(r, 'w').write('{\"sumary\": \"x\"}')", 'did you mean "summary"'),
        ("open(r, 'w').write('{\"deliverables\": \"x\"}')", "list of texts"),
        ("open(r, 'w').write('{\"usage\": {\"input_tokens\": -1}}')", "0 or more"),
        ("open(r, 'w').write('{\"artefacts\": [\"../../etc/passwd\"]}')", "inside the workspace"),
        ("open(r, 'w').write('{\"error\": \"x\"}')", "kind"),
        ("open(r, 'w').write(' ' * 2_000_000)", "at most"),
        ("os.symlink('/etc/passwd', r)", "cannot be read"),
        ("os.mkfifo(r)", "plain file"),
        ("os.mkdir(r)", "plain file"),
    ],
)
def test_a_hand_over_that_is_not_one_is_refused(workspace: Path, writes: str, says: str) -> None:
    error = failure(workspace, f"import os; r = os.environ['INTERLOCK_RESULT']; {writes}")
    assert error.kind == "crashed"
    assert says in str(error)


def test_a_program_that_does_not_exist_is_said_to(workspace: Path) -> None:
    runner = CommandRunner({"command": ["no-such-program-here"]})
    with pytest.raises(RunnerError, match="cannot start no-such-program-here"):
        asyncio.run(runner.run(a_job(workspace), GateStub()))


def test_a_program_killed_by_a_signal_has_crashed(workspace: Path) -> None:
    error = failure(workspace, "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)")
    assert "status 139" in str(error)


# --- its surroundings


def test_the_environment_is_scrubbed_and_home_is_private(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLOUD_PASSWORD", "hidden")
    monkeypatch.setenv("CLUB_SEASON", "2026")
    monkeypatch.setenv("LC_TIME", "C")
    program = (
        "import json, os; json.dump(dict(os.environ), open('env.json', 'w')); open(os.path.expanduser('~/x'), 'w')"
    )
    run(workspace, program, env=["CLUB_SEASON"])
    env = json.loads((workspace / "env.json").read_text(encoding="utf-8"))
    assert "CLOUD_PASSWORD" not in env
    assert (env["CLUB_SEASON"], env["LC_TIME"], env["PATH"]) == ("2026", "C", os.environ["PATH"])
    assert env["HOME"] != os.environ.get("HOME")
    assert Path(env["HOME"]).parent == Path(env["TMPDIR"]).parent
    assert not Path(env["HOME"]).is_relative_to(workspace)
    assert not Path(env["HOME"]).exists()
    assert not Path(env["INTERLOCK_GATE"]).parent.exists()


def test_placeholders_are_filled_in_and_other_braces_left_alone(workspace: Path, tmp_path: Path) -> None:
    command = ["{python}", "-c", "import sys; print(sys.argv[1:])", "{project}/a", "{workspace}", "{other}", "${HOME}"]
    job = a_job(workspace, project=tmp_path)
    result = asyncio.run(CommandRunner({"command": command}).run(job, GateStub()))
    assert result.summary == str([f"{tmp_path}/a", str(workspace), "{other}", "${HOME}"])


def test_something_can_be_put_in_front_of_the_program(workspace: Path, tmp_path: Path) -> None:
    seen: list[Places] = []

    def wrap(argv: Sequence[str], env: Mapping[str, str], places: Places) -> SandboxedCommand:
        seen.append(places)
        assert env["HOME"] == str(places.scratch / "home")
        assert env["TMPDIR"] == str(places.scratch / "tmp")
        assert Path(env["INTERLOCK_JOB"]).is_relative_to(places.scratch)
        assert Path(env["INTERLOCK_RESULT"]).is_relative_to(places.scratch)
        assert env["INTERLOCK_GATE"] == str(places.gate)
        in_front = {**env, "IN_FRONT": "yes"}
        return SandboxedCommand(walls=("env", "-u", "LANG"), program=tuple(argv), env=in_front, level=SandboxLevel.NONE)

    options = {"command": ["sh", "-c", "echo $IN_FRONT $INTERLOCK_PROJECT"], "writes": ["var"]}
    runner = CommandRunner(options, wrap=wrap)
    result = asyncio.run(runner.run(a_job(workspace, project=tmp_path), GateStub()))
    assert result.summary == f"yes {tmp_path}"
    (places,) = seen
    assert (places.workspace, places.project, places.writes) == (workspace, tmp_path, (tmp_path / "var",))


def test_standard_input_is_empty_and_no_descriptor_leaks_in(workspace: Path) -> None:
    program = "import os, sys; print(repr(sys.stdin.read()), len(os.listdir('/dev/fd')))"
    assert run(workspace, program).summary == "'' 4"  # three streams, and the folder that is listed


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({}, "needs its command"),
        ({"command": "rm -rf x"}, "list of texts"),
        ({"command": ["x"], "comand": 1}, 'did you mean "command"'),
        ({"command": ["x"], "grace_s": -1}, "0 to 60"),
        ({"command": ["x"], "writes": ["/etc"]}, "inside the project"),
        ({"command": ["x"], "writes": ["var/../.."]}, "inside the project"),
        ({"command": ["x"], "env": "PATH"}, "list of texts"),
    ],
)
def test_options_that_make_no_sense_are_refused_when_they_are_read(options: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        CommandRunner(options)


def test_a_long_path_of_the_project_does_not_break_the_socket(tmp_path: Path) -> None:
    deep = tmp_path.joinpath(*["a-rather-long-folder-name"] * 6)
    deep.mkdir(parents=True)
    assert run(deep, "from interlock import agent; agent.job().write('x', 'y')").summary == ""
    assert (deep / "x").read_text(encoding="utf-8") == "y"


# --- output


def test_two_hundred_megabytes_of_output_do_not_hurt(workspace: Path) -> None:
    before = psutil.Process().memory_info().rss
    error = failure(
        workspace,
        """
        import sys
        line = "the same line again " * 51 + "\\n"
        sys.stdout.write("FIRST\\n")
        for _ in range(200): sys.stdout.write(line * 1024)
        sys.exit("LAST")
        """,
    )
    assert error.output.startswith("FIRST")
    assert error.output.endswith("LAST\n")
    assert "bytes left out" in error.output
    assert len(error.output) < KEEP_OUTPUT + 1000
    assert psutil.Process().memory_info().rss - before < 100_000_000


# --- processes

FAMILY = """
    import os, signal, subprocess, sys, time
    def put(name): open(name + ".pid.new", "w").write(str(os.getpid())); os.rename(name + ".pid.new", name + ".pid")
    if os.fork() == 0:
        put("child"); signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:  # a daemon: own session, no parent, other environment, deaf
            if os.fork() == 0:
                os.execve(sys.executable, [sys.executable, "-c",
                    "import os, signal, time; signal.signal(15, signal.SIG_IGN);"
                    "open('daemon.pid', 'w').write(str(os.getpid())); time.sleep(600)"], {})
            os._exit(0)
        os._exit(0)
    put("agent")
"""
NAMES = ("child", "daemon", "agent")


def pids(workspace: Path) -> list[int]:
    return [int(text) for name in NAMES if (text := _text(workspace / f"{name}.pid"))]


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.exists() else ""


@pytest.mark.parametrize("how", ["time-out", "cancelled", "cancelled twice"])
def test_when_the_attempt_is_over_its_whole_family_is(workspace: Path, how: str) -> None:
    async def scene() -> list[int]:
        running = asyncio.ensure_future(
            python(workspace, FAMILY + "    time.sleep(600)", grace_s=0.3).run(a_job(workspace), GateStub())
        )
        await until(lambda: len(pids(workspace)) == 3)
        if how == "time-out":
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(running, 0.1)
        else:
            running.cancel()
            if how == "cancelled twice":
                await asyncio.sleep(0.1)
                running.cancel()
            with pytest.raises(asyncio.CancelledError):
                await running
        return [pid for pid in pids(workspace) if alive(pid)]

    assert asyncio.run(scene()) == []
    assert sorted(path.name for path in workspace.parent.iterdir()) == ["agent.py", "work"]


def test_what_an_agent_leaves_running_ends_with_it(workspace: Path) -> None:
    waits = "    while not (os.path.exists('child.pid') and os.path.getsize('daemon.pid')): time.sleep(0.02)"
    run(
        workspace,
        FAMILY.replace("daemon.pid'", "daemon.pid'") + "    open('daemon.pid', 'a').close()\n" + waits,
        grace_s=0.3,
    )
    assert len(pids(workspace)) == 3
    assert [pid for pid in pids(workspace) if alive(pid)] == []


def test_an_agent_that_kills_its_keeper_does_not_get_away(workspace: Path) -> None:
    program = FAMILY.replace("], {})", "], dict(os.environ))") + (
        "    while not (os.path.exists('daemon.pid') and os.path.exists('child.pid')): time.sleep(0.02)\n"
        "    time.sleep(0.2); os.kill(os.getppid(), signal.SIGKILL); time.sleep(600)"
    )

    async def scene() -> None:
        running = asyncio.ensure_future(python(workspace, program).run(a_job(workspace), GateStub()))
        await until(lambda: len(pids(workspace)) == 3)
        keeper = psutil.Process(int(_text(workspace / "agent.pid"))).parent()
        await until(lambda: keeper is None or not keeper.is_running() or keeper.status() == psutil.STATUS_ZOMBIE)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    asyncio.run(scene())
    assert [pid for pid in pids(workspace) if alive(pid)] == []


WORKER = (
    "import asyncio, sys; from pathlib import Path; from gate_stub import *; "
    "from interlock.runners.command import CommandRunner; w = Path(sys.argv[1]); "
    "r = CommandRunner({'command': ['{python}', str(w.parent / 'agent.py')], 'grace_s': 0.3}); "
    "asyncio.run(r.run(a_job(w), GateStub()))"
)


def test_an_agent_that_stops_its_keeper_does_not_get_away(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("interlock.runners.command._KEEPER_PATIENCE_S", 0.2)
    program = FAMILY + (
        "    while not (os.path.exists('daemon.pid') and os.path.exists('child.pid')): time.sleep(0.02)\n"
        "    os.kill(os.getppid(), signal.SIGSTOP); put('stopped'); time.sleep(600)"
    )

    async def scene() -> None:
        running = asyncio.ensure_future(python(workspace, program, grace_s=0.1).run(a_job(workspace), GateStub()))
        await until(lambda: len(pids(workspace)) == 3 and (workspace / "stopped.pid").exists())
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    asyncio.run(scene())
    assert [pid for pid in pids(workspace) if alive(pid)] == []
    assert [p for p in psutil.process_iter() if str(workspace.parent) in _arguments(p)] == []


def test_an_agent_that_multiplies_while_it_is_ended_is_ended(workspace: Path) -> None:
    program = """
        import os, signal, time
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        open("agent.pid", "w").write(str(os.getpid()))
        for _ in range(60):  # only the first one forks: a test must stay bounded whatever fails
            if os.fork() == 0:
                os.setsid()
                time.sleep(30)
                os._exit(0)
            time.sleep(0.005)
        """

    async def scene() -> None:
        running = asyncio.ensure_future(python(workspace, program, grace_s=0.05).run(a_job(workspace), GateStub()))
        await until((workspace / "agent.pid").exists)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    asyncio.run(scene())
    assert [p for p in psutil.process_iter() if str(workspace.parent) in _arguments(p)] == []


def test_a_worker_that_is_killed_takes_its_agents_with_it(workspace: Path) -> None:
    python(workspace, FAMILY + "    time.sleep(600)")
    gates = Path(tempfile.mkdtemp(prefix="il-"))
    worker = subprocess.Popen(
        [
            sys.executable,
            "-c",
            WORKER,
            str(workspace),
        ],
        env={
            **os.environ,
            "TMPDIR": str(gates),
            "PYTHONPATH": os.pathsep.join([*filter(None, sys.path), str(Path(__file__).parent)]),
        },
    )

    async def scene() -> None:
        await until(lambda: len(pids(workspace)) == 3 or worker.poll() is not None)
        worker.send_signal(signal.SIGKILL)
        worker.wait()
        await until(lambda: not any(alive(pid) for pid in pids(workspace)))
        await until(lambda: list(gates.iterdir()) == [])

    asyncio.run(scene())
    gates.rmdir()
    assert len(pids(workspace)) == 3


def test_a_polite_program_may_clean_up_within_the_grace(workspace: Path) -> None:
    program = """
        import signal, sys, time
        def bye(*_): open("bye", "w").close(); sys.exit(0)
        signal.signal(signal.SIGTERM, bye); open("ready", "w").close(); time.sleep(600)
        """

    async def scene() -> None:
        running = asyncio.ensure_future(python(workspace, program, grace_s=30).run(a_job(workspace), GateStub()))
        await until((workspace / "ready").exists)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    asyncio.run(scene())
    assert (workspace / "bye").exists()


def test_cancelled_before_it_has_started_it_leaves_nothing(workspace: Path) -> None:
    async def scene() -> None:
        running = asyncio.ensure_future(
            python(workspace, FAMILY + "    time.sleep(600)").run(a_job(workspace), GateStub())
        )
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    asyncio.run(scene())
    assert [pid for pid in pids(workspace) if alive(pid)] == []
    assert [p for p in psutil.process_iter() if str(workspace.parent) in _arguments(p)] == []


def _arguments(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


# --- the wire


def ask(gate: Gate, *lines: bytes) -> list[dict[str, Any]]:
    """Answers to lines sent on one connection; fewer than lines when it was closed on us."""

    async def scene() -> list[dict[str, Any]]:
        with tempfile.TemporaryDirectory(prefix="il-") as folder:
            async with GateServer(gate, Path(folder) / "gate"):
                reader, writer = await asyncio.open_unix_connection(Path(folder) / "gate")
                answers = []
                for line in lines:
                    try:
                        writer.write(line + b"\n")
                        answer = await reader.readline()
                    except ConnectionError:
                        break
                    answers += [json.loads(answer)] if answer else []
                writer.close()
            return answers

    return asyncio.run(scene())


def test_a_call_is_asked_for_and_its_outcome_told() -> None:
    gate = GateStub()
    before, after = ask(
        gate,
        b'{"op":"before","tool":"shell","args":{"command":"ls"},"labels":{"integrity":"untrusted"},"idempotent":true,'
        b'"compensation":{"command":["undo","x"],"validate":["check"]}}',
        b'{"op":"after","effect":"eff_1","ok":true,"output":"a b"}',
    )
    assert before == {"verdict": "allow", "effect": "eff_1", "key": "key_1", "reason": ""}
    assert after == {"verdict": "allow", "reason": ""}
    assert gate.asked == [("shell", {"command": "ls"})]
    assert gate.labels == [Labels(integrity=Integrity.UNTRUSTED, confidentiality=Confidentiality.PUBLIC), None]
    assert gate.compensations == [Compensation(command=("undo", "x"), validate=("check",))]
    assert gate.outcomes == {"eff_1": (True, "a b")}


def test_a_no_carries_its_reason_and_no_effect() -> None:
    (answer,) = ask(GateStub(lambda *_: "rm is not for you"), b'{"op":"before","tool":"shell","args":{}}')
    assert answer == {"verdict": "block", "effect": "", "key": "", "reason": "rm is not for you"}


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"allow",
        b"[]",
        b"null",
        b'{"op":"before","tool":"shell","args":{"n":NaN}}',
        b'{"op":"before","tool":"shell","args":{"n":"\xff"}}',
        b"[" * 5000,
        b'{"op":"allow"}',
        b'{"op":["before"],"tool":"shell","args":{}}',
        b'{"tool":"shell","args":{}}',
        b'{"op":"before","args":{}}',
        b'{"op":"before","tool":"","args":{}}',
        b'{"op":"before","tool":7,"args":{}}',
        b'{"op":"before","tool":"shell","args":"ls"}',
        b'{"op":"before","tool":"shell","args":{},"idempotent":1}',
        b'{"op":"before","tool":"shell","args":{},"verdict":"allow"}',
        b'{"op":"before","tool":"shell","args":{},"labels":{"integrity":"holy"}}',
        b'{"op":"before","tool":"shell","args":{},"labels":[]}',
        b'{"op":"before","tool":"shell","args":{},"compensation":{"command":"undo"}}',
        b'{"op":"before","tool":"shell","args":{},"compensation":{"command":[]}}',
        b'{"op":"before","tool":"shell","args":{},"compensation":{"command":["x"],"then":["y"]}}',
        b'{"op":"after","effect":"eff_1","ok":true}',
        b'{"op":"after","effect":"eff_9","ok":"yes"}',
    ],
)
def test_what_is_not_understood_is_blocked_without_asking_and_the_line_stays_open(line: bytes) -> None:
    gate = GateStub()
    answer, again = ask(gate, line, b'{"op":"before","tool":"read","args":{}}')
    assert answer["verdict"] == "block"
    assert answer["reason"]
    assert again["verdict"] == "allow"
    assert gate.tools == ["read"]
    assert gate.outcomes == {}


def test_an_oversized_request_is_blocked_and_the_line_closed() -> None:
    gate = GateStub()
    line = b'{"op":"before","tool":"edit","args":{"content":"' + b"x" * MAX_LINE + b'"}}'
    answers = ask(gate, line, b'{"op":"before","tool":"read","args":{}}')
    assert [answer["verdict"] for answer in answers] == ["block"]
    assert gate.asked == []


class BrokenGate(GateStub):
    def __init__(self, verdict: Any) -> None:
        super().__init__()
        self.verdict = verdict

    async def before(self, *_: Any, **__: Any) -> CallVerdict:
        if isinstance(self.verdict, Exception):
            raise self.verdict
        answer: CallVerdict = self.verdict
        return answer

    async def after(self, *_: Any, **__: Any) -> Decision:
        raise OSError("disk full")


@pytest.mark.parametrize(
    "verdict",
    [
        RuntimeError("broken"),
        TimeoutError(),
        None,
        CallVerdict(decision=YES, effect_id=""),
        CallVerdict(decision=Decision(verdict=Verdict.CONFIRM, reasons=()), effect_id="eff_1"),
    ],
)
def test_a_gate_that_breaks_or_answers_nonsense_means_block(verdict: Any) -> None:
    (answer,) = ask(BrokenGate(verdict), b'{"op":"before","tool":"shell","args":{}}')
    assert answer["verdict"] == "block"
    assert answer["effect"] == ""


def test_a_result_whose_record_cannot_be_written_is_withheld() -> None:
    gate = BrokenGate(CallVerdict(decision=YES, effect_id="eff_1"))
    _, after = ask(gate, b'{"op":"before","tool":"sql","args":{}}', b'{"op":"after","effect":"eff_1","ok":true}')
    assert after["verdict"] == "block"


def test_an_outcome_is_told_once() -> None:
    told = b'{"op":"after","effect":"eff_1","ok":true}'
    _, first, second = ask(GateStub(), b'{"op":"before","tool":"sql","args":{}}', told, told)
    assert (first["verdict"], second["verdict"]) == ("allow", "block")


@given(st.binary(max_size=200).filter(lambda line: b"\n" not in line))
def test_no_line_of_noise_is_ever_allowed(line: bytes) -> None:
    answer = asyncio.run(GateServer(GateStub(), Path("unused")).answer(line))
    assert answer["verdict"] == "block"


hostile = st.sampled_from(
    [None, True, 0, -1, "", "eff_1", "allow", [], ["x"], {}, {"command": ["x"]}, {"verdict": "allow"}]
)
FIELDS = ("tool", "args", "labels", "idempotent", "compensation", "effect", "ok", "output")


@given(st.fixed_dictionaries({"op": st.sampled_from(["before", "after"])}, optional=dict.fromkeys(FIELDS, hostile)))
def test_a_gate_that_says_no_is_never_turned_into_a_yes(request: dict[str, Any]) -> None:
    server = GateServer(GateStub(lambda *_: "no"), Path("unused"))
    answer = asyncio.run(server.answer(json.dumps(request).encode()))
    assert answer["verdict"] == "block"


def test_only_this_user_may_reach_the_socket(workspace: Path) -> None:
    program = "import os; s = os.environ['INTERLOCK_GATE']; print(oct(os.stat(s).st_mode)[-3:], oct(os.stat(os.path.dirname(s)).st_mode)[-3:])"
    assert run(workspace, program).summary == "600 700"


def test_an_agent_that_tells_no_outcome_leaves_an_unknown_effect(workspace: Path) -> None:
    program = """
        from interlock import agent
        call = agent.job().call("sql", {"query": "insert"}, idempotent=IDEMPOTENT)
        call.__enter__()
        """
    assert failure(workspace, program.replace("IDEMPOTENT", "False")).kind == "unknown_effect"
    assert run(workspace, program.replace("IDEMPOTENT", "True")).usage.tool_calls == 1


def test_a_question_that_nobody_waits_for_any_more_is_dropped(workspace: Path) -> None:
    class Asking(GateStub):
        dropped = False

        async def before(self, *_: Any, **__: Any) -> CallVerdict:
            (workspace / "asked").touch()
            try:
                await asyncio.Event().wait()  # for a person who never answers
            except asyncio.CancelledError:
                self.dropped = True
                raise
            raise AssertionError

    program = """
        import os, subprocess, sys, time
        child = subprocess.Popen([sys.executable, "-c", "from interlock import agent; agent.job().read('x')"])
        while not os.path.exists("asked"): time.sleep(0.02)
        child.kill()
        """
    gate = Asking()
    run(workspace, program, gate)
    assert gate.dropped


def test_a_yes_that_nobody_could_hear_is_recorded_as_not_done() -> None:
    class Slow(GateStub):
        hung_up: asyncio.Event

        async def before(self, tool: str, args: Mapping[str, Any], **more: Any) -> CallVerdict:
            await self.hung_up.wait()
            return await super().before(tool, args, **more)

    async def scene(gate: Slow, place: Path) -> dict[str, bool]:
        gate.hung_up = asyncio.Event()
        async with GateServer(gate, place) as server:
            _, writer = await asyncio.open_unix_connection(place)
            writer.write(b'{"op":"before","tool":"shell","args":{}}\n')
            await writer.drain()
            writer.close()
            await writer.wait_closed()
            gate.hung_up.set()
            await until(lambda: gate.outcomes)
        return server.open

    gate = Slow()
    with tempfile.TemporaryDirectory(prefix="il-") as folder:
        assert asyncio.run(scene(gate, Path(folder) / "gate")) == {}
    assert gate.outcomes == {"eff_1": (False, "the agent was gone before it could act")}


def test_an_agent_runs_in_the_event_loop_of_any_thread(workspace: Path) -> None:
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(run, workspace, "print('from a thread')").result().summary == "from a thread"


def test_two_attempts_do_not_share_a_gate(tmp_path: Path) -> None:
    gates = [GateStub(), GateStub()]
    places = [tmp_path / "one" / "work", tmp_path / "two" / "work"]
    for place in places:
        place.mkdir(parents=True)

    async def scene() -> None:
        program = "from interlock import agent; j = agent.job(); j.write('who', str(j.workspace))"
        await asyncio.gather(
            *(python(place, program).run(a_job(place), gate) for place, gate in zip(places, gates, strict=True))
        )

    asyncio.run(scene())
    for place, gate in zip(places, gates, strict=True):
        assert gate.asked == [("edit", {"path": "who", "content": str(place)})]
