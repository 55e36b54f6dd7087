"""How long `interlock hook` takes: cold (a process of its own) and warm (a running server), p50 and p99 in milliseconds.

    python bench/hook.py [CALLS]

Bare is an interpreter that does nothing, the floor that no hook in Python goes below. The processor time of the processes (the
server's apart) is what a machine that does nothing else would take.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from interlock.runners import hook_settings as install

START = str(install.START)
HOOK = (sys.executable, "-I", "-S", START, "--as", "claude", "--deadline", "60")


def event(place: Path, session: str) -> bytes:
    args = {"command": "git status --short && ls -la src"}
    plain = {"hook_event_name": "PreToolUse", "session_id": session, "cwd": str(place), "tool_name": "Bash"}
    return json.dumps({**plain, "tool_input": args, "tool_use_id": "t"}).encode()


def timed(command: tuple[str, ...], stdin: bytes, env: dict[str, str]) -> tuple[float, float]:
    began, used = time.perf_counter(), processor()
    done = subprocess.run(command, input=stdin, env=env, capture_output=True, check=True)
    assert not done.stdout, done.stdout
    return (time.perf_counter() - began) * 1000, (processor() - used) * 1000


def processor() -> float:
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return children.ru_utime + children.ru_stime


def say(name: str, figures: list[tuple[float, float]]) -> None:
    ordered = sorted(wall for wall, _ in figures)
    worst = ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))]
    busy = statistics.median(used for _, used in figures)
    print(
        f"{name:<6} p50 {statistics.median(ordered):7.1f}   p99 {worst:7.1f}   processor p50 {busy:6.1f}   n={len(ordered)}"
    )


def main() -> None:
    calls = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    place = Path(tempfile.mkdtemp(prefix="interlock-bench-"))
    (place / "interlock.yaml").write_text("limits: {}\n")
    off = {**os.environ, "INTERLOCK_HOOK_SERVER": "off"}
    say("bare", [timed((sys.executable, "-I", "-S", "-c", "pass"), b"", off) for _ in range(calls)])
    say("cold", [timed(HOOK, event(place, f"s{number}"), off) for number in range(max(5, calls // 5))])
    root = str(Path(install.__file__).parents[2])
    command = (sys.executable, "-m", "interlock", "hook", "serve", "--idle", "60")
    with subprocess.Popen(command, cwd=place, env={**off, "PYTHONPATH": root}) as server:
        while not (place / ".interlock" / "hook.sock").exists():
            assert server.poll() is None, "the server did not start"
            time.sleep(0.05)
        say("warm", [timed(HOOK, event(place, "warm"), off) for _ in range(calls)])
        server.terminate()
    shutil.rmtree(place)


if __name__ == "__main__":
    main()
