"""The sandbox: every way out is tried on every rung that this machine has; and what must go on working does."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path

import pytest

from interlock.errors import SandboxError
from interlock.model.sandbox import Limits, SandboxLevel
from interlock.sandbox import ladder
from interlock.sandbox.escapes import ESCAPES, Escape, claimed, held
from interlock.sandbox.grants import LAUNCHER
from interlock.sandbox.ladder import Ladder, holds, open_sandbox, probe
from interlock.sandbox.launcher import landlock_abi

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the walls are Linux's")

RUNGS = [SandboxLevel.RLIMITS, SandboxLevel.LANDLOCK, SandboxLevel.BUBBLEWRAP]
ROOT = os.getuid() == 0
FREE = ROOT and all(
    line in Path("/proc/self/status").read_text()
    for line in (
        f"CapEff:\t{(1 << int(Path('/proc/sys/kernel/cap_last_cap').read_text()) + 1) - 1:016x}",
        "Seccomp:\t0",
    )
)
"""Root as it is outside of containers: nothing holds it."""


@pytest.fixture(params=RUNGS)
def rung(request: pytest.FixtureRequest) -> SandboxLevel:
    """Each rung that this machine has. Where the project is tested for release, it must have them all."""
    level = SandboxLevel(request.param)
    if not _has(level):
        if os.environ.get("CI") == "true":
            pytest.fail(
                f"{level} does not hold here: the machine that tests releases needs it (apt install bubblewrap)"
            )
        pytest.skip(f"{level} does not hold on this machine")
    return level


_KNOWN: dict[SandboxLevel, bool] = {}


def _has(level: SandboxLevel) -> bool:
    if level not in _KNOWN:
        _KNOWN[level] = holds(level)
    return _KNOWN[level]


def run(
    level: SandboxLevel,
    place: Path,
    *argv: str,
    read: Sequence[Path] = (),
    sockets: Sequence[Path] = (),
    network: bool = False,
    env: Mapping[str, str] | None = None,
    limits: Limits | None = None,
    stdin: str = "",
) -> subprocess.CompletedProcess[str]:
    workspace = place / "workspace"
    workspace.mkdir(exist_ok=True)
    command = Ladder(level).wrap(
        argv,
        workspace=workspace,
        scratch=place / "scratch",
        read=read,
        sockets=sockets,
        network=network,
        env=env,
        limits=limits,
    )
    return subprocess.run(
        command.argv, env=dict(command.env), cwd=workspace, input=stdin, capture_output=True, text=True, check=False
    )


def python(level: SandboxLevel, place: Path, code: str, **more: object) -> subprocess.CompletedProcess[str]:
    return run(level, place, sys.executable, "-I", "-c", code, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize("escape", ESCAPES, ids=lambda escape: escape.name)
def test_what_a_rung_claims_to_hold_it_holds(escape: Escape, rung: SandboxLevel) -> None:
    if claimed(escape, rung, root=ROOT, abi=landlock_abi()):
        assert held(escape, rung) is not False


@pytest.mark.parametrize(
    "escape",
    [e for e in ESCAPES if e.held_from > SandboxLevel.NONE and (FREE or not e.root)],
    ids=lambda escape: escape.name,
)
def test_every_way_out_is_one_where_nothing_holds(escape: Escape) -> None:
    """Else an attempt that is broken would count as held."""
    found = held(escape, SandboxLevel.NONE)
    if found is None:
        pytest.skip("this machine has nothing to try it on")
    assert found is False


def test_the_best_rung_holds_all_but_what_root_is_not_held_to() -> None:
    assert len(ESCAPES) >= 40
    assert [e.name for e in ESCAPES if not claimed(e, SandboxLevel.BUBBLEWRAP, root=False, abi=1)] == []
    assert [e.name for e in ESCAPES if not claimed(e, SandboxLevel.BUBBLEWRAP, root=True, abi=1)] == [
        "start too many processes"
    ]


def test_a_program_inside_does_its_work(rung: SandboxLevel, tmp_path: Path) -> None:
    code = (
        "import os, sys, tempfile, pathlib, subprocess, threading\n"
        "pathlib.Path('made').write_text(sys.stdin.read())\n"
        "tempfile.TemporaryFile().write(b'x'); pathlib.Path.home().joinpath('.cache').mkdir()\n"
        "assert subprocess.run(['sh', '-c', 'echo hi | cat'], capture_output=True).stdout == b'hi\\n'\n"
        "t = threading.Thread(target=print, args=('thread',)); t.start(); t.join()\n"
        "os.mkdir('d'); os.rename('made', 'd/made'); os.symlink('d/made', 'l'); print(open('l').read())\n"
        "sys.exit(7)"
    )
    done = python(rung, tmp_path, code, stdin="from outside")
    assert (done.returncode, done.stdout, done.stderr) == (7, "thread\nfrom outside\n", "")
    assert (tmp_path / "workspace" / "d" / "made").read_text() == "from outside"
    assert (tmp_path / "scratch" / "home" / ".cache").is_dir()


def test_git_works_inside_on_a_granted_repository_and_cannot_change_it(rung: SandboxLevel, tmp_path: Path) -> None:
    from interlock.sandbox.git_workspaces import GitWorkspaces

    project = tmp_path / "project"
    env = {"PATH": os.environ["PATH"], "HOME": "/nonexistent"}
    user = ["-c", "user.name=u", "-c", "user.email=u@example.org"]
    for args in (
        ["init", "--quiet", str(project)],
        ["-C", str(project), *user, "commit", "--quiet", "--allow-empty", "-m", "m"],
    ):
        subprocess.run(["git", *args], env=env, check=True)
    spaces = GitWorkspaces(project, tmp_path / "state")
    spaces.begin("r")
    place = spaces.open("r", "a")
    command = Ladder(rung).wrap(
        ["sh", "-c", "touch new && git status --porcelain && git add new"],
        workspace=place,
        scratch=tmp_path / "scratch",
        read=[project / ".git"],
    )
    done = subprocess.run(command.argv, env=dict(command.env), cwd=place, capture_output=True, text=True, check=False)
    assert done.stdout == "?? new\n", done.stderr
    assert (done.returncode == 0) == (rung is SandboxLevel.RLIMITS)
    assert spaces.changed("r", "a") == ("new",)


def test_granted_paths_can_be_read_and_not_written(rung: SandboxLevel, tmp_path: Path) -> None:
    granted, link = tmp_path / "granted", tmp_path / "link"
    granted.mkdir()
    (granted / "f").write_text("shown")
    link.symlink_to(granted)
    for path in (granted, link, granted / "f"):
        file = path / "f" if path != granted / "f" else path
        done = python(rung, tmp_path, f"print(open({str(file)!r}).read()); open({str(file)!r}, 'a')", read=[path])
        assert done.stdout == "shown\n", done.stderr
        assert (done.returncode != 0) == (rung > SandboxLevel.RLIMITS)


def test_the_network_is_there_when_it_is_granted(rung: SandboxLevel, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        code = (
            f"import socket; socket.create_connection(('127.0.0.1', {server.getsockname()[1]}), 5); print('connected')"
        )
        assert python(rung, tmp_path, code, network=True).stdout == "connected\n"
        assert python(rung, tmp_path, code).returncode != 0


def test_the_gate_is_reached_on_every_rung(rung: SandboxLevel, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as gate:
        gate.bind(str(tmp_path / "gate"))
        gate.listen()
        code = (
            f"import socket; s = socket.socket(socket.AF_UNIX); s.connect({str(tmp_path / 'gate')!r}); s.sendall(b'hi')"
        )
        done = python(rung, tmp_path, code, sockets=[tmp_path / "gate"])
        assert done.returncode == 0, done.stderr
        with gate.accept()[0] as connection:
            assert connection.recv(2) == b"hi"
        assert python(rung, tmp_path, code).returncode != 0


def test_the_environment_is_what_is_granted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_SECRET_ACCESS_KEY", "LD_PRELOAD", "PYTHONPATH", "GIT_DIR", "SSH_AUTH_SOCK"):
        monkeypatch.setenv(name, "x")
    monkeypatch.setenv("LC_TIME", "C")
    monkeypatch.setenv("TZ", "UTC")
    command = Ladder(SandboxLevel.NONE).wrap(["x"], workspace=tmp_path, scratch=tmp_path / "s", env={"GRANTED": "1"})
    assert command.env["GRANTED"] == "1"
    assert command.env["HOME"] == str(tmp_path / "s" / "home")
    assert command.env["TMPDIR"] == str(tmp_path / "s" / "tmp")
    allowed = {
        "PATH",
        "LANG",
        "LANGUAGE",
        "TZ",
        "TERM",
        "COLORTERM",
        "NO_COLOR",
        "HOME",
        "TMPDIR",
        "GRANTED",
        "GIT_CONFIG_NOSYSTEM",
    }
    assert {name for name in command.env if not name.startswith("LC_")} <= allowed
    assert (tmp_path / "s" / "home").stat().st_mode & 0o777 == 0o700


def test_sigterm_ends_a_program_and_all_that_it_started(rung: SandboxLevel, tmp_path: Path) -> None:
    code = "import os, time\nif os.fork() == 0: os.setsid()\nprint('up', flush=True); time.sleep(300)"
    (tmp_path / "workspace").mkdir()
    command = Ladder(rung).wrap([sys.executable, "-c", code], workspace=tmp_path / "workspace", scratch=tmp_path / "s")
    with subprocess.Popen(command.argv, env=dict(command.env), stdout=subprocess.PIPE, cwd=tmp_path) as process:
        assert process.stdout is not None
        assert [process.stdout.readline() for _ in range(2)] == [b"up\n", b"up\n"]
        process.send_signal(signal.SIGTERM)
        assert process.stdout.read() == b""  # ends only when the last holder of the pipe has
        assert process.wait() != 0


@pytest.mark.parametrize("argv", [("/nowhere/program",), ("no-such-program",)])
def test_a_program_that_is_not_there_says_so(rung: SandboxLevel, tmp_path: Path, argv: tuple[str, ...]) -> None:
    done = run(rung, tmp_path, *argv)
    assert done.returncode == 127
    assert done.stderr == f"interlock: {argv[0]} could not be started: No such file or directory\n"


def test_a_program_ended_by_a_signal_is_told_apart(rung: SandboxLevel, tmp_path: Path) -> None:
    assert run(rung, tmp_path, "sh", "-c", "kill -SEGV $$").returncode == 128 + signal.SIGSEGV


def test_nothing_starts_when_a_wall_cannot_be_raised(tmp_path: Path) -> None:
    spec = {
        "rlimits": {"NOFILE": -7},
        "landlock": None,
        "seccomp": {"inet": False, "unix": False, "required": True},
    }
    done = subprocess.run(
        [sys.executable, "-I", "-S", str(LAUNCHER), json.dumps(spec), "touch", str(tmp_path / "ran")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 126
    assert "could not be raised" in done.stderr
    assert not (tmp_path / "ran").exists()


def test_what_cannot_be_granted_is_an_error(tmp_path: Path) -> None:
    sandbox = Ladder(SandboxLevel.RLIMITS)
    with pytest.raises(SandboxError, match="does not exist"):
        sandbox.wrap(["true"], workspace=tmp_path / "none", scratch=tmp_path / "s")
    with pytest.raises(SandboxError, match="does not exist"):
        sandbox.wrap(["true"], workspace=tmp_path, scratch=tmp_path / "s", read=[tmp_path / "none"])
    (tmp_path / "root").symlink_to("/")
    for path in (Path("/"), Path("/proc"), Path("/dev/shm"), tmp_path / "root"):
        with pytest.raises(SandboxError, match="the machine itself"):
            sandbox.wrap(["true"], workspace=tmp_path, scratch=tmp_path / "s", read=[path])
        with pytest.raises(SandboxError, match="the machine itself"):
            sandbox.wrap(["true"], workspace=path, scratch=tmp_path / "s")
    for argv in ([], ["a\0b"]):
        with pytest.raises(SandboxError, match="no program"):
            sandbox.wrap(argv, workspace=tmp_path, scratch=tmp_path / "s")


def test_no_limit_is_no_limit_and_a_limit_is_one(rung: SandboxLevel, tmp_path: Path) -> None:
    code = "import resource as r; print(*[r.getrlimit(getattr(r, 'RLIMIT_' + n))[1] for n in ('CPU', 'DATA', 'NOFILE', 'FSIZE', 'CORE')])"
    some = Limits(cpu=timedelta(seconds=9), memory=1 << 30, processes=None, open_files=99, file_size=1 << 20)
    assert python(rung, tmp_path, code, limits=some).stdout == f"9 {1 << 30} 99 {1 << 20} 0\n"
    free = Limits(cpu=None, memory=None, processes=None, open_files=None, file_size=None)
    assert python(rung, tmp_path, code, limits=free).stdout.split()[-1] == "0"


def test_the_level_is_the_best_that_holds_and_work_that_needs_more_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    probe.cache_clear()
    try:
        best = probe()
        assert _has(best) if best is not SandboxLevel.NONE else not any(map(_has, RUNGS))
        assert open_sandbox(best).level is best
        probe.cache_clear()
        monkeypatch.setattr(ladder, "holds", lambda level: level is SandboxLevel.RLIMITS)
        assert open_sandbox().level is SandboxLevel.RLIMITS
        with pytest.raises(SandboxError, match="needs the sandbox level landlock, this machine has rlimits"):
            open_sandbox(SandboxLevel.LANDLOCK)
    finally:
        probe.cache_clear()


def test_a_rung_that_lets_something_out_does_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bwrap that is there but holds nothing: the deny test finds it out."""
    fake = tmp_path / "bwrap"
    fake.write_text('#!/bin/sh\nwhile [ "$1" != "--" ]; do shift; done\nshift\nexec "$@"\n')
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert not holds(SandboxLevel.BUBBLEWRAP)
